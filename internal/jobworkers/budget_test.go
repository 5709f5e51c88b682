package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pipeline"
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
		"measured":        {postgres.History{Known: true, StoredSize: 1 << 40, Tables: 10, PeakMemory: 400 << 20}, runParts + pipeline.Overhead + 500<<20 + runRoom},
		"measured tiny":   {postgres.History{Known: true, StoredSize: 30_000, Tables: 10, PeakMemory: 4 << 20}, runBase + 30_000},
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

// Who has not got room for a long time lets the others pass.
func TestALargeRunHasPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		long := l.admit("long", 10)
		began := time.Now()
		for passed := false; !passed; <-time.After(time.Second) {
			l.refused("large", 100)
			if release, err := l.budget.admit(t.Context(), "small", 10); err == nil {
				release()
				passed = true
			}
		}
		if waited := time.Since(began); waited < patience || waited > patience+2*l.wait {
			t.Errorf("passed after %v", waited)
		}
		long()
		l.admit("large", 100)()
		l.holds(0)
	})
}

// What the server says of its catalog counts, and a server that exaggerates gets a worker's memory and no more.
func TestTheCatalogIsCounted(t *testing.T) {
	t.Parallel()
	for want, s := range map[int64]customerdb.Server{
		unknownRun: {}, unknownRun + 200_000*runColumn + 10_000*runComment: {Columns: 200_000, Comments: 10_000},
		unknownRun + 2250<<30: {Columns: math.MaxInt64, Comments: math.MaxInt64},
	} {
		if got := catalogWeight(s); got != want {
			t.Errorf("%+v: %d, want %d", s, got, want)
		}
	}
}

// Who needs more than it was given waits without what it had, or two could wait for each other.
func TestAShareGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t)
		shares := make(chan *memory)
		for _, id := range []remora.BackupID{"one", "two"} {
			m := &memory{budget: l.budget, backup: id}
			if err := m.take(t.Context(), 50); err != nil || m.has(51) || !m.has(50) {
				t.Fatal(err, m.weight)
			}
			go func() {
				<-time.After(time.Second) // when both have theirs
				if err := m.grow(t.Context(), 1_000_000); err != nil || !m.has(1_000_000) {
					t.Error(err, m.weight)
				}
				shares <- m
			}()
		}
		for range 2 {
			m := <-shares
			<-time.After(10 * time.Minute)
			m.release()
			m.release() // does nothing
		}
		l.holds(0)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		one := l.admit("one", 100)
		if err := (&memory{budget: l.budget, backup: "two"}).grow(ended, 100); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		one()
	})
}

// An archive that is only longer than we read is not taken for a broken one.
func TestALongHeadIsNamed(t *testing.T) {
	t.Parallel()
	f := failureOf(fmt.Errorf("recode: %w", &pgarchive.LongHeadError{Most: 64 << 20}))
	if f.Reason != remora.ReasonMoreMemory || !strings.Contains(f.Detail, "64 MiB") {
		t.Errorf("%+v", f)
	}
}
