package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// How long a session lasts: without a request, and altogether.
const (
	sessionIdle = 30 * time.Minute
	sessionMost = 8 * time.Hour
)

// ssoKept is how long a used sign-on token is remembered: twice its window of five minutes either way.
const ssoKept = 20 * time.Minute

// OpenSession starts a session after a sign-on. token is the browser's; only its hash is kept. used is the
// signed-on token, which is good once. Errors: KindForbidden where it was used before or the resource was
// removed or never here.
func (s *Store) OpenSession(ctx context.Context, session remora.Session, token, used string) error {
	forbidden := func(why string) error {
		return &remora.Error{Kind: remora.KindForbidden, Public: "This sign-on is not valid any more. Open the add-on again from Heroku.", Cause: errors.New(why)}
	}
	return s.forResource(ctx, session.Resource, func(t *tx) error {
		if _, err := t.live(ctx, session.Resource); err != nil {
			if remora.KindOf(err) == remora.KindInternal {
				return err
			}
			return forbidden("no such live resource")
		}
		n, err := t.q.InsertSSOUse(ctx, pgsql.InsertSSOUseParams{TokenHash: hash(used), ResourceID: string(session.Resource), Now: t.now})
		if err != nil {
			return fmt.Errorf("use sign-on: %w", err)
		}
		if n == 0 {
			return forbidden("used before")
		}
		err = t.q.InsertSession(ctx, pgsql.InsertSessionParams{
			TokenHash: hash(token), ResourceID: string(session.Resource), UserID: session.UserID, Email: session.Email, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("insert session: %w", err)
		}
		return t.audit(ctx, session.Resource, session.Person(), "sign on", "")
	})
}

// Session returns the session that a token opens and notes that it was used. Errors: KindUnauthorized, KindGone where the
// resource was removed during the visit.
func (s *Store) Session(ctx context.Context, token string) (remora.Session, error) {
	var out remora.Session
	err := s.forService(ctx, func(t *tx) error {
		idle, made := t.now.Add(-sessionIdle), t.now.Add(-sessionMost)
		row, err := t.q.UseSession(ctx, pgsql.UseSessionParams{TokenHash: hash(token), Now: t.now, IdleSince: idle, MadeSince: made})
		if errors.Is(err, pgx.ErrNoRows) {
			undo, err := t.q.RemovedSince(ctx, pgsql.RemovedSinceParams{TokenHash: hash(token), IdleSince: idle, MadeSince: made})
			if err == nil {
				return &remora.Error{Kind: remora.KindGone, Public: remora.RemovedSays(t.now, orZero(undo))}
			}
			if !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("look for a removed resource: %w", err)
			}
			return &remora.Error{Kind: remora.KindUnauthorized, Public: "Your visit has ended. Open the add-on again from Heroku."}
		}
		if err != nil {
			return fmt.Errorf("use session: %w", err)
		}
		out = remora.Session{
			Resource: remora.ResourceID(row.ResourceID), UserID: row.UserID, Email: row.Email, CreatedAt: row.CreatedAt, SeenAt: row.SeenAt,
		}
		return nil
	})
	return out, err
}

// CloseSession ends the session that a token opens, if there is one.
func (s *Store) CloseSession(ctx context.Context, token string) error {
	return s.forService(ctx, func(t *tx) error {
		row, err := t.q.DeleteSession(ctx, hash(token))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		session := remora.Session{Resource: remora.ResourceID(row.ResourceID), Email: row.Email}
		return t.audit(ctx, session.Resource, session.Person(), "sign off", "")
	})
}

// apiTokenKept is how long it is known why a token of the API opens nothing any more.
const apiTokenKept = 90 * day

// PurgeSessions forgets sessions that have ended, sign-on tokens too old to be used again, and tokens of the API that ended
// long ago.
func (s *Store) PurgeSessions(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		err := t.q.PurgeSessions(ctx, pgsql.PurgeSessionsParams{MadeSince: t.now.Add(-sessionMost), IdleSince: t.now.Add(-sessionIdle)})
		if err != nil {
			return fmt.Errorf("purge sessions: %w", err)
		}
		if err := t.q.PurgeAPITokens(ctx, t.now.Add(-apiTokenKept)); err != nil {
			return fmt.Errorf("purge tokens of the API: %w", err)
		}
		return t.q.PurgeSSOUses(ctx, t.now.Add(-ssoKept))
	})
}

// strangersAnHour is how many requests for what is not theirs are written down for a resource: enough to see that somebody
// tries, and no way to fill the log.
const strangersAnHour = 100

// NoteStranger writes down that a person of the resource named an identifier that is not of it. It writes nothing where all
// that were named are, or were: of databases, backups, links, channels or tokens.
func (s *Store) NoteStranger(ctx context.Context, id remora.ResourceID, person, request string, named []string) error {
	if len(named) == 0 {
		return nil
	}
	return s.forResource(ctx, id, func(t *tx) error {
		strange, err := t.q.NotOf(ctx, pgsql.NotOfParams{ResourceID: string(id), Ids: named})
		if err != nil {
			return fmt.Errorf("look whose it is: %w", err)
		}
		if len(strange) == 0 {
			return nil
		}
		newest, err := t.q.NewestActions(ctx, pgsql.NewestActionsParams{ResourceID: string(id), Most: 5 * strangersAnHour})
		if err != nil {
			return fmt.Errorf("count strangers: %w", err)
		}
		n := 0
		for _, x := range newest {
			if x.Action == "refused" && x.At.After(t.now.Add(-time.Hour)) {
				n++
			}
		}
		if n >= strangersAnHour {
			return nil
		}
		return t.audit(ctx, id, person, "refused", foreign(request+" "+strange[0], maxWord))
	})
}

// hash is what is stored of a token of 256 random bits: nothing slower is needed to keep it from being guessed.
func hash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
