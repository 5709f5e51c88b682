package retention_test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// randomly makes histories, policies and plans that nobody would think of, the same ones for the same seed.
type randomly struct{ *rand.Rand }

func (r randomly) history() history {
	var h history
	states := []remora.BackupState{
		remora.BackupVerified, remora.BackupVerified, remora.BackupVerified, remora.BackupProven, remora.BackupIncomplete,
		remora.BackupFailed, remora.BackupCanceled, remora.BackupExpired, remora.BackupDeleted, remora.BackupRunning,
	}
	most := []time.Duration{10 * time.Minute, 5 * time.Hour, 2 * day, 40 * day}[r.IntN(4)]
	bad := r.IntN(len(states))
	at := now.Add(time.Duration(r.IntN(100)-95) * time.Hour / 24) // the clock may have been set back
	for range r.IntN(60) {
		s := states[r.IntN(len(states))]
		if r.IntN(3) == 0 {
			s = states[bad]
		}
		h.add(at, s)
		if r.IntN(10) == 0 {
			h.locks = append(h.locks, h.backups[len(h.backups)-1].ID)
		}
		if r.IntN(20) > 0 { // else two at the same time
			at = at.Add(-time.Duration(r.Int64N(int64(most))))
		}
	}
	r.Shuffle(len(h.backups), func(i, j int) { h.backups[i], h.backups[j] = h.backups[j], h.backups[i] })
	return h
}

func (r randomly) some(most int) int { return max(0, r.IntN(2*most)-most) }

func (r randomly) policy() remora.Retention {
	zones := []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"}
	return remora.Retention{
		Last: r.some(8), Days: r.some(20), Hourly: r.some(30), Daily: r.some(10), Weekly: r.some(6), Monthly: r.some(8), Yearly: r.some(4),
		Zone: zones[r.IntN(len(zones))],
	}
}

func (r randomly) plan() remora.Plan {
	return remora.Plan{KeepDays: r.some(100), KeepCount: r.some(20)}
}

var many = flag.Uint("tries", 150, "how many random histories each property is tried with")

// tries calls a test with many histories. It is told the seed, to see the one that failed again.
func tries(t *testing.T, do func(*testing.T, randomly, history)) {
	t.Helper()
	t.Parallel()
	for seed := range uint64(*many) {
		r := randomly{rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // the same each time
		if do(t, r, r.history()); t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func decide(t *testing.T, r remora.Retention, p remora.Plan, at time.Time, h history) []retention.Verdict {
	t.Helper()
	out, err := retention.Decide(r, p, at, h.backups, h.locks)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kept(verdicts []retention.Verdict) map[remora.BackupID]bool {
	out := map[remora.BackupID]bool{}
	for _, v := range verdicts {
		if v.Fate == retention.Kept {
			out[v.Backup.ID] = true
		}
	}
	return out
}

func within(t *testing.T, what string, less, more map[remora.BackupID]bool) {
	t.Helper()
	for id := range less {
		if !more[id] {
			t.Errorf("%s: %s is no longer kept", what, id)
		}
	}
}

// newest orders what is stored as Decide does, newest first.
func newest(h history, ok func(remora.BackupState) bool) []remora.BackupID {
	var all []remora.Backup
	for _, b := range h.backups {
		if ok(b.State) {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b remora.Backup) int {
		if c := b.StartedAt.Compare(a.StartedAt); c != 0 {
			return c
		}
		if a.ID > b.ID {
			return -1
		}
		return 1
	})
	out := make([]remora.BackupID, len(all))
	for i, b := range all {
		out[i] = b.ID
	}
	return out
}

// The last-good rule: whatever the history, the policy, the plan and the time, the newest good backups stay, and so do the
// newest proven one and what is locked.
func TestTheLastGoodOnesStay(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		at := now.Add(time.Duration(r.IntN(4000)) * day) // the owner is away, for years
		stays := kept(decide(t, r.policy(), r.plan(), at, h))
		good := newest(h, remora.BackupState.Good)
		for i, id := range good[:min(len(good), retention.Protected)] {
			if !stays[id] {
				t.Errorf("good backup %d of the newest is removed", i+1)
			}
		}
		proven := newest(h, func(s remora.BackupState) bool { return s == remora.BackupProven })
		if len(proven) > 0 && !stays[proven[0]] {
			t.Error("the newest proven one is removed")
		}
		stored := newest(h, remora.BackupState.Restorable)
		if len(stays) < min(len(stored), retention.Protected) {
			t.Errorf("%d of %d stay", len(stays), len(stored))
		}
		for _, id := range h.locks {
			if slices.Contains(stored, id) && !stays[id] {
				t.Error("a locked one is removed")
			}
		}
	})
}

// Every backup gets one verdict with a reason, and what failed, is being made or has gone already is not counted: the
// rest is judged as if it had never been.
func TestWhatHasNoArchiveDoesNotCount(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		policy, plan := r.policy(), r.plan()
		all := decide(t, policy, plan, now, h)
		if len(all) != len(h.backups) {
			t.Fatalf("%d verdicts on %d", len(all), len(h.backups))
		}
		alone := history{locks: h.locks}
		for _, v := range all {
			if (v.Fate == retention.NotCounted) == v.Backup.State.Restorable() || (len(v.Reasons) == 0) != (v.Fate == retention.NotCounted) {
				t.Errorf("%s is %s for %v", v.Backup.State, v.Fate, v.Reasons)
			}
			if v.Backup.State.Restorable() {
				alone.backups = append(alone.backups, *v.Backup)
			}
		}
		a, b := kept(all), kept(decide(t, policy, plan, now, alone))
		within(t, "without the others", a, b)
		within(t, "with the others", b, a)
	})
}

// Decided again on what is left, nothing more goes: the rules do not eat their own choices.
func TestDecidedAgainNothingMoreGoes(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		policy, plan := r.policy(), r.plan()
		first := kept(decide(t, policy, plan, now, h))
		left := history{locks: h.locks}
		for _, b := range h.backups {
			if first[b.ID] {
				left.backups = append(left.backups, b)
			}
		}
		within(t, "decided again", first, kept(decide(t, policy, plan, now, left)))
	})
}

// More of any rule keeps more, while the plan's count is not in the way: with it, one more young one may push an old one out.
func TestMoreKeepsMore(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		less := r.policy()
		more := less
		for _, n := range []*int{&more.Last, &more.Days, &more.Hourly, &more.Daily, &more.Weekly, &more.Monthly, &more.Yearly} {
			*n += r.some(3)
		}
		plan := remora.Plan{KeepDays: r.some(100)}
		within(t, "a larger retention", kept(decide(t, less, plan, now, h)), kept(decide(t, more, plan, now, h)))
	})
}

// A larger plan keeps more, in its days and in its count; not always where both grow at once, for good ones that are older
// then come before incomplete ones.
func TestALargerPlanKeepsMore(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		policy := r.policy()
		less := remora.Plan{KeepDays: 1 + r.IntN(60), KeepCount: 1 + r.IntN(20)}
		more := remora.Plan{KeepDays: less.KeepDays + r.IntN(60), KeepCount: less.KeepCount + r.IntN(20)}
		counted := remora.Plan{KeepDays: less.KeepDays, KeepCount: more.KeepCount}
		within(t, "a larger count", kept(decide(t, policy, less, now, h)), kept(decide(t, policy, counted, now, h)))
		within(t, "no count", kept(decide(t, policy, less, now, h)), kept(decide(t, policy, remora.Plan{KeepDays: less.KeepDays}, now, h)))
		within(t, "more days", kept(decide(t, policy, remora.Plan{KeepDays: less.KeepDays}, now, h)), kept(decide(t, policy, remora.Plan{KeepDays: more.KeepDays}, now, h)))
		within(t, "no days", kept(decide(t, policy, remora.Plan{KeepDays: more.KeepDays}, now, h)), kept(decide(t, policy, remora.Plan{}, now, h)))
	})
}

// While nothing new comes, time only takes away; and before a date that was told nothing goes, whatever comes.
func TestNothingGoesBeforeItsDate(t *testing.T) {
	tries(t, func(t *testing.T, r randomly, h history) {
		policy := r.policy()
		plan := remora.Plan{KeepDays: r.some(100)} // the plan's count is not in the dates
		before := decide(t, policy, plan, now, h)
		later := now.Add(time.Duration(r.Int64N(int64(200 * day))))
		within(t, "later", kept(decide(t, policy, plan, later, h)), kept(before))
		for i, b := range h.backups { // what was being made ends, in any way
			if !b.State.Ended() {
				h.backups[i].State = []remora.BackupState{remora.BackupVerified, remora.BackupIncomplete, remora.BackupFailed}[r.IntN(3)]
			}
		}
		for at := now; at.Before(later); at = at.Add(time.Duration(1 + r.Int64N(int64(later.Sub(now)/20+time.Hour)))) {
			h.add(at, []remora.BackupState{remora.BackupVerified, remora.BackupProven, remora.BackupIncomplete, remora.BackupFailed}[r.IntN(4)])
			stays := kept(decide(t, policy, plan, at, h))
			for _, v := range before {
				if until, ok := v.Until(); ok && at.Before(until) && !stays[v.Backup.ID] {
					t.Errorf("%s was to stay until %v and went by %v: %v", v.Backup.ID, until, at, v.Reasons)
				}
			}
		}
	})
}

// Lived day by day, with what goes gone, two years of daily backups leave what the rules promise: one of each of the last
// days, weeks and months.
func TestTwoYearsDayByDay(t *testing.T) {
	t.Parallel()
	policy := remora.Retention{Daily: 7, Weekly: 4, Monthly: 12, Zone: "America/New_York"}
	zone, err := time.LoadLocation(policy.Zone)
	if err != nil {
		t.Fatal(err)
	}
	var h history
	start := time.Date(2024, 11, 25, 3, 30, 0, 0, zone)
	for n := range 730 {
		at := start.AddDate(0, 0, n)
		h.backups = append(h.backups, remora.Backup{ID: remora.NewID[remora.BackupID](), State: remora.BackupVerified, QueuedAt: at, StartedAt: at})
		stays := kept(decide(t, policy, remora.Plan{}, at, h))
		h.backups = slices.DeleteFunc(h.backups, func(b remora.Backup) bool { return !stays[b.ID] })
	}
	last := start.AddDate(0, 0, 729)
	days, weeks, months := map[string]bool{}, map[int]bool{}, map[string]bool{}
	for _, b := range h.backups {
		days[b.StartedAt.Format(time.DateOnly)] = true
		_, week := b.StartedAt.ISOWeek()
		weeks[week] = true
		months[b.StartedAt.Format("2006-01")] = true
	}
	for n := range 7 {
		if d := last.AddDate(0, 0, -n).Format(time.DateOnly); !days[d] {
			t.Errorf("none of %s", d)
		}
	}
	for n := range 4 {
		if _, w := last.AddDate(0, 0, -7*n).ISOWeek(); !weeks[w] {
			t.Errorf("none of week %d", w)
		}
	}
	for n := range 12 {
		if m := time.Date(2026, 11-time.Month(n), 1, 0, 0, 0, 0, zone).Format("2006-01"); !months[m] {
			t.Errorf("none of %s", m)
		}
	}
	if len(h.backups) > 7+4+12 {
		t.Errorf("%d are left", len(h.backups))
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, p := range remora.Plans() {
		if err := retention.Check(remora.DefaultRetention(p)); err != nil {
			t.Errorf("the default of %s: %v", p.Slug, err)
		}
	}
	for _, r := range []remora.Retention{
		{Zone: "UTC"}, {Daily: 7}, {Daily: 7, Zone: "Local"}, {Daily: 7, Zone: "Mars/Olympus"}, {Daily: -1, Weekly: 4, Zone: "UTC"}, {Yearly: 11, Zone: "UTC"},
	} {
		if err := retention.Check(r); remora.KindOf(err) != remora.KindInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := retention.Decide(remora.Retention{Daily: 1, Zone: "Mars/Olympus"}, remora.Plan{}, now, nil, nil); err == nil {
		t.Error("nothing may be decided by the clocks of no zone")
	}
}
