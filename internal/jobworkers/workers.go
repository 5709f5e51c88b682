package jobworkers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Config is what the workers need.
type Config struct {
	Name     string // of this process, in the runs it holds
	Store    *postgres.Store
	Heroku   *herokuapi.Client
	Stores   *placement.Stores
	Keys     *keyring.Keyring
	Clients  []pgdump.Client
	Compress *pgarchive.Compressor // of every backup here; the caller closes it
	Policy   dialer.Policy         // which hosts of customers may be dialled
	Resolver dialer.Resolver       // net.DefaultResolver in production
	Log      *slog.Logger
	Metrics  prometheus.Registerer

	// ServiceToken is our service account's. It reads the Helper Apps that are shared with that account.
	ServiceToken redact.Secret

	Backups   int           // how many backups are made at a time at most; 0 is as many as the queues hand out
	Memory    int64         // bytes that this process and its children may take; default 512 MiB, a small dyno
	BeatEvery time.Duration // how often a run says how far it is; default 3 s, must be well below the store's lease
	// LockPatience is how long sessions of a customer may wait for what one attempt holds, all waits together, before it gives
	// way; default 30 s. WatchEvery is how often that is looked at; default 1 s.
	LockPatience time.Duration
	WatchEvery   time.Duration
	SweepAfter   time.Duration // how old an upload without a live run must be; default 2 min
	// Longest is how long one run may take; default 23 h, for a dyno lives 24 hours and some.
	// (https://devcenter.heroku.com/articles/dyno-restarts)
	Longest time.Duration
	Now     func() time.Time
}

// Workers are all the workers of this package, over one Config.
type Workers struct {
	Config
	*discarder
	metrics metrics
	copies  *prometheus.CounterVec
	slots   *slots
	budget  *budget
	patient *herokuapi.Client // for checks, which leave the reserve of the quota to runs
}

// New returns the workers. It does no I/O.
func New(cfg Config) (*Workers, error) {
	if cfg.Store == nil || cfg.Heroku == nil || cfg.Stores == nil || cfg.Keys == nil || cfg.Compress == nil || cfg.Resolver == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("jobworkers: a dependency is missing")
	}
	if cfg.BeatEvery == 0 {
		cfg.BeatEvery = 3 * time.Second
	}
	if cfg.LockPatience == 0 {
		cfg.LockPatience = 30 * time.Second
	}
	if cfg.WatchEvery == 0 {
		cfg.WatchEvery = time.Second
	}
	if cfg.SweepAfter == 0 {
		cfg.SweepAfter = 2 * time.Minute
	}
	if cfg.Longest == 0 {
		cfg.Longest = longest
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Memory == 0 {
		cfg.Memory = 512 << 20
	}
	m := newMetrics(cfg.Metrics)
	room := newBudget(cfg.Memory, cfg.Store.Lease/3, m.held)
	m.memory.Set(float64(room.size))
	return &Workers{cfg, newDiscarder(cfg.Store, cfg.Stores, cfg.Log, cfg.Metrics), m, newCopies(cfg.Metrics), newSlots(cfg.Backups, cfg.Store.Lease/3), room, cfg.Heroku.Patient()}, nil
}

// longest is the default of Config.Longest.
const longest = 23 * time.Hour

// Register adds every worker to River's list.
func (w *Workers) Register(to *river.Workers) {
	w.register(to)
	// This process may lead, and a leader drops jobs of kinds that it does not know. It does not work their queues.
	(*Verifier)(nil).Register(to)
	(*Courier)(nil).register(to)
	(*Deleter)(nil).Register(to)
}

func (w *Workers) register(to *river.Workers) {
	river.AddWorker(to, &makeReady{Workers: w})
	river.AddWorker(to, &findDatabases{Workers: w})
	river.AddWorker(to, &auditDatabase{Workers: w})
	river.AddWorker(to, &runBackup{Workers: w})
	river.AddWorker(to, &copyBackup{Workers: w})
	river.AddWorker(to, &tick{Workers: w})
	river.AddWorker(to, &sweepUploads{Workers: w})
}

// metrics have labels from fixed sets, never a tenant.
type metrics struct {
	runs    *prometheus.CounterVec
	bytes   prometheus.Counter
	swept   prometheus.Counter
	lost    prometheus.Counter
	held    prometheus.Gauge
	memory  prometheus.Gauge
	refresh *prometheus.CounterVec
	overdue *prometheus.GaugeVec
	length  prometheus.Histogram
	stage   *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remora_runs_total", Help: "Runs that ended, by outcome and reason.",
		}, []string{"outcome", "reason"}),
		bytes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_archive_bytes_total", Help: "Bytes of archives that were kept."}),
		swept:  prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_uploads_swept_total", Help: "Orphaned multipart uploads that were aborted."}),
		lost:   prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_runs_lost_total", Help: "Runs whose lease ended without a word."}),
		held:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_memory_admitted_bytes", Help: "Memory that runs were admitted with."}),
		memory: prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_memory_budget_bytes", Help: "Memory that runs are admitted by."}),
		refresh: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remora_token_refreshes_total", Help: "Refreshes of add-ons' access tokens, by outcome: ok; revoked, by the customer or Heroku; secret, our own that Heroku does not know; failed otherwise.",
		}, []string{"outcome"}),
		overdue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "remora_proofs_overdue", Help: "Restores and rereads that were due and were not made within their grace.",
		}, []string{"kind"}),
		length: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "remora_run_seconds", Help: "How long runs took.", Buckets: prometheus.ExponentialBuckets(0.25, 2, 18),
		}),
		stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "remora_run_stage_seconds", Help: "How long each stage of a run took.", Buckets: prometheus.ExponentialBuckets(0.004, 4, 12),
		}, []string{"stage"}),
	}
	r.MustRegister(m.runs, m.bytes, m.swept, m.lost, m.held, m.memory, m.refresh, m.overdue, m.length, m.stage)
	for _, name := range stageNames() {
		m.stage.WithLabelValues(name)
	}
	for _, kind := range []remora.ProofKind{remora.ProofRestore, remora.ProofReread} {
		m.overdue.WithLabelValues(string(kind))
	}
	for _, outcome := range []string{"ok", "revoked", "secret", "failed"} {
		m.refresh.WithLabelValues(outcome)
	}
	for _, reason := range remora.Reasons() {
		m.runs.WithLabelValues("failed", string(reason))
	}
	m.runs.WithLabelValues(string(remora.BackupVerified), "")
	for _, why := range []remora.Reason{remora.ReasonUnexplainedOutput, remora.ReasonLeftOut} {
		m.runs.WithLabelValues(string(remora.BackupIncomplete), string(why))
	}
	return m
}

// took notes where a run's time went.
func (m *metrics) took(at *stages) {
	m.length.Observe(at.total().Seconds())
	for _, x := range at.done {
		m.stage.WithLabelValues(x.name).Observe(x.took.Seconds())
	}
}

// cleanup is a context for what must be done although the job's own has ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}
