package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
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

// line is a budget of 100 with a wait of 30 s, in a test whose time is its own.
type line struct {
	*budget
	t *testing.T
}

func newLine(t *testing.T) line {
	return line{newBudget(workerFixed+100, 30*time.Second, prometheus.NewGauge(prometheus.GaugeOpts{Name: "held"})), t}
}

func (l line) admit(id remora.BackupID, weight int64) func() {
	l.t.Helper()
	release, err := l.budget.admit(l.t.Context(), id, weight)
	if err != nil {
		l.t.Fatalf("%s: %v", id, err)
	}
	return release
}

// refused tells how long it took.
func (l line) refused(id remora.BackupID, weight int64) time.Duration {
	l.t.Helper()
	began := time.Now()
	if _, err := l.budget.admit(l.t.Context(), id, weight); !errors.Is(err, errNoRoom) {
		l.t.Fatalf("%s: %v", id, err)
	}
	return time.Since(began)
}

func (l line) holds(want float64) {
	l.t.Helper()
	if got := testutil.ToFloat64(l.held); got != want {
		l.t.Errorf("%v held, not %v", got, want)
	}
}

func TestRunsAreAdmittedWhileThereIsRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		one, two := l.admit("one", 60), l.admit("two", 40)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.budget.admit(ended, "three", 1); !errors.Is(err, context.Canceled) {
			t.Error("admitted beyond the budget", err)
		}
		l.holds(100)
		waiting := make(chan func())
		go func() { waiting <- l.admit("large", 1_000_000) }() // alone, since it is larger than all there is
		one()
		two()
		(<-waiting)()
		l.holds(0)
	})
}

// A wait is so short that nobody takes the job for lost, and who comes back has not lost its turn.
func TestAPlaceInTheLineIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		one, two := l.admit("one", 50), l.admit("two", 50)
		if waited := l.refused("large", 100); waited != l.wait {
			t.Errorf("waited %v", waited)
		}
		one()
		if waited := l.refused("small", 10); waited != 0 { // there is room, and it is not its turn
			t.Errorf("waited %v while the first was away", waited)
		}
		large, small := make(chan func()), make(chan func())
		go func() { large <- l.admit("large", 100) }()
		synctest.Wait()
		if waited := l.refused("large", 100); waited != 0 {
			t.Errorf("two jobs of one backup waited, %v", waited)
		}
		go func() { small <- l.admit("small", 10) }()
		synctest.Wait()
		two()
		release := <-large
		l.holds(100)
		release()
		(<-small)()
		l.holds(0)
	})
}

// A job that another worker has taken does not hold up this one's line for long.
func TestAPlaceInTheLineLapses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		one := l.admit("one", 50)
		l.refused("large", 100)
		l.refused("small", 10)
		<-time.After(l.wait)
		synctest.Wait()
		small := l.admit("small", 10)
		l.holds(60)
		small()
		one()
		l.admit("large", 100)()
		l.holds(0)
	})
}

// An archive that is only longer than we read is not taken for a broken one, and not tried again.
func TestALongHeadIsNamed(t *testing.T) {
	t.Parallel()
	f := failureOf(fmt.Errorf("recode: %w", &pgarchive.LongHeadError{Most: 64 << 20}))
	if f.Reason != remora.ReasonTooMuchMemory || f.Reason.Heals() || !strings.Contains(f.Detail, "64 MiB") {
		t.Errorf("%+v", f)
	}
}
