// Package freshness is the watcher: it knows which database has no backup as fresh as was promised. It asks our
// database directly and by itself, so it needs no queue, no leader and no worker; web runs it.
package freshness

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// Config of a Watcher.
type Config struct {
	Store   *postgres.Store // on a pool of its own, which nothing else can use up
	Every   time.Duration   // between two looks; default 30 s
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Watcher looks at every database again and again.
type Watcher struct {
	Config
	databases *prometheus.GaugeVec
	oldest    prometheus.Gauge
	looked    prometheus.Gauge
	failures  prometheus.Counter
	waiting   *prometheus.GaugeVec
	oldestJob *prometheus.GaugeVec
	backups   prometheus.Gauge
	oldestOf  prometheus.Gauge
}

// New returns a watcher. It does no I/O.
func New(cfg Config) (*Watcher, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("freshness: a dependency is missing")
	}
	cfg.Every = cmp.Or(cfg.Every, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Watcher{
		Config:    cfg,
		databases: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "remora_databases", Help: "Databases by the freshness of their backups."}, []string{"freshness"}),
		oldest:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_oldest_verified_seconds", Help: "Age of the oldest of the databases' newest verified backups, but for those that are paused."}),
		looked:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_freshness_looked_timestamp_seconds", Help: "When every database's freshness was last looked at. One that does not rise is an alarm."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "remora_freshness_failures_total", Help: "Looks at the databases' freshness that did not come to their end."}),
		waiting:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "remora_queue_jobs", Help: "Jobs whose time has come and that no process has taken."}, []string{"queue"}),
		oldestJob: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "remora_queue_wait_seconds", Help: "How long the job of a queue that waits longest has waited for a process. Where nobody works the queue it rises without end."}, []string{"queue"}),
		backups:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_backups_waiting", Help: "Backups that could begin and have not."}),
		oldestOf:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_backups_waiting_seconds", Help: "How long the backup that waits longest could have begun."}),
	}
	for _, c := range []prometheus.Collector{w.databases, w.oldest, w.looked, w.failures, w.waiting, w.oldestJob, w.backups, w.oldestOf} {
		if err := cfg.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// leastLook is what a look is given at least before it is given up, however often there is to be one.
const leastLook = 30 * time.Second

// Run looks until ctx ends. A look that fails is logged, and the next one finds what it missed.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		looking, cancel := context.WithTimeout(ctx, max(w.Every, leastLook))
		err := w.Look(looking)
		waits := w.waits(looking) // after the look, and whatever became of it: it needs the queue's tables
		cancel()
		if waits != nil && ctx.Err() == nil {
			w.Log.ErrorContext(ctx, "what waits was not counted", "error", waits)
		}
		if err != nil && ctx.Err() == nil {
			w.failures.Inc()
			w.Log.ErrorContext(ctx, "the freshness of backups was not looked at to the end", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look looks at every database once.
func (w *Watcher) Look(ctx context.Context) error {
	found, err := w.Store.WatchFreshness(ctx)
	if err != nil {
		return err
	}
	for state, n := range found.Databases {
		w.databases.WithLabelValues(string(state)).Set(float64(n))
	}
	w.oldest.Set(found.Oldest.Seconds())
	w.looked.Set(float64(w.Now().Unix()))
	if found.Told > 0 {
		w.Log.InfoContext(ctx, "freshness changed", "events", found.Told, "late", found.Databases[remora.Late], "stale", found.Databases[remora.Stale])
	}
	return nil
}

// waits tells what waits for a process, which nobody else could tell where no process works.
func (w *Watcher) waits(ctx context.Context) error {
	backups, queues, err := w.Store.Waits(ctx)
	if err != nil {
		return err
	}
	w.backups.Set(float64(backups.N))
	w.oldestOf.Set(backups.Oldest.Seconds())
	for name, q := range queues {
		w.waiting.WithLabelValues(name).Set(float64(q.N))
		w.oldestJob.WithLabelValues(name).Set(q.Oldest.Seconds())
	}
	return nil
}
