package jobworkers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// VerifierConfig is what a verifier needs. It knows nothing of Heroku and reaches no customer's server, but for a store of theirs.
type VerifierConfig struct {
	Name      string // of this process, in the proofs it holds
	Store     *postgres.Store
	Stores    *placement.Stores
	Keys      *keyring.Keyring
	Prover    *proof.Prover
	Proofs    int // how many are made at a time at most; 0 is as many as the queues hand out
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	BeatEvery time.Duration // how often a proof says how far it is; default 3 s, must be well below the store's lease
	Now       func() time.Time
}

// Verifier does the work of the queue of proofs.
type Verifier struct {
	VerifierConfig
	slots  *slots
	proofs *prometheus.CounterVec
	length *prometheus.HistogramVec
}

// NewVerifier returns the verifier. It does no I/O.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.Store == nil || cfg.Stores == nil || cfg.Keys == nil || cfg.Prover == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("jobworkers: a dependency is missing")
	}
	if cfg.BeatEvery == 0 {
		cfg.BeatEvery = 3 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &Verifier{
		VerifierConfig: cfg, slots: newSlots(cfg.Proofs, cfg.Store.Lease/3),
		proofs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remora_proofs_total", Help: "Attempts at proofs that ended, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		length: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "remora_proof_seconds", Help: "How long attempts at proofs took.", Buckets: prometheus.ExponentialBuckets(0.25, 2, 18),
		}, []string{"kind"}),
	}
	cfg.Metrics.MustRegister(v.proofs, v.length)
	for _, k := range []remora.ProofKind{remora.ProofReread, remora.ProofRestore} {
		v.length.WithLabelValues(string(k))
		for _, s := range []remora.ProofState{remora.ProofPassed, remora.ProofFailed, remora.ProofImpossible, remora.ProofLost, remora.ProofQueued, failedTheirs} {
			v.proofs.WithLabelValues(string(k), string(s))
		}
	}
	return v, nil
}

// Register adds the verifier's workers to River's list. A nil verifier's are known and cannot work.
func (v *Verifier) Register(to *river.Workers) {
	river.AddWorker(to, &proveBackup{Verifier: v})
	river.AddWorker(to, &rereadBackup{Verifier: v})
}

// failedTheirs is how a failed proof is counted that found a customer's own bucket changed: nobody here can mend it.
const failedTheirs remora.ProofState = "failed_theirs"

// look is what one kind of proof does. An error says nothing of the backup, unless it is a damaged one.
type look func(ctx context.Context, c postgres.ProofClaim, told func(done int64, what string)) (remora.ProofOutcome, error)

// work claims a proof and makes one attempt at it.
func (v *Verifier) work(ctx context.Context, id remora.ProofID) error {
	if !v.slots.take(ctx) {
		return river.JobSnooze(0)
	}
	defer v.slots.leave()
	c, err := v.Store.ClaimProof(ctx, id, v.Name)
	switch {
	case errors.Is(err, postgres.ErrNothingToDo):
		return nil
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(postgres.BusyPause(err))
	case err != nil:
		return err
	}
	began := v.Now()
	look := v.prove // what the row says, whichever job brings it
	if c.Kind == remora.ProofReread {
		look = v.reread
	}
	o, err := v.attempt(ctx, c, look)
	took := v.Now().Sub(began)
	v.length.WithLabelValues(string(c.Kind)).Observe(took.Seconds())
	return v.end(ctx, c, o, err, took)
}

// errSlowStore ends an attempt at what lies in a customer's own bucket, after twice as long as restoring may take.
var errSlowStore = &remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "Reading the backup took too long."}

// attempt looks, beside the proof's heartbeat; whichever fails stops the other.
func (v *Verifier) attempt(ctx context.Context, c postgres.ProofClaim, look look) (remora.ProofOutcome, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if c.Backup.Bucket != "" { // which may give a byte now and then, for hours, and others wait for their turn
		limited, cancel := context.WithTimeoutCause(ctx, 2*remora.ProofLimit(c.Backup.PlainSize), errSlowStore)
		defer cancel()
		ctx = limited
	}
	var mu sync.Mutex
	var done int64
	var what string
	p := pulse{every: v.BeatEvery, lease: v.Store.Lease, lost: stop, beat: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		mu.Lock()
		n, w := done, what
		mu.Unlock()
		return v.Store.BeatProof(ctx, c, n, w)
	}}
	p.start(ctx)
	defer p.stop()
	o, err := look(ctx, c, func(n int64, w string) {
		mu.Lock()
		defer mu.Unlock()
		done, what = n, w
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return o, cause
	}
	return o, err
}

// end writes down what was found, and logs it in one line: no names of the customer's objects, which the detail has.
func (v *Verifier) end(ctx context.Context, c postgres.ProofClaim, o remora.ProofOutcome, err error, took time.Duration) error {
	log := v.Log.With("resource_id", c.Resource.ID, "database_id", c.Backup.Database, "backup_id", c.Backup.ID, "kind", c.Kind,
		"attempt", c.Attempt, "duration", took.Round(time.Millisecond))
	done, cancel := cleanup(ctx)
	defer cancel()
	own := c.Backup.Bucket != ""
	switch {
	case err == nil:
	case remora.KindOf(err) == remora.KindStale:
		log.WarnContext(ctx, "proof was overtaken or canceled")
		return nil
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded): // this process stops; else it took longer than River lets it
		log.InfoContext(ctx, "proof was given back")
		return ignoreStale(v.Store.ReleaseProof(done, c))
	case damaged(err) && c.Attempt > 1:
		// Seen twice, some time apart: it is not the way here, it is what lies there.
		o = remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged, Detail: damageWords(err)}
		if own {
			o.Detail += " It lies in your own bucket, so somebody who may write there has changed it."
			log.WarnContext(ctx, "what is stored in a customer's own bucket is damaged", "error", err)
		} else {
			log.ErrorContext(ctx, "what is stored is damaged", "error", err)
		}
	default:
		f := proofFailure(c.Backup.Bucket, err)
		again, serr := v.Store.RetryProof(done, c, f)
		outcome := remora.ProofLost
		if again {
			outcome = remora.ProofQueued
		}
		v.proofs.WithLabelValues(string(c.Kind), string(outcome)).Inc()
		level := log.ErrorContext // a person should look
		if own && f.Reason != remora.ReasonInternal {
			level = log.InfoContext
		}
		level(ctx, "proof could not be made", "reason", f.Reason, "again", again, "error", f)
		return ignoreStale(serr)
	}
	if err := v.Store.EndProof(done, c, o); err != nil {
		log.ErrorContext(ctx, "proof was made and could not be written down", "error", err)
		return ignoreStale(err)
	}
	state, level := o.State, log.InfoContext
	switch {
	case own && o.Reason == remora.ReasonObjectDamaged:
		state = failedTheirs
	case o.State == remora.ProofFailed:
		level = log.ErrorContext // a person should look
	}
	v.proofs.WithLabelValues(string(c.Kind), string(state)).Inc()
	level(ctx, "proof ended", "state", o.State, "bytes", o.Bytes)
	return nil
}

// damaged tells whether an error says that what is stored is not what was written.
func damaged(err error) bool {
	return errors.Is(err, archivestore.ErrNotOurs) || errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, objectstore.ErrMismatch) || errors.Is(err, seal.ErrForged)
}

func damageWords(err error) string {
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		return "An object of this backup is missing from the store."
	case errors.Is(err, archivestore.ErrNotOurs):
		return "The manifest of this backup is not the one that was written."
	}
	return "An object of this backup has other bytes than were written."
}

func proofFailure(bucket remora.BucketID, err error) *remora.Failure {
	if damaged(err) {
		return &remora.Failure{Reason: remora.ReasonObjectDamaged, Cause: err}
	}
	return failureIn(bucket, err)
}
