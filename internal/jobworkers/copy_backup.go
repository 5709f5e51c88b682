package jobworkers

import (
	"context"
	"errors"
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

// copyBackup makes one attempt at copying a backup from our bucket to one of its owner's, as it lies in ours: it opens nothing, and
// has no key that could.
type copyBackup struct {
	river.WorkerDefaults[jobargs.CopyBackup]
	*Workers
}

// Timeout implements river.Worker. What an attempt may take, twice remora.ProofLimit at most, ends before it.
func (*copyBackup) Timeout(*river.Job[jobargs.CopyBackup]) time.Duration { return 17 * time.Hour }

// copyBase is what a copy takes of a worker's memory beside the parts of its upload, in bytes (measured 3 MiB each, of four at once).
const copyBase = 4 << 20

// errSlowCopy ends an attempt at a store that takes a byte now and then, for hours: others wait for their turn. Where it was ours that
// gave none, errSlowRead is said.
var (
	errSlowCopy = &remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "Copying took too long."}
	errSlowRead = &remora.Failure{Reason: remora.ReasonStoreFailed}
)

// An attempt that moves less than stallFloor bytes in stallAfter is ended. It moves what it reads, which an upload holds up to its
// parts: at the end of an object these are to be sent in that time too.
const (
	stallAfter = 10 * time.Minute
	stallFloor = 5_000_000
)

// movement is how an attempt gets on.
type movement struct {
	bytes atomic.Int64
	seen  int64     // bytes when it had last moved by the floor
	since time.Time // when that was
}

func (m *movement) moved(n int) { m.bytes.Add(int64(n)) }

// stalled is for one goroutine, which asks often.
func (m *movement) stalled(now time.Time) bool {
	if n := m.bytes.Load(); n-m.seen >= stallFloor {
		m.seen, m.since = n, now
	}
	return now.Sub(m.since) >= stallAfter
}

// How attempts at copies end, for the measures.
const (
	copyMade    = "copied"
	copyAgain   = "again"         // and is tried again
	copyFailed  = "failed"        // for good, on our side
	copyTheirs  = "failed_theirs" // for good, at its owner's
	copyStopped = "stopped"       // overtaken, or nobody wants it any more
)

func newCopies(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "remora_copies_total", Help: "Attempts at copying a backup to its owner's bucket that ended, by outcome.",
	}, []string{"outcome"})
	r.MustRegister(c)
	for _, outcome := range copyOutcomes() {
		c.WithLabelValues(outcome)
	}
	return c
}

func copyOutcomes() []string {
	return []string{copyMade, copyAgain, copyFailed, copyTheirs, copyStopped}
}

// Work implements river.Worker.
func (w *copyBackup) Work(ctx context.Context, job *river.Job[jobargs.CopyBackup]) error {
	// Whoever is to wait for another of its resource takes nothing meanwhile.
	busy, err := w.Store.CopyWaits(ctx, job.Args.Backup)
	switch {
	case remora.KindOf(err) == remora.KindNotFound:
		return nil
	case err != nil:
		return err
	case busy:
		return river.JobSnooze(copyPause)
	}
	// Room for an upload is taken of what runs are admitted by, so that a copy takes no memory that a run counts on.
	release, err := w.budget.admit(ctx, job.Args.Backup, runParts+copyBase)
	switch {
	case errors.Is(err, errNoRoom):
		return river.JobSnooze(roomPause)
	case err != nil: // this process stops
		return river.JobSnooze(0)
	}
	defer release()
	c, err := w.Store.ClaimCopy(ctx, job.Args.Backup, job.Args.Bucket)
	switch {
	case errors.Is(err, postgres.ErrNothingToDo) || remora.KindOf(err) == remora.KindNotFound:
		return nil
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(copyPause)
	case errors.Is(err, postgres.ErrCopyLost):
		w.copies.WithLabelValues(copyFailed).Inc()
		w.Log.ErrorContext(ctx, "backup is not copied: whoever was at it was killed, each time", "backup_id", job.Args.Backup)
		return nil
	case err != nil:
		return err
	}
	began := w.Now()
	size, err := w.attempt(ctx, c)
	return w.end(ctx, c, size, err, w.Now().Sub(began))
}

// copyPause is how long a copy waits while another of its resource is made.
const copyPause = time.Minute

// attempt copies beside the copy's heartbeat; whichever fails stops the other.
func (w *copyBackup) attempt(ctx context.Context, c postgres.CopyClaim) (int64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*remora.ProofLimit(c.PlainSize), errSlowCopy)
	defer cancel()
	m := movement{since: w.Now()}
	p := pulse{every: w.BeatEvery, lease: w.Store.Lease, lost: stop, beat: func(ctx context.Context) error {
		if m.stalled(w.Now()) {
			stop(errSlowCopy)
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return w.Store.BeatCopy(ctx, c)
	}}
	p.start(ctx)
	defer p.stop()
	to, err := w.Stores.At(ctx, c.Resource, c.Bucket)
	if err != nil {
		return 0, err
	}
	ref := archivestore.Ref{Resource: c.Resource, Backup: c.Backup, Epoch: c.Archive}
	size, err := archivestore.Replicate(ctx, w.Stores.Ours, to, ref, w.Keys, m.moved)
	var source *archivestore.SourceError
	switch cause := context.Cause(ctx); {
	case cause == nil || err == nil:
		return size, err
	case errors.Is(cause, errSlowCopy) && errors.As(err, &source):
		return 0, errSlowRead
	default:
		return 0, cause // the first cause: what broke afterwards only followed from it
	}
}

// end writes down how the attempt ended, and logs it in one line.
func (w *copyBackup) end(ctx context.Context, c postgres.CopyClaim, size int64, err error, took time.Duration) error {
	log := w.Log.With("resource_id", c.Resource, "database_id", c.Database, "backup_id", c.Backup, "attempt", c.Attempt, "duration", took.Round(time.Millisecond))
	done, cancel := cleanup(ctx)
	defer cancel()
	over := func() error {
		w.copies.WithLabelValues(copyStopped).Inc()
		log.InfoContext(ctx, "copy was overtaken or stopped")
		return w.Store.LetGoOfCopy(done, c)
	}
	if err == nil {
		err = w.Store.EndCopy(done, c, size)
		switch {
		case remora.KindOf(err) == remora.KindStale:
			return over()
		case err != nil: // it is found without a job, and then it is there already
			log.ErrorContext(ctx, "backup was copied and that could not be written down", "error", err)
			return err
		}
		w.copies.WithLabelValues(copyMade).Inc()
		log.InfoContext(ctx, "backup was copied to its owner's bucket", "bytes", size)
		return nil
	}
	if remora.KindOf(err) == remora.KindStale {
		return over()
	}
	if ctx.Err() != nil { // this process stops
		log.InfoContext(ctx, "copy was given back")
		if err := w.Store.ReleaseCopy(done, c); remora.KindOf(err) != remora.KindStale {
			return err
		}
		return over()
	}
	f := copyFailureOf(c.Bucket, err)
	again, serr := w.Store.FailCopy(done, c, f)
	if remora.KindOf(serr) == remora.KindStale {
		return over()
	}
	theirs := f.Reason == remora.ReasonOwnBucketRefused || f.Reason == remora.ReasonOwnBucketFailed
	outcome, level := copyFailed, log.ErrorContext // a person should look
	switch {
	case again:
		outcome = copyAgain
	case theirs:
		outcome = copyTheirs
	}
	if theirs {
		level = log.InfoContext
	}
	w.copies.WithLabelValues(outcome).Inc()
	level(ctx, "backup was not copied to its owner's bucket", "reason", f.Reason, "again", again, "error", err)
	return serr
}

// copyFailureOf names what went wrong with a copy.
func copyFailureOf(bucket remora.BucketID, err error) remora.Failure {
	var f *remora.Failure
	var source *archivestore.SourceError
	switch {
	case errors.As(err, &source) && damaged(err):
		return remora.Failure{Reason: remora.ReasonObjectDamaged, Detail: damageWords(err), Cause: err}
	case errors.As(err, &source) && objectstore.IsStore(err):
		return remora.Failure{Reason: remora.ReasonStoreFailed, Cause: err}
	case errors.As(err, &source):
		return remora.Failure{Reason: remora.ReasonInternal, Cause: err}
	case errors.Is(err, archivestore.ErrDiffers):
		return remora.Failure{
			Reason: remora.ReasonOwnBucketRefused, Cause: err,
			Detail: "Below the backup's id an object lies there that is not the backup's, which nobody but us should have written. Remove it.",
		}
	case errors.Is(err, archivestore.ErrEndless):
		return remora.Failure{
			Reason: remora.ReasonOwnBucketRefused, Cause: err,
			Detail: "Below the backup's id it lists hundreds of objects that are not the backup's, which nobody but us should have written. Remove them.",
		}
	case remora.KindOf(err) == remora.KindGone:
		return remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "The bucket was removed here, with its keys.", Cause: err}
	case errors.As(placement.Explain(bucket, err), &f):
		return *f
	}
	return remora.Failure{Reason: remora.ReasonInternal, Cause: err}
}
