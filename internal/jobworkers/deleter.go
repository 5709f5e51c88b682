package jobworkers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// DeleterConfig is what a deleter needs.
type DeleterConfig struct {
	Store   *postgres.Store
	Stores  *placement.Stores // opened with keys that may delete
	Log     *slog.Logger
	Metrics prometheus.Registerer

	Delay      time.Duration // between a backup's end and its deletion; default 24 h
	SweepAfter time.Duration // how old an archive that no backup keeps must be; default 2 min
	Grace      time.Duration // how late a deletion may be before the operator is told; default 1 h
	Look       time.Duration // how long a customer's own bucket has before it is taken for one that cannot be looked at; default 1 min
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
	holds     prometheus.Gauge
	removals  *prometheus.CounterVec
	late      prometheus.Gauge

	removing sync.Mutex
	sweeping sync.Mutex
	expiring sync.Mutex
	warned   atomic.Bool       // that deletions are held
	putOff   remora.DatabaseID // behind which the next round begins, since this one had no time left for a customer's buckets; empty is the start
	behind   archivestore.Ref  // where the next round of the sweep begins; zero is the start
}

// NewDeleter returns a deleter. It does no I/O.
func NewDeleter(cfg DeleterConfig) (*Deleter, error) {
	if cfg.Store == nil || cfg.Stores == nil || cfg.Log == nil || cfg.Metrics == nil {
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
	if cfg.Look == 0 {
		cfg.Look = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Deleter{
		DeleterConfig: cfg, discarder: newDiscarder(cfg.Store, cfg.Stores, cfg.Log, cfg.Metrics),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_deletions_total", Help: "Attempts at deleting what is stored of a backup."}, []string{"outcome"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_backups_expired_total", Help: "Backups that nothing keeps any more."}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_expiry_refused", Help: "Resources of which the last round let nothing go, for the bucket holds backups that our database does not know."}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_deletions_overdue", Help: "Backups that were to be deleted and are not, within their grace."}),
	}
	d.holds = prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_deletions_held", Help: "1 while nothing is deleted until an operator says so."})
	d.removals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_removals_total", Help: "Steps done with what was held of removed add-ons."}, []string{"step"})
	d.late = prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_removals_overdue", Help: "Removed add-ons whose key or archives should have gone and have not, within their grace."})
	cfg.Metrics.MustRegister(d.deleted, d.expired, d.refused, d.overdue, d.holds, d.removals, d.late)
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

// held tells whether nothing may be deleted until an operator says so.
func (d *Deleter) held(ctx context.Context) (bool, error) {
	hold, err := d.Store.DeletionHold(ctx)
	if err != nil {
		return true, err
	}
	if !hold.InForce() {
		d.holds.Set(0)
		d.warned.Store(false)
		return false, nil
	}
	d.holds.Set(1)
	if !d.warned.Swap(true) { // it is asked often
		d.Log.WarnContext(ctx, "nothing is deleted until an operator says so: remora deletions resume", "since", hold.Since, "because", hold.Because)
	}
	return true, nil
}

// may is asked before anything goes that cannot be brought back; false where a person must look first.
func (d *Deleter) may(ctx context.Context) (bool, error) {
	if held, err := d.held(ctx); err != nil || held {
		return false, err
	}
	return d.clocksAgree(ctx)
}

// mostSkew is how far our database's clock and this process's may differ: all that is to go goes by the database's, and a
// clock that has run ahead must not let go what is still wanted.
const mostSkew = 10 * time.Minute

// clocksAgree is false where a person must set one of them first.
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

// expireBackups is the round over all databases. Processes may be at it at once: each database is decided on with its resource
// held.
type expireBackups struct {
	river.WorkerDefaults[jobargs.ExpireBackups]
	*Deleter
}

// Timeout implements river.Worker. A hundred thousand databases at some milliseconds each take less.
func (*expireBackups) Timeout(*river.Job[jobargs.ExpireBackups]) time.Duration { return time.Hour }

// round is what one round has met.
type round struct {
	refused map[remora.ResourceID]bool  // where our bucket holds what our database does not know
	held    bool                        // for which nothing goes any more
	theirs  map[remora.ResourceID]error // of a look into a customer's own buckets, which is done once
	looking time.Duration               // that those looks took
}

// Work implements river.Worker. What goes wrong with one database keeps none of the others.
func (w *expireBackups) Work(ctx context.Context, _ *river.Job[jobargs.ExpireBackups]) error {
	if !w.expiring.TryLock() {
		return nil // a round is at it
	}
	defer w.expiring.Unlock()
	if may, err := w.may(ctx); err != nil || !may {
		return err
	}
	errs := []error{exhaust(ctx, w.Store.EnqueueDeletions), w.overdueDeletions(ctx), w.eraseKeyCopies(ctx)}
	r := &round{refused: map[remora.ResourceID]bool{}, theirs: map[remora.ResourceID]error{}}
	from := w.putOff
	w.putOff = ""
	errs = append(errs, w.over(ctx, r, from, ""))
	if from != "" {
		errs = append(errs, w.over(ctx, r, "", from))
	}
	w.refused.Set(float64(len(r.refused)))
	if !r.held {
		errs = append(errs, w.Store.ForgetDatabases(ctx))
	}
	err := errors.Join(errs...)
	if err != nil {
		w.Log.ErrorContext(ctx, "the round over what is to expire met errors", "error", err)
	}
	return err
}

// over takes the databases behind one, up to another or to the end.
func (w *expireBackups) over(ctx context.Context, r *round, after, last remora.DatabaseID) error {
	var errs []error
	for !r.held {
		refs, err := w.Store.DatabasesWithArchives(ctx, after)
		if err != nil || len(refs) == 0 {
			return errors.Join(append(errs, err)...)
		}
		for _, ref := range refs {
			if last != "" && ref.Database > last {
				return errors.Join(errs...)
			}
			if errs = append(errs, w.one(ctx, r, after, ref)); r.held || ctx.Err() != nil {
				return errors.Join(errs...)
			}
			after = ref.Database
		}
	}
	return nil
}

// one is for one database, the next one behind another.
func (w *expireBackups) one(ctx context.Context, r *round, behind remora.DatabaseID, ref postgres.DatabaseRef) error {
	err := w.expire(ctx, r, ref)
	var theirs *remora.Failure
	switch {
	case errors.Is(err, errUnknown):
		r.refused[ref.Resource] = true
		may, err := w.may(ctx)
		r.held = !may
		return err
	case errors.Is(err, errPutOff):
		w.putOff = cmp.Or(w.putOff, behind)
		return nil
	case errors.As(err, &theirs):
		w.Log.InfoContext(ctx, "nothing expires: a customer's own bucket cannot be looked at, or holds backups that our database does not know", "resource_id", ref.Resource, "database_id", ref.Database, "error", err)
		return nil
	case err == nil || remora.KindOf(err) == remora.KindGone:
		return nil
	}
	return fmt.Errorf("database %s: %w", ref.Database, err)
}

func (w *expireBackups) expire(ctx context.Context, r *round, ref postgres.DatabaseRef) error {
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
	if err := w.theirs(ctx, r, ref.Resource); err != nil {
		return err
	}
	gone, err := w.Store.Expire(ctx, ref.Resource, ref.Database, w.Delay)
	for _, v := range gone {
		w.expired.Inc()
		w.Log.InfoContext(ctx, "backup expired", "resource_id", ref.Resource, "database_id", ref.Database, "backup_id", v.Backup.ID, "because", v.Reasons)
	}
	return err
}

// errUnknown says that nothing may go on the word of our database.
var errUnknown = errors.New("the bucket holds backups that our database does not know")

// known holds our database against our bucket before anything goes by it: one that was set back has forgotten the newest
// backups, and would take old ones for the newest. Errors: errUnknown.
func (w *Deleter) known(ctx context.Context, id remora.ResourceID) error {
	var stored []remora.BackupID
	written := map[remora.BackupID]time.Time{}
	err := archivestore.RunsOf(ctx, w.Stores.Ours, id, func(s archivestore.Stored) error {
		if s.Committed() {
			stored = append(stored, s.Backup)
			if s.Newest.After(written[s.Backup]) { // of several runs
				written[s.Backup] = s.Newest
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	unknown, err := w.Store.Unknown(ctx, stored)
	if err != nil || len(unknown) == 0 {
		return err
	}
	w.Log.ErrorContext(ctx, "nothing expires: "+errUnknown.Error()+"; was it set back?", "resource_id", id, "backup_id", unknown[0], "unknown", len(unknown))
	hold, err := w.Store.DeletionHold(ctx)
	if err != nil {
		return err
	}
	for _, b := range unknown { // what was there when an operator looked last holds up its own add-on alone
		if !hold.InForce() && written[b].After(hold.EndedAt) {
			if _, err := w.Store.HoldDeletions(ctx, errUnknown.Error()); err != nil {
				return err
			}
			w.holds.Set(1)
			break
		}
	}
	return errUnknown
}

// Of a customer's own bucket so many runs are read before it is taken for one that cannot be looked at; all customers' together are
// looked at for ten minutes of a round.
const (
	mostSeen    = 50_000
	mostLooking = 10 * time.Minute
)

// errPutOff says that a round has no time left for customers' buckets.
var errPutOff = errors.New("customers' own buckets are looked at again in the next round")

// theirs is known for a resource's own buckets.
func (w *expireBackups) theirs(ctx context.Context, r *round, id remora.ResourceID) error {
	if err, looked := r.theirs[id]; looked {
		return err
	}
	if r.looking > mostLooking {
		return errPutOff
	}
	began := w.Now()
	r.theirs[id] = w.knownToThem(ctx, id)
	r.looking += w.Now().Sub(began)
	return r.theirs[id]
}

// knownToThem is known for a resource's own buckets, but for those that only ever took copies: what lies there lies in ours too, where known
// looks. What a customer puts into his own holds up nobody else, and alarms nobody: errors of a customer's are *remora.Failure.
func (w *Deleter) knownToThem(ctx context.Context, id remora.ResourceID) error {
	buckets, err := w.Store.Buckets(ctx, id)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if !b.HeldBackups {
			continue
		}
		stored, err := w.lookInto(ctx, id, b.ID)
		var theirs *remora.Failure
		if errors.As(err, &theirs) && !b.InUse {
			w.Log.InfoContext(ctx, "a customer's former bucket cannot be looked at", "resource_id", id, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		unknown, err := w.Store.Unknown(ctx, stored)
		if err != nil {
			return err
		}
		if len(unknown) > 0 {
			return &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "It holds backups that our database does not know."}
		}
	}
	return nil
}

// lookInto lists the backups of a resource that lie in a bucket of its own.
func (w *Deleter) lookInto(ctx context.Context, id remora.ResourceID, bucket remora.BucketID) (stored []remora.BackupID, err error) {
	n := 0
	err = w.Stores.Within(ctx, w.Look, id, bucket, func(ctx context.Context, in *objectstore.Bucket) error {
		err := archivestore.RunsOf(ctx, in, id, func(s archivestore.Stored) error {
			if n++; n > mostSeen {
				return archivestore.ErrEndless
			}
			if s.Committed() {
				stored = append(stored, s.Backup)
			}
			return nil
		})
		if errors.Is(err, archivestore.ErrEndless) {
			return &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "There is no end to what it lists.", Cause: err}
		}
		return err
	})
	return stored, err
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
	if may, err := w.may(ctx); err != nil {
		return err
	} else if !may {
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
	if err := w.deleteEverywhere(ctx, id, b); err != nil {
		after, cancel := cleanup(ctx)
		defer cancel()
		var theirs *remora.Failure
		if errors.As(err, &theirs) {
			log.InfoContext(ctx, "expired backup in a customer's own bucket could not be deleted; it is tried again", "error", err)
			return errors.Join(w.Store.FailDeletion(after, id, b, theirs.Detail), w.Store.TheirsLeft(after, id, b), river.JobSnooze(time.Hour))
		}
		w.deleted.WithLabelValues("failed").Inc()
		log.WarnContext(ctx, "expired backup could not be deleted; it is tried again", "error", err)
		return errors.Join(err, w.Store.FailDeletion(after, id, b, err.Error()))
	}
	if err := w.Store.EndDeletion(ctx, id, b); err != nil {
		return err
	}
	w.deleted.WithLabelValues("deleted").Inc()
	log.InfoContext(ctx, "expired backup was deleted")
	return nil
}

// deleteEverywhere deletes what all runs of a backup have stored, wherever they did, and its copies: in ours first, and then in its owner's
// buckets, which have their time together, however many they are. Of a bucket that its owner has removed here nobody has a key: what
// lies there stays. Errors of a customer's are *remora.Failure.
func (w *deleteBackup) deleteEverywhere(ctx context.Context, id remora.ResourceID, b remora.BackupID) error {
	buckets, err := w.Store.BucketsOf(ctx, id, b)
	if err != nil {
		return err
	}
	var ours, theirs []error
	var ends time.Time
	for i, bucket := range buckets {
		if bucket == "" {
			ours = append(ours, archivestore.DeleteBackup(ctx, w.Stores.Ours, id, b))
			continue
		}
		if ends.IsZero() {
			ends = w.Now().Add(w.Look)
		}
		err := w.deleteIn(ctx, ends.Sub(w.Now())/time.Duration(len(buckets)-i), bucket, id, b)
		var f *remora.Failure
		switch {
		case remora.KindOf(err) == remora.KindGone:
		case errors.As(err, &f):
			theirs = append(theirs, err)
		default:
			ours = append(ours, err)
		}
	}
	if err := errors.Join(ours...); err != nil { // which a failure of a customer's must not hide
		return err
	}
	return errors.Join(theirs...)
}

func (w *Deleter) deleteIn(ctx context.Context, limit time.Duration, bucket remora.BucketID, id remora.ResourceID, b remora.BackupID) error {
	return w.Stores.Within(ctx, limit, id, bucket, func(ctx context.Context, in *objectstore.Bucket) error {
		return archivestore.DeleteBackup(ctx, in, id, b)
	})
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
	if held, err := w.held(ctx); err != nil || held {
		return err
	}
	enough := errors.New("enough for one round")
	n := 0
	var old []archivestore.Ref
	var last archivestore.Ref
	err := archivestore.List(ctx, w.Stores.Ours, w.behind, func(s archivestore.Stored) error {
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
	return errors.Join(w.discarder.discard(ctx, old...), w.tidy(ctx), w.tidyCopies(ctx))
}

// tidyMost is how many failed runs one round tidies up after in customers' own buckets.
const tidyMost = 20

// tidy deletes what failed runs have left in customers' own buckets, where it can: nobody looks through those.
func (w *Deleter) tidy(ctx context.Context) error {
	left, err := w.Store.Leftovers(ctx, w.SweepAfter, tidyMost)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range left {
		unwanted, err := w.Store.Unwanted(ctx, []postgres.Archive{l.Archive})
		if err == nil && len(unwanted) > 0 {
			err = w.tidyOne(ctx, l)
		}
		var theirs *remora.Failure
		switch {
		case err == nil || remora.KindOf(err) == remora.KindGone:
			errs = append(errs, w.Store.Tidied(ctx, l))
		case errors.As(err, &theirs):
			w.Log.InfoContext(ctx, "what a failed run left in a customer's own bucket could not be deleted", "resource_id", l.Resource, "backup_id", l.Backup, "error", err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (w *Deleter) tidyOne(ctx context.Context, l postgres.Leftover) error {
	return w.Stores.Within(ctx, w.Look, l.Resource, l.Bucket, func(ctx context.Context, in *objectstore.Bucket) error {
		return archivestore.Delete(ctx, in, archivestore.Ref(l.Archive))
	})
}

// tidyCopies deletes what was copied after the backup's end, or may have been: by a worker that was suspended meanwhile.
func (w *Deleter) tidyCopies(ctx context.Context) error {
	left, err := w.Store.CopyLeftovers(ctx, tidyMost)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range left {
		err := w.deleteIn(ctx, w.Look, l.Bucket, l.Resource, l.Backup)
		var theirs *remora.Failure
		switch {
		case err == nil || remora.KindOf(err) == remora.KindGone:
			errs = append(errs, w.Store.CopyTidied(ctx, l))
		case errors.As(err, &theirs):
			w.Log.InfoContext(ctx, "what was copied after its backup's end could not be deleted in a customer's own bucket", "resource_id", l.Resource, "backup_id", l.Backup, "error", err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
