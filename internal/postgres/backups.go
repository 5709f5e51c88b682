package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// shownPerDatabase is how many backups of a database the first page lists.
const shownPerDatabase = 30

// backupOrigin is what asked for a backup: a schedule's occurrence, a person, or neither for the first one.
type backupOrigin struct {
	schedule   *string
	occurrence *time.Time
	person     string
}

// RequestBackup asks for a backup of the database now. Where one is queued or running already, that one is
// returned. Errors: KindNotFound, KindGone, KindConflict for a database that may not be backed up, KindBusy where too many wait.
func (s *Store) RequestBackup(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) (remora.BackupID, error) {
	var out remora.BackupID
	err := s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		row, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: string(id)})
		if err != nil {
			return or404(err, "database")
		}
		if row.State != string(remora.DatabaseActive) {
			return &remora.Error{Kind: remora.KindConflict, Public: "This database is not backed up at the moment. The database's entry says why and what to do."}
		}
		if err := t.mayAsk(ctx, id, db); err != nil {
			return err
		}
		var made bool
		if out, made, err = t.request(ctx, id, db, backupOrigin{person: person}); err != nil || !made {
			return err
		}
		return t.audit(ctx, id, person, "request backup", string(out))
	})
	return out, err
}

// request inserts a queued backup and its job, or returns the live one; made tells. The live one may end between the insert that it
// makes conflict and the look at it: then the insert is made again, and meets no conflict but another such.
func (t *tx) request(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, o backupOrigin) (of remora.BackupID, made bool, err error) {
	const tries = 5
	for range tries {
		b := remora.NewID[remora.BackupID]()
		n, err := t.q.InsertBackup(ctx, pgsql.InsertBackupParams{
			ID: string(b), ResourceID: string(id), DatabaseID: string(db), ScheduleID: o.schedule,
			Occurrence: o.occurrence, RequestedBy: o.person, Now: t.now,
		})
		if err != nil {
			return "", false, fmt.Errorf("insert backup: %w", err)
		}
		if n > 0 {
			region, err := t.q.RegionOf(ctx, string(id))
			if err != nil {
				return "", false, fmt.Errorf("read region: %w", err)
			}
			return b, true, t.enqueue(ctx, jobargs.RunBackup{Backup: b, Attempt: 1, Pool: remora.PoolOf(region)})
		}
		live, err := t.q.LiveBackup(ctx, pgsql.LiveBackupParams{DatabaseID: string(db), ResourceID: string(id)})
		if !errors.Is(err, pgx.ErrNoRows) {
			return remora.BackupID(live), false, err
		}
	}
	if o.occurrence != nil {
		return "", false, nil // this occurrence has had its backup
	}
	return "", false, &remora.Error{Kind: remora.KindConflict, Public: "Backups of this database begin and end at this moment. Try again."}
}

// CancelBackup ends a queued or running backup; the worker that holds it notices at its next beat. Errors:
// KindNotFound, KindConflict where it has ended.
func (s *Store) CancelBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		if remora.BackupState(row.State).Ended() {
			return &remora.Error{Kind: remora.KindConflict, Public: "This backup has ended already."}
		}
		if err := t.cancel(ctx, id, &row.ID, remora.ReasonCanceled); err != nil {
			return err
		}
		if row.StartedAt != nil {
			if err := t.pingCanceled(ctx, id, b); err != nil {
				return err
			}
		}
		return t.audit(ctx, id, person, "cancel backup", row.ID)
	})
}

// cancel ends live backups, one or all of the resource, and the runs that hold them.
func (t *tx) cancel(ctx context.Context, id remora.ResourceID, b *string, why remora.Reason) error {
	ended, err := t.q.CancelBackups(ctx, pgsql.CancelBackupsParams{ResourceID: string(id), ID: b, Reason: string(why), Now: &t.now})
	if err != nil {
		return fmt.Errorf("cancel backups: %w", err)
	}
	if err := t.q.EndRunsOfCanceled(ctx, pgsql.EndRunsOfCanceledParams{ResourceID: string(id), Backups: ended, Reason: string(why), Now: &t.now}); err != nil {
		return fmt.Errorf("end runs: %w", err)
	}
	return t.ended(ctx, remora.BackupCanceled, why, ended...)
}

// Overview returns what the first page shows. Errors: KindNotFound, KindGone.
func (s *Store) Overview(ctx context.Context, id remora.ResourceID) (remora.Overview, error) {
	var out remora.Overview
	err := s.seeResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out = remora.Overview{Now: t.now, Resource: resourceOf(r)}
		dbs, err := t.q.ListDatabases(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		out.Databases = databasesOf(dbs)
		if err := t.proofsOf(ctx, id, out.Databases); err != nil {
			return err
		}
		if err := t.freshnessOf(ctx, id, out.Databases); err != nil {
			return err
		}
		rows, err := t.q.ListBackups(ctx, pgsql.ListBackupsParams{ResourceID: string(id), Each: shownPerDatabase})
		if err != nil {
			return fmt.Errorf("list backups: %w", err)
		}
		for _, b := range rows {
			backup := backupOf(b.Backup, b.Addon, b.OwnerApp)
			if b.RunState != nil {
				backup.Progress = progressOf(*b.RunState, *b.RunBytes, *b.RunBytesOut, *b.TablesDone, *b.TablesTotal, *b.Current, *b.RunStartedAt)
			}
			out.Backups = append(out.Backups, backup)
		}
		if err := t.holdings(ctx, &out); err != nil {
			return err
		}
		return t.audits(ctx, &out)
	})
	return out, err
}

// Backup returns one backup. Errors: KindNotFound, for another resource's too.
func (s *Store) Backup(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.Backup, error) {
	var out remora.Backup
	err := s.seeResource(ctx, id, func(t *tx) error {
		row, err := t.q.GetBackup(ctx, pgsql.GetBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		out = backupOf(row.Backup, row.Addon, row.OwnerApp)
		out.Impact, err = t.impactOf(ctx, id, b)
		return err
	})
	return out, err
}

// Objects returns what lies in the store for a backup that ended well.
func (s *Store) Objects(ctx context.Context, id remora.ResourceID, b remora.BackupID) ([]remora.Object, error) {
	var out []remora.Object
	err := s.forResource(ctx, id, func(t *tx) (err error) {
		out, err = t.objects(ctx, id, b)
		return err
	})
	return out, err
}

func (t *tx) objects(ctx context.Context, id remora.ResourceID, b remora.BackupID) ([]remora.Object, error) {
	rows, err := t.q.ListObjects(ctx, pgsql.ListObjectsParams{BackupID: string(b), ResourceID: string(id)})
	var out []remora.Object
	for _, o := range rows {
		out = append(out, remora.Object{Name: o.Name, Size: o.Size, PlainSize: o.PlainSize, SHA256: o.Sha256})
	}
	return out, err
}

func backupOf(b pgsql.Backup, addon, ownerApp string) remora.Backup {
	return remora.Backup{
		ID: remora.BackupID(b.ID), Database: remora.DatabaseID(b.DatabaseID), Addon: addon, OwnerApp: ownerApp,
		State: remora.BackupState(b.State), Reason: remora.Reason(b.Reason), Detail: b.Detail, Fix: b.Fix,
		RequestedBy: b.RequestedBy, Epoch: int(b.Epoch), Attempts: int(b.Attempts),
		ServerVersion: b.ServerVersion, ClientVersion: b.ClientVersion, ClientMajor: int(b.ClientMajor),
		ArchiveVersion: b.ArchiveVersion, Tables: int(b.Tables), Rows: b.Rows, PlainSize: b.PlainSize, StoredSize: b.StoredSize,
		QueuedAt: b.QueuedAt, StartedAt: orZero(b.StartedAt), EndedAt: orZero(b.EndedAt), RetryAt: orZero(b.RetryAt), DamagedAt: orZero(b.DamagedAt),
		ExpiredAt: orZero(b.ExpiredAt), ExpiredBecause: b.ExpiredBecause, DeleteAt: orZero(b.DeleteAt), DeletedAt: orZero(b.DeletedAt),
		OpenedBy: b.OpenedBy, Alone: b.Alone, Bucket: orEmpty[remora.BucketID](b.BucketID),
		ObjectLock: remora.ObjectLock{Mode: orEmpty[remora.LockMode](b.LockMode), Until: orZero(b.LockedUntil)},
	}
}
