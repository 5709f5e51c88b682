package remora_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

var freshStart = time.Date(2026, 3, 1, 3, 30, 0, 0, time.UTC)

// daily is a database whose newest verified backup began on time, an age ago.
func daily(usual time.Duration) remora.Standing {
	return remora.Standing{Verified: freshStart, Due: freshStart.AddDate(0, 0, 1), Next: freshStart.AddDate(0, 0, 2), Usual: usual}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	const hour, day = time.Hour, 24 * time.Hour
	never := remora.Standing{Due: freshStart, Next: freshStart.Add(day)}
	month := remora.Standing{Verified: freshStart, Due: freshStart.AddDate(0, 1, 0), Next: freshStart.AddDate(0, 2, 0)}
	hourly := remora.Standing{Verified: freshStart, Due: freshStart.Add(hour), Next: freshStart.Add(2 * hour), Usual: 70 * time.Minute}
	changed := daily(0)
	changed.Counts = freshStart.AddDate(0, 0, 5)
	paused := daily(0)
	paused.Paused = true
	for _, c := range []struct {
		name  string
		s     remora.Standing
		after time.Duration
		state remora.FreshnessState
		tell  remora.FreshnessState
	}{
		{"just made", daily(0), 0, remora.Fresh, ""},
		{"within its day", daily(0), 23 * hour, remora.Fresh, ""},
		{"due, within the least grace", daily(0), day + 30*time.Minute, remora.Fresh, ""},
		{"beyond it", daily(0), day + 31*time.Minute, remora.Late, remora.Late},
		{"slow ones are given twice their time", daily(4 * hour), day + 8*hour, remora.Fresh, ""},
		{"and no more", daily(4 * hour), day + 8*hour + time.Minute, remora.Late, remora.Late},
		{"very slow ones are given twelve hours more", daily(20 * hour), day + 33*hour, remora.Late, remora.Late},
		{"two times missed", daily(0), 2*day + 31*time.Minute, remora.Stale, remora.Stale},
		{"an hourly one that takes longer than an hour", hourly, 3*hour + 10*time.Minute, remora.Fresh, ""},
		{"a monthly one is late", month, 31*day + hour, remora.Late, remora.Late},
		{"and stale after a week", month, 38*day + hour, remora.Stale, remora.Stale},
		{"never, a first one is expected", never, 20 * time.Minute, remora.Never, ""},
		{"never, and late", never, hour, remora.Never, remora.Late},
		{"never, and stale", never, 2 * day, remora.Never, remora.Stale},
		{"paused, however old", paused, 400 * day, remora.Paused, ""},
		{"a changed promise is told of once it counts", changed, 4 * day, remora.Stale, ""},
		{"and then", changed, 6 * day, remora.Stale, remora.Stale},
		{"a clock put back", daily(0), -400 * day, remora.Fresh, ""},
		{"a clock put ahead", daily(0), 4000 * day, remora.Stale, remora.Stale},
	} {
		f := c.s.Freshness(freshStart.Add(c.after))
		if f.State != c.state || f.Tell != c.tell || f.Age(freshStart.Add(c.after)) < 0 || f.Says() == "" {
			t.Errorf("%s: %s, to tell %q, instead of %s and %q: %s", c.name, f.State, f.Tell, c.state, c.tell, f.Says())
		}
	}
}

var order = []remora.FreshnessState{remora.Fresh, remora.Late, remora.Stale}

// anyStanding is one that nobody would think of: times in no order, takes below zero, no backup at all.
func anyStanding(r *rand.Rand) remora.Standing {
	at := func() time.Time {
		if r.IntN(6) == 0 {
			return time.Time{}
		}
		return freshStart.Add(time.Duration(r.Int64N(int64(90*24*time.Hour))) - 45*24*time.Hour)
	}
	return remora.Standing{
		Verified: at(), Due: at(), Next: at(), Counts: at(), Usual: time.Duration(r.Int64N(int64(40*time.Hour))) - time.Hour,
		Paused: r.IntN(8) == 0, Overdue: r.IntN(4) == 0,
	}
}

func TestFreshnessOnlyGetsWorseWithTime(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 12)) //nolint:gosec // a test's
	for range 20000 {
		s := anyStanding(r)
		early := freshStart.Add(time.Duration(r.Int64N(int64(60*24*time.Hour))) - 30*24*time.Hour)
		late := early.Add(time.Duration(r.Int64N(int64(40 * 24 * time.Hour))))
		a, b := s.Freshness(early), s.Freshness(late)
		if s.Verified.IsZero() && (a.State == remora.Fresh || a.State == remora.Late || a.State == remora.Stale) {
			t.Fatalf("%s without a verified backup: %+v", a.State, s)
		}
		if slices.Index(order, a.State) > slices.Index(order, b.State) || slices.Index(order, a.Tell) > slices.Index(order, b.Tell) {
			t.Fatalf("%s (%s) became %s (%s) by time alone: %+v", a.State, a.Tell, b.State, b.Tell, s)
		}
		if b.Tell != "" && (b.State == remora.Fresh || b.State == remora.Paused) {
			t.Fatalf("%s is told of as %s: %+v", b.State, b.Tell, s)
		}
		newer := s
		newer.Verified, newer.Due, newer.Next = late, late.Add(time.Hour), late.Add(2*time.Hour)
		if got := newer.Freshness(late).State; got != remora.Fresh && !s.Paused {
			t.Fatalf("%s with a backup of this moment: %+v", got, newer)
		}
	}
}

// Whatever is seen, in whatever order: what was told is never taken back without a word, and nothing is told twice.
func TestEachTurnIsToldOnce(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 13)) //nolint:gosec // a test's
	for range 2000 {
		var w remora.Watched
		last := map[bool]remora.EventKind{}
		for range 30 {
			f := anyStanding(r).Freshness(freshStart)
			next, events := w.Turn(f)
			for _, e := range events {
				about := e == remora.EventProofOverdue || e == remora.EventProofCaughtUp
				if last[about] == e || last[about] == "" && !e.Trouble() {
					t.Fatalf("%s after %q", e, last[about])
				}
				last[about] = e
			}
			again, none := next.Turn(f)
			if again != next || len(none) > 0 {
				t.Fatalf("the same look again tells %v", none)
			}
			w = next
		}
	}
}
