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

// Tokens are what Heroku gave us for one resource, opened.
type Tokens struct {
	Grant           redact.Secret // until it is exchanged
	GrantExpiresAt  time.Time
	Access          redact.Secret
	AccessExpiresAt time.Time
	Refresh         redact.Secret
	Revoked         bool      // Heroku no longer takes them: do not ask again, unless a person does
	Now             time.Time // the database's clock, to hold the expiry against
}

// Tokens returns a resource's tokens. Errors: KindNotFound, KindGone.
func (s *Store) Tokens(ctx context.Context, id remora.ResourceID) (Tokens, error) {
	var out Tokens
	err := s.forResource(ctx, id, func(t *tx) error {
		row, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out = Tokens{
			GrantExpiresAt: orZero(row.GrantExpiresAt), AccessExpiresAt: orZero(row.AccessExpiresAt),
			Revoked: row.Attention == string(remora.ReasonTokenRevoked), Now: t.now,
		}
		var errs [3]error
		out.Grant, errs[0] = s.open(row.SealedGrant, sealedGrant, id)
		out.Access, errs[1] = s.open(row.SealedAccess, sealedAccess, id)
		out.Refresh, errs[2] = s.open(row.SealedRefresh, sealedRefresh, id)
		return errors.Join(errs[:]...)
	})
	return out, err
}

// refreshLease is how long one process may take to refresh a token before another may try.
const refreshLease = 30 * time.Second

// ClaimRefresh makes the caller the only one to refresh the resource's token, for 30 s, and returns the
// refresh token. It returns false where another has it or has just finished (the expiry is no longer the
// one that the caller saw): then read Tokens again in a moment.
func (s *Store) ClaimRefresh(ctx context.Context, id remora.ResourceID, seenExpiry time.Time) (redact.Secret, bool, error) {
	var out redact.Secret
	claimed := false
	err := s.forResource(ctx, id, func(t *tx) error {
		sealed, err := t.q.ClaimRefresh(ctx, pgsql.ClaimRefreshParams{ID: string(id), Lease: refreshLease, SeenExpiry: orNil(seenExpiry)})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("claim refresh: %w", err)
		}
		claimed = true
		out, err = s.open(sealed, sealedRefresh, id)
		return err
	})
	return out, claimed, err
}

// SaveTokens keeps what an exchange or a refresh brought and gives the claim back. An empty refresh token
// keeps the one there is. Where Heroku had called the tokens revoked, that is undone: what it just gave is the proof.
// Errors: KindGone.
func (s *Store) SaveTokens(ctx context.Context, id remora.ResourceID, access, refresh redact.Secret, expires time.Time) error {
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		sealed := row.SealedRefresh
		if !refresh.IsZero() {
			sealed = s.seal(refresh, sealedRefresh, id)
		}
		_, err = t.q.SetTokens(ctx, pgsql.SetTokensParams{
			ID: string(id), SealedAccess: s.seal(access, sealedAccess, id), AccessExpiresAt: &expires, SealedRefresh: sealed,
		})
		if err != nil {
			return fmt.Errorf("save tokens: %w", err)
		}
		return nil
	})
}

// ReleaseRefresh gives a claim back after a refresh that did not work.
func (s *Store) ReleaseRefresh(ctx context.Context, id remora.ResourceID) error {
	return s.forResource(ctx, id, func(t *tx) error { return t.q.ReleaseRefresh(ctx, string(id)) })
}
