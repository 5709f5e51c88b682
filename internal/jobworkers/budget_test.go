package jobworkers

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/internal/postgres"
)

func TestWeight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		history postgres.History
		want    int64
	}{
		"never backed up": {postgres.History{}, unknownRun},
		"tiny":            {postgres.History{Known: true, StoredSize: 30_000, Tables: 10}, runBase + 30_000 + 10*runTable},
		"large":           {postgres.History{Known: true, StoredSize: 1 << 40, Tables: 10}, runBase + runParts + 10*runTable},
		"many tables":     {postgres.History{Known: true, StoredSize: 1 << 20, Tables: 2000}, runBase + 1<<20 + 2000*runTable},
	} {
		if got := weight(c.history); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestRunsAreAdmittedWhileThereIsRoom(t *testing.T) {
	t.Parallel()
	held := prometheus.NewGauge(prometheus.GaugeOpts{Name: "held"})
	b := newBudget(workerFixed+100, held)
	admit := func(weight int64) func() {
		t.Helper()
		release, err := b.admit(t.Context(), weight)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	one, two := admit(60), admit(40)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.admit(ended, 1); !errors.Is(err, context.Canceled) {
		t.Error("admitted beyond the budget", err)
	}
	if got := testutil.ToFloat64(held); got != 100 {
		t.Errorf("%v held", got)
	}
	waiting := make(chan func())
	go func() { waiting <- admit(1_000_000) }() // alone, since it is larger than all there is
	one()
	two()
	(<-waiting)()
	if got := testutil.ToFloat64(held); got != 0 {
		t.Errorf("%v held", got)
	}
}
