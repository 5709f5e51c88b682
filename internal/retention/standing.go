package retention

import (
	"slices"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// Standing is how a database's backups are kept, and all that is needed to decide on them: of each backup, which it is, its
// state and times, and what is stored of it.
type Standing struct {
	Now     time.Time // the database's clock
	Plan    remora.Plan
	Current remora.Retention
	SetBy   string    // empty while it is the plan's default
	SetAt   time.Time // zero while it is the plan's default
	Pending *Pending  // nil where none waits
	Backups []remora.Backup
	Locks   []remora.Lock // newest first; released ones too
	Forget  *Forget       // nil where nobody asked for the database to be forgotten
}

// Forget is a person's word that nothing of a detached database is wanted any more.
type Forget struct {
	By string
	At time.Time // from then on everything goes that is not locked
}

// Pending is a retention that was set and is not in force yet.
type Pending struct {
	remora.Retention
	SetBy       string
	SetAt       time.Time
	EffectiveAt time.Time
}

// Decide says what is to become of each backup now, newest first. While another retention waits to come into force,
// what either of the two keeps stays: the old one so that nothing goes by a change, the new one so that nothing goes that
// a person has just asked to keep. Of a forgotten database nothing stays but what is locked.
func (s Standing) Decide() ([]Verdict, error) {
	out, err := s.decide()
	if err != nil || s.Forget == nil || s.Forget.At.After(s.Now) {
		return out, err
	}
	held := s.held()
	for i := range out {
		if v := &out[i]; v.Fate != Removed && v.Backup.Stored() && !slices.Contains(held, v.Backup.ID) {
			v.Fate, v.Reasons = Removed, []Reason{{Because: Forgotten}}
		}
	}
	return out, nil
}

func (s Standing) decide() ([]Verdict, error) {
	out, err := s.By(s.Current)
	if err != nil || s.Pending == nil {
		return out, err
	}
	next, err := s.By(s.Pending.Retention)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Fate == Removed {
			out[i] = next[i]
		}
	}
	return out, nil
}

// Of says what is to become of one backup; false where nothing of it is stored, or it has gone.
func (s Standing) Of(b remora.BackupID) (Verdict, bool, error) {
	all, err := s.Decide()
	if err != nil {
		return Verdict{}, false, err
	}
	for i := range all { // of which there may be thousands
		if v := &all[i]; v.Backup.ID == b && v.Fate != NotCounted {
			return *v, true, nil
		}
	}
	return Verdict{}, false, nil
}

// By says what is to become of each backup by another retention, newest first.
func (s Standing) By(r remora.Retention) ([]Verdict, error) {
	return Decide(r, s.Plan, s.Now, s.Backups, s.held())
}

// held are the backups whose locks hold.
func (s Standing) held() []remora.BackupID {
	var held []remora.BackupID
	for _, l := range s.Locks {
		if l.Holds(s.Now) {
			held = append(held, l.Backup)
		}
	}
	return held
}

// Preview is what another retention would remove of what stays now.
func (s Standing) Preview(r remora.Retention) ([]Verdict, error) {
	now, err := s.Decide()
	if err != nil {
		return nil, err
	}
	then, err := s.By(r)
	if err != nil {
		return nil, err
	}
	var out []Verdict
	for i, v := range then {
		if v.Fate == Removed && now[i].Fate == Kept {
			out = append(out, v)
		}
	}
	return out, nil
}

// IsSet tells whether a person has set this retention already, be it in force or still to come into force.
func (s Standing) IsSet(r remora.Retention) bool {
	if s.Pending != nil {
		return s.Pending.Retention == r
	}
	return s.SetBy != "" && s.Current == r
}

// Lock returns a backup's lock; nil where it was never locked, or was released.
func (s Standing) Lock(b remora.BackupID) *remora.Lock {
	for _, l := range s.Locks {
		if l.Backup == b && l.ReleasedAt.IsZero() {
			return &l
		}
	}
	return nil
}

// LocksLeft is how many more backups of the database the plan lets a person lock. What was released counts while it holds.
func (s Standing) LocksLeft() int {
	n := s.Plan.Locks
	for _, l := range s.Locks {
		if l.Holds(s.Now) && s.stored(l.Backup) {
			n--
		}
	}
	return max(n, 0)
}

func (s Standing) stored(id remora.BackupID) bool {
	for _, b := range s.Backups {
		if b.ID == id {
			return b.Stored()
		}
	}
	return false
}

// Going are the verdicts of Decide that let a backup go.
func (s Standing) Going() ([]Verdict, error) {
	all, err := s.Decide()
	return slices.DeleteFunc(all, func(v Verdict) bool { return v.Fate != Removed }), err
}

// MayLock tells whether the plan lets a person lock a backup; its error says what to do.
func (s Standing) MayLock(b remora.BackupID) error {
	for _, l := range s.Locks {
		if l.Backup == b && l.Holds(s.Now) { // it counts already
			return nil
		}
	}
	if s.LocksLeft() > 0 {
		return nil
	}
	return &remora.Error{Kind: remora.KindPlanLimit, Public: "Plan " + s.Plan.Name + " lets you lock " + remora.Count(s.Plan.Locks, "backup") +
		" of a database, and that many are locked; one that you release counts for another day. Release one that may go, download this one and keep it elsewhere, or choose a larger plan."}
}
