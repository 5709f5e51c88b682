package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// maxNote bounds a lock's note, in bytes.
const maxNote = 200

// mostBackups bounds how many backups of one database are decided on at once: plans keep fewer.
const mostBackups = 20000

// Retention returns how a database's backups are kept, and the backups that it decides on. Errors: KindNotFound, also for
// another resource's, KindGone.
func (s *Store) Retention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (retention.Standing, error) {
	var out retention.Standing
	err := s.forResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out, err = t.retention(ctx, r, db)
		return err
	})
	return out, err
}

// SetRetention says how long a database's backups are to be kept. Nothing goes because of it for remora.RetentionGrace;
// until then it can be undone. One that waits already is undone. What was set already, and is in force or waits, changes
// nothing. may is how many backups the person knows that it removes; where it is more, nothing is changed. It returns how many
// it will remove, as it looks now. Errors: KindInvalid, KindNotFound, KindGone, KindConflict for more than may, KindBusy where
// that was done too often.
func (s *Store) SetRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, r remora.Retention, may int, person string) (removes int, err error) {
	if err := retention.Check(r); err != nil {
		return 0, err
	}
	err = s.withRetention(ctx, id, db, func(t *tx, now retention.Standing) error {
		going, err := now.Preview(r)
		if err != nil {
			return err
		}
		if removes = len(going); removes > may {
			return &remora.Error{Kind: remora.KindConflict, Public: "This removes " + remora.Count(removes, "backup") + ", and " + strconv.Itoa(may) + " were agreed to (by a program, in may_remove). Look at the preview again, and agree to it if that is what you want."}
		}
		if now.IsSet(r) {
			return nil
		}
		if _, err := t.q.UndoRetention(ctx, pgsql.UndoRetentionParams{DatabaseID: string(db), ResourceID: string(id), Now: &t.now, UndoneBy: person}); err != nil {
			return fmt.Errorf("undo what waits: %w", err)
		}
		effective := t.now.Add(remora.RetentionGrace)
		err = t.q.InsertRetention(ctx, pgsql.InsertRetentionParams{
			ID: string(remora.NewID[remora.EventID]()), ResourceID: string(id), DatabaseID: string(db),
			Last: int32(r.Last), Days: int32(r.Days), Hourly: int32(r.Hourly), Daily: int32(r.Daily), //nolint:gosec // bounded by retention.Check
			Weekly: int32(r.Weekly), Monthly: int32(r.Monthly), Yearly: int32(r.Yearly), Zone: r.Zone, //nolint:gosec // as above
			SetBy: person, Now: t.now, EffectiveAt: effective,
		})
		if err != nil {
			return fmt.Errorf("set retention: %w", err)
		}
		if removes > 0 {
			if err := t.mayHappen(ctx, id, remora.EventRetentionPending); err != nil {
				return err
			}
			detail := fmt.Sprintf("%s has set that this database keeps %s. From %s on this removes %s. It can be undone on the database's page until then.",
				person, retention.Words(r), effective.Format("2 January 2006, 15:04 UTC"), remora.Count(removes, "backup"))
			if err := t.happened(ctx, id, remora.Event{Kind: remora.EventRetentionPending, Database: db, Detail: detail}); err != nil {
				return err
			}
		}
		return t.audit(ctx, id, person, "change retention", subject(db, retention.Words(r)))
	})
	return removes, err
}

// UndoRetention takes back what has not come into force. Errors: KindNotFound, KindGone, KindConflict where nothing waits.
func (s *Store) UndoRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.withRetention(ctx, id, db, func(t *tx, _ retention.Standing) error {
		n, err := t.q.UndoRetention(ctx, pgsql.UndoRetentionParams{DatabaseID: string(db), ResourceID: string(id), Now: &t.now, UndoneBy: person})
		if err != nil {
			return fmt.Errorf("undo what waits: %w", err)
		}
		if n == 0 {
			return &remora.Error{Kind: remora.KindConflict, Public: "No change waits to come into force, so there is nothing to undo. Set what you want to be kept."}
		}
		return t.audit(ctx, id, person, "undo retention", string(db))
	})
}

// LockBackup keeps a backup whatever the rules say. One that is locked with that note stays as it is. Errors: KindNotFound, KindGone, KindConflict where there is no archive,
// KindPlanLimit with what to do.
func (s *Store) LockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, note, person string) error {
	return s.ofBackup(ctx, id, b, func(t *tx, db remora.DatabaseID, now retention.Standing) error {
		row, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		if !(remora.Backup{State: remora.BackupState(row.State), Reason: remora.Reason(row.Reason)}).Stored() {
			return &remora.Error{Kind: remora.KindConflict, Public: "This backup has no archive that could be kept."}
		}
		note := foreign(strings.TrimSpace(note), maxNote)
		if l := now.Lock(b); l != nil && l.Note == note {
			return nil
		}
		if err := now.MayLock(b); err != nil {
			return err
		}
		err = t.q.LockForGood(ctx, pgsql.LockForGoodParams{
			BackupID: string(b), ResourceID: string(id), DatabaseID: string(db), Note: note, LockedBy: person, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("lock backup: %w", err)
		}
		return t.audit(ctx, id, person, "lock backup", string(b))
	})
}

// UnlockBackup releases a lock, which holds for remora.RetentionGrace more. Errors: KindNotFound, KindGone, KindConflict
// where it is not locked.
func (s *Store) UnlockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error {
	return s.ofBackup(ctx, id, b, func(t *tx, _ remora.DatabaseID, _ retention.Standing) error {
		n, err := t.q.ReleaseLock(ctx, pgsql.ReleaseLockParams{BackupID: string(b), ResourceID: string(id), Now: &t.now, ReleasedBy: person})
		if err != nil {
			return fmt.Errorf("release lock: %w", err)
		}
		if n == 0 {
			return &remora.Error{Kind: remora.KindConflict, Public: "This backup is not locked."}
		}
		return t.audit(ctx, id, person, "unlock backup", string(b))
	})
}

// withRetention holds the resource, so that of two changes, or of a change and a round of the deleter, each sees the other.
func (s *Store) withRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, do func(*tx, retention.Standing) error) error {
	return s.forResource(ctx, id, func(t *tx) error {
		r, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		now, err := t.retention(ctx, r, db)
		if err != nil {
			return err
		}
		return do(t, now)
	})
}

func (s *Store) ofBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, do func(*tx, remora.DatabaseID, retention.Standing) error) error {
	backup, err := s.Backup(ctx, id, b)
	if err != nil {
		return err
	}
	return s.withRetention(ctx, id, backup.Database, func(t *tx, now retention.Standing) error { return do(t, backup.Database, now) })
}

func (t *tx) retention(ctx context.Context, r pgsql.Resource, db remora.DatabaseID) (retention.Standing, error) {
	out := retention.Standing{Now: t.now}
	id := remora.ResourceID(r.ID)
	row, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: r.ID})
	if err != nil {
		return out, or404(err, "database")
	}
	if row.State == string(remora.DatabaseDetached) && row.ForgetAt != nil {
		at := *row.ForgetAt
		if r.ListedAt == nil || r.ListedAt.Before(at) { // it may be attached again, which only a listing tells
			at = latest(at, t.now.Add(time.Minute))
		}
		out.Forget = &retention.Forget{By: row.ForgetBy, At: at}
	}
	if out.Plan, err = resourceOf(r).Limits(t.now); err != nil {
		return out, err
	}
	out.Current = remora.DefaultRetention(out.Plan)
	set, err := t.q.ListRetentions(ctx, pgsql.ListRetentionsParams{DatabaseID: string(db), ResourceID: r.ID})
	if err != nil {
		return out, fmt.Errorf("read retention: %w", err)
	}
	for _, row := range set { // newest first
		if row.EffectiveAt.After(t.now) {
			out.Pending = &retention.Pending{Retention: retentionOf(row), SetBy: row.SetBy, SetAt: row.SetAt, EffectiveAt: row.EffectiveAt}
			continue
		}
		out.Current, out.SetBy, out.SetAt = retentionOf(row), row.SetBy, row.SetAt
		break
	}
	rows, err := t.q.BackupsToKeep(ctx, pgsql.BackupsToKeepParams{DatabaseID: string(db), ResourceID: r.ID, Most: mostBackups})
	if err != nil {
		return out, fmt.Errorf("list the database's backups: %w", err)
	}
	out.Backups = make([]remora.Backup, 0, len(rows))
	for i := range rows { // of which there may be thousands
		b := &rows[i]
		out.Backups = append(out.Backups, remora.Backup{
			ID: remora.BackupID(b.ID), Database: db, State: remora.BackupState(b.State), Reason: remora.Reason(b.Reason), QueuedAt: b.QueuedAt, StartedAt: orZero(b.StartedAt),
			EndedAt: orZero(b.EndedAt), DamagedAt: orZero(b.DamagedAt), StoredSize: b.StoredSize,
		})
	}
	out.Locks, err = t.locks(ctx, id, db)
	return out, err
}

func (t *tx) locks(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) ([]remora.Lock, error) {
	rows, err := t.q.ListLocks(ctx, pgsql.ListLocksParams{DatabaseID: string(db), ResourceID: string(id)})
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	var out []remora.Lock
	for _, l := range rows {
		out = append(out, remora.Lock{
			Backup: remora.BackupID(l.BackupID), Note: l.Note, By: l.LockedBy, At: l.LockedAt, ReleasedAt: orZero(l.ReleasedAt), ReleasedBy: l.ReleasedBy,
		})
	}
	return out, nil
}

func retentionOf(r pgsql.Retention) remora.Retention {
	return remora.Retention{
		Last: int(r.Last), Days: int(r.Days), Hourly: int(r.Hourly), Daily: int(r.Daily), Weekly: int(r.Weekly), Monthly: int(r.Monthly),
		Yearly: int(r.Yearly), Zone: r.Zone,
	}
}
