package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// DeleterConfig is what a deleter needs.
type DeleterConfig struct {
	Store   *postgres.Store
	Bucket  *objectstore.Bucket // opened with a key that may delete
	Log     *slog.Logger
	Metrics prometheus.Registerer

	Delay      time.Duration // between a backup's end and its deletion; default 24 h
	SweepAfter time.Duration // how old an archive that no backup keeps must be; default 2 min
	Grace      time.Duration // how late a deletion may be before the operator is told; default 1 h
	Now        func() time.Time
}

// Deleter is the only part of the service that deletes what customers could still have wanted: it lets backups go that
// nothing keeps, and deletes what is stored of them once the delay has passed.
type Deleter struct {
	DeleterConfig
	discarder *discarder
	deleted   *prometheus.CounterVec
	expired   prometheus.Counter
	refused   prometheus.Gauge
	overdue   prometheus.Gauge
	removals  *prometheus.CounterVec
	late      prometheus.Gauge

	removing sync.Mutex
	sweeping sync.Mutex
	behind   archivestore.Ref // where the next round of the sweep begins; zero is the start
}

// NewDeleter returns a deleter. It does no I/O.
func NewDeleter(cfg DeleterConfig) (*Deleter, error) {
	if cfg.Store == nil || cfg.Bucket == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("jobworkers: a dependency is missing")
	}
	if cfg.Delay == 0 {
		cfg.Delay = 24 * time.Hour
	}
	if cfg.SweepAfter == 0 {
		cfg.SweepAfter = 2 * time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Deleter{
		DeleterConfig: cfg, discarder: newDiscarder(cfg.Store, cfg.Bucket, cfg.Log, cfg.Metrics),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_deletions_total", Help: "Attempts at deleting what is stored of a backup."}, []string{"outcome"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_backups_expired_total", Help: "Backups that nothing keeps any more."}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_expiry_refused", Help: "Resources of which the last round let nothing go, for the bucket holds backups that our database does not know."}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_deletions_overdue", Help: "Backups that were to be deleted and are not, within their grace."}),
	}
	d.removals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_removals_total", Help: "Steps done with what was held of removed add-ons."}, []string{"step"})
	d.late = prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_removals_overdue", Help: "Removed add-ons whose key or archives should have gone and have not, within their grace."})
	cfg.Metrics.MustRegister(d.deleted, d.expired, d.refused, d.overdue, d.removals, d.late)
	for _, step := range []string{"key", "objects", "rows"} {
		d.removals.WithLabelValues(step)
	}
	for _, outcome := range []string{"deleted", "failed"} {
		d.deleted.WithLabelValues(outcome)
	}
	return d, nil
}

// Register adds the deleter's workers to River's list. A nil one may: whoever leads must know the kinds.
func (d *Deleter) Register(to *river.Workers) {
	river.AddWorker(to, &expireBackups{Deleter: d})
	river.AddWorker(to, &deleteBackup{Deleter: d})
	river.AddWorker(to, &sweepArchives{Deleter: d})
	river.AddWorker(to, &removeResources{Deleter: d})
}

// mostSkew is how far our database's clock and this process's may differ: all that is to go goes by the database's, and a
// clock that has run ahead must not let go what is still wanted.
const mostSkew = 10 * time.Minute

// clocksAgree is asked before anything goes that cannot be brought back; false where a person must look first.
func (d *Deleter) clocksAgree(ctx context.Context) (bool, error) {
	at, err := d.Store.Clock(ctx)
	if err != nil {
		return false, fmt.Errorf("read our database's clock: %w", err)
	}
	if off := d.Now().Sub(at); off.Abs() > mostSkew {
		d.Log.ErrorContext(ctx, "nothing goes: this process's clock and our database's differ; set both by NTP", "database", at, "ahead", off.Round(time.Second))
		return false, nil
	}
	return true, nil
}

// expireBackups is the round over all databases. Any number may run at once: each database is decided on with its resource
// held.
type expireBackups struct {
	river.WorkerDefaults[jobargs.ExpireBackups]
	*Deleter
}

// Timeout implements river.Worker. A hundred thousand databases at some milliseconds each take less.
func (*expireBackups) Timeout(*river.Job[jobargs.ExpireBackups]) time.Duration { return time.Hour }

// Work implements river.Worker. What goes wrong with one database keeps none of the others.
func (w *expireBackups) Work(ctx context.Context, _ *river.Job[jobargs.ExpireBackups]) error {
	if agree, err := w.clocksAgree(ctx); err != nil || !agree {
		return err
	}
	errs := []error{exhaust(ctx, w.Store.EnqueueDeletions), w.overdueDeletions(ctx)}
	refused := map[remora.ResourceID]bool{}
	for after := remora.DatabaseID(""); ; {
		refs, err := w.Store.DatabasesWithArchives(ctx, after)
		if err != nil || len(refs) == 0 {
			errs = append(errs, err)
			break
		}
		for _, ref := range refs {
			err := w.expire(ctx, ref)
			if errors.Is(err, errUnknown) {
				refused[ref.Resource] = true
				continue
			}
			if err != nil && remora.KindOf(err) != remora.KindGone {
				errs = append(errs, fmt.Errorf("database %s: %w", ref.Database, err))
			}
			if ctx.Err() != nil {
				return errors.Join(errs...)
			}
		}
		after = refs[len(refs)-1].Database
	}
	errs = append(errs, w.Store.ForgetDatabases(ctx))
	w.refused.Set(float64(len(refused)))
	err := errors.Join(errs...)
	if err != nil {
		w.Log.ErrorContext(ctx, "the round over what is to expire met errors", "error", err)
	}
	return err
}

// errUnknown says that nothing may go on the word of our database.
var errUnknown = errors.New("the bucket holds backups that our database does not know")

func (w *Deleter) expire(ctx context.Context, ref postgres.DatabaseRef) error {
	now, err := w.Store.Retention(ctx, ref.Resource, ref.Database)
	if err != nil {
		return err
	}
	going, err := now.Going()
	if err != nil || len(going) == 0 {
		return err
	}
	if err := w.known(ctx, ref.Resource); err != nil {
		return err
	}
	gone, err := w.Store.Expire(ctx, ref.Resource, ref.Database, w.Delay)
	for _, v := range gone {
		w.expired.Inc()
		w.Log.InfoContext(ctx, "backup expired", "resource_id", ref.Resource, "database_id", ref.Database, "backup_id", v.Backup.ID, "because", v.Reasons)
	}
	return err
}

// known holds our database against the bucket before anything goes by it: one that was set back has forgotten the newest
// backups, and would take old ones for the newest.
func (w *Deleter) known(ctx context.Context, id remora.ResourceID) error {
	var stored []remora.BackupID
	err := archivestore.RunsOf(ctx, w.Bucket, id, func(s archivestore.Stored) error {
		stored = append(stored, s.Backup)
		return nil
	})
	if err != nil {
		return err
	}
	unknown, err := w.Store.Unknown(ctx, stored)
	if err == nil && len(unknown) > 0 {
		w.Log.ErrorContext(ctx, "nothing expires: "+errUnknown.Error()+"; was it set back?", "resource_id", id, "backup_id", unknown[0], "unknown", len(unknown))
		return errUnknown
	}
	return err
}

// overdueDeletions tells the operator of what should have been deleted and was not.
func (w *Deleter) overdueDeletions(ctx context.Context) error {
	n, err := w.Store.OverdueDeletions(ctx, w.Grace)
	if err != nil {
		return fmt.Errorf("overdue deletions: %w", err)
	}
	w.overdue.Set(float64(n))
	if n > 0 {
		w.Log.ErrorContext(ctx, "expired backups are not deleted: their rows' delete_problem says why", "backups", n)
	}
	return nil
}

// deleteBackup deletes what is stored of one expired backup, of all its runs, and then says so in its row.
type deleteBackup struct {
	river.WorkerDefaults[jobargs.DeleteBackup]
	*Deleter
}

// Timeout implements river.Worker. Objects are large and few.
func (*deleteBackup) Timeout(*river.Job[jobargs.DeleteBackup]) time.Duration { return 10 * time.Minute }

// Work implements river.Worker. Killed anywhere, it is begun anew: what is gone is no error.
func (w *deleteBackup) Work(ctx context.Context, job *river.Job[jobargs.DeleteBackup]) error {
	if agree, err := w.clocksAgree(ctx); err != nil {
		return err
	} else if !agree {
		return river.JobSnooze(mostSkew)
	}
	b := job.Args.Backup
	id, err := w.Store.ClaimDeletion(ctx, b)
	switch {
	case errors.Is(err, postgres.ErrNothingToDo) || remora.KindOf(err) == remora.KindNotFound:
		return nil
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(time.Minute)
	case err != nil:
		return err
	}
	log := w.Log.With("resource_id", id, "backup_id", b)
	if err := archivestore.DeleteBackup(ctx, w.Bucket, id, b); err != nil {
		w.deleted.WithLabelValues("failed").Inc()
		log.WarnContext(ctx, "expired backup could not be deleted; it is tried again", "error", err)
		after, cancel := cleanup(ctx)
		defer cancel()
		return errors.Join(err, w.Store.FailDeletion(after, id, b, err.Error()))
	}
	if err := w.Store.EndDeletion(ctx, id, b); err != nil {
		return err
	}
	w.deleted.WithLabelValues("deleted").Inc()
	log.InfoContext(ctx, "expired backup was deleted")
	return nil
}

// sweepMost is how many archives one round of the sweep looks at; the next goes on behind them.
const sweepMost = 2000

// sweepArchives looks at the next archives and deletes those that no backup keeps.
type sweepArchives struct {
	river.WorkerDefaults[jobargs.SweepArchives]
	*Deleter
}

// Timeout implements river.Worker.
func (*sweepArchives) Timeout(*river.Job[jobargs.SweepArchives]) time.Duration {
	return 10 * time.Minute
}

// Work implements river.Worker.
func (w *sweepArchives) Work(ctx context.Context, _ *river.Job[jobargs.SweepArchives]) error {
	if !w.sweeping.TryLock() {
		return nil // a round is at it
	}
	defer w.sweeping.Unlock()
	enough := errors.New("enough for one round")
	n := 0
	var old []archivestore.Ref
	var last archivestore.Ref
	err := archivestore.List(ctx, w.Bucket, w.behind, func(s archivestore.Stored) error {
		if n == sweepMost {
			return enough
		}
		n, last = n+1, s.Ref
		if w.Now().Sub(s.Newest) >= w.SweepAfter {
			old = append(old, s.Ref)
		}
		return nil
	})
	if err == nil {
		last = archivestore.Ref{} // that was the end
	} else if !errors.Is(err, enough) {
		return err
	}
	w.behind = last // what cannot be deleted now does not keep the round from the rest
	return w.discarder.discard(ctx, old...)
}
