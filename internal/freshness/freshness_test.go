package freshness_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/freshness"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A look writes its time down and nothing of River's; one that fails is seen, and the watcher goes on until it is stopped.
func TestAWatcherIsSeenToLookAndToFail(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	var log logtest.Buffer
	metrics := prometheus.NewRegistry()
	w, err := freshness.New(freshness.Config{
		Store: store, Every: time.Millisecond, Now: func() time.Time { return time.Unix(1_900_000_000, 0) }, Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "ALTER SCHEMA river RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	if err := w.Look(t.Context()); err != nil || measure(t, metrics, "remora_freshness_looked_timestamp_seconds") != 1_900_000_000 {
		t.Error("the queue's tables are gone, and it does not look", err)
	}
	if _, err := pool.Exec(t.Context(), "ALTER TABLE schedules RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	for measure(t, metrics, "remora_freshness_failures_total") < 3 {
		<-time.After(time.Millisecond)
	}
	cancel()
	<-ended
	if !strings.Contains(log.String(), "what waits was not counted") { // without the queue's tables
		t.Error(log.String())
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "was not looked at to the end") {
		t.Error(log.String())
	}
}

func measure(t *testing.T, from *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no", name)
	return 0
}
