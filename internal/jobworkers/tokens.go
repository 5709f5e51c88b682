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

// asAddon makes a call with the resource's access token. Heroku may have ended a token before its time, as when the
// add-on's secret was reset: then it is refreshed, and the call made once more. Errors: errRevoked, once Heroku has
// said so, without asking again; the call's.
func (w *Workers) asAddon(ctx context.Context, id remora.ResourceID, call func(token redact.Secret) error) error {
	token, expires, err := w.token(ctx, id, time.Time{})
	if err != nil {
		return err
	}
	if err := call(token); !errors.Is(err, herokuapi.ErrUnauthorized) {
		return err
	}
	if token, _, err = w.token(ctx, id, expires); err != nil {
		return err
	}
	return call(token)
}

// token returns the resource's access token and when it expires, refreshed where it must be: when it expires soon, or
// at the time at which the caller has seen one expire that was refused. Of many that ask at once, one refreshes.
func (w *Workers) token(ctx context.Context, id remora.ResourceID, refused time.Time) (redact.Secret, time.Time, error) {
	for {
		t, err := w.Store.Tokens(ctx, id)
		switch {
		case err != nil:
			return redact.Secret{}, time.Time{}, err
		case t.Revoked:
			return redact.Secret{}, time.Time{}, errRevoked
		case t.AccessExpiresAt.Sub(t.Now) > fresh && !t.AccessExpiresAt.Equal(refused):
			return t.Access, t.AccessExpiresAt, nil
		}
		refresh, mine, err := w.Store.ClaimRefresh(ctx, id, t.AccessExpiresAt)
		if err != nil {
			return redact.Secret{}, time.Time{}, err
		}
		if mine {
			return w.refresh(ctx, id, refresh, t.Now)
		}
		select { // somebody else is at it
		case <-ctx.Done():
			return redact.Secret{}, time.Time{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (w *Workers) refresh(ctx context.Context, id remora.ResourceID, refresh redact.Secret, now time.Time) (redact.Secret, time.Time, error) {
	got, err := w.Heroku.Refresh(ctx, refresh)
	if err != nil {
		done, cancel := cleanup(ctx)
		defer cancel()
		err = errors.Join(err, w.Store.ReleaseRefresh(done, id))
		if errors.Is(err, herokuapi.ErrUnauthorized) {
			err = errors.Join(errRevoked, w.Store.SetAttention(done, id, remora.ReasonTokenRevoked))
		}
		return redact.Secret{}, time.Time{}, err
	}
	expires := now.Add(got.ExpiresIn)
	return got.Access, expires, w.Store.SaveTokens(ctx, id, got.Access, got.Refresh, expires)
}
