package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// watch looks once and returns how many databases are in a state.
func (b *bundle) watch(t *testing.T) map[remora.FreshnessState]int {
	t.Helper()
	w, err := b.WatchFreshness(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w.Databases
}

// backUp makes a verified backup now.
func (b *bundle) backUp(t *testing.T, id remora.ResourceID, db remora.DatabaseID) {
	t.Helper()
	if _, err := b.RequestBackup(t.Context(), id, db, "p"); err != nil {
		t.Fatal(err)
	}
	b.end(t, id, b.good)
}

// newsOf is what happened but for proofs, which nobody makes here.
func (b *bundle) newsOf(t *testing.T, id remora.ResourceID) string {
	t.Helper()
	return strings.Join(strings.Fields(strings.ReplaceAll(b.happened(t, id), string(remora.EventProofOverdue), "")), " ")
}

func TestFreshnessIsWatchedAndToldOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(3, 12, 0), remora.Rule{Kind: remora.RuleDaily, Minute: 3*60 + 30, Zone: "UTC"})
	b.exec(t, "DELETE FROM events")
	b.backUp(t, id, db)
	for _, step := range []struct {
		name   string
		at     time.Time
		state  remora.FreshnessState
		before func()
		want   string
	}{
		{"as promised", may(4, 3, 59), remora.Fresh, nil, ""},
		{"the grace has passed", may(4, 4, 1), remora.Late, nil, "late"},
		{"an hour later", may(4, 5, 0), remora.Late, nil, "late"},
		{"the next time too", may(5, 4, 1), remora.Stale, nil, "late stale"},
		{"the clock was put back", may(4, 3, 0), remora.Fresh, nil, "late stale fresh_again"},
		{"and put right", may(5, 5, 0), remora.Stale, nil, "late stale fresh_again stale"},
		{"paused", may(6, 5, 0), remora.Paused, func() {
			if err := b.PauseSchedule(t.Context(), id, db, "", "anna"); err != nil {
				t.Fatal(err)
			}
		}, "late stale fresh_again stale paused"},
		{"resumed", may(7, 5, 0), remora.Stale, func() {
			if err := b.ResumeSchedule(t.Context(), id, db, "anna"); err != nil {
				t.Fatal(err)
			}
		}, "late stale fresh_again stale paused resumed"},
		{"backed up", may(7, 6, 0), remora.Fresh, func() {
			b.exec(t, "UPDATE backups SET state = 'canceled' WHERE state = 'queued'")
			b.backUp(t, id, db)
		}, "late stale fresh_again stale paused resumed fresh_again"},
	} {
		b.at(t, step.at)
		if step.before != nil {
			step.before()
		}
		if got := b.watch(t); got[step.state] != 1 {
			t.Errorf("%s: %v, not %s", step.name, got, step.state)
		}
		if got := sorted(b.newsOf(t, id)); got != sorted(step.want) {
			t.Errorf("%s: %s\ninstead of %s", step.name, got, step.want)
		}
	}
	view, err := b.Overview(t.Context(), id)
	if err != nil || view.Databases[0].Freshness.State != remora.Fresh {
		t.Error(view.Databases[0].Freshness, err)
	}
}

func TestTwoWatchersTellOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(3, 12, 0), remora.Rule{Kind: remora.RuleDaily, Minute: 3*60 + 30, Zone: "UTC"})
	b.backUp(t, id, db)
	b.exec(t, "DELETE FROM events")
	for _, now := range []time.Time{may(4, 4, 1), may(5, 4, 1)} {
		b.at(t, now)
		var looking sync.WaitGroup
		for range 8 {
			looking.Go(func() {
				if _, err := b.WatchFreshness(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		looking.Wait()
	}
	if got := b.newsOf(t, id); got != "late stale" {
		t.Error(got)
	}
}

func TestADatabaseWithoutABackupIsNeverFresh(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	if got := b.watch(t); got[remora.Never] != 1 {
		t.Error(got)
	}
	b.ahead = time.Hour
	if got := b.watch(t); got[remora.Never] != 1 {
		t.Error(got)
	}
	if got := b.happened(t, id); got != "late" {
		t.Error(got)
	}
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := b.watch(t); got[remora.Never] != 0 {
		t.Error("a removed add-on is watched", got)
	}
}

func TestAnOverdueProofIsToldOf(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	b.end(t, id, b.good)
	b.exec(t, "DELETE FROM events; UPDATE databases SET prove_at = now() - interval '25 hours'")
	b.watch(t)
	b.watch(t)
	all, err := b.Events(t.Context(), id, remora.EventLook{Most: 10})
	if err != nil || len(all) != 1 || all[0].Kind != remora.EventProofOverdue || !contains(all[0].Detail, "restored and compared") {
		t.Errorf("%+v %v", all, err)
	}
	b.ahead += time.Minute
	b.exec(t, "UPDATE databases SET prove_at = now() + interval '7 days'")
	b.watch(t)
	if got := b.happened(t, id); got != "proof_overdue proof_caught_up" {
		t.Error(got)
	}
}
