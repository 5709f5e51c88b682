package remora

import (
	"cmp"
	"time"
)

// FreshnessState is how fresh a database's backups are.
type FreshnessState string

// The states of freshness. Only a verified backup makes a database fresh.
const (
	Fresh  FreshnessState = "fresh"  // the newest verified backup is as new as the schedule promises
	Late   FreshnessState = "late"   // a time at which it was due, and the grace after it, have passed without a newer one
	Stale  FreshnessState = "stale"  // the time after that one too, or a week
	Paused FreshnessState = "paused" // nothing is promised: its schedule is paused, or its credential detached
	Never  FreshnessState = "never"  // there is no verified backup yet
)

// FreshnessStates lists them, the best first.
func FreshnessStates() []FreshnessState { return []FreshnessState{Fresh, Late, Stale, Paused, Never} }

// What is left to a backup after it was due, beside what it usually takes: as much again, but no less and no more than this.
const (
	leastSlack = 30 * time.Minute
	mostSlack  = 12 * time.Hour
)

// InstallGrace is how long after an add-on was installed nobody is told that its Helper App is not shared yet: its page says so.
const InstallGrace = time.Hour

// staleAfter is when a late database is stale at the latest: a monthly one, else, would be late for a month.
const staleAfter = 7 * day

// Grace is how long after it was due a verified backup is expected, for backups that usually take so long.
func Grace(usual time.Duration) time.Duration {
	usual = max(usual, 0)
	return usual + min(max(usual, leastSlack), mostSlack)
}

// Standing is what is known of a database when its freshness is asked for.
type Standing struct {
	Verified time.Time     // when the run began that made the newest verified backup; zero where there is none
	Due      time.Time     // the schedule's first time after that; where there is none, when the database was found
	Next     time.Time     // the schedule's first time after Due
	Counts   time.Time     // nothing is told before this, and the grace: the first time due since the promise was made or changed
	Usual    time.Duration // how long its backups take, as a rule
	Paused   bool          // nothing is promised
	Overdue  bool          // a restore or a reading of what is stored was due and was not made within its grace
}

// Freshness is how a database stands at an instant.
type Freshness struct {
	State    FreshnessState
	Verified time.Time      // as Standing's
	By       time.Time      // until when a newer verified backup is promised, or was; zero for Paused
	Tell     FreshnessState // what the customer must have heard of: Late, Stale or nothing
	Overdue  bool
}

// Freshness is how fresh a database is. With time it never gets better by itself, and without a verified backup it is never
// Fresh. A backup of a moment ahead is one of now.
func (s Standing) Freshness(now time.Time) Freshness {
	f := Freshness{Verified: s.Verified, Overdue: s.Overdue}
	if s.Paused {
		f.State = Paused
		return f
	}
	grace := Grace(s.Usual)
	f.By = s.Due.Add(grace)
	week := s.Due.Add(staleAfter)
	stale := week.Add(grace)
	if s.Next.After(s.Due) && s.Next.Before(week) {
		stale = s.Next.Add(grace)
	}
	f.State = Fresh
	switch {
	case now.After(stale):
		f.State = Stale
	case now.After(f.By):
		f.State = Late
	}
	if f.State != Fresh && now.After(s.Counts.Add(grace)) {
		f.Tell = f.State
	}
	if s.Verified.IsZero() {
		f.State = Never
	}
	return f
}

// Age is how old the newest verified backup is; zero where there is none.
func (f Freshness) Age(now time.Time) time.Duration {
	if f.Verified.IsZero() {
		return 0
	}
	return max(now.Sub(f.Verified), 0)
}

// Says is what the state means for a database, in a sentence or two.
func (f Freshness) Says() string {
	const at = "2 January 2006, 15:04 UTC"
	had := "There is no verified backup yet"
	if !f.Verified.IsZero() {
		had = "The newest verified backup is of " + f.Verified.UTC().Format(at)
	}
	switch {
	case f.State == Paused:
		return had + ". Nothing is promised now: the schedule is paused, or the credential is not attached."
	case f.State == Fresh, f.State == Never && f.Tell == "":
		return had + ". Another is expected by " + f.By.UTC().Format(at) + "."
	}
	return had + ". Another was expected by " + f.By.UTC().Format(at) + "."
}

// Watched is what a watcher has written down of a database.
type Watched struct {
	State   FreshnessState // empty where it never looked
	Told    FreshnessState // Late, Stale or nothing
	Overdue bool           // it was told that a proof is overdue
}

// Turn is what is to be written down now, and what has happened since. A pause takes back nothing that was told.
func (w Watched) Turn(f Freshness) (Watched, []EventKind) {
	next, events := Watched{f.State, w.Told, f.Overdue}, []EventKind(nil)
	switch {
	case f.Tell == Stale && w.Told != Stale:
		next.Told, events = Stale, append(events, EventStale)
	case f.Tell == Late && w.Told == "":
		next.Told, events = Late, append(events, EventLate)
	case f.State == Fresh && w.Told != "":
		next.Told, events = "", append(events, EventFreshAgain)
	}
	switch {
	case f.Overdue && !w.Overdue:
		events = append(events, EventProofOverdue)
	case !f.Overdue && w.Overdue:
		events = append(events, EventProofCaughtUp)
	}
	return next, events
}

// Badge is what a public picture of a database's freshness shows.
type Badge struct {
	Freshness Freshness
	Now       time.Time
	Name      string // the database's; empty unless its owner wants it shown
}

// Label is what the left half of the picture says.
func (b Badge) Label() string { return cmp.Or(b.Name, "database") + " backup" }
