package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// MakeAPIToken makes a token of the API and returns it, this once; its hash is kept. Errors: KindGone, KindConflict where
// one in use has that name, KindPlanLimit where there are too many.
func (s *Store) MakeAPIToken(ctx context.Context, id remora.ResourceID, n remora.NewAPIToken, person string) (remora.APIToken, redact.Secret, error) {
	secret := remora.NewAPISecret()
	token := secret.Reveal()
	out := remora.APIToken{ID: remora.NewID[remora.APITokenID](), Name: n.Name, Shown: token[len(token)-4:], Scope: n.Scope, MadeBy: person}
	err := s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		have, err := t.q.CountAPITokens(ctx, string(id))
		if err != nil {
			return fmt.Errorf("count tokens of the API: %w", err)
		}
		if have >= remora.MaxAPITokens {
			return &remora.Error{Kind: remora.KindPlanLimit, Public: fmt.Sprintf("There are %d tokens, which is as many as one add-on may have. Revoke one first.", have)}
		}
		out.MadeAt = t.now
		if n.Good > 0 {
			out.ExpiresAt = t.now.Add(n.Good)
		}
		added, err := t.q.InsertAPIToken(ctx, pgsql.InsertAPITokenParams{
			ID: string(out.ID), ResourceID: string(id), TokenHash: hash(token), Shown: out.Shown, Name: n.Name, Scope: string(n.Scope), MadeBy: person,
			Now: t.now, ExpiresAt: orNil(out.ExpiresAt),
		})
		if err != nil {
			return fmt.Errorf("insert token of the API: %w", err)
		}
		if added == 0 {
			return &remora.Error{Kind: remora.KindConflict, Public: "There is a token of that name already, and the audit log names tokens by their names. Choose another, or revoke that one first."}
		}
		return t.audit(ctx, id, person, "make api token", n.Name+" ("+string(n.Scope)+")")
	})
	return out, secret, err
}

// APITokens lists a resource's tokens that nobody has revoked, the newest first; expired ones too. Errors: KindNotFound,
// KindGone.
func (s *Store) APITokens(ctx context.Context, id remora.ResourceID) ([]remora.APIToken, error) {
	var out []remora.APIToken
	err := s.seeResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		rows, err := t.q.ListAPITokens(ctx, string(id))
		for _, row := range rows {
			out = append(out, apiTokenOf(row))
		}
		return err
	})
	return out, err
}

// RevokeAPIToken ends a token at once. Errors: KindNotFound, also where it has been revoked, KindGone.
func (s *Store) RevokeAPIToken(ctx context.Context, id remora.ResourceID, token remora.APITokenID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		name, err := t.q.RevokeAPIToken(ctx, pgsql.RevokeAPITokenParams{ID: string(token), ResourceID: string(id), Person: person, Now: &t.now})
		if err != nil {
			return or404(err, "token")
		}
		return t.audit(ctx, id, person, "revoke api token", name)
	})
}

// UseAPIToken returns the resource that a token opens and what it may do there, and notes that it was used: once a minute,
// and when it comes from elsewhere. Errors: KindUnauthorized with what to do, KindGone where the add-on was removed.
func (s *Store) UseAPIToken(ctx context.Context, token, from string) (id remora.ResourceID, out remora.APIToken, err error) {
	err = s.forService(ctx, func(t *tx) error {
		row, err := t.q.FindAPIToken(ctx, hash(token))
		if errors.Is(err, pgx.ErrNoRows) {
			return unauthorized("There is no such token.")
		}
		if err != nil {
			return fmt.Errorf("find token of the API: %w", err)
		}
		id, out = remora.ResourceID(row.ApiToken.ResourceID), apiTokenOf(row.ApiToken)
		switch {
		case row.ResourceState == string(remora.ResourceDeprovisioned):
			return errGone
		case row.ApiToken.RevokedAt != nil:
			return unauthorized("This token was revoked on " + onDay(*row.ApiToken.RevokedAt) + ".")
		case out.Expired(t.now):
			return unauthorized("This token has expired, on " + onDay(out.ExpiresAt) + ".")
		}
		if err := t.q.NoteAPITokenUse(ctx, pgsql.NoteAPITokenUseParams{ID: row.ApiToken.ID, Now: &t.now, UsedFrom: from}); err != nil {
			return fmt.Errorf("note the use of a token of the API: %w", err)
		}
		return nil
	})
	return id, out, err
}

func unauthorized(why string) error {
	return &remora.Error{Kind: remora.KindUnauthorized, Public: why + " Make one on the add-on's page, under Settings, API tokens."}
}

func onDay(at time.Time) string { return at.UTC().Format("2 January 2006") }

func apiTokenOf(row pgsql.ApiToken) remora.APIToken {
	return remora.APIToken{
		ID: remora.APITokenID(row.ID), Name: row.Name, Shown: row.Shown, Scope: remora.APIScope(row.Scope), MadeBy: row.MadeBy, MadeAt: row.MadeAt,
		ExpiresAt: orZero(row.ExpiresAt), UsedAt: orZero(row.UsedAt), UsedFrom: row.UsedFrom,
	}
}
