package remora

import "time"

// Summary is one of an overview's databases, and how it stands.
type Summary struct {
	Database
	Now      time.Time
	Backups  []Backup // the newest, newest first
	LastGood *Backup  // nil where there is none
	Running  *Backup  // the one that is queued or running; nil where there is none
	Stored   Holding
	Audit    *Audit            // the newest; nil where nobody has looked
	Known    []Acknowledgement // what a person has answered for
	Checking bool              // somebody has asked for a look
}

// checkGivenUp is how long a look that was asked for is waited for.
const checkGivenUp = 2 * time.Minute

// Summary returns how one of the overview's databases stands.
func (o Overview) Summary(d Database) Summary {
	s := Summary{Database: d, Now: o.Now, Stored: o.Stored[d.ID], Known: o.Known[d.ID]}
	for _, b := range o.Backups {
		if b.Database != d.ID {
			continue
		}
		s.Backups = append(s.Backups, b)
		if s.Running == nil && !b.State.Ended() {
			s.Running = &b
		}
	}
	if good, ok := o.LastGood[d.ID]; ok {
		s.LastGood = &good
	}
	if a, ok := o.Audits[d.ID]; ok {
		s.Audit = &a
	}
	s.Checking = !d.CheckAskedAt.IsZero() && o.Now.Sub(d.CheckAskedAt) < checkGivenUp
	return s
}

// Live tells whether it will change by itself soon.
func (s Summary) Live() bool { return s.Running != nil || s.Checking }

// Failing is the newest backup where it ended badly; nil where it did not.
func (s Summary) Failing() *Backup {
	for _, b := range s.Backups {
		if b.State == BackupCanceled {
			continue
		}
		if b.State == BackupFailed || b.State == BackupIncomplete || b.Reason != ReasonNone && !b.State.Good() {
			return &b
		}
		return nil
	}
	return nil
}

// Troubled tells whether the report has something that somebody must see.
func (s Summary) Troubled() bool { return s.Audit != nil && s.Audit.Verdict(s.Known) != VerdictGood }

// Refused tells whether nothing more is backed up with the credential as it is.
func (s Summary) Refused() bool {
	if s.Audit == nil {
		return false
	}
	v := s.Audit.Verdict(nil)
	return v == VerdictWrites || v == VerdictBlind
}

// Health is how a database stands, in one word and in a sentence.
type Health struct {
	State string // one of FreshnessStates, or of a database that is not backed up its DatabaseState
	Says  string
}

// Health is how the database stands.
func (d Database) Health() Health {
	switch {
	case d.State == DatabaseRefused:
		return Health{string(d.State), "It is not backed up: what is attached must not be used."}
	case d.State == DatabaseDetached:
		return Health{string(d.State), "It is not backed up any more: no credential is attached."}
	case d.Pause != nil:
		return Health{string(Paused), "Its schedule is paused: nothing is backed up until somebody resumes it."}
	case d.Freshness == nil:
		return Health{string(Never), "There is no verified backup yet."}
	}
	return Health{string(d.Freshness.State), d.Freshness.Says()}
}
