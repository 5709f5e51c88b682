package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// RetentionActor is who the audit log names where backups go by their database's retention.
const RetentionActor = "retention"

// DatabaseRef names a database of a resource.
type DatabaseRef struct {
	Resource remora.ResourceID
	Database remora.DatabaseID
}

// DatabasesWithArchives lists the databases that something is stored of, in the order of their identifiers, at most 200
// from behind after on, or from the start where that is empty.
func (s *Store) DatabasesWithArchives(ctx context.Context, after remora.DatabaseID) ([]DatabaseRef, error) {
	if after == "" {
		after = firstID
	}
	var out []DatabaseRef
	err := s.forService(ctx, func(t *tx) error {
		rows, err := t.q.DatabasesWithArchives(ctx, pgsql.DatabasesWithArchivesParams{Nameless: nameless, After: string(after), Most: batch})
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		for _, r := range rows {
			out = append(out, DatabaseRef{remora.ResourceID(r.ResourceID), remora.DatabaseID(r.ID)})
		}
		return nil
	})
	return out, err
}

// Unknown returns those backups that our database has never heard of. One that was set back, or is empty, has not heard of
// what was made since.
func (s *Store) Unknown(ctx context.Context, backups []remora.BackupID) ([]remora.BackupID, error) {
	var out []remora.BackupID
	err := s.forService(ctx, func(t *tx) error {
		rows, err := t.q.UnknownBackups(ctx, words(backups))
		for _, id := range rows {
			out = append(out, remora.BackupID(id))
		}
		return err
	})
	return out, err
}

// downloadLast is how long a download that has begun may run: one whose link was used since then may be running.
const downloadLast = 12 * time.Hour

// Expire lets those of a database's backups go that nothing keeps, ends their links, and has what is stored of them deleted
// once delay has passed. One that a proof waits for or runs on, or that a link was used on so lately that the download may
// be running, waits for a later round. It returns what it let go. Errors: KindNotFound, KindGone.
func (s *Store) Expire(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, delay time.Duration) ([]retention.Verdict, error) {
	var out []retention.Verdict
	err := s.withRetention(ctx, id, db, func(t *tx, now retention.Standing) error {
		going, err := now.Going()
		if err != nil {
			return err
		}
		out, err = t.expire(ctx, id, going, delay)
		return err
	})
	return out, err
}

func (t *tx) expire(ctx context.Context, id remora.ResourceID, going []retention.Verdict, delay time.Duration) ([]retention.Verdict, error) {
	ids := make([]string, len(going))
	why := map[string]retention.Verdict{}
	for i, v := range going {
		ids[i] = string(v.Backup.ID)
		why[ids[i]] = v
	}
	used := t.now.Add(-downloadLast)
	free, err := t.q.LockExpirable(ctx, pgsql.LockExpirableParams{Ids: ids, ResourceID: string(id), UsedSince: &used})
	if err != nil {
		return nil, fmt.Errorf("lock what goes: %w", err)
	}
	if len(free) == 0 {
		return nil, nil
	}
	at := t.now.Add(delay)
	out, said, jobs := make([]retention.Verdict, len(free)), make([]string, len(free)), make([]river.InsertManyParams, len(free))
	for i, b := range free {
		out[i] = why[b]
		said[i] = because(out[i])
		jobs[i] = river.InsertManyParams{Args: jobargs.DeleteBackup{Backup: remora.BackupID(b)}, InsertOpts: &river.InsertOpts{ScheduledAt: at}}
	}
	err = t.q.ExpireBackups(ctx, pgsql.ExpireBackupsParams{Ids: free, Because: said, ResourceID: string(id), Now: &t.now, DeleteAt: &at})
	if err != nil {
		return nil, fmt.Errorf("expire backups: %w", err)
	}
	if err := t.stopCopiesOf(ctx, id, free...); err != nil {
		return nil, err
	}
	if _, err := t.s.queue.InsertManyFastTx(ctx, t.Tx, jobs); err != nil {
		return nil, fmt.Errorf("enqueue deletions: %w", err)
	}
	if err := t.q.RevokeLinksOf(ctx, pgsql.RevokeLinksOfParams{Backups: free, ResourceID: string(id), Now: &t.now}); err != nil {
		return nil, fmt.Errorf("end links: %w", err)
	}
	// Last: whoever uses a link holds its row when he comes for the end of the audit log.
	if err := t.q.AuditExpired(ctx, pgsql.AuditExpiredParams{ResourceID: string(id), Now: t.now, Actor: RetentionActor, Ids: free}); err != nil {
		return nil, fmt.Errorf("write down what goes: %w", err)
	}
	return out, nil
}

func because(v retention.Verdict) string {
	all := make([]string, len(v.Reasons))
	for i, r := range v.Reasons {
		all[i] = r.String()
	}
	return strings.Join(all, ", ")
}

// ClaimDeletion returns the resource of an expired backup whose time to be deleted has come. Deleting twice does no harm,
// so nothing is held. Errors: ErrNothingToDo where it is deleted already or is to stay, ErrBusy before its time and while
// a proof reads it or a copy of it is made, KindNotFound.
func (s *Store) ClaimDeletion(ctx context.Context, b remora.BackupID) (remora.ResourceID, error) {
	var id remora.ResourceID
	err := s.forService(ctx, func(t *tx) error {
		row, err := t.q.FindDeletion(ctx, string(b))
		if err != nil {
			return or404(err, "backup")
		}
		switch {
		case row.State != string(remora.BackupExpired):
			return ErrNothingToDo
		case row.BeingRead || row.DeleteAt == nil || row.DeleteAt.After(t.now):
			return ErrBusy
		}
		id = remora.ResourceID(row.ResourceID)
		return nil
	})
	return id, err
}

// EndDeletion writes down that nothing is stored of a backup any more. A second time it does nothing.
func (s *Store) EndDeletion(ctx context.Context, id remora.ResourceID, b remora.BackupID) error {
	return s.forResource(ctx, id, func(t *tx) error {
		n, err := t.q.EndDeletion(ctx, pgsql.EndDeletionParams{ID: string(b), ResourceID: string(id), Now: &t.now})
		if err != nil {
			return fmt.Errorf("end deletion: %w", err)
		}
		if n == 0 {
			return nil
		}
		if err := t.q.DropObjects(ctx, pgsql.DropObjectsParams{BackupID: string(b), ResourceID: string(id)}); err != nil {
			return fmt.Errorf("drop objects: %w", err)
		}
		later := t.now.Add(suspended)
		if err := t.q.CopiesEnded(ctx, pgsql.CopiesEndedParams{BackupID: string(b), ResourceID: string(id), Now: &t.now, Later: later}); err != nil {
			return fmt.Errorf("end copies: %w", err)
		}
		return t.audit(ctx, id, RetentionActor, "delete backup", string(b))
	})
}

// FailDeletion writes down why something of a backup could not be deleted. It stays expired, and is tried again.
func (s *Store) FailDeletion(ctx context.Context, id remora.ResourceID, b remora.BackupID, problem string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		return t.q.FailDeletion(ctx, pgsql.FailDeletionParams{ID: string(b), ResourceID: string(id), Problem: foreign(problem, maxWord)})
	})
}

// TheirsLeft writes down that all that is left of an expired backup lies in its owner's buckets, which did not let us delete it: that
// is the owner's to mend.
func (s *Store) TheirsLeft(ctx context.Context, id remora.ResourceID, b remora.BackupID) error {
	return s.forResource(ctx, id, func(t *tx) error {
		return t.q.TheirsLeft(ctx, pgsql.TheirsLeftParams{ID: string(b), ResourceID: string(id), Now: &t.now})
	})
}

// EnqueueDeletions gives a job to every backup that is to be deleted and has none: River gave it up, or its process was
// killed. It returns how many it found; call again while that is not 0.
func (s *Store) EnqueueDeletions(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		before := t.now.Add(-s.Lease)
		ids, err := t.q.LockStrandedDeletions(ctx, pgsql.LockStrandedDeletionsParams{Before: &before, Lease: s.Lease, Most: batch})
		if err != nil {
			return fmt.Errorf("find stranded deletions: %w", err)
		}
		n = len(ids)
		for _, id := range ids {
			if err := t.enqueue(ctx, jobargs.DeleteBackup{Backup: remora.BackupID(id)}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// OverdueDeletions counts the backups that were to be deleted longer ago than grace and are not, for the operator.
func (s *Store) OverdueDeletions(ctx context.Context, grace time.Duration) (int, error) {
	n := int64(0)
	err := s.forService(ctx, func(t *tx) (err error) {
		before := t.now.Add(-grace)
		n, err = t.q.CountOverdueDeletions(ctx, &before)
		return err
	})
	return int(n), err
}
