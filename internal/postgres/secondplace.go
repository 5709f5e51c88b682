package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// CopyClaim is a worker's hold on the copy of one backup. Every write of the attempt goes through it.
type CopyClaim struct {
	Resource remora.ResourceID
	Database remora.DatabaseID
	Backup   remora.BackupID
	Archive  int // the epoch of the run whose archive is kept
	Bucket   remora.BucketID
	Place    remora.Place

	PlainSize int64 // bytes of the archive

	Epoch   int
	Attempt int // counted from 1

	region string
}

// copyOf has a backup that was just kept be copied, where its resource has a bucket for that and the run's plan a second place.
func (t *tx) copyOf(ctx context.Context, c Claim) error {
	if c.Bucket != "" || !c.Plan.SecondPlace {
		return nil
	}
	bucket, err := t.bucketOfCopies(ctx, c.Resource.ID)
	if err != nil || bucket.ID == "" {
		return err
	}
	_, err = t.queueCopy(ctx, c.Resource, c.Backup, bucket.ID)
	return err
}

// queueCopy asks for a copy; where it is asked for already, or made, nothing changes.
func (t *tx) queueCopy(ctx context.Context, r remora.Resource, b remora.BackupID, bucket remora.BucketID) (asked bool, err error) {
	n, err := t.q.QueueCopy(ctx, pgsql.QueueCopyParams{BackupID: string(b), BucketID: string(bucket), ResourceID: string(r.ID), Now: t.now})
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.enqueue(ctx, jobargs.CopyBackup{Backup: b, Bucket: bucket, Attempt: 1, Pool: remora.PoolOf(r.Region)})
}

// AskCopy asks for a backup to be copied to the bucket that takes copies now: one whose copy was not made, or that was made before
// there were any. Where it is asked for already nothing changes. Errors: KindNotFound, KindGone, KindPlanLimit, KindConflict where no
// bucket takes copies, nothing of the backup is stored in ours, or it is copied.
func (s *Store) AskCopy(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error {
	conflict := func(why string) error { return &remora.Error{Kind: remora.KindConflict, Public: why} }
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		backup, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		r := resourceOf(row)
		plan, err := r.Limits(t.now)
		if err == nil {
			err = plan.Copies()
		}
		if err != nil {
			return err
		}
		bucket, err := t.bucketOfCopies(ctx, id)
		switch {
		case err != nil:
			return err
		case bucket.ID == "":
			return conflict("No bucket of yours takes copies. Choose one on the page Settings, Storage.")
		case !remora.BackupState(backup.State).Restorable() || backup.BucketID != nil:
			return conflict("Only a backup that lies in our bucket whole is copied.")
		}
		asked, err := t.queueCopy(ctx, r, b, bucket.ID)
		if err != nil {
			return err
		}
		if !asked {
			all, err := t.copies(ctx, id, b)
			for _, c := range all {
				if c.Bucket == bucket.ID && c.State == remora.CopyMade {
					return conflict("It is copied there already.")
				}
			}
			return err
		}
		return t.audit(ctx, id, person, "ask for copy", string(b))
	})
}

// copies lists those of a backup, the newest first.
func (t *tx) copies(ctx context.Context, id remora.ResourceID, b remora.BackupID) (out []remora.Copy, err error) {
	rows, err := t.q.ListCopies(ctx, pgsql.ListCopiesParams{BackupID: string(b), ResourceID: string(id)})
	if err != nil {
		return nil, fmt.Errorf("list copies: %w", err)
	}
	for _, r := range rows {
		c := r.Copy
		out = append(out, remora.Copy{
			Bucket: remora.BucketID(c.BucketID), Place: bucketOf(r.Bucket).Place, State: remora.CopyState(c.State), Reason: remora.Reason(c.Reason), Detail: c.Detail,
			Running: r.Running && c.State == string(remora.CopyQueued), Removed: r.Bucket.RemovedAt != nil, Bytes: c.Bytes, AskedAt: c.AskedAt, DueAt: c.DueAt, EndedAt: orZero(c.EndedAt),
		})
	}
	return out, nil
}

// copiesIn adds the copies of a backup that is shown, and whether another can be asked for.
func (t *tx) copiesIn(ctx context.Context, v *remora.BackupView) (err error) {
	id := v.Resource.ID
	if v.Copies, err = t.copies(ctx, id, v.Backup.ID); err != nil {
		return err
	}
	plan, err := v.Resource.Limits(t.now)
	if err != nil || !plan.SecondPlace || v.Backup.Bucket != "" || !v.Backup.State.Restorable() {
		return err
	}
	to, err := t.bucketOfCopies(ctx, id)
	v.CanCopy = to.ID != "" && !slices.ContainsFunc(v.Copies, func(c remora.Copy) bool {
		return c.Bucket == to.ID && (c.State == remora.CopyQueued || c.State == remora.CopyMade)
	})
	return err
}

// Copies lists the copies of a backup, the newest first; none of another resource's.
func (s *Store) Copies(ctx context.Context, id remora.ResourceID, b remora.BackupID) (out []remora.Copy, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		out, err = t.copies(ctx, id, b)
		return err
	})
	return out, err
}

// CopyWaits tells whether another copy of a backup's resource is under way, for which its own waits. Errors: KindNotFound.
func (s *Store) CopyWaits(ctx context.Context, b remora.BackupID) (waits bool, err error) {
	err = s.forBackup(ctx, b, func(t *tx, id remora.ResourceID) (err error) {
		waits, err = t.q.CopyWaits(ctx, pgsql.CopyWaitsParams{BackupID: string(b), ResourceID: string(id)})
		return err
	})
	return waits, err
}

// ClaimCopy begins an attempt at a copy. One whose backup has ended, or whose resource was removed, is stopped. Of one resource's
// copies one is made at a time: its store may be slow, and others wait. Errors: ErrNothingToDo, ErrBusy, ErrCopyLost, KindNotFound.
func (s *Store) ClaimCopy(ctx context.Context, b remora.BackupID, bucket remora.BucketID) (out CopyClaim, err error) {
	over, lost := false, false
	err = s.forBackup(ctx, b, func(t *tx, id remora.ResourceID) error {
		r, err := t.lockLive(ctx, id)
		if over = remora.KindOf(err) == remora.KindGone; over {
			return t.stopCopiesOf(ctx, id, string(b))
		}
		if err != nil {
			return err
		}
		backup, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		row, err := t.q.LockCopy(ctx, pgsql.LockCopyParams{BackupID: string(b), BucketID: string(bucket), ResourceID: string(id)})
		if err != nil {
			return or404(err, "copy")
		}
		if row.Copy.State != string(remora.CopyQueued) || row.Held {
			return ErrNothingToDo
		}
		if over = !remora.BackupState(backup.State).Restorable(); over {
			return t.stopCopiesOf(ctx, id, string(b))
		}
		to, err := t.q.GetBucket(ctx, pgsql.GetBucketParams{ID: string(bucket), ResourceID: string(id)})
		if err != nil {
			return or404(err, "bucket")
		}
		out = CopyClaim{
			Resource: id, Database: remora.DatabaseID(backup.DatabaseID), Backup: b, Archive: int(backup.Epoch), Bucket: bucket, Place: bucketOf(to).Place,
			PlainSize: backup.PlainSize, Epoch: int(row.Copy.Epoch), Attempt: int(row.Copy.Attempts), region: r.Region,
		}
		if lost = out.Attempt > len(s.CopyAfter)+lostCopies; lost {
			return t.copyFailed(ctx, out, remora.CopyFailure(remora.Failure{Reason: remora.ReasonWorkerLost}))
		}
		live, err := t.q.CountLiveCopies(ctx, string(id))
		if err != nil {
			return fmt.Errorf("count copies under way: %w", err)
		}
		if live > 0 || row.Copy.DueAt.After(t.now) { // River's clock and the database's are not the same
			return ErrBusy
		}
		out.Epoch, out.Attempt = out.Epoch+1, out.Attempt+1
		return t.q.StartCopy(ctx, pgsql.StartCopyParams{
			BackupID: string(b), BucketID: string(bucket), ResourceID: string(id), Epoch: row.Copy.Epoch + 1, Lease: s.Lease,
		})
	})
	switch {
	case err != nil:
	case over:
		err = ErrNothingToDo
	case lost:
		err = ErrCopyLost
	}
	return out, err
}

// lostCopies is how many attempts more than ever fail may end without a word: what kills its worker again and again is given up.
const lostCopies = 3

// ErrCopyLost says that a copy has failed whose attempts ended without a word, one after the other; its owner is told.
var ErrCopyLost = errors.New("postgres: the copy's workers were lost, each time")

// BeatCopy renews the lease. Errors: KindStale where it has ended, the copy was stopped, or its backup has ended: stop at once.
func (s *Store) BeatCopy(ctx context.Context, c CopyClaim) error {
	return s.forResource(ctx, c.Resource, func(t *tx) error {
		return changed(t.q.BeatCopy(ctx, pgsql.BeatCopyParams{
			BackupID: string(c.Backup), BucketID: string(c.Bucket), ResourceID: string(c.Resource), Epoch: int32(c.Epoch), Lease: s.Lease, //nolint:gosec // one an attempt
		}))
	})
}

// EndCopy writes down that a copy is made, of so many bytes. Errors: KindStale.
func (s *Store) EndCopy(ctx context.Context, c CopyClaim, bytes int64) error {
	return s.forResource(ctx, c.Resource, func(t *tx) error {
		return t.endCopy(ctx, c, remora.CopyMade, remora.Failure{}, bytes)
	})
}

func (t *tx) endCopy(ctx context.Context, c CopyClaim, state remora.CopyState, f remora.Failure, bytes int64) error {
	return changed(t.q.EndCopy(ctx, pgsql.EndCopyParams{
		BackupID: string(c.Backup), BucketID: string(c.Bucket), ResourceID: string(c.Resource), Epoch: int32(c.Epoch), //nolint:gosec // one an attempt
		State: string(state), Reason: string(f.Reason), Detail: foreign(f.Detail, maxWord), Bytes: bytes, Now: &t.now,
	}))
}

// FailCopy ends an attempt badly. Where trying again can help and there are attempts left a job for it is written; otherwise the copy
// has failed, and its owner is told; a backup that was found damaged is to be read again. It tells which. Errors: KindStale.
func (s *Store) FailCopy(ctx context.Context, c CopyClaim, f remora.Failure) (again bool, err error) {
	f = remora.CopyFailure(f)
	again = f.Reason.CopyAgain() && c.Attempt <= len(s.CopyAfter)
	err = s.forResource(ctx, c.Resource, func(t *tx) error {
		if again {
			return t.copyAgain(ctx, c, f, s.CopyAfter[c.Attempt-1], 0)
		}
		if err := t.copyFailed(ctx, c, f); err != nil || f.Reason != remora.ReasonObjectDamaged {
			return err
		}
		_, err := t.requestProof(ctx, proofOrder{remora.ProofReread, string(c.Resource), c.region, string(c.Database), string(c.Backup), ""})
		return err
	})
	return again, err
}

// copyFailed ends a copy for good, and tells its owner.
func (t *tx) copyFailed(ctx context.Context, c CopyClaim, f remora.Failure) error {
	if err := t.endCopy(ctx, c, remora.CopyFailed, f, 0); err != nil {
		return err
	}
	said := "The backup is kept in our bucket, and was not copied to yours, " + c.Place.Says() + ". "
	if f.Detail != "" {
		said += f.Detail + " "
	}
	said += remora.Copy{Reason: f.Reason}.Says()
	return t.happened(ctx, c.Resource, remora.Event{Kind: remora.EventCopyFailed, Backup: c.Backup, Detail: said})
}

// ReleaseCopy gives an attempt back that the worker's own stop cut short. It is not counted. Errors: KindStale.
func (s *Store) ReleaseCopy(ctx context.Context, c CopyClaim) error {
	return s.forResource(ctx, c.Resource, func(t *tx) error {
		return t.copyAgain(ctx, c, remora.Failure{}, 0, 1)
	})
}

func (t *tx) copyAgain(ctx context.Context, c CopyClaim, f remora.Failure, wait time.Duration, uncounted int) error {
	at := t.now.Add(wait)
	err := changed(t.q.RequeueCopy(ctx, pgsql.RequeueCopyParams{
		BackupID: string(c.Backup), BucketID: string(c.Bucket), ResourceID: string(c.Resource), Epoch: int32(c.Epoch), //nolint:gosec // one an attempt
		Reason: string(f.Reason), Detail: foreign(f.Detail, maxWord), DueAt: at, Uncounted: int32(uncounted), //nolint:gosec // 0 or 1
	}))
	if err != nil {
		return err
	}
	return t.enqueue(ctx, jobargs.CopyBackup{Backup: c.Backup, Bucket: c.Bucket, Attempt: c.Attempt + 1 - uncounted, Pool: remora.PoolOf(c.region)}, at)
}

// LetGoOfCopy is for whoever finds that his attempt was overtaken or stopped: he is at it no more, and what he may have written after
// the end of its backup is the deleter's.
func (s *Store) LetGoOfCopy(ctx context.Context, c CopyClaim) error {
	return s.forResource(ctx, c.Resource, func(t *tx) error {
		return t.q.LetGoOfCopy(ctx, pgsql.LetGoOfCopyParams{
			BackupID: string(c.Backup), BucketID: string(c.Bucket), ResourceID: string(c.Resource), Epoch: int32(c.Epoch), Now: &t.now, //nolint:gosec // one an attempt
		})
	})
}

// stopCopies ends what of a resource's is to be copied, or is being, to whichever bucket but keep.
func (t *tx) stopCopies(ctx context.Context, id remora.ResourceID, keep remora.BucketID) error {
	if err := t.q.StopCopies(ctx, pgsql.StopCopiesParams{ResourceID: string(id), Keep: orNull(keep), Now: &t.now}); err != nil {
		return fmt.Errorf("stop copies: %w", err)
	}
	return nil
}

// stopCopiesOf is stopCopies of these backups alone, to whichever bucket.
func (t *tx) stopCopiesOf(ctx context.Context, id remora.ResourceID, backups ...string) error {
	if err := t.q.StopCopiesOf(ctx, pgsql.StopCopiesOfParams{ResourceID: string(id), Backups: backups, Now: &t.now}); err != nil {
		return fmt.Errorf("stop copies of backups: %w", err)
	}
	return nil
}

// strandedCopies gives a job to every copy that waits for one: its worker was killed, or River gave it up.
func (t *tx) strandedCopies(ctx context.Context) (int, error) {
	rows, err := t.q.LockStrandedCopies(ctx, pgsql.LockStrandedCopiesParams{Before: t.now.Add(-t.s.Lease), Lease: t.s.Lease, Most: batch})
	if err != nil {
		return 0, fmt.Errorf("find stranded copies: %w", err)
	}
	for _, c := range rows {
		args := jobargs.CopyBackup{Backup: remora.BackupID(c.BackupID), Bucket: remora.BucketID(c.BucketID), Attempt: int(c.Attempts) + 1, Pool: remora.PoolOf(c.Region)}
		if err := t.enqueue(ctx, args); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// suspended is how long a worker that has not said that it has stopped may yet write: a job lasts no longer.
const suspended = 24 * time.Hour

// CopyLeftover is a copy of which something may lie there although its backup is deleted.
type CopyLeftover struct {
	Resource remora.ResourceID
	Backup   remora.BackupID
	Bucket   remora.BucketID
}

// CopyLeftovers hands those out, each once an hour until CopyTidied.
func (s *Store) CopyLeftovers(ctx context.Context, most int) (out []CopyLeftover, err error) {
	err = s.forService(ctx, func(t *tx) error {
		again := t.now.Add(time.Hour)
		rows, err := t.q.CopiesToTidy(ctx, pgsql.CopiesToTidyParams{Now: &t.now, Again: &again, Most: int32(most)}) //nolint:gosec // a constant of ours
		for _, r := range rows {
			out = append(out, CopyLeftover{remora.ResourceID(r.ResourceID), remora.BackupID(r.BackupID), remora.BucketID(r.BucketID)})
		}
		return err
	})
	return out, err
}

// CopyTidied writes down that nothing lies there.
func (s *Store) CopyTidied(ctx context.Context, l CopyLeftover) error {
	return s.forResource(ctx, l.Resource, func(t *tx) error {
		return t.q.CopyTidied(ctx, pgsql.CopyTidiedParams{BackupID: string(l.Backup), BucketID: string(l.Bucket), ResourceID: string(l.Resource)})
	})
}
