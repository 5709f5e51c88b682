package jobworkers

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// lockedFor tells whether a store has said that a backup is locked for so many days from about now.
func lockedFor(b remora.Backup, mode remora.LockMode, days int) bool {
	off := time.Until(b.ObjectLock.Until) - time.Duration(days)*24*time.Hour
	return b.ObjectLock.Mode == mode && off.Abs() < 10*time.Minute
}

// A backup in a bucket with Object Lock, ours or its owner's, knows until when it is locked, and is deleted as any: with each
// process's own key, and nothing is left that anybody lists. What the deleter asks before it deletes is not confused by what stays.
func TestALockedBackup(t *testing.T) {
	t.Parallel()
	ourBucket := s3test.Locked(t, types.ObjectLockRetentionModeCompliance, 14)
	b := newBundle(t, func(cfg *objectstore.Config) { *cfg = s3test.As(t, ourBucket, "worker") })
	ours := b.backup(t)
	root, cfg, proxy := b.theirs(t, s3test.Locked(t, types.ObjectLockRetentionModeGovernance, 3), b.Store.SetBucket)
	ask := func() remora.Backup {
		t.Helper()
		if _, err := b.Store.RequestBackup(t.Context(), b.id, ours.Database, "p"); err != nil {
			t.Fatal(err)
		}
		return b.attempt(t)
	}
	theirs := ask()
	if !lockedFor(ours, remora.LockCompliance, 14) || theirs.State != remora.BackupVerified || !lockedFor(theirs, remora.LockGovernance, 3) {
		t.Errorf("ours %+v, theirs %+v", ours.ObjectLock, theirs)
	}
	all, err := b.Store.Buckets(t.Context(), b.id)
	if err != nil || len(all) != 1 || all[0].ObjectLock != (remora.BucketLock{State: remora.BucketLockGovernance, Days: 3}) {
		t.Errorf("%+v %v", all, err)
	}
	d := newDeleter(t, b.Store, s3test.Open(t, s3test.Key(ourBucket, "deleter")))
	for _, x := range []remora.Backup{ours, theirs} {
		if err := (&deleteBackup{Deleter: d}).deleteEverywhere(t.Context(), b.id, x.ID); err != nil {
			t.Error(err)
		}
		if err := errors.Join(d.known(t.Context(), b.id), d.knownToThem(t.Context(), b.id)); err != nil {
			t.Error(err)
		}
	}
	nothing := func(o objectstore.Object) error { return errors.New(o.Key) }
	if err := errors.Join(root.List(t.Context(), "", nothing), s3test.Open(t, ourBucket).List(t.Context(), "r/", nothing)); err != nil {
		t.Errorf("left: %v", err)
	}

	// A store that does not say is no reason to lose a backup.
	log := b.logs()
	proxy.Add(faultproxy.Rule{Match: func(r *http.Request) bool {
		return r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/manifest")
	}, Do: faultproxy.Answer(400, "")})
	if got := ask(); got.State != remora.BackupVerified || got.ObjectLock != (remora.ObjectLock{}) {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(log.String(), "could not be asked until when it keeps a backup") {
		t.Error(log)
	}
	proxy.Clear()

	// Nor is a key that may not know; and of a bucket that locks nothing nothing is said.
	policy := `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"]},
		{"Effect":"Deny","Action":"s3:GetBucketObjectLockConfiguration","Resource":"arn:aws:s3:::BUCKET"}]}`
	s3test.Allow(t, cfg, map[string]string{"worker": policy})
	if got := ask(); got.State != remora.BackupVerified || !lockedFor(got, remora.LockGovernance, 3) { // what may not be asked of the bucket is said of the object
		t.Errorf("%+v", got)
	}
	b.ownBucket(t)
	if got := ask(); got.State != remora.BackupVerified || got.ObjectLock != (remora.ObjectLock{}) {
		t.Errorf("%+v", got)
	}
	if all, err := b.Store.Buckets(t.Context(), b.id); err != nil || all[0].ObjectLock != (remora.BucketLock{State: remora.BucketLockOff}) {
		t.Errorf("%+v %v", all, err)
	}
}
