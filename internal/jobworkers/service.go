package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// tick is the minute's round: due schedules and proofs, lost runs, lost jobs, attachments to look at, sessions to forget. Each is a
// claim of rows, so any number of ticks may run at once and a missed one is made good by the next.
type tick struct {
	river.WorkerDefaults[jobargs.Tick]
	*Workers
}

// Work implements river.Worker.
func (w *tick) Work(ctx context.Context, _ *river.Job[jobargs.Tick]) error {
	lost := func(ctx context.Context) (int, error) {
		n, err := w.Store.TakeBackLost(ctx)
		if n > 0 {
			w.metrics.lost.Add(float64(n))
			w.Log.WarnContext(ctx, "runs were lost and taken back", "runs", n)
		}
		return n, err
	}
	stranded := func(ctx context.Context) (int, error) {
		n, err := w.Store.EnqueueStranded(ctx)
		if n > 0 {
			w.Log.WarnContext(ctx, "what had lost its job was queued again", "jobs", n)
		}
		return n, err
	}
	lostProofs := func(ctx context.Context) (int, error) {
		n, err := w.Store.TakeBackLostProofs(ctx)
		if n > 0 {
			w.Log.WarnContext(ctx, "proofs were lost and taken back", "proofs", n)
		}
		return n, err
	}
	checks := func(ctx context.Context) (int, error) {
		if w.patient.Wait(w.ServiceToken) > 0 {
			return 0, nil // the quota is down to what runs need; the next tick finds the same resources
		}
		return w.Store.EnqueueChecks(ctx)
	}
	back := func(ctx context.Context) (int, error) {
		n, err := w.Store.BringBack(ctx)
		if n > 0 {
			w.Log.WarnContext(ctx, "our database's clock was set back; schedules were brought back with it", "schedules", n)
		}
		return n, err
	}
	var errs []error
	for name, round := range map[string]func(context.Context) (int, error){
		"schedules ahead": back, "due schedules": w.Store.EnqueueDue, "occurrences": w.Store.EndOccurrences, "attachments": checks, "lost runs": lost, "stranded": stranded,
		"due proofs": w.Store.EnqueueProofs, "lost proofs": lostProofs,
		"removals to mark": w.markRemovals,
	} {
		if err := exhaust(ctx, round); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	errs = append(errs, w.overdue(ctx), w.Store.PurgeSessions(ctx))
	err := errors.Join(errs...)
	if err != nil {
		w.Log.ErrorContext(ctx, "tick failed", "error", err)
	}
	return err
}

// overdue tells the operator how much was due to be looked at by a verifier and was not: none runs, or too few.
func (w *tick) overdue(ctx context.Context) error {
	restores, rereads, err := w.Store.OverdueProofs(ctx)
	if err != nil {
		return fmt.Errorf("overdue proofs: %w", err)
	}
	w.metrics.overdue.WithLabelValues(string(remora.ProofRestore)).Set(float64(restores))
	w.metrics.overdue.WithLabelValues(string(remora.ProofReread)).Set(float64(rereads))
	if restores+rereads > 0 {
		w.Log.ErrorContext(ctx, "proofs are overdue: is a verifier running?", "restores", restores, "rereads", rereads)
	}
	return nil
}

// exhaust calls a round until it finds nothing more.
func exhaust(ctx context.Context, round func(context.Context) (int, error)) error {
	for {
		if n, err := round(ctx); err != nil || n == 0 {
			return err
		}
	}
}

// sweepUploads is the janitor: it aborts multipart uploads that no live run owns, which a killed worker or a
// failed abort has left, copies keys that have no copy in the bucket, and forgets old messages and occurrences.
type sweepUploads struct {
	river.WorkerDefaults[jobargs.SweepUploads]
	*Workers
}

// Work implements river.Worker.
func (w *sweepUploads) Work(ctx context.Context, _ *river.Job[jobargs.SweepUploads]) error {
	open, err := w.Stores.Ours.OpenUploads(ctx, archivestore.Prefix)
	probes, perr := w.Stores.Ours.OpenUploads(ctx, objectstore.ProbePrefix)
	if err := errors.Join(err, perr); err != nil {
		w.Log.ErrorContext(ctx, "open uploads cannot be listed", "error", err)
		return err
	}
	var errs []error
	for _, u := range slices.Concat(open, probes) {
		ref, ours := archivestore.ParseKey(u.Key)
		probe := strings.HasPrefix(u.Key, objectstore.ProbePrefix) // of a worker that was killed at its start
		if !ours && !probe || w.Now().Sub(u.Started) < w.SweepAfter {
			continue
		}
		live, err := false, error(nil)
		if !probe {
			live, err = w.Store.IsLive(ctx, ref.Backup, ref.Epoch)
		}
		if err == nil && !live {
			if err = w.Stores.Ours.AbortUpload(ctx, u); err == nil {
				w.metrics.swept.Inc()
				w.Log.InfoContext(ctx, "orphaned upload aborted", "backup_id", ref.Backup)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, w.copyKeys(ctx), exhaust(ctx, w.Store.PurgeNews), exhaust(ctx, w.Store.PurgeEvents), exhaust(ctx, w.Store.PurgeOccurrences))...)
}
