package jobworkers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// makeReady ends a provision: grant exchanged, config var set, Heroku told. Each step may be repeated.
type makeReady struct {
	river.WorkerDefaults[jobargs.MakeReady]
	*Workers
}

// secretPause is how long a new resource waits while our secret is wrong. River's own pauses are longer than what is
// left of the grant's five minutes once somebody has mended it.
const secretPause = 15 * time.Second

// Work implements river.Worker.
func (w *makeReady) Work(ctx context.Context, job *river.Job[jobargs.MakeReady]) error {
	id := job.Args.Resource
	err := w.ready(ctx, id)
	var failed *remora.Failure
	switch {
	case err == nil:
		w.Log.InfoContext(ctx, "resource is ready", "resource_id", id, "attempt", job.Attempt)
		return nil
	case remora.KindOf(err) == remora.KindGone:
		return nil // removed meanwhile
	case errors.As(err, &failed):
		w.Log.ErrorContext(ctx, "resource cannot be made ready", "resource_id", id, "attempt", job.Attempt, "error", err)
		return river.JobCancel(err)
	}
	w.Log.Log(ctx, level(err), "resource is not ready yet", "resource_id", id, "attempt", job.Attempt, "error", err)
	if errors.Is(err, herokuapi.ErrClientSecret) {
		return river.JobSnooze(secretPause)
	}
	return cmp.Or(later(err), err)
}

func (w *makeReady) ready(ctx context.Context, id remora.ResourceID) error {
	if err := w.exchange(ctx, id); err != nil {
		return err
	}
	var addon herokuapi.Addon
	err := w.asAddon(ctx, id, func(token redact.Secret) (err error) {
		if addon, err = w.Heroku.Addon(ctx, token, string(id)); err != nil {
			return fmt.Errorf("read add-on: %w", err)
		}
		if err := w.Heroku.SetConfig(ctx, token, string(id), remora.ConfigVar, string(id)); err != nil {
			return fmt.Errorf("set %s: %w", remora.ConfigVar, err)
		}
		if err := w.Heroku.Provisioned(ctx, token, string(id)); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.Store.SetReady(ctx, id, addon.App.ID, addon.App.Name); err != nil {
		return err
	}
	if err := w.copyKey(ctx, id); err != nil { // the round makes it good
		w.Log.WarnContext(ctx, "the key of a new add-on has no copy in the bucket yet", "resource_id", id, "error", err)
	}
	return nil
}

// exchange turns the grant into tokens, once. The code is good for one exchange: when our database cannot take
// the answer, the grant is lost with it, and the customer is told to create the add-on anew.
func (w *makeReady) exchange(ctx context.Context, id remora.ResourceID) error {
	t, err := w.Store.Tokens(ctx, id)
	if err != nil || !t.Access.IsZero() {
		return err
	}
	if t.Grant.IsZero() {
		return w.lost(ctx, id, errors.New("there is no grant"))
	}
	got, err := w.Heroku.ExchangeGrant(ctx, t.Grant)
	expired := !t.GrantExpiresAt.IsZero() && t.Now.After(t.GrantExpiresAt)
	switch {
	case errors.Is(err, herokuapi.ErrRevoked), errors.Is(err, herokuapi.ErrClientSecret) && expired:
		return w.lost(ctx, id, secretNamed(err))
	case err != nil:
		return fmt.Errorf("exchange grant: %w", secretNamed(err))
	}
	return w.Store.SaveTokens(ctx, id, got.Access, got.Refresh, t.Now.Add(got.ExpiresIn))
}

func (w *makeReady) lost(ctx context.Context, id remora.ResourceID, cause error) error {
	f := &remora.Failure{Reason: remora.ReasonTokenRevoked, Cause: cause}
	return errors.Join(f, w.Store.SetAttention(ctx, id, f.Reason))
}
