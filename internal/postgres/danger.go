package postgres

import (
	"context"
	"fmt"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// Access counts what opens something of a resource's now. Errors: KindNotFound, KindGone.
func (s *Store) Access(ctx context.Context, id remora.ResourceID) (out remora.Access, err error) {
	err = s.seeResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		n, err := t.q.CountAccess(ctx, pgsql.CountAccessParams{
			ResourceID: string(id), Now: t.now, IdleSince: t.now.Add(-sessionIdle), MadeSince: t.now.Add(-sessionMost),
		})
		if err != nil {
			return fmt.Errorf("count what opens something: %w", err)
		}
		out = remora.Access{Links: int(n.Links), Visits: int(n.Visits), Tokens: int(n.Tokens)}
		return nil
	})
	return out, err
}

// RevokeAllLinks ends every link of a resource at once, also those by which a download runs. Errors: KindNotFound, KindGone.
func (s *Store) RevokeAllLinks(ctx context.Context, id remora.ResourceID, person string) error {
	return s.endAll(ctx, id, person, "revoke all links", "link", func(t *tx) (int64, error) {
		return t.q.RevokeLinks(ctx, pgsql.RevokeLinksParams{ResourceID: string(id), Now: &t.now})
	})
}

// RevokeAllAPITokens ends every token of the API at once. Errors: KindNotFound, KindGone.
func (s *Store) RevokeAllAPITokens(ctx context.Context, id remora.ResourceID, person string) error {
	return s.endAll(ctx, id, person, "revoke all api tokens", "token", func(t *tx) (int64, error) {
		return t.q.RevokeAPITokens(ctx, pgsql.RevokeAPITokensParams{ResourceID: string(id), Person: person, Now: &t.now})
	})
}

// CloseSessions signs everybody off. Errors: KindNotFound, KindGone.
func (s *Store) CloseSessions(ctx context.Context, id remora.ResourceID, person string) error {
	return s.endAll(ctx, id, person, "sign off everybody", "visit", func(t *tx) (int64, error) {
		return t.q.DeleteSessions(ctx, string(id))
	})
}

// endAll ends all of something and writes down how many that were; where there were none, nothing.
func (s *Store) endAll(ctx context.Context, id remora.ResourceID, person, action, what string, end func(*tx) (int64, error)) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		n, err := end(t)
		if err != nil {
			return fmt.Errorf("%s: %w", action, err)
		}
		if n == 0 {
			return nil
		}
		return t.audit(ctx, id, person, action, remora.Count(int(n), what))
	})
}

// ForgetDatabase asks for everything that is stored of a detached database to go. Nothing does for remora.RetentionGrace;
// until then it can be undone. Errors: KindNotFound, KindGone, KindConflict where it is attached, has locked backups or is
// being forgotten already, KindBusy where that was done too often.
func (s *Store) ForgetDatabase(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.withRetention(ctx, id, db, func(t *tx, now retention.Standing) error {
		row, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: string(id)})
		if err != nil {
			return or404(err, "database")
		}
		stored, locked := 0, 0
		for _, b := range now.Backups {
			if b.Stored() {
				stored++
			}
			if now.Lock(b.ID) != nil {
				locked++
			}
		}
		conflict := func(format string, args ...any) error {
			return &remora.Error{Kind: remora.KindConflict, Public: fmt.Sprintf(format, args...)}
		}
		switch {
		case row.State != string(remora.DatabaseDetached):
			return conflict("%s is attached, so it is backed up. Detach it first: heroku addons:detach %s -a YOUR-HELPER-APP", row.Addon, row.Attachment)
		case row.ForgetAt != nil:
			return conflict("Somebody has asked for that already.")
		case locked > 0:
			return conflict("%s of it %s locked. Unlock what may go first, on each one's page.", remora.Count(locked, "backup"), map[bool]string{true: "is", false: "are"}[locked == 1])
		}
		at := t.now.Add(remora.RetentionGrace)
		if err := t.q.AskToForget(ctx, pgsql.AskToForgetParams{ID: string(db), ResourceID: string(id), ForgetAt: &at, Person: person}); err != nil {
			return fmt.Errorf("ask to forget: %w", err)
		}
		if stored > 0 {
			if err := t.mayHappen(ctx, id, remora.EventRetentionPending); err != nil {
				return err
			}
			detail := fmt.Sprintf("%s has asked for this database to be forgotten. From %s on this removes all of its backups, %d. It can be undone under Settings, Danger zone, until then.",
				person, at.Format("2 January 2006, 15:04 UTC"), stored)
			if err := t.happened(ctx, id, remora.Event{Kind: remora.EventRetentionPending, Database: db, Detail: detail}); err != nil {
				return err
			}
		}
		return t.audit(ctx, id, person, "ask to forget database", subject(db, remora.Count(stored, "backup")))
	})
}

// UndoForget takes that back while it has not begun. Errors: KindNotFound, KindGone, KindConflict where nothing waits.
func (s *Store) UndoForget(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.forDatabase(ctx, id, db, func(t *tx) error {
		n, err := t.q.UndoForget(ctx, pgsql.UndoForgetParams{ID: string(db), ResourceID: string(id), Now: &t.now})
		if err != nil {
			return fmt.Errorf("undo forgetting: %w", err)
		}
		if n == 0 {
			return &remora.Error{Kind: remora.KindConflict, Public: "There is nothing to undo: nobody has asked for it, or its backups are going already."}
		}
		return t.audit(ctx, id, person, "undo forget database", string(db))
	})
}

// ForgetDatabases takes those off the pages whose backups have all gone because somebody asked for it.
func (s *Store) ForgetDatabases(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		rows, err := t.q.ForgetDatabases(ctx, &t.now)
		if err != nil {
			return fmt.Errorf("forget databases: %w", err)
		}
		for _, row := range rows {
			if err := t.audit(ctx, remora.ResourceID(row.ResourceID), RetentionActor, "forget database", subject(remora.DatabaseID(row.ID), row.Addon)); err != nil {
				return err
			}
		}
		return nil
	})
}
