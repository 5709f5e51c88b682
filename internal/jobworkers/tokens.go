package jobworkers

import (
	"context"
	"errors"
	"time"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// fresh is how long a token must still be good to be used as it is.
const fresh = 5 * time.Minute

var errRevoked = &remora.Failure{Reason: remora.ReasonTokenRevoked}

// token returns the resource's access token, refreshed where it must be. Of many that ask at once, one
// refreshes. Errors: errRevoked, once Heroku has said so, without asking again; herokuapi's.
func (w *Workers) token(ctx context.Context, id remora.ResourceID) (redact.Secret, error) {
	for {
		t, err := w.Store.Tokens(ctx, id)
		switch {
		case err != nil:
			return redact.Secret{}, err
		case t.Revoked:
			return redact.Secret{}, errRevoked
		case t.AccessExpiresAt.Sub(t.Now) > fresh:
			return t.Access, nil
		}
		refresh, mine, err := w.Store.ClaimRefresh(ctx, id, t.AccessExpiresAt)
		if err != nil {
			return redact.Secret{}, err
		}
		if mine {
			return w.refresh(ctx, id, refresh, t.Now)
		}
		select { // somebody else is at it
		case <-ctx.Done():
			return redact.Secret{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (w *Workers) refresh(ctx context.Context, id remora.ResourceID, refresh redact.Secret, now time.Time) (redact.Secret, error) {
	got, err := w.Heroku.Refresh(ctx, refresh)
	if err != nil {
		done, cancel := cleanup(ctx)
		defer cancel()
		err = errors.Join(err, w.Store.ReleaseRefresh(done, id))
		if errors.Is(err, herokuapi.ErrUnauthorized) {
			return redact.Secret{}, errors.Join(errRevoked, w.Store.SetAttention(done, id, remora.ReasonTokenRevoked))
		}
		return redact.Secret{}, err
	}
	return got.Access, w.Store.SaveTokens(ctx, id, got.Access, got.Refresh, now.Add(got.ExpiresIn))
}
