package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// fresh is how long a token must still be good to be used as it is.
const fresh = 5 * time.Minute

var errRevoked = &remora.Failure{Reason: remora.ReasonTokenRevoked}

// errNoToken is of an add-on whose grant was not exchanged yet, or whose tokens were lost with our database.
var errNoToken = errors.New("there is no token")

// ours tells whether an error is a setting of ours that Heroku does not accept, which a person must mend.
func ours(err error) bool {
	return errors.Is(err, herokuapi.ErrClientSecret) || errors.Is(err, errServiceToken)
}

// level is how loudly an error of a call to Heroku is logged.
func level(err error) slog.Level {
	if ours(err) {
		return slog.LevelError
	}
	return slog.LevelWarn
}

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
		case t.Refresh.IsZero():
			return redact.Secret{}, time.Time{}, errNoToken
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
	w.metrics.refreshed(err)
	if err != nil {
		done, cancel := cleanup(ctx)
		defer cancel()
		err = errors.Join(secretNamed(err), w.Store.ReleaseRefresh(done, id))
		if errors.Is(err, herokuapi.ErrRevoked) {
			err = errors.Join(errRevoked, w.Store.SetAttention(done, id, remora.ReasonTokenRevoked))
		}
		return redact.Secret{}, time.Time{}, err
	}
	expires := now.Add(got.ExpiresIn)
	return got.Access, expires, w.Store.SaveTokens(ctx, id, got.Access, got.Refresh, expires)
}

// refreshed counts.
func (m *metrics) refreshed(err error) {
	outcome := "failed"
	switch {
	case err == nil:
		outcome = "ok"
	case errors.Is(err, herokuapi.ErrRevoked):
		outcome = "revoked"
	case errors.Is(err, herokuapi.ErrClientSecret):
		outcome = "secret"
	}
	m.refresh.WithLabelValues(outcome).Inc()
}

// again refreshes a token once that Heroku has called revoked, because a person asks: what works undoes the mark.
// Errors: errRevoked where it is still so.
func (w *Workers) again(ctx context.Context, id remora.ResourceID) error {
	t, err := w.Store.Tokens(ctx, id)
	switch {
	case err != nil || !t.Revoked:
		return err
	case t.Refresh.IsZero():
		return errRevoked
	}
	refresh, mine, err := w.Store.ClaimRefresh(ctx, id, t.AccessExpiresAt)
	if err != nil || !mine { // else somebody is at it
		return err
	}
	_, _, err = w.refresh(ctx, id, refresh, t.Now)
	return err
}

// later puts a job off where Heroku refuses for the quota, until it takes calls again. It returns nil where err is
// something else.
func later(err error) error {
	var e *herokuapi.Error
	if !errors.As(err, &e) || !errors.Is(err, herokuapi.ErrRateLimited) {
		return nil
	}
	return river.JobSnooze(e.RetryAfter)
}

// secretNamed names the setting that is wrong where the token endpoint does not know us.
func secretNamed(err error) error {
	if errors.Is(err, herokuapi.ErrClientSecret) {
		return fmt.Errorf("heroku's token endpoint does not accept CLIENT_SECRET, the add-on's client secret of the partner portal: %w", err)
	}
	return err
}
