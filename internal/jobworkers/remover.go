package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// removeResources is the round over removed add-ons, which takes with each the steps whose time has come: its key is
// destroyed, then everything stored is deleted, then our database forgets it. Each step may be done twice, by two deleters at
// once too: what is gone is no error, and the receipt counts it for both. Killed anywhere, the next round goes on.
type removeResources struct {
	river.WorkerDefaults[jobargs.RemoveResources]
	*Deleter
}

// Timeout implements river.Worker. What one round does not come to, the next does.
func (*removeResources) Timeout(*river.Job[jobargs.RemoveResources]) time.Duration { return time.Hour }

// Work implements river.Worker. All keys go first, for they are few, small, and promised for soonest. What goes wrong with one
// add-on keeps none of the others. The error names no add-on: the queue keeps it longer than we may know one.
func (w *removeResources) Work(ctx context.Context, _ *river.Job[jobargs.RemoveResources]) error {
	if !w.removing.TryLock() {
		return nil // a round is at it
	}
	defer w.removing.Unlock()
	if may, err := w.may(ctx); err != nil || !may {
		return err
	}
	err := errors.Join(
		exhaust(ctx, w.Store.AdoptRemovals), each(ctx, w.Store.KeysToDestroy, w.unlessHeld(w.destroyKey)),
		each(ctx, w.Store.RemovalsToDelete, w.unlessHeld(w.deleteStored)), each(ctx, w.Store.RemovalsToForget, w.forget),
		w.lateRemovals(ctx))
	if err != nil {
		w.Log.ErrorContext(ctx, "the round over removed add-ons met errors", "error", err)
	}
	return err
}

// unlessHeld asks again before each step that cannot be undone: a round may take an hour.
func (w *removeResources) unlessHeld(do func(context.Context, remora.ResourceID) error) func(context.Context, remora.ResourceID) error {
	return func(ctx context.Context, id remora.ResourceID) error {
		if may, err := w.may(ctx); err != nil || !may {
			return err
		}
		return do(ctx, id)
	}
}

// destroyKey takes the copies in the bucket first: the key is destroyed once it is nowhere.
func (w *removeResources) destroyKey(ctx context.Context, id remora.ResourceID) error {
	if err := archivestore.EraseKeys(ctx, w.Stores.Ours, id, ""); err != nil {
		w.Log.WarnContext(ctx, "a copy of a removed add-on's key could not be deleted; it is tried again", "resource_id", id, "error", err)
		after, cancel := cleanup(ctx)
		defer cancel()
		return errors.Join(errStored, w.Store.SaveDeleted(after, id, postgres.Deleted{Problem: err.Error()}))
	}
	done, err := w.Store.DestroyKey(ctx, id)
	if err == nil && done {
		w.removals.WithLabelValues("key").Inc()
		w.Log.InfoContext(ctx, "the key of a removed add-on was destroyed", "resource_id", id)
	}
	return err
}

// deleteStored deletes nothing in customers' own buckets: that is theirs.
func (w *removeResources) deleteStored(ctx context.Context, id remora.ResourceID) error {
	gone, err := archivestore.DeleteResource(ctx, w.Stores.Ours, id)
	d := postgres.Deleted{Objects: gone.Objects, Bytes: gone.Bytes, Uploads: gone.Uploads}
	if err != nil {
		d.Problem = err.Error()
		w.Log.WarnContext(ctx, "what is stored of a removed add-on could not all be deleted; it is tried again", "resource_id", id, "objects", gone.Objects, "error", err)
	}
	after, cancel := cleanup(ctx)
	defer cancel()
	if saved := w.Store.SaveDeleted(after, id, d); saved != nil || err != nil {
		return errors.Join(saved, errStored)
	}
	w.removals.WithLabelValues("objects").Inc()
	w.Log.InfoContext(ctx, "nothing is stored of a removed add-on any more", "resource_id", id, "objects", gone.Objects, "bytes", gone.Bytes, "uploads", gone.Uploads)
	return nil
}

// errStored stands for an error that names what it is about.
var errStored = errors.New("something stored could not be deleted: the removal's row says why")

func (w *removeResources) forget(ctx context.Context, id remora.ResourceID) error {
	switch err := w.Store.ForgetResource(ctx, id); {
	case errors.Is(err, postgres.ErrBusy):
		return nil // the next round comes
	case err != nil:
		return fmt.Errorf("forget a removed add-on: %w", err)
	}
	w.removals.WithLabelValues("rows").Inc()
	w.Log.InfoContext(ctx, "a removed add-on was forgotten", "resource_id", id)
	return nil
}

// lateRemovals tells the operator of what was promised and is not done.
func (w *removeResources) lateRemovals(ctx context.Context) error {
	n, err := w.Store.LateRemovals(ctx, w.Grace)
	if err != nil {
		return fmt.Errorf("late removals: %w", err)
	}
	w.late.Set(float64(n))
	if n > 0 {
		w.Log.ErrorContext(ctx, "keys or archives of removed add-ons are not gone: their removals' problem says why", "addons", n)
	}
	return nil
}

// each calls do for every resource that list has, in steps. An error of one keeps none of the others.
func each(ctx context.Context, list func(context.Context, remora.ResourceID) ([]remora.ResourceID, error), do func(context.Context, remora.ResourceID) error) error {
	var errs []error
	for after := remora.ResourceID(""); ; {
		ids, err := list(ctx, after)
		if err != nil || len(ids) == 0 {
			return errors.Join(append(errs, err)...)
		}
		for _, id := range ids {
			errs = append(errs, do(ctx, id))
			if ctx.Err() != nil {
				return errors.Join(append(errs, ctx.Err())...)
			}
		}
		after = ids[len(ids)-1]
	}
}
