package main

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
)

// With every worker stopped, a database turns late and its owner hears of it; with a worker again, that it is fresh.
func TestLatenessIsToldWithoutWorkers(t *testing.T) {
	t.Parallel()
	b := start(t, 10)
	v := b.connect(t)
	first := b.verified(t, "")
	if err := b.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	// Three hours pass, and a time at which the next backup was due.
	conn := b.own(t)
	for _, sql := range []string{
		"UPDATE runs SET started_at = started_at - interval '3 hours'",
		"UPDATE databases SET found_at = found_at - interval '2 days', prove_at = NULL",
		"UPDATE freshness SET counts_from = counts_from - interval '2 days'",
		"UPDATE schedules SET minute = extract(hour FROM now() AT TIME ZONE 'UTC' - interval '2 hours') * 60 + extract(minute FROM now())",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	b.logged(t, " event=late ")
	if page := b.get(t, v, "/dashboard"); !strings.Contains(page, `<span class="state late">late</span>`) {
		t.Error(page)
	}
	if m := b.metrics(t, b.WebURL); !strings.Contains(m, `remora_databases{freshness="late"} 1`) || !strings.Contains(m, "remora_freshness_looked_timestamp_seconds ") {
		t.Error(m)
	}
	if _, err := b.Spawn("worker"); err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(first.Database)+"/backups")
	b.verified(t, first.ID)
	b.logged(t, " event=fresh_again ")
	if n := strings.Count(strings.Join(b.Sim.LogLines(stack.HelperApp), "\n"), " event=late "); n != 1 {
		t.Errorf("late was told %d times", n)
	}
}

// logged waits for a line in the Helper App's log.
func (b *bundle) logged(t *testing.T, word string) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for patience := time.After(time.Minute); ; {
		if strings.Contains(strings.Join(b.Sim.LogLines(stack.HelperApp), "\n"), word) {
			return
		}
		select {
		case <-poll.C:
		case <-patience:
			t.Fatalf("no%sin the log: %q", word, b.Sim.LogLines(stack.HelperApp))
		}
	}
}
