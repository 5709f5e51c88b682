package remora

import (
	"strings"
	"time"
)

// ProofKind is how what is stored of a backup is looked at.
type ProofKind string

// The kinds of proofs.
const (
	ProofReread  ProofKind = "reread"  // every stored object is read and held against the digests taken while writing
	ProofRestore ProofKind = "restore" // the archive is restored into an empty database and compared with what was counted
)

// ProofState is where one proof stands.
type ProofState string

// The states of a proof. A lost one could not be made, again and again, for reasons that say nothing of the backup; it
// is asked for anew.
const (
	ProofQueued     ProofState = "queued"
	ProofRunning    ProofState = "running"
	ProofPassed     ProofState = "passed"
	ProofFailed     ProofState = "failed"     // what is stored is not what was written, or does not restore to what was read
	ProofImpossible ProofState = "impossible" // it cannot be told here, and Detail says why
	ProofLost       ProofState = "lost"
)

// Ended tells whether nobody will change the proof any more.
func (s ProofState) Ended() bool { return s != ProofQueued && s != ProofRunning }

// Proof is one look at a backup.
type Proof struct {
	ID          ProofID
	Backup      BackupID
	Database    DatabaseID
	Kind        ProofKind
	RequestedBy string // empty where it was due
	ProofOutcome
	Attempts  int
	QueuedAt  time.Time
	StartedAt time.Time // zero until the first attempt
	EndedAt   time.Time // zero until it has ended
	Current   string    // what is being done; empty unless it runs
	Done      int64     // bytes read so far
}

// ProofOutcome is what a proof found.
type ProofOutcome struct {
	State         ProofState
	Reason        Reason // why it failed, or is tried again
	Detail        string // what differs, or why it cannot be told, in words
	LeftOut       string // what was not restored or not compared, in words; empty where nothing was left out
	ServerVersion string // that it was restored into
	Tables        int
	Rows          int64 // compared
	Bytes         int64 // compared of rows, or read again
	Objects       bool  // it was compared which objects there are
}

// How long something may be due before it is called overdue.
const (
	ProveGrace  = day
	RereadGrace = 5 * day
)

// NextProof is when a database whose newest backup was restored at that time is due again.
func (p Plan) NextProof(last time.Time) time.Time { return last.Add(p.ProveEvery) }

// NextReread is when a backup that was written, or read again, at that time is due again.
func (p Plan) NextReread(last time.Time) time.Time { return last.Add(p.RereadEvery) }

// ProofOverdue tells whether a restore was due and was not made within its grace.
func (d Database) ProofOverdue(now time.Time) bool {
	return d.State == DatabaseActive && overdue(d.ProveAt, now, ProveGrace)
}

// RereadOverdue tells whether a backup was due to be read again and was not within its grace.
func (d Database) RereadOverdue(now time.Time) bool { return overdue(d.RereadAt, now, RereadGrace) }

// OverdueSays is what is overdue, in sentences.
func (d Database) OverdueSays(now time.Time) string {
	const at = "2 January 2006, 15:04 UTC"
	var all []string
	if d.ProofOverdue(now) {
		all = append(all, "Its newest backup was to be restored and compared by "+d.ProveAt.UTC().Format(at)+", and was not.")
	}
	if d.RereadOverdue(now) {
		all = append(all, "What is stored of its backups was to be read again by "+d.RereadAt.UTC().Format(at)+", and was not.")
	}
	return strings.Join(all, " ")
}

func overdue(due, now time.Time, grace time.Duration) bool {
	return !due.IsZero() && now.Sub(due) > grace
}

// ProofLimit is how long restoring and comparing an archive of so many bytes may take: a little while, and one second for
// each MB of what is compressed. An archive that only waits is given up soon.
func ProofLimit(size int64) time.Duration {
	return min(15*time.Minute+time.Duration(size/1_000_000)*time.Second, 8*time.Hour)
}

// Consequence is what a proof's end means.
type Consequence struct {
	State    BackupState // of the backup from now on
	Reason   Reason
	Anew     bool // another backup of the database is asked for at once
	Untested bool // nothing waits to be restored until there is another verified backup
}

// Consequence tells what a proof of that kind means for a backup in that state.
func (o ProofOutcome) Consequence(kind ProofKind, s BackupState) (c Consequence, changed bool) {
	switch {
	case o.State == ProofFailed && o.Reason == ReasonObjectDamaged && s.Restorable():
		return Consequence{State: BackupFailed, Reason: ReasonObjectDamaged, Anew: true}, true
	case kind == ProofRestore && o.State == ProofPassed && s.May(BackupProven):
		return Consequence{State: BackupProven}, true
	case kind == ProofRestore && o.State == ProofFailed && s.Restorable():
		return Consequence{State: BackupIncomplete, Reason: ReasonRestoreDiffers, Untested: true}, true
	}
	return Consequence{State: s}, false
}
