package remora

import (
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// ConfigVar is what we set on the Helper App: which resource it is. The manifest declares it.
const ConfigVar = "REMORA_BACKUP_ID"

// Provision is what Heroku asks for when a customer creates the add-on.
type Provision struct {
	ID             ResourceID
	Name           string // the add-on's name, such as remora-backup-clean-40312
	Plan           string // slug
	Region         string // kept as given
	Grant          redact.Secret
	GrantExpiresAt time.Time     // zero where Heroku sent none
	LogInput       redact.Secret // where the Helper App's log takes lines; empty where Heroku sent none
}

// Resource is one installed add-on.
type Resource struct {
	ID        ResourceID
	Name      string
	Plan      string
	Region    string
	State     ResourceState
	Attention Reason // why somebody must act; empty where nobody must
	HelperApp string // the app it is installed on; empty until the token is exchanged

	HelperAppID string // Heroku's id of that
	CreatedAt   time.Time
	ReadyAt     time.Time // zero until ready
	CheckedAt   time.Time // when a look at its attachments was last begun, or is due; zero until then
	ListedAt    time.Time // when its attachments were last seen; zero until then

	ShrinksFrom string    // the larger plan whose limits hold until ShrinksAt; empty where nothing is pending
	ShrinksAt   time.Time // zero where nothing is pending
	OverSince   time.Time // since when more is stored than the plan includes, as the last run found it; zero where it is not
}

// Database is the target of one attached credential.
type Database struct {
	ID            DatabaseID
	AddonID       string   // Heroku's id of the Postgres add-on
	Addon         string   // its name, such as postgresql-curved-12345
	OwnerApp      string   // the app that the Postgres add-on belongs to
	Attachment    string   // the attachment's name on the Helper App; its config var is this and _URL
	Beside        string   // the attachment, beside that one, that carries the owner's credential; empty where none does
	Also          []string // the attachments, beside that one, that carry other read-only credentials, which are not used; by name
	Credential    string   // the credential's name; empty for the owner's own, which is refused
	Plan          string   // of the Postgres add-on, such as heroku-postgresql:standard-0; empty where it is not known
	State         DatabaseState
	Problem       string // where refused: why, and what to do
	ServerVersion string // empty until the first run
	SizeBytes     int64
	FoundAt       time.Time
	SeenAt        time.Time
	NextRunAt     time.Time // when the next backup is due; zero where none is: detached, refused or paused
	Rule          Rule      // its schedule; zero where it never had one
	Pause         *Pause    // of its schedule; nil unless paused
	CheckAskedAt  time.Time // zero where no check of its credential is under way

	ProveAt   time.Time // when its newest verified backup is to be restored; zero where nothing waits to be
	RereadAt  time.Time // when the first of its backups is to be read again; zero where there is none
	LastProof *Proof    // the newest restore of any of its backups; nil where there is none

	Freshness *Freshness // nil where it never had a schedule

	ForgetAt time.Time // when all its backups begin to go, because somebody asked for it; zero where nobody did
	ForgetBy string
}

// Backup is the customer's thing: one state of one database.
type Backup struct {
	ID             BackupID
	Database       DatabaseID
	Addon          string // the database's add-on name
	OwnerApp       string
	State          BackupState
	Reason         Reason // why it failed, or why it is being tried again
	Detail         string // pg_dump's own words, scrubbed
	Fix            string // SQL to paste, run as the database's owner; may be empty
	RequestedBy    string // empty where the schedule asked for it
	Epoch          int    // of its newest run
	Attempts       int    // runs so far
	ServerVersion  string
	ClientVersion  string // pg_dump's
	ClientMajor    int    // it restores into a server of this major or later
	ArchiveVersion string
	Tables         int
	Rows           int64 // of all tables, or RowsUnknown
	PlainSize      int64 // bytes of the archive, which is what a link serves
	StoredSize     int64 // bytes in the store
	QueuedAt       time.Time
	StartedAt      time.Time // zero until the first run
	EndedAt        time.Time // zero while queued or running
	RetryAt        time.Time // zero unless it is queued for another attempt
	DamagedAt      time.Time // when it was found damaged; zero unless it is, and of what was found before this was noted
	ExpiredAt      time.Time // zero unless nothing keeps it any more
	ExpiredBecause string    // why nothing does, in words
	DeleteAt       time.Time // when what is stored of it goes; zero unless it has expired
	DeletedAt      time.Time // zero unless that is gone
	ObjectLock     ObjectLock
	OpenedBy       []string  // fingerprints of its owner's keys that open it, beside ours unless Alone
	Alone          bool      // they alone open it: we cannot
	Bucket         BucketID  // its owner's, in which it lies; empty where it is ours
	Progress       *Progress // nil unless a worker holds it
	Impact         *Impact   // of its newest run; nil where a list does not ask for it, or none was noted
}

// Damaged tells whether what is stored of the backup was found not to be what was written.
func (b Backup) Damaged() bool { return b.State == BackupFailed && b.Reason == ReasonObjectDamaged }

// Stored tells whether an archive of the backup is stored and nothing has let it go, be it damaged.
func (b Backup) Stored() bool { return b.State.Restorable() || b.Damaged() }

// Impact is what a run cost the customer's database.
type Impact struct {
	Held    time.Duration // how long its snapshot was held, which keeps VACUUM from what was deleted since; 0 where it had none
	Watched bool          // somebody looked whether sessions waited for it; else the rest is not known
	Blocked int           // the most sessions that waited at a time
	Waited  time.Duration // how long one at least waited, in all
}

// Progress is where a live run stands.
type Progress struct {
	State       RunState
	Bytes       int64 // read from pg_dump so far
	BytesOut    int64 // compressed, sealed and given to the store so far
	TablesDone  int
	TablesTotal int
	Current     string // the table being read; may be empty
	StartedAt   time.Time
}

// Link is a short-lived way to download a backup. The token itself is shown once and never stored.
type Link struct {
	ID        LinkID
	Backup    BackupID
	MadeBy    string
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero unless revoked
	UsedAt    time.Time // when it was last used, to the minute; zero unless it was
	UsedBy    string    // by whom, as far as an address tells
}

// Session is one person's visit to one resource's pages.
type Session struct {
	Resource  ResourceID
	UserID    string // empty where Heroku did not sign it
	Email     string // empty where Heroku did not sign it
	CreatedAt time.Time
	SeenAt    time.Time
}

// Person is who the audit log and the pages name: the address where Heroku signed one, else that it was somebody of the
// app.
func (s Session) Person() string {
	if s.Email != "" {
		return s.Email
	}
	return "a member of the app"
}

// Access is how much opens something of a resource's at a moment.
type Access struct {
	Links, Visits, Tokens int
}

// Overview is everything the first page shows.
type Overview struct {
	Now       time.Time // the database's clock, which all ages are told by
	Resource  Resource
	Databases []Database
	Backups   []Backup                         // the newest of each database, newest first
	Audits    map[DatabaseID]Audit             // the newest of each database that has one
	Known     map[DatabaseID][]Acknowledgement // what a person has answered for
	LastGood  map[DatabaseID]Backup            // the newest verified or proven one of each database that has one
	Stored    map[DatabaseID]Holding           // what lies in the store
}

// Object is one stored part of a backup. SHA256 is of the stored (sealed) bytes.
type Object struct {
	Name      string // body-001, head, manifest
	Size      int64
	PlainSize int64 // 0 for the manifest, which is not part of the archive
	SHA256    []byte
}

// Kept is what is written down of a backup whose archive is stored and confirmed.
type Kept struct {
	ServerVersion  string
	ClientVersion  string
	ClientMajor    int
	ArchiveVersion string
	Tables         int
	Rows           int64 // or RowsUnknown
	PlainSize      int64
	PeakMemory     int64 // bytes that the run took at most, its children's included and its upload's not; 0 where nobody measured
	Objects        []Object
	ObjectLock     ObjectLock
	OpenedBy       []string // as Backup's
	Alone          bool     // as Backup's
	Unexplained    string   // pg_dump's words that we cannot explain; makes the backup incomplete
	LeftOut        string   // what pg_dump left out while it said that all is well; makes the backup incomplete
	Witness        Witness
	Inventory      Inventory // of the snapshot; nil where it could not be taken
	Impact         Impact    // zero where the run had no snapshot
}

// Stored is how much lies in the store, in bytes.
func (k Kept) Stored() (bytes int64) {
	for _, o := range k.Objects {
		bytes += o.Size
	}
	return bytes
}

// Detail is what a page says beside the outcome; empty where all is well.
func (k Kept) Detail() string { return strings.TrimSpace(k.LeftOut + "\n\n" + k.Unexplained) }

// Outcome is the state that the backup ends in, and why where that is not verified.
func (k Kept) Outcome() (BackupState, Reason) {
	switch {
	case k.LeftOut != "": // which explains what pg_dump may have said
		return BackupIncomplete, ReasonLeftOut
	case k.Unexplained != "":
		return BackupIncomplete, ReasonUnexplainedOutput
	}
	return BackupVerified, ReasonNone
}

// RowsUnknown stands for the rows of an archive that could not be looked into: it has a format newer than our reader,
// or was made before rows were counted.
const RowsUnknown = -1

// Holding is how much of one database lies in the store.
type Holding struct {
	Backups int
	Bytes   int64
}

// BackupView is everything that the pages of one backup show.
type BackupView struct {
	Now      time.Time // the database's clock, which all ages are told by
	Resource Resource
	Backup   Backup
	Place    Place     // its owner's bucket, in which it lies; zero where that is ours
	Copies   []Copy    // in its owner's buckets, the newest first
	CanCopy  bool      // a copy of it can be asked for now, and is neither there nor asked for
	Reads    string    // the credential that its database is read with; empty where that is the owner's
	Size     int64     // of its database, in bytes, when it was last looked at; 0 where nobody has looked
	Before   *Backup   // the good one of the same database before it; nil where there is none
	Audit    *Audit    // nil where none was made
	Proofs   []Proof   // newest first
	ProveAt  time.Time // when it is to be restored and compared by itself; zero where it is not, or is being
	Links    []Link    // newest first
	Objects  []Object
}

// CopiesToRead are the copies that it can be read from.
func (v BackupView) CopiesToRead() []Copy { return CopiesToRead(v.Copies) }

// Rate is how many bytes a second were read so far; 0 where that cannot be told yet.
func (v BackupView) Rate() int64 {
	if v.Backup.Progress == nil {
		return 0
	}
	took := v.Now.Sub(v.Backup.Progress.StartedAt)
	if took < time.Second {
		return 0
	}
	return int64(float64(v.Backup.Progress.Bytes) / took.Seconds())
}

// Left is about how long it will take yet, as the backup before it went; 0 where that cannot be told. What is stored of
// that one is what the stored bytes of this one are held against.
func (v BackupView) Left() time.Duration {
	x, last := v.Backup.Progress, v.Before
	if x == nil || last == nil || last.StoredSize == 0 || x.BytesOut == 0 {
		return 0
	}
	took := v.Now.Sub(x.StartedAt)
	done := float64(x.BytesOut) / float64(last.StoredSize)
	if done < .02 || done > .99 {
		return max(0, last.EndedAt.Sub(last.StartedAt)-took)
	}
	return time.Duration(float64(took) * (1 - done) / done)
}

// ProofDue tells whether it is to be restored and compared now, and nobody has asked a verifier for it yet.
func (v BackupView) ProofDue() bool { return !v.ProveAt.IsZero() && !v.ProveAt.After(v.Now) }

// Key is what a stored object's name begins with.
func (v BackupView) Key() string {
	return v.Place.Prefix + "r/" + string(v.Resource.ID) + "/b/" + string(v.Backup.ID) + "/"
}

// Needs is what restoring a backup needs that the archive cannot bring.
type Needs struct {
	Extensions []string // which it creates
	Superuser  []string // objects that only a superuser can make, or that call other servers
	Schemas    []string // with something in them that a credential must be granted to read
}

// Look is which of a database's backups are looked at. Its zero value is the newest of all.
type Look struct {
	States []BackupState // none for all
	Before time.Time     // those asked for earlier; zero for the newest
	Most   int
}

// DatabaseView is everything that the page of one database shows.
type DatabaseView struct {
	Overview          // of this database alone; its backups are those looked at, newest first
	More     bool     // there are earlier ones
	Trend    []Backup // its newest good ones, newest first
	Counts   map[BackupState]int
}
