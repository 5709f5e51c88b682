package remora

import "time"

// Outcome is what came of one occurrence of a schedule. Each has exactly one in the end.
type Outcome string

// The outcomes.
const (
	OutcomePending   Outcome = "pending"   // its backup is queued or running
	OutcomeSucceeded Outcome = "succeeded" // its backup was verified
	OutcomeFailed    Outcome = "failed"    // its backup ended without a good archive; the reason is the backup's
	OutcomeSkipped   Outcome = "skipped"   // there was no backup, or it was canceled; the reason says why
)

// OutcomeOf is what a backup's state means for the occurrence that asked for it.
func OutcomeOf(s BackupState) Outcome {
	switch s {
	case BackupQueued, BackupRunning:
		return OutcomePending
	case BackupVerified, BackupProven, BackupExpired, BackupDeleted: // what has expired was kept until then
		return OutcomeSucceeded
	case BackupCanceled:
		return OutcomeSkipped
	}
	return OutcomeFailed
}

// Why an occurrence was skipped. These are the reasons of occurrences alone: no run has them.
const (
	ReasonMissed       Reason = "missed"
	ReasonPaused       Reason = "paused"
	ReasonStillRunning Reason = "still_running"
	ReasonPlanInterval Reason = "plan_interval"
	ReasonRefused      Reason = "database_refused"
)

var skips = map[Reason]verdict{
	ReasonMissed:       {"Our scheduler was down when this was due, or was late by more than one of these times. The newest of those that it missed was made up for.", ActorNobody, false},
	ReasonPaused:       {"The schedule was paused.", ActorCustomer, false},
	ReasonStillRunning: {"Another backup of this database was still queued or running.", ActorNobody, false},
	ReasonPlanInterval: {"The plan allows no more backups in that time. Choose times that are further apart, or a larger plan.", ActorCustomer, false},
	ReasonRefused:      {"What was attached must not be used, so nothing was backed up. The database's page says what to do.", ActorCustomer, false},
}

// Due is what is asked of an occurrence when its time has come.
type Due struct {
	Database DatabaseState
	Paused   bool
	Removed  bool // its add-on is being removed
	Newest   bool // of those that are due at once
}

// Skip says why an occurrence gets no backup; ReasonNone where it gets one.
func (d Due) Skip() Reason {
	switch {
	case d.Removed:
		return ReasonDeprovisioned
	case d.Paused:
		return ReasonPaused
	case d.Database == DatabaseDetached:
		return ReasonDetached
	case d.Database == DatabaseRefused:
		return ReasonRefused
	case !d.Newest:
		return ReasonMissed
	}
	return ReasonNone
}

// Pause is a person's word that a schedule is to do nothing for now.
type Pause struct {
	At  time.Time
	By  string
	Why string // may be empty
}

// Schedule is when a database is backed up, and what came of it.
type Schedule struct {
	Now       time.Time // the database's clock
	Rule      Rule
	Plan      Plan
	NextRunAt time.Time // the next occurrence, also of a paused schedule
	Pause     *Pause    // nil unless paused
	ChangedAt time.Time // zero while it is the default
	ChangedBy string
	Last      []Occurrence // newest first
}

// Occurrence is one time at which a schedule was due.
type Occurrence struct {
	At      time.Time
	Outcome Outcome
	Reason  Reason
	Backup  BackupID  // empty where there was none
	EndedAt time.Time // zero while pending
}
