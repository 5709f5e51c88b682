// Package jobargs is what the web process and the workers tell each other: the arguments of every River job,
// their kinds, queues and attempts.
//
// A job only starts or resumes something whose truth is a row of ours, so its arguments are identifiers and
// never hold a credential, a token or an address.
//
// No job is unique by River's means: a job of a process that was killed counts as running until River rescues
// it, and would keep all later ones of its kind away for that long, without an error. What must happen once
// is claimed as a row.
package jobargs

import (
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/remora"
)

// The queues. Backups are long and heavy, calls to Heroku short and pressing, the service's own rounds
// short and rare; apart, none of them waits for another. Proofs are worked by verifiers alone, which have server
// programs and a disk. Backups, proofs and copies have a queue for each pool.
const (
	QueueBackups = "backups"
	QueueProofs  = "proofs"
	QueueCopies  = "copies" // of backups, to customers' buckets: long too, and none of them keeps a backup waiting
	QueueHeroku  = "heroku"
	QueueService = "service"
	QueueDeleter = "deleter" // worked by the deleter alone, whose storage key may delete
	QueueNotify  = "notify"  // worked by web, so that news goes out with every worker stopped
)

// Backups is the queue of a pool's backups, and Proofs that of its proofs. PoolUS's have the plain names, under which all
// lay before there were pools: what an older release queues, and what is queued when one is put back, is worked.
func Backups(p remora.Pool) string { return ofPool(QueueBackups, p) }

// Proofs is as Backups.
func Proofs(p remora.Pool) string { return ofPool(QueueProofs, p) }

// Copies is as Backups.
func Copies(p remora.Pool) string { return ofPool(QueueCopies, p) }

func ofPool(queue string, p remora.Pool) string {
	if p == "" || p == remora.PoolUS {
		return queue
	}
	return queue + "_" + string(p)
}

// Queues lists them, those of every pool among them.
func Queues() []string {
	out := []string{QueueHeroku, QueueService, QueueDeleter, QueueNotify}
	for _, p := range remora.Pools() {
		out = append(out, Backups(p), Proofs(p), Copies(p))
	}
	return out
}

// attempts bounds the tries of a short job; River waits longer before each (attempt^4 seconds), so the last
// one comes about 2 hours after the first. A backup's tries are counted in our own rows.
const attempts = 10

// MakeReady exchanges the grant, writes REMORA_BACKUP_ID and tells Heroku that the resource is provisioned.
type MakeReady struct {
	Resource remora.ResourceID `json:"resource_id"`
}

// Kind implements river.JobArgs.
func (MakeReady) Kind() string { return "make_ready" }

// InsertOpts implements river.JobArgsWithInsertOpts. The grant is good for five minutes: it goes first.
func (MakeReady) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueHeroku, Priority: 1, MaxAttempts: attempts}
}

// FindDatabases lists what is attached to the Helper App.
type FindDatabases struct {
	Resource remora.ResourceID `json:"resource_id"`
	Asked    bool              `json:"asked,omitempty"` // by a person, not by a round of ours
}

// Kind implements river.JobArgs.
func (FindDatabases) Kind() string { return "find_databases" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (FindDatabases) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueHeroku, Priority: 2, MaxAttempts: 2}
}

// AuditDatabase looks at what a database's credential may do, without a backup.
type AuditDatabase struct {
	Resource remora.ResourceID `json:"resource_id"`
	Database remora.DatabaseID `json:"database_id"`
}

// Kind implements river.JobArgs.
func (AuditDatabase) Kind() string { return "audit_database" }

// InsertOpts implements river.JobArgsWithInsertOpts. A person waits for it, and can ask again.
func (AuditDatabase) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueHeroku, Priority: 2, MaxAttempts: 2}
}

// RunBackup makes one attempt at a backup. Attempt tells the jobs of one backup apart.
type RunBackup struct {
	Backup  remora.BackupID `json:"backup_id"`
	Attempt int             `json:"attempt"`
	Pool    remora.Pool     `json:"-"` // says the queue, when it is inserted
}

// Kind implements river.JobArgs.
func (RunBackup) Kind() string { return "run_backup" }

// InsertOpts implements river.JobArgsWithInsertOpts. River's own attempts only bridge an outage of our
// database at the very start of a run: once it is claimed, every retry is a job of its own.
func (a RunBackup) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Backups(a.Pool), MaxAttempts: attempts}
}

// ProveBackup makes one attempt at restoring a backup and comparing the copy. Attempt tells the jobs of one proof apart.
type ProveBackup struct {
	Proof   remora.ProofID `json:"proof_id"`
	Attempt int            `json:"attempt"`
	Pool    remora.Pool    `json:"-"` // as RunBackup's
}

// Kind implements river.JobArgs.
func (ProveBackup) Kind() string { return "prove_backup" }

// InsertOpts implements river.JobArgsWithInsertOpts, as RunBackup's.
func (a ProveBackup) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Proofs(a.Pool), Priority: 1, MaxAttempts: attempts}
}

// RereadBackup makes one attempt at reading again what is stored of a backup.
type RereadBackup struct {
	Proof   remora.ProofID `json:"proof_id"`
	Attempt int            `json:"attempt"`
	Pool    remora.Pool    `json:"-"` // as RunBackup's
}

// Kind implements river.JobArgs.
func (RereadBackup) Kind() string { return "reread_backup" }

// InsertOpts implements river.JobArgsWithInsertOpts, as RunBackup's.
func (a RereadBackup) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Proofs(a.Pool), Priority: 2, MaxAttempts: attempts}
}

// CopyBackup makes one attempt at copying a backup from our bucket to one of its owner's. Attempt tells the jobs of one copy apart.
type CopyBackup struct {
	Backup  remora.BackupID `json:"backup_id"`
	Bucket  remora.BucketID `json:"bucket_id"`
	Attempt int             `json:"attempt"`
	Pool    remora.Pool     `json:"-"` // as RunBackup's
}

// Kind implements river.JobArgs.
func (CopyBackup) Kind() string { return "copy_backup" }

// InsertOpts implements river.JobArgsWithInsertOpts, as RunBackup's.
func (a CopyBackup) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Copies(a.Pool), MaxAttempts: attempts}
}

// Tick claims due schedules and proofs, takes lost runs back and asks for attachments to be listed.
type Tick struct{}

// Kind implements river.JobArgs.
func (Tick) Kind() string { return "tick" }

// InsertOpts implements river.JobArgsWithInsertOpts. A missed tick is made good by the next.
func (Tick) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueService, Priority: 1, MaxAttempts: 1}
}

// ExpireBackups looks at every database's backups and lets those go that nothing keeps.
type ExpireBackups struct{}

// Kind implements river.JobArgs.
func (ExpireBackups) Kind() string { return "expire_backups" }

// InsertOpts implements river.JobArgsWithInsertOpts. A missed round is made good by the next.
func (ExpireBackups) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueDeleter, Priority: 2, MaxAttempts: 1}
}

// DeleteBackup deletes what is stored of an expired backup.
type DeleteBackup struct {
	Backup remora.BackupID `json:"backup_id"`
}

// Kind implements river.JobArgs.
func (DeleteBackup) Kind() string { return "delete_backup" }

// InsertOpts implements river.JobArgsWithInsertOpts. When River's attempts are used up, the round asks again. The rounds and the removals,
// which are few, go first: deletions wait for customers' stores, and there may be any number of them.
func (DeleteBackup) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueDeleter, Priority: 4, MaxAttempts: attempts}
}

// RemoveResources takes the next steps with what is held of removed add-ons.
type RemoveResources struct{}

// Kind implements river.JobArgs.
func (RemoveResources) Kind() string { return "remove_resources" }

// InsertOpts implements river.JobArgsWithInsertOpts. A missed round is made good by the next.
func (RemoveResources) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueDeleter, Priority: 1, MaxAttempts: 1}
}

// SweepArchives deletes archives that no backup keeps.
type SweepArchives struct{}

// Kind implements river.JobArgs.
func (SweepArchives) Kind() string { return "sweep_archives" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SweepArchives) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueDeleter, Priority: 3, MaxAttempts: 1}
}

// SweepUploads aborts multipart uploads that no live run owns.
type SweepUploads struct{}

// Kind implements river.JobArgs.
func (SweepUploads) Kind() string { return "sweep_uploads" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SweepUploads) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueService, Priority: 2, MaxAttempts: 1}
}

// PlanNews looks at what waits to be told of a resource and makes messages of it.
type PlanNews struct {
	Resource remora.ResourceID `json:"resource_id"`
}

// Kind implements river.JobArgs.
func (PlanNews) Kind() string { return "plan_news" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (PlanNews) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueNotify, Priority: 1, MaxAttempts: attempts}
}

// deliveryAttempts bounds the tries of a message; jobworkers says how far apart they are.
const deliveryAttempts = 8

// DeliverNews sends one message to one channel.
type DeliverNews struct {
	Delivery remora.DeliveryID `json:"delivery_id"`
}

// Kind implements river.JobArgs.
func (DeliverNews) Kind() string { return "deliver_news" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (DeliverNews) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueNotify, Priority: 2, MaxAttempts: deliveryAttempts}
}

// pingAttempts bounds the tries of a ping, some three hours: after that the customer's own watch has noticed by itself.
const pingAttempts = 6

// Ping calls a customer's own watch about one backup.
type Ping struct {
	Resource remora.ResourceID `json:"resource_id"`
	Database remora.DatabaseID `json:"database_id"`
	About    remora.PingKind   `json:"about"`
	Asked    string            `json:"asked"` // tells it from a later one
}

// Kind implements river.JobArgs.
func (Ping) Kind() string { return "ping" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (Ping) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueNotify, Priority: 3, MaxAttempts: pingAttempts}
}
