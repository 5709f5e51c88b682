package remora

import "slices"

// ResourceState is where one installed add-on stands.
type ResourceState string

// The states of a resource. Removed ones stay as tombstones: Heroku delivers at least once, so a provision
// may arrive after the removal and must not revive it.
const (
	ResourceProvisioning   ResourceState = "provisioning"    // Heroku was answered 202; the token is not ours yet
	ResourceActive         ResourceState = "active"          // token exchanged, key made, REMORA_BACKUP_ID set
	ResourceNeedsAttention ResourceState = "needs_attention" // somebody must act; the resource's Attention says who and how
	ResourceDeprovisioned  ResourceState = "deprovisioned"   // removed; access is revoked
)

// DatabaseState is what we know of one attachment on a Helper App.
type DatabaseState string

// The states of a database.
const (
	DatabaseActive   DatabaseState = "active"   // a named credential is attached; it is backed up
	DatabaseRefused  DatabaseState = "refused"  // what is attached must not be used; Problem says why and what to do
	DatabaseDetached DatabaseState = "detached" // no longer attached; its backups stay
)

// BackupState is where one backup stands.
type BackupState string

// The states of a backup. Verified means: pg_dump ended well, the archive was walked to its end and read
// whole by stock pg_restore, and the stored objects match the digests taken while writing. An archive in a format newer
// than our reader is not walked: its rows are RowsUnknown, and its page says so. Proven means: restored and compared as
// well.
const (
	BackupQueued     BackupState = "queued"
	BackupRunning    BackupState = "running"
	BackupVerified   BackupState = "verified"
	BackupProven     BackupState = "proven"
	BackupFailed     BackupState = "failed"
	BackupCanceled   BackupState = "canceled"
	BackupIncomplete BackupState = "incomplete" // stored whole, with a hole: what pg_dump said is unexplained, or its copy differs
	BackupExpired    BackupState = "expired"
	BackupDeleted    BackupState = "deleted"
)

var backupSteps = map[BackupState][]BackupState{
	BackupQueued:     {BackupRunning, BackupFailed, BackupCanceled},
	BackupRunning:    {BackupQueued, BackupVerified, BackupIncomplete, BackupFailed, BackupCanceled},
	BackupVerified:   {BackupProven, BackupIncomplete, BackupFailed, BackupExpired},
	BackupProven:     {BackupIncomplete, BackupFailed, BackupExpired},
	BackupIncomplete: {BackupFailed, BackupExpired},
	BackupFailed:     {BackupExpired}, // where something is stored of it that was found damaged
	BackupExpired:    {BackupDeleted},
}

// May tells whether a backup in state s may go to next.
func (s BackupState) May(next BackupState) bool { return slices.Contains(backupSteps[s], next) }

// Ended tells whether no run will change the backup any more.
func (s BackupState) Ended() bool { return s != BackupQueued && s != BackupRunning }

// Good tells whether the backup can be counted on and downloaded.
func (s BackupState) Good() bool { return s == BackupVerified || s == BackupProven }

// Restorable tells whether there is a whole archive to download. An incomplete backup has one, with a hole
// that its page describes.
func (s BackupState) Restorable() bool { return s.Good() || s == BackupIncomplete }

// BackupFilter is a way to look at some of a database's backups, by the name that addresses give it; empty for all.
type BackupFilter string

var backupFilters = map[BackupFilter][]BackupState{
	"good": {BackupVerified, BackupProven}, "failed": {BackupFailed}, "incomplete": {BackupIncomplete}, "canceled": {BackupCanceled},
	"removed": {BackupExpired, BackupDeleted},
}

// States are those of the backups that the filter lets through; none where it lets all.
func (f BackupFilter) States() []BackupState { return backupFilters[f] }

// RunState is where one attempt at a backup stands.
type RunState string

// The states of a run. Lost means that its lease ended without a word from the worker.
const (
	RunClaimed    RunState = "claimed"
	RunDumping    RunState = "dumping"
	RunConfirming RunState = "confirming"
	RunDone       RunState = "done"
	RunFailed     RunState = "failed"
	RunLost       RunState = "lost"
)
