package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/pgtest"
)

func TestMain(m *testing.M) {
	if child, err := asChild(context.Background()); child {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// Eight days around the night in which New York changes its clocks, with kills, jumps and pauses.
func TestNothingIsMissedAndNothingRunsTwice(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	y := years{url: pgtest.URL(t), schedules: 100, days: 8, step: time.Hour, calm: 200, kills: 12, seed: uint64(time.Now().UnixNano()), out: &out} //nolint:gosec // any number will do
	if err := y.run(t.Context()); err != nil {
		t.Error(err)
	}
	t.Log(out.String())
	if y.killed == 0 || y.jobs == 0 {
		t.Errorf("%d were killed, %d jobs", y.killed, y.jobs)
	}
}

// The comparison would see what is wrong.
func TestAMissedOccurrenceIsSeen(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"missed":    "DELETE FROM occurrences WHERE (schedule_id, at) IN (SELECT schedule_id, at FROM occurrences WHERE outcome = 'skipped' LIMIT 1)",
		"unasked":   "INSERT INTO occurrences SELECT schedule_id, at + interval '1 minute', resource_id, database_id, NULL, 'skipped', 'missed', ended_at FROM occurrences LIMIT 1",
		"forgotten": "UPDATE schedules SET next_run_at = next_run_at + interval '1 day'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			y := years{url: pgtest.URL(t), schedules: 6, out: &out}
			pool := pgtest.PoolAt(t, y.url)
			if err := fill(t.Context(), pool, y.schedules, begin, ruleOf); err != nil {
				t.Fatal(err)
			}
			now := begin.AddDate(0, 0, 40)
			var err error
			if y.store, err = open(t.Context(), y.url, 2, func() time.Time { return now }); err != nil {
				t.Fatal(err)
			}
			defer y.store.Pool.Close()
			if _, err := tick(t.Context(), y.store); err != nil {
				t.Fatal(err)
			}
			if wrong, all, err := y.compare(t.Context()); err != nil || len(wrong) > 0 || all == 0 {
				t.Fatal(wrong, all, err)
			}
			if _, err := pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); "+sql+"; COMMIT"); err != nil {
				t.Fatal(err)
			}
			if wrong, _, err := y.compare(t.Context()); err != nil || len(wrong) == 0 {
				t.Error("it was not seen", err)
			}
		})
	}
}

// As many as a test has time for; make simulate takes all and judges the figures.
func TestAllAtOneInstant(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	h := herd{url: pgtest.URL(t), schedules: 300, rate: 50, out: &out}
	f, err := h.run(t.Context())
	if err != nil || f.Dumped != h.schedules {
		t.Error(f.Dumped, err)
	}
	t.Log(out.String())
}

// What nothing keeps goes in the first round, and nothing in the second.
func TestARoundOfRetention(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	k := keep{url: pgtest.URL(t), databases: 3, hours: 150, out: &out}
	if err := k.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "let 0 go") != 1 || !strings.HasSuffix(got, "and let 0 go\n") {
		t.Error(got)
	}
}
