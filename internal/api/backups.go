package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/contents"
	"github.com/remora-backup/remora/internal/remora"
)

// Backup is one state of one database.
type Backup struct {
	ID             string       `json:"id"`
	Database       string       `json:"database_id"`
	Addon          string       `json:"addon" doc:"The database's add-on."`
	App            string       `json:"app,omitempty" doc:"The app that it belongs to."`
	State          string       `json:"state" enum:"queued,running,verified,proven,failed,canceled,incomplete,expired,deleted"`
	Restorable     bool         `json:"restorable" doc:"There is a whole archive to download."`
	Reason         *Reason      `json:"reason,omitempty" doc:"Why it failed, or is being tried again."`
	Detail         string       `json:"detail,omitempty" doc:"pg_dump's own words."`
	Fix            string       `json:"fix,omitempty" doc:"SQL to run as the database's owner."`
	RequestedBy    string       `json:"requested_by,omitempty" doc:"Left out where the schedule asked for it."`
	Attempts       int          `json:"attempts"`
	ServerVersion  string       `json:"server_version,omitempty"`
	ClientVersion  string       `json:"client_version,omitempty" doc:"pg_dump's."`
	RestoresInto   int          `json:"restores_into,omitempty" doc:"It restores into a server of this major version or a later one."`
	ArchiveVersion string       `json:"archive_version,omitempty"`
	Tables         int          `json:"tables,omitempty"`
	Rows           *int64       `json:"rows,omitempty" doc:"Of all tables; left out where they were not counted."`
	ArchiveBytes   int64        `json:"archive_bytes,omitempty" doc:"What a link serves."`
	StoredBytes    int64        `json:"stored_bytes,omitempty" doc:"What lies in the store, sealed."`
	OpenedBy       List[string] `json:"opened_by,omitempty" doc:"Fingerprints of your own keys that open it."`
	Alone          bool         `json:"opened_by_you_alone,omitempty" doc:"They alone do: we cannot, and a link serves sealed files (docs/opening-without-us.md)."`
	QueuedAt       time.Time    `json:"queued_at"`
	StartedAt      time.Time    `json:"started_at,omitzero"`
	EndedAt        time.Time    `json:"ended_at,omitzero"`
	RetryAt        time.Time    `json:"retry_at,omitzero" doc:"When the next attempt begins."`
	ExpiredAt      time.Time    `json:"expired_at,omitzero" doc:"Since when nothing keeps it."`
	ExpiredBecause string       `json:"expired_because,omitempty"`
	DeleteAt       time.Time    `json:"delete_at,omitzero" doc:"When what is stored of it goes."`
	DeletedAt      time.Time    `json:"deleted_at,omitzero"`
	Progress       *Progress    `json:"progress,omitempty" doc:"While a worker reads it."`
}

// Progress is where a running backup stands.
type Progress struct {
	Phase       string    `json:"phase" enum:"claimed,dumping,confirming"`
	BytesRead   int64     `json:"bytes_read" doc:"From pg_dump."`
	BytesStored int64     `json:"bytes_stored" doc:"Compressed, sealed and given to the store."`
	TablesDone  int       `json:"tables_done"`
	TablesTotal int       `json:"tables_total"`
	Table       string    `json:"table,omitempty" doc:"The one that is being read."`
	StartedAt   time.Time `json:"started_at"`
}

func backupOf(b remora.Backup) Backup {
	out := Backup{
		ID: string(b.ID), Database: string(b.Database), Addon: b.Addon, App: b.OwnerApp, State: string(b.State), Restorable: b.State.Restorable(),
		Reason: reasonOf(b.Reason), Detail: b.Detail, Fix: b.Fix, RequestedBy: b.RequestedBy, Attempts: b.Attempts, ServerVersion: b.ServerVersion,
		ClientVersion: b.ClientVersion, RestoresInto: b.ClientMajor, ArchiveVersion: b.ArchiveVersion, Tables: b.Tables, ArchiveBytes: b.PlainSize,
		StoredBytes: b.StoredSize, OpenedBy: b.OpenedBy, Alone: b.Alone, QueuedAt: b.QueuedAt, StartedAt: b.StartedAt, EndedAt: b.EndedAt, RetryAt: b.RetryAt, ExpiredAt: b.ExpiredAt,
		ExpiredBecause: b.ExpiredBecause, DeleteAt: b.DeleteAt, DeletedAt: b.DeletedAt,
	}
	if b.Rows != remora.RowsUnknown && b.State.Restorable() {
		out.Rows = &b.Rows
	}
	if p := b.Progress; p != nil {
		out.Progress = &Progress{string(p.State), p.Bytes, p.BytesOut, p.TablesDone, p.TablesTotal, p.Current, p.StartedAt}
	}
	return out
}

// ObjectLock is until when the store keeps all of a backup from being deleted or changed, whatever is asked of us.
type ObjectLock struct {
	Mode  string    `json:"mode" enum:"compliance,governance"`
	Until time.Time `json:"until"`
	Says  string    `json:"says,omitempty" doc:"What that means; left out once the time has passed, or nothing of the backup is to be had any more."`
}

// BackupDetail is everything about one backup.
type BackupDetail struct {
	Backup
	Credential     string       `json:"credential,omitempty" doc:"That its database is read with."`
	BytesPerSecond int64        `json:"bytes_per_second,omitempty" doc:"While it is read."`
	SecondsLeft    int64        `json:"seconds_left,omitempty" doc:"While it is read: about how long it will take yet, as the backup before it went."`
	ProveAt        time.Time    `json:"prove_at,omitzero" doc:"When it is to be restored and compared by itself; left out where it is not, or is being."`
	Objects        List[Object] `json:"objects" doc:"What lies in the store."`
	Place          *Place       `json:"place,omitempty" doc:"The bucket of your own in which it lies; left out where that is ours."`
	ObjectLock     *ObjectLock  `json:"object_lock,omitempty" doc:"What the store said of it when it was stored; left out where it said nothing."`
	Copies         List[Copy]   `json:"copies" doc:"Of it, in buckets of your own, the newest first."`
	ObjectsAt      string       `json:"objects_at" doc:"What their names there begin with, before the number of the run."`
	Impact         *Impact      `json:"impact,omitempty" doc:"What it cost the database."`
	Kept           *Kept        `json:"kept,omitempty" doc:"Why it is kept; left out where nothing of it is stored."`
}

// Copy is of a backup that lies in our bucket, in one of your own.
type Copy struct {
	Bucket string `json:"bucket_id"`
	Place
	State    string    `json:"state" enum:"queued,copied,failed,stopped" doc:"stopped: copying was ended before it was made. One that failed or was stopped can be asked for again."`
	Running  bool      `json:"running" doc:"A worker is at it."`
	Reason   string    `json:"reason,omitempty" doc:"Why it was not made, or not yet, for programs."`
	Detail   string    `json:"detail,omitempty" doc:"What is known of that."`
	Says     string    `json:"says,omitempty" doc:"What it means and what to do."`
	Bytes    int64     `json:"bytes,omitempty" doc:"That were copied."`
	AskedAt  time.Time `json:"asked_at"`
	DueAt    time.Time `json:"due_at,omitzero" doc:"When the next attempt may begin; left out where it has ended."`
	CopiedAt time.Time `json:"copied_at,omitzero"`
}

func copyOf(c remora.Copy) Copy {
	out := Copy{
		Bucket: string(c.Bucket), Place: placeOf(c.Place), State: string(c.State), Running: c.Running, Reason: string(c.Reason), Detail: c.Detail, Says: c.Says(), Bytes: c.Bytes, AskedAt: c.AskedAt,
	}
	switch c.State {
	case remora.CopyQueued:
		out.DueAt = c.DueAt
	case remora.CopyMade:
		out.CopiedAt = c.EndedAt
	}
	return out
}

// Object is one stored part of a backup.
type Object struct {
	Name       string `json:"name"`
	Bytes      int64  `json:"bytes"`
	PlainBytes int64  `json:"plain_bytes,omitempty" doc:"Of the archive in it."`
	SHA256     string `json:"sha256" doc:"Of the stored, sealed bytes, in hexadecimal."`
}

// Impact is what a backup cost the customer's database.
type Impact struct {
	SnapshotSeconds float64 `json:"snapshot_seconds" doc:"How long its snapshot was held."`
	Watched         bool    `json:"watched" doc:"Somebody looked whether sessions waited for it."`
	SessionsBlocked int     `json:"sessions_blocked" doc:"The most sessions that waited for it at a time."`
	SecondsWaited   float64 `json:"seconds_waited" doc:"How long one at least waited, in all."`
}

// Kept is why a backup is kept, or goes.
type Kept struct {
	Fate    string       `json:"fate" enum:"kept,removed"`
	Reasons List[string] `json:"reasons"`
	Until   time.Time    `json:"until,omitzero" doc:"Before this no rule lets it go; left out where no date can be told."`
	Lock    *Lock        `json:"lock,omitempty"`
}

// Lock keeps one backup whatever the rules say.
type Lock struct {
	Backup string    `json:"backup_id"`
	Note   string    `json:"note,omitempty"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

func lockOf(l remora.Lock) Lock { return Lock{string(l.Backup), l.Note, l.By, l.At} }

// detail is everything about a backup.
func (a *API) detail(ctx context.Context, c caller, id remora.BackupID) (BackupDetail, error) {
	v, err := a.Store.BackupView(ctx, c.resource, id)
	if err != nil {
		return BackupDetail{}, err
	}
	out := BackupDetail{
		Backup: backupOf(v.Backup), Credential: v.Reads, BytesPerSecond: v.Rate(), SecondsLeft: seconds(v.Left()), ProveAt: v.ProveAt, Copies: listOf(v.Copies, copyOf), ObjectsAt: v.Key(),
		Objects: listOf(v.Objects, func(o remora.Object) Object { return Object{o.Name, o.Size, o.PlainSize, hex.EncodeToString(o.SHA256)} }),
		Impact: opt(v.Backup.Impact, func(i remora.Impact) Impact {
			return Impact{i.Held.Seconds(), i.Watched, i.Blocked, i.Waited.Seconds()}
		}),
	}
	if l := v.Backup.ObjectLock; l.Mode != "" {
		out.ObjectLock = &ObjectLock{string(l.Mode), l.Until, v.Backup.LockSays(v.Now)}
	}
	if v.Backup.Bucket != "" {
		place := placeOf(v.Place)
		out.Place = &place
	}
	if !v.Backup.State.Restorable() {
		return out, nil
	}
	now, err := a.Store.Retention(ctx, c.resource, v.Backup.Database)
	if err != nil {
		return out, err
	}
	verdict, ok, err := now.Of(id)
	if err != nil || !ok {
		return out, err
	}
	kept := keptOf(verdict)
	out.Kept = &Kept{Fate: kept.Fate, Reasons: kept.Reasons, Until: kept.Until, Lock: opt(now.Lock(id), lockOf)}
	return out, nil
}

// Proof is one look at what is stored of a backup.
type Proof struct {
	ID            string    `json:"id"`
	Backup        string    `json:"backup_id"`
	Kind          string    `json:"kind" enum:"restore,reread" doc:"restore: it was restored into an empty database and compared; reread: the stored bytes were read again."`
	State         string    `json:"state" enum:"queued,running,passed,failed,impossible,lost"`
	RequestedBy   string    `json:"requested_by,omitempty" doc:"Left out where it was due."`
	Reason        *Reason   `json:"reason,omitempty"`
	Detail        string    `json:"detail,omitempty" doc:"What differs, or why it cannot be told."`
	LeftOut       string    `json:"left_out,omitempty" doc:"What was not compared."`
	ServerVersion string    `json:"server_version,omitempty" doc:"That it was restored into."`
	Tables        int       `json:"tables,omitempty"`
	Rows          int64     `json:"rows,omitempty" doc:"That were compared."`
	Bytes         int64     `json:"bytes,omitempty" doc:"That were compared, or read again."`
	QueuedAt      time.Time `json:"queued_at"`
	StartedAt     time.Time `json:"started_at,omitzero"`
	EndedAt       time.Time `json:"ended_at,omitzero"`
	Current       string    `json:"current,omitempty" doc:"What is being done."`
}

func proofOf(p remora.Proof) Proof {
	return Proof{
		ID: string(p.ID), Backup: string(p.Backup), Kind: string(p.Kind), State: string(p.State), RequestedBy: p.RequestedBy, Reason: reasonOf(p.Reason),
		Detail: p.Detail, LeftOut: p.LeftOut, ServerVersion: p.ServerVersion, Tables: p.Tables, Rows: p.Rows, Bytes: p.Bytes, QueuedAt: p.QueuedAt,
		StartedAt: p.StartedAt, EndedAt: p.EndedAt, Current: p.Current,
	}
}

// Proofs are a backup's, newest first.
type Proofs struct {
	Proofs List[Proof] `json:"proofs"`
}

// Table is one table of an archive.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes" doc:"Of its text, as COPY writes it."`
	SHA256 string `json:"sha256" doc:"Of that text: what psql -c 'COPY … TO STDOUT' | sha256sum gives, in the order in which pg_dump read it."`
}

// Tables are some of an archive's.
type Tables struct {
	Tables List[Table] `json:"tables"`
	Total  int         `json:"total" doc:"How many there are that are looked for."`
}

// LockRequest says why.
type LockRequest struct {
	Note string `json:"note,omitempty" maxLength:"200" doc:"Why."`
}

func (a *API) backupOperations(h huma.API) {
	type one struct{ Body BackupDetail }
	add(h, a, huma.Operation{
		OperationID: "getBackup", Method: http.MethodGet, Path: "/backups/{backup}", Tags: []string{tagBackups},
		Summary: "One backup", Description: "How far it is, what it is, why it failed, what is stored of it and why it is kept. Ask again every few seconds to follow one that runs.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfBackup) (*one, error) {
		id, err := in.backup()
		if err != nil {
			return nil, err
		}
		out, err := a.detail(ctx, c, id)
		return &one{out}, err
	})

	add(h, a, huma.Operation{
		OperationID: "cancelBackup", Method: http.MethodPost, Path: "/backups/{backup}/cancel", Tags: []string{tagBackups}, Summary: "Cancel a backup that is queued or running",
	}, remora.ScopeOperate, a.onBackup(func(ctx context.Context, c caller, b remora.BackupID) error {
		return a.Store.CancelBackup(ctx, c.resource, b, c.person())
	}))

	type report struct{ Body Report }
	add(h, a, huma.Operation{
		OperationID: "getBackupReport", Method: http.MethodGet, Path: "/backups/{backup}/report", Tags: []string{tagBackups},
		Summary: "What its credential could do", Description: "The permission doctor's report, of the backup's own snapshot. Where there is none it is not found.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfBackup) (*report, error) {
		v, err := a.view(ctx, c, *in)
		if err != nil {
			return nil, err
		}
		if v.Audit == nil {
			return nil, remora.NotFound("report of this backup")
		}
		out := reportOf(*v.Audit, nil)
		out.Witness = string(v.Audit.Witness.Testimony())
		return &report{out}, nil
	})

	type look struct {
		OfBackup
		Find  string `query:"find" maxLength:"250" doc:"Those alone that have it in their names, as schema.table."`
		Skip  int    `query:"skip" minimum:"0" maximum:"10000000" default:"0" doc:"How many to leave out at the beginning."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	type tables struct{ Body Tables }
	add(h, a, huma.Operation{
		OperationID: "listTables", Method: http.MethodGet, Path: "/backups/{backup}/tables", Tags: []string{tagBackups}, Metadata: opensAnArchive,
		Summary: "The tables in a backup, with rows and digests", Description: "Where nobody has counted, or nothing is stored of the backup any more, there are none.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *look) (*tables, error) {
		v, err := a.view(ctx, c, in.OfBackup)
		if err != nil || !v.Backup.State.Restorable() {
			return &tables{}, err
		}
		list, err := a.Contents(ctx, c.resource, v.Backup)
		if err != nil || list == nil {
			return &tables{}, err
		}
		p, err := contents.Read(list, in.Find, in.Skip, in.Limit)
		return &tables{Tables{listOf(p.Tables, func(t contents.Table) Table { return Table(t) }), p.Most}}, err
	})

	type proofs struct{ Body Proofs }
	seeProofs := func(ctx context.Context, c caller, in *OfBackup) (*proofs, error) {
		v, err := a.view(ctx, c, *in)
		return &proofs{Proofs{listOf(v.Proofs, proofOf)}}, err
	}
	add(h, a, huma.Operation{
		OperationID: "listProofs", Method: http.MethodGet, Path: "/backups/{backup}/proofs", Tags: []string{tagBackups}, Summary: "Every look at what is stored of a backup, newest first",
	}, remora.ScopeRead, seeProofs)
	add(h, a, huma.Operation{
		OperationID: "proveBackup", Method: http.MethodPost, Path: "/backups/{backup}/proofs", Tags: []string{tagBackups}, DefaultStatus: http.StatusAccepted,
		Summary: "Restore the backup and compare", Description: "In a server of ours, made for that alone. Where that is queued or running already, nothing is added.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, in *OfBackup) (*proofs, error) {
		id, err := in.backup()
		if err == nil {
			err = a.Store.RequestProof(ctx, c.resource, id, remora.ProofRestore, c.person())
		}
		if err != nil {
			return nil, err
		}
		return seeProofs(ctx, c, in)
	})

	add(h, a, huma.Operation{
		OperationID: "copyBackup", Method: http.MethodPost, Path: "/backups/{backup}/copy", Tags: []string{tagBackups}, DefaultStatus: http.StatusAccepted,
		Summary: "Copy the backup to the bucket of your own that takes copies", Description: "One whose copy was not made, or that was made before there were any. Where it is asked for already, nothing is added.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, in *OfBackup) (*one, error) {
		id, err := in.backup()
		if err == nil {
			err = a.Store.AskCopy(ctx, c.resource, id, c.person())
		}
		if err != nil {
			return nil, err
		}
		out, err := a.detail(ctx, c, id)
		return &one{out}, err
	})

	type lock struct {
		OfBackup
		Body *LockRequest
	}
	add(h, a, huma.Operation{
		OperationID: "lockBackup", Method: http.MethodPut, Path: "/backups/{backup}/lock", Tags: []string{tagRetention}, Summary: "Keep a backup whatever the rules say",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *lock) (*one, error) {
		id, err := in.backup()
		if err != nil {
			return nil, err
		}
		note := ""
		if in.Body != nil {
			note = in.Body.Note
		}
		if err := a.Store.LockBackup(ctx, c.resource, id, note, c.person()); err != nil {
			return nil, err
		}
		out, err := a.detail(ctx, c, id)
		return &one{out}, err
	})
	add(h, a, huma.Operation{
		OperationID: "unlockBackup", Method: http.MethodDelete, Path: "/backups/{backup}/lock", Tags: []string{tagRetention},
		Summary: "Release a backup's lock", Description: "It holds for 24 hours more.",
	}, remora.ScopeAdmin, a.onBackup(func(ctx context.Context, c caller, b remora.BackupID) error {
		return a.Store.UnlockBackup(ctx, c.resource, b, c.person())
	}))
}

func (a *API) view(ctx context.Context, c caller, in OfBackup) (remora.BackupView, error) {
	id, err := in.backup()
	if err != nil {
		return remora.BackupView{}, err
	}
	return a.Store.BackupView(ctx, c.resource, id)
}

// onBackup is onDatabase for one backup.
func (a *API) onBackup(do func(context.Context, caller, remora.BackupID) error) func(context.Context, caller, *OfBackup) (*empty, error) {
	return func(ctx context.Context, c caller, in *OfBackup) (*empty, error) {
		id, err := in.backup()
		if err != nil {
			return nil, err
		}
		return &empty{}, do(ctx, c, id)
	}
}
