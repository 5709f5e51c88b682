package remora

import "time"

// Origin is what a backup is of, and what held for it when it was made: all that its manifest must say beside the archive for
// our database's rows to be made again from the bucket. Its JSON is read by later releases; what they lack they take as
// never said.
type Origin struct {
	Addon    OriginAddon    `json:"addon"`
	Database OriginDatabase `json:"database"`
	Backup   OriginBackup   `json:"backup"`
}

// OriginAddon is the add-on of a backup.
type OriginAddon struct {
	Name        string    `json:"name"`
	Plan        string    `json:"plan"`
	Region      string    `json:"region"`
	HelperAppID string    `json:"helper_app_id,omitempty"`
	HelperApp   string    `json:"helper_app,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	Sealing     *Sealing  `json:"sealing,omitempty"` // where somebody has set whose keys open archives
}

// OriginDatabase is the database of a backup, as Heroku and we know it.
type OriginDatabase struct {
	ID         DatabaseID `json:"id"`
	AddonID    string     `json:"addon_id"`
	Addon      string     `json:"addon"`
	OwnerApp   string     `json:"owner_app,omitempty"`
	Attachment string     `json:"attachment,omitempty"`
	Credential string     `json:"credential,omitempty"`
	Beside     string     `json:"beside,omitempty"`
	Plan       string     `json:"plan,omitempty"` // of the Postgres add-on
	FoundAt    time.Time  `json:"found_at"`
	Schedule   *Rule      `json:"schedule,omitempty"`
	// Retention is what was in force where somebody had set it, by SetBy at SetAt; without it the plan's default was.
	Retention *Retention `json:"retention,omitempty"`
	SetBy     string     `json:"set_by,omitempty"`
	SetAt     time.Time  `json:"set_at,omitzero"`
}

// OriginBackup is what became of the backup when its archive was stored.
type OriginBackup struct {
	State       BackupState `json:"state"`
	Reason      Reason      `json:"reason,omitempty"`
	Detail      string      `json:"detail,omitempty"`
	RequestedBy string      `json:"requested_by,omitempty"`
	QueuedAt    time.Time   `json:"queued_at"`
	StartedAt   time.Time   `json:"started_at,omitzero"`
	ClientMajor int         `json:"client_major,omitempty"`
	Rows        int64       `json:"rows"` // or RowsUnknown
	PeakMemory  int64       `json:"peak_memory,omitempty"`
}

// Hold is a time in which nothing is deleted, whoever asks, until an operator ends it.
type Hold struct {
	Since   time.Time // zero where there was none
	Because string
	EndedAt time.Time // zero while it is in force
}

// InForce tells whether nothing may be deleted.
func (h Hold) InForce() bool { return !h.Since.IsZero() && h.EndedAt.IsZero() }
