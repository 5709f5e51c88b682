package retention

import (
	"cmp"
	"slices"
	"time"
	_ "time/tzdata" // a machine without zones must decide as one that has them

	"github.com/remora-backup/remora/internal/remora"
)

// Protected is how many of the newest good backups stay whatever their age.
const Protected = 3

// Fate is what is to become of a backup.
type Fate string

// The fates.
const (
	Kept       Fate = "kept"
	Removed    Fate = "removed"
	NotCounted Fate = "not counted" // there is no whole archive of it
)

// Because is the name of one reason.
type Because string

// Why a backup is kept: the rules, and what stays whatever they say.
const (
	Last         Because = "last"
	Days         Because = "days"
	Hourly       Because = "hourly"
	Daily        Because = "daily"
	Weekly       Because = "weekly"
	Monthly      Because = "monthly"
	Yearly       Because = "yearly"
	NewestGood   Because = "newest good"
	NewestAtAll  Because = "newest at all" // incomplete, and the newest of all or while there are too few good ones
	NewestProven Because = "newest proven"
	Locked       Because = "locked"
)

// Why a backup is removed.
const (
	NoRule    Because = "no rule"
	PlanDays  Because = "plan days"  // a rule would keep it, and it is older than the plan's days
	PlanCount Because = "plan count" // a rule would keep it, and there are more than the plan's count
	Damaged   Because = "damaged"    // what is stored of it is not what was written, and there is a newer good one
	Forgotten Because = "forgotten"  // a person has asked for all of a detached database's to go
)

// Reason is one of the reasons for a backup's fate.
type Reason struct {
	Because Because
	Place   int       // 1 is the newest; 0 where there is no order
	Of      int       // how many the rule, or the plan, keeps; 0 where that means nothing
	Until   time.Time // before which this reason does not end; zero where no date can be told
}

// Verdict is what is to become of one backup, with every reason.
type Verdict struct {
	Backup  *remora.Backup // one of those that were decided on
	Fate    Fate
	Reasons []Reason // none of one that is not counted

	at time.Time // that the backup belongs to
}

// At is the time that a backup belongs to.
func At(b *remora.Backup) time.Time {
	if b.StartedAt.IsZero() {
		return b.QueuedAt
	}
	return b.StartedAt
}

// Decide says what is to become of each of a database's backups, newest first. They are all that there are of it, in any
// order; locks are those that hold. It is a function of its arguments. Errors: KindInvalid for a zone that there is not,
// upon which nothing may be removed.
func Decide(r remora.Retention, plan remora.Plan, now time.Time, backups []remora.Backup, locks []remora.BackupID) ([]Verdict, error) {
	rules, err := rulesOf(r)
	if err != nil {
		return nil, err
	}
	d := decision{now: now, plan: plan, good: Protected, unsettled: now}
	out := newestFirst(backups)
	d.verdicts, d.stored = make([]*Verdict, len(out)), make([]*Verdict, 0, len(out))
	for i := range out {
		v := &out[i]
		d.verdicts[i] = v
		if v.Backup.State.Restorable() {
			d.stored = append(d.stored, v)
		}
		if !v.Backup.State.Ended() && v.at.Before(d.unsettled) {
			d.unsettled = v.at
		}
	}
	d.protect(locks)
	for _, rule := range rules {
		d.apply(rule)
	}
	d.judge()
	d.count()
	d.clear(locks)
	return out, nil
}

// newestFirst makes a verdict of each backup. There may be thousands, each of which is large, so none is copied.
func newestFirst(backups []remora.Backup) []Verdict {
	type place struct {
		at time.Time
		in int
	}
	places := make([]place, len(backups))
	for i := range backups {
		places[i] = place{At(&backups[i]), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return cmp.Compare(backups[b.in].ID, backups[a.in].ID)
	})
	out := make([]Verdict, len(backups))
	for i, p := range places {
		out[i] = Verdict{Backup: &backups[p.in], Fate: NotCounted, at: p.at}
	}
	return out
}

// decision is one in the making.
type decision struct {
	now       time.Time
	plan      remora.Plan
	good      int        // of the newest are protected
	verdicts  []*Verdict // newest first
	stored    []*Verdict // those that count
	unsettled time.Time  // from then on there may be backups that we do not see yet: now, or when one was begun that is being made
}

// protect gives a reason to what stays whatever the rules say.
func (d *decision) protect(locks []remora.BackupID) {
	good, proven := 0, false
	for _, v := range d.stored {
		if slices.Contains(locks, v.Backup.ID) {
			v.because(Reason{Because: Locked})
		}
		if !v.Backup.State.Good() {
			continue
		}
		if good++; good <= d.good {
			v.because(Reason{Because: NewestGood, Place: good, Of: d.good})
		}
		if v.Backup.State == remora.BackupProven && !proven {
			proven = true
			v.because(Reason{Because: NewestProven})
		}
	}
	place := 0
	for i, v := range d.stored {
		if !v.Backup.State.Good() && (i == 0 || good+place < d.good) {
			place++
			v.because(Reason{Because: NewestAtAll, Place: place})
		}
	}
}

func (v *Verdict) because(r Reason) { v.Reasons = append(v.Reasons, r) }

// Protects tells whether a reason holds against rules and plan.
func (b Because) Protects() bool {
	return b == NewestGood || b == NewestAtAll || b == NewestProven || b == Locked
}

func (v *Verdict) protected() bool {
	return slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Because.Protects() })
}

// judge turns reasons into fates, within the plan's days.
func (d *decision) judge() {
	most := time.Duration(d.plan.KeepDays) * day
	for _, v := range d.stored {
		v.Fate = Kept
		old := most > 0 && d.now.Sub(v.at) > most
		switch {
		case len(v.Reasons) == 0:
			v.Fate, v.Reasons = Removed, []Reason{{Because: NoRule}}
		case v.protected() && old:
			v.Reasons = slices.DeleteFunc(v.Reasons, func(r Reason) bool { return !r.Because.Protects() })
		case old:
			v.Fate, v.Reasons = Removed, []Reason{{Because: PlanDays, Of: d.plan.KeepDays}}
		case most > 0:
			v.until(v.at.Add(most))
		}
	}
}

// damagedDays is how long an archive is stored at least after it was found damaged: some of it may be what somebody needs.
const damagedDays = 30

// damagedSince is from when they count: of what was found before that was noted, from the backup's end.
func damagedSince(b *remora.Backup) time.Time {
	if b.DamagedAt.IsZero() {
		return b.EndedAt
	}
	return b.DamagedAt
}

// clear lets damaged archives go. They count for nothing, and are not offered; but the last that there is of a time stays until a newer good
// backup has taken its place.
func (d *decision) clear(locks []remora.BackupID) {
	good := false // one that is newer than what is looked at
	for _, v := range d.verdicts {
		good = good || v.Backup.State.Good()
		if v.Backup.Damaged() && good && d.now.Sub(damagedSince(v.Backup)) > damagedDays*day && !slices.Contains(locks, v.Backup.ID) {
			v.Fate, v.Reasons = Removed, []Reason{{Because: Damaged}}
		}
	}
}

// until bounds every date that the reasons tell.
func (v *Verdict) until(most time.Time) {
	for i, r := range v.Reasons {
		if r.Until.After(most) {
			v.Reasons[i].Until = most
		}
	}
}

// count removes what is more than the plan's count: incomplete ones first, and of each kind the oldest first.
func (d *decision) count() {
	if d.plan.KeepCount == 0 {
		return
	}
	kept := 0
	var leave []*Verdict // in the order in which they go
	for _, v := range slices.Backward(d.stored) {
		if v.Fate == Kept {
			kept++
			leave = append(leave, v)
		}
	}
	slices.SortStableFunc(leave, func(a, b *Verdict) int {
		return rank(a.Backup.State.Good()) - rank(b.Backup.State.Good())
	})
	for _, v := range leave {
		if kept <= d.plan.KeepCount {
			return
		}
		if !v.protected() {
			v.Fate, v.Reasons = Removed, []Reason{{Because: PlanCount, Of: d.plan.KeepCount}}
			kept--
		}
	}
}

func rank(good bool) int {
	if good {
		return 1
	}
	return 0
}

// Until is the date before which a kept backup is not removed by the rules, whatever backups are made until then, unless
// they come to be more than the plan's count; ok is false where no date can be told: a newer one may take its place, or it
// stays until a person says otherwise.
func (v Verdict) Until() (at time.Time, ok bool) {
	for _, r := range v.Reasons {
		if r.Until.After(at) {
			at = r.Until
		}
	}
	return at, !at.IsZero()
}
