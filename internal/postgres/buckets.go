package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// The columns of the two keys of a customer's bucket, bound into each with the resource's id.
const (
	sealedBucketSecret = "buckets.sealed_secret"
	sealedDeleteSecret = "buckets.sealed_delete_secret"
)

// mostBuckets is how many buckets a resource may have, those included that older backups lie in.
const mostBuckets = 10

// Buckets lists the customer's own buckets of a resource, with how many backups lie in each, the one in use first. Errors:
// KindNotFound, KindGone.
func (s *Store) Buckets(ctx context.Context, id remora.ResourceID) (out []remora.Bucket, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		rows, err := t.q.ListBuckets(ctx, string(id))
		for _, r := range rows {
			b := bucketOf(r.Bucket)
			b.Backups, b.Copies, b.HeldBackups = int(r.Backups), int(r.Copies), r.HeldBackups
			out = append(out, b)
		}
		return err
	})
	return out, err
}

// OpenBucket returns a customer's bucket and its keys, as long as the resource is there and the bucket is not removed. Errors:
// KindNotFound, KindGone.
func (s *Store) OpenBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID) (out remora.Bucket, keys remora.BucketKeys, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		row, err := t.q.GetBucket(ctx, pgsql.GetBucketParams{ID: string(bucket), ResourceID: string(id)})
		if err != nil {
			return or404(err, "bucket")
		}
		if row.RemovedAt != nil {
			return &remora.Error{Kind: remora.KindGone, Public: "The bucket that this lies in was removed here, with its keys. What lies in it is still there."}
		}
		out = bucketOf(row)
		keys.AccessKey, keys.DeleteAccessKey = row.AccessKey, row.DeleteAccessKey
		if keys.SecretKey, err = s.open(row.SealedSecret, sealedBucketSecret, id); err != nil {
			return err
		}
		keys.DeleteSecretKey, err = s.open(row.SealedDeleteSecret, sealedDeleteSecret, id)
		return err
	})
	return out, keys, err
}

// SetBucket has the next backup, and all after it, lie in the customer's own bucket. Where that is one of the resource's already,
// it has these keys from now on. What lies elsewhere stays there. Whether the keys are good, and what the store
// says of its lock, must have been seen by whoever knows how. Errors: KindNotFound, KindGone, KindInvalid, KindPlanLimit, KindBusy where it was changed too often.
func (s *Store) SetBucket(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error {
	return s.setBucket(ctx, id, p, keys, lock, false, person)
}

// SetSecondPlace is SetBucket for a bucket that takes copies: backups lie in ours, and a copy of the next one, and of each after it, in
// this. What was to be copied elsewhere is not any more.
func (s *Store) SetSecondPlace(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error {
	return s.setBucket(ctx, id, p, keys, lock, true, person)
}

func (s *Store) setBucket(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, copies bool, person string) error {
	p, err := remora.ParsePlace(p)
	if err != nil {
		return err
	}
	if err := keys.Check(); err != nil {
		return err
	}
	state, days := orNull(lock.State), (*int32)(nil)
	if lock.Days > 0 {
		n := int32(lock.Days) //nolint:gosec // 36,500 at most
		days = &n
	}
	secret, deleter := s.seal(keys.SecretKey, sealedBucketSecret, id), s.seal(keys.DeleteSecretKey, sealedDeleteSecret, id)
	return s.forResource(ctx, id, func(t *tx) error {
		r, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		if err := t.mayHappen(ctx, id, remora.EventStoreChanged); err != nil {
			return err
		}
		row, err := t.q.SameBucket(ctx, pgsql.SameBucketParams{ResourceID: string(id), Endpoint: p.Endpoint, Bucket: p.Bucket, Prefix: p.Prefix})
		known := err == nil
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("look for the bucket: %w", err)
		}
		if copies && !row.TakesCopies { // one that does may be given other keys on any plan
			plan, err := resourceOf(r).Limits(t.now)
			if err == nil {
				err = plan.Copies()
			}
			if err != nil {
				return err
			}
		}
		bucket := remora.BucketID(row.ID)
		if !known {
			all, err := t.q.ListBuckets(ctx, string(id))
			if err != nil {
				return fmt.Errorf("list buckets: %w", err)
			}
			if len(all) >= mostBuckets {
				return &remora.Error{Kind: remora.KindPlanLimit, Public: fmt.Sprintf("There are %d buckets, which is as many as one add-on may have. Remove one first that no backup lies in.", len(all))}
			}
			bucket = remora.NewID[remora.BucketID]()
		}
		keep := string(bucket)
		if _, err := t.q.LeaveBuckets(ctx, pgsql.LeaveBucketsParams{ResourceID: string(id), Keep: &keep}); err != nil {
			return fmt.Errorf("leave the bucket: %w", err)
		}
		stays := remora.BucketID("")
		if copies {
			stays = bucket
		}
		if err := t.stopCopies(ctx, id, stays); err != nil {
			return err
		}
		if known {
			err = changed(t.q.ChangeBucket(ctx, pgsql.ChangeBucketParams{
				ID: keep, ResourceID: string(id), Region: p.Region, PathStyle: p.PathStyle, AccessKey: keys.AccessKey, SealedSecret: secret,
				DeleteAccessKey: keys.DeleteAccessKey, SealedDeleteSecret: deleter, Copies: copies, Person: person, Now: t.now, ObjectLock: state, ObjectLockDays: days,
			}))
		} else {
			err = t.q.InsertBucket(ctx, pgsql.InsertBucketParams{
				ID: keep, ResourceID: string(id), Endpoint: p.Endpoint, Region: p.Region, Bucket: p.Bucket, Prefix: p.Prefix, PathStyle: p.PathStyle, AccessKey: keys.AccessKey, SealedSecret: secret,
				DeleteAccessKey: keys.DeleteAccessKey, SealedDeleteSecret: deleter, Copies: copies, Person: person, Now: t.now, ObjectLock: state, ObjectLockDays: days,
			})
		}
		if err != nil {
			return fmt.Errorf("set the bucket: %w", err)
		}
		what, action := "From the next backup on archives lie in the bucket "+p.Says(), "set bucket"
		if copies {
			what, action = "From the next backup on a copy of each archive lies in the bucket "+p.Says(), "set bucket for copies"
		}
		if known && (row.InUse && !copies || row.TakesCopies && !row.InUse && copies) {
			what = "The keys of the bucket " + p.Says() + " were changed"
		}
		return t.stored(ctx, id, what, person, action, p.Says()+", by the key "+keys.AccessKey)
	})
}

// LeaveBucket has the next backup, and all after it, lie in our own bucket alone. What lies in the customer's stays there; what was to
// be copied to it is not any more. Errors: KindNotFound, KindGone. Where that is so already nothing changes.
func (s *Store) LeaveBucket(ctx context.Context, id remora.ResourceID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		was, err := t.bucketInUse(ctx, id)
		if err != nil {
			return err
		}
		n, err := t.q.LeaveBuckets(ctx, pgsql.LeaveBucketsParams{ResourceID: string(id)})
		if err != nil || n == 0 {
			return err
		}
		if err := t.stopCopies(ctx, id, ""); err != nil {
			return err
		}
		what := "From the next backup on archives lie in our own bucket"
		if was.ID == "" {
			what = "No more copies of archives are made; they lie in our own bucket alone"
		}
		return t.stored(ctx, id, what, person, "leave bucket", "ours")
	})
}

// RemoveBucket forgets the keys of a bucket that is in use no more, takes no copies, and that nothing lies in that is listed. We delete nothing in
// it. Errors: KindNotFound, KindGone, KindConflict.
func (s *Store) RemoveBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		all, err := t.q.ListBuckets(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list buckets: %w", err)
		}
		i := slices.IndexFunc(all, func(x pgsql.ListBucketsRow) bool { return x.Bucket.ID == string(bucket) })
		switch {
		case i < 0:
			return remora.NotFound("bucket")
		case all[i].Bucket.InUse:
			return &remora.Error{Kind: remora.KindConflict, Public: "New backups lie in this bucket. Choose another place for them first."}
		case all[i].Bucket.TakesCopies:
			return &remora.Error{Kind: remora.KindConflict, Public: "Copies of new backups lie in this bucket. Choose another place for them first, or none."}
		case all[i].Backups+all[i].Copies > 0:
			return &remora.Error{Kind: remora.KindConflict, Public: "Backups that are listed lie in this bucket, or copies of them, and could not be had without its keys. Remove it when the last of them has expired, or keep them for shorter."}
		}
		if err := changed(t.q.RemoveBucket(ctx, pgsql.RemoveBucketParams{ID: string(bucket), ResourceID: string(id), Now: &t.now})); err != nil {
			return fmt.Errorf("remove bucket: %w", err)
		}
		what := bucketOf(all[i].Bucket).Says()
		return t.stored(ctx, id, "We have forgotten the keys of the bucket "+what+" and deleted nothing in it", person, "remove bucket", what)
	})
}

// stored tells and writes down that somebody has changed where archives lie.
func (t *tx) stored(ctx context.Context, id remora.ResourceID, what, person, action, subject string) error {
	if err := t.happened(ctx, id, remora.Event{Kind: remora.EventStoreChanged, Detail: what + ". " + person + " has done that."}); err != nil {
		return err
	}
	return t.audit(ctx, id, person, action, subject)
}

// bucketInUse is where the next backup lies; the zero value is our own.
func (t *tx) bucketInUse(ctx context.Context, id remora.ResourceID) (remora.Bucket, error) {
	return bucketOrNone(t.q.BucketInUse(ctx, string(id)))
}

// bucketOfCopies is where copies of new backups lie; the zero value is nowhere.
func (t *tx) bucketOfCopies(ctx context.Context, id remora.ResourceID) (remora.Bucket, error) {
	return bucketOrNone(t.q.BucketOfCopies(ctx, string(id)))
}

func bucketOrNone(row pgsql.Bucket, err error) (remora.Bucket, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return remora.Bucket{}, nil
	}
	if err != nil {
		return remora.Bucket{}, fmt.Errorf("read where backups lie: %w", err)
	}
	return bucketOf(row), nil
}

// BucketsOf lists every bucket that a run of the backup, or a copy of it, has been written to, or may have; the empty one is ours, and comes first.
func (s *Store) BucketsOf(ctx context.Context, id remora.ResourceID, b remora.BackupID) (out []remora.BucketID, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		rows, err := t.q.BucketsOfBackup(ctx, pgsql.BucketsOfBackupParams{BackupID: string(b), ResourceID: string(id)})
		for _, r := range rows {
			out = append(out, orEmpty[remora.BucketID](r))
		}
		return err
	})
	return out, err
}

// Leftover is what a run that has failed may have left in a customer's bucket.
type Leftover struct {
	Run remora.RunID
	Archive
	Bucket remora.BucketID
}

// Leftovers hands out what is to be deleted of runs that have failed in customers' buckets, each once an hour until Tidied.
func (s *Store) Leftovers(ctx context.Context, after time.Duration, most int) (out []Leftover, err error) {
	err = s.forService(ctx, func(t *tx) error {
		before, again := t.now.Add(-after), t.now.Add(time.Hour)
		rows, err := t.q.RunsToTidy(ctx, pgsql.RunsToTidyParams{Now: &before, Again: &again, Most: int32(most)}) //nolint:gosec // a constant of ours
		for _, r := range rows {
			out = append(out, Leftover{remora.RunID(r.ID), Archive{remora.ResourceID(r.ResourceID), remora.BackupID(r.BackupID), int(r.Epoch)}, orEmpty[remora.BucketID](r.BucketID)})
		}
		return err
	})
	return out, err
}

// Tidied writes down that a run has left nothing.
func (s *Store) Tidied(ctx context.Context, l Leftover) error {
	return s.forResource(ctx, l.Resource, func(t *tx) error {
		return t.q.SetTidyAt(ctx, pgsql.SetTidyAtParams{ID: string(l.Run), ResourceID: string(l.Resource)})
	})
}

// Untidy writes down that a run that was overtaken has left an archive in a customer's bucket.
func (s *Store) Untidy(ctx context.Context, c Claim) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		return t.q.SetTidyAt(ctx, pgsql.SetTidyAtParams{ID: string(c.Run), ResourceID: string(c.Resource.ID), TidyAt: &t.now})
	})
}

func bucketOf(b pgsql.Bucket) remora.Bucket {
	out := remora.Bucket{
		ID: remora.BucketID(b.ID), Place: remora.Place{Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Bucket, Prefix: b.Prefix, PathStyle: b.PathStyle},
		AccessKey: b.AccessKey, DeleteAccessKey: b.DeleteAccessKey, InUse: b.InUse, TakesCopies: b.TakesCopies && !b.InUse, SetBy: b.SetBy, SetAt: b.SetAt,
		ObjectLock: remora.BucketLock{State: orEmpty[remora.BucketLockState](b.ObjectLock)},
	}
	if b.ObjectLockDays != nil {
		out.ObjectLock.Days = int(*b.ObjectLockDays)
	}
	return out
}
