package archivestore_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// locked is a bundle in a bucket that locks what is written to it for so many days, with the keys of two of our processes.
type locked struct {
	bundle
	cfg             objectstore.Config // root's
	root            *s3.Client
	worker, deleter *objectstore.Bucket
	raw             map[string]*s3.Client // by the keys of root, the worker and the deleter
}

func newLocked(t *testing.T, mode types.ObjectLockRetentionMode, days int32) locked {
	t.Helper()
	l := locked{bundle: newBundle(t), cfg: s3test.Locked(t, mode, days)}
	l.root = s3test.Client(l.cfg)
	worker, deleter := s3test.As(t, l.cfg, "worker"), s3test.As(t, l.cfg, "deleter")
	l.worker, l.deleter = s3test.Open(t, worker), s3test.Open(t, deleter)
	l.raw = map[string]*s3.Client{"root": l.root, "worker": s3test.Client(worker), "deleter": s3test.Client(deleter)}
	l.bucket = l.worker
	return l
}

// versions lists what lies in the bucket behind what anybody lists: versions and delete markers.
func (l locked) versions(t *testing.T, prefix string) (all []types.ObjectVersion, markers []types.DeleteMarkerEntry) {
	t.Helper()
	out, err := l.root.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &l.cfg.Bucket, Prefix: &prefix})
	if err != nil {
		t.Fatal(err)
	}
	return out.Versions, out.DeleteMarkers
}

// kept tells whether the store refused to delete a version, root too, and the version can be read by its id.
func (l locked) kept(t *testing.T, v types.ObjectVersion) {
	t.Helper()
	for who, client := range l.raw {
		for _, bypass := range []*bool{nil, aws.Bool(true)} {
			_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &l.cfg.Bucket, Key: v.Key, VersionId: v.VersionId, BypassGovernanceRetention: bypass})
			if !refused(err) {
				t.Errorf("the key of %s deletes a version of %s: %v", who, *v.Key, err)
			}
		}
		_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: &l.cfg.Bucket, Key: v.Key, VersionId: v.VersionId, Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))},
		})
		if !refused(err) {
			t.Errorf("the key of %s shortens the lock of %s: %v", who, *v.Key, err)
		}
	}
	in, err := l.root.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &l.cfg.Bucket, Key: v.Key, VersionId: v.VersionId})
	if err != nil {
		t.Errorf("a locked version cannot be read: %v", err)
		return
	}
	defer in.Body.Close()
	if n, err := io.Copy(io.Discard, in.Body); err != nil || n != *v.Size {
		t.Errorf("of a locked version %d bytes of %d: %v", n, *v.Size, err)
	}
}

// In a bucket with Object Lock an archive is made, listed and read as in any. What the deleter deletes there nobody lists or reads; and
// no key, root's included, can delete what was stored, or shorten its lock, before that has passed. An operator brings it back.
func TestALockedBucket(t *testing.T) {
	t.Parallel()
	l := newLocked(t, types.ObjectLockRetentionModeCompliance, 14)
	ctx, ref, key := t.Context(), newRef(), ""
	before := time.Now()
	if err := l.worker.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	head, body := noise(1000), noise(7<<20) // in parts
	_, w := l.commit(t, ref, head, body)
	lock, err := w.Lock()
	if day := 24 * time.Hour; err != nil || lock.Mode != remora.LockCompliance || lock.Until.Before(before.Add(14*day-time.Minute)) || lock.Until.After(time.Now().Add(14*day+time.Minute)) {
		t.Errorf("%+v %v", lock, err)
	}
	whole := append(bytes.Clone(head), body...)
	reads := func() {
		t.Helper()
		r, err := archivestore.Open(ctx, l.worker, ref, l.key, l.keys)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%d bytes: %v", len(got), err)
		}
		if err := archivestore.Verify(ctx, l.worker, r.Manifest); err != nil {
			t.Error(err)
		}
	}
	runs := func() (all []archivestore.Stored) {
		t.Helper()
		add := func(s archivestore.Stored) error { all = append(all, s); return nil }
		if err := errors.Join(archivestore.List(ctx, l.worker, archivestore.Ref{}, add), archivestore.RunsOf(ctx, l.deleter, ref.Resource, add)); err != nil {
			t.Error(err)
		}
		return all
	}
	reads()
	if all := runs(); len(all) != 2 || !all[0].Committed() {
		t.Errorf("%+v", all)
	}
	aborted := archivestore.Create(ctx, l.worker, newRef(), l.key.Recipient())
	if _, err := aborted.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := aborted.Abort(); err != nil {
		t.Error(err)
	}
	if open, err := l.worker.OpenUploads(ctx, archivestore.Prefix); err != nil || len(open) != 0 {
		t.Error(open, err)
	}
	overwrites(t, l.raw["worker"], l.cfg.Bucket, archivestore.Prefix+string(ref.Resource)+"/b/"+string(ref.Backup)+"/1/head")
	if err := archivestore.DeleteBackup(ctx, l.worker, ref.Resource, ref.Backup); !denied(err) {
		t.Errorf("the worker hides a backup: %v", err)
	}
	all, markers := l.versions(t, "")
	if len(all) != 4 || len(markers) != 0 { // nothing of what was aborted or probed
		t.Errorf("%d versions, %d delete markers", len(all), len(markers))
	}
	for _, v := range all {
		l.kept(t, v)
	}

	// The deleter's deleting hides it.
	if gone, err := archivestore.DeleteResource(ctx, l.deleter, ref.Resource); err != nil || gone.Objects != 4 {
		t.Errorf("%+v %v", gone, err)
	}
	if all := runs(); len(all) != 0 {
		t.Errorf("listed: %+v", all)
	}
	if _, err := archivestore.Open(ctx, l.worker, ref, l.key, l.keys); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("read: %v", err)
	}
	if gone, err := archivestore.DeleteResource(ctx, l.deleter, ref.Resource); err != nil || gone.Objects != 0 {
		t.Errorf("once more: %+v %v", gone, err)
	}
	if all, markers = l.versions(t, ""); len(all) != 4 || len(markers) != 4 {
		t.Errorf("%d versions, %d delete markers", len(all), len(markers))
	}
	for _, v := range all {
		l.kept(t, v)
	}

	// As docs/runbooks/deletions.md has an operator do it: without its delete marker an object is there again.
	for _, x := range markers {
		key = *x.Key
		for _, who := range []string{"worker", "deleter"} {
			if _, err := l.raw[who].DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &l.cfg.Bucket, Key: &key, VersionId: x.VersionId}); !refused(err) {
				t.Errorf("the key of the %s takes a delete marker away: %v", who, err)
			}
		}
		if _, err := l.root.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &l.cfg.Bucket, Key: &key, VersionId: x.VersionId}); err != nil {
			t.Error(err)
		}
	}
	if all := runs(); len(all) != 2 || !all[0].Committed() {
		t.Errorf("%+v", all)
	}
	reads()
}

// What must be able to go, copies of keys before all, is locked for an hour at most in a bucket that locks archives for days, so that
// a removed add-on's key goes when it is promised to. The worker's key has that right over nothing else.
func TestKeysAreNotLockedWithArchives(t *testing.T) {
	t.Parallel()
	for name, days := range map[string]int32{"locks by itself": 14, "locks nothing by itself": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLocked(t, types.ObjectLockRetentionModeCompliance, days)
			ctx, id := t.Context(), newRef().Resource
			by, err := archivestore.PutKey(ctx, l.worker, l.keys, archivestore.KeyCopy{Resource: id, Key: l.key.Secret(), Recipient: l.key.Recipient()})
			if err == nil {
				_, err = archivestore.PutKey(ctx, l.worker, l.keys, archivestore.KeyCopy{Resource: id, Key: l.key.Secret(), Recipient: l.key.Recipient()}) // once more
			}
			if err == nil {
				err = archivestore.PutRemoved(ctx, l.worker, l.keys, archivestore.Removed{Resource: id, AskedAt: time.Now()})
			}
			if err == nil {
				_, err = archivestore.PutRetired(ctx, l.worker, l.keys, by, archivestore.MACPurpose, l.key.Secret())
			}
			if err != nil {
				t.Fatal(err)
			}
			all, _ := l.versions(t, archivestore.KeysPrefix)
			if len(all) != 3 {
				t.Errorf("%d versions", len(all))
			}
			for _, v := range all {
				o, err := s3test.Open(t, l.cfg).Head(ctx, *v.Key)
				if err != nil || o.LockedUntil.After(time.Now().Add(time.Hour)) || o.LockMode == objectstore.LockCompliance || (o.LockMode == "") != (days == 0) {
					t.Errorf("%s: %s until %v; %v", *v.Key, o.LockMode, o.LockedUntil, err)
				}
			}
			if err := errors.Join(archivestore.EraseKeys(ctx, l.deleter, id, ""), archivestore.EraseRemoved(ctx, l.deleter, id)); err != nil {
				t.Error(err)
			}
			if k, err := archivestore.ReadKnown(ctx, l.worker, l.keys); err != nil || len(k.Keys)+len(k.Removed) != 0 {
				t.Errorf("%+v %v", k, err)
			}
			for _, at := range []string{archivestore.Prefix + "x", "probe/x"} {
				_, err := l.raw["worker"].PutObject(ctx, &s3.PutObjectInput{
					Bucket: &l.cfg.Bucket, Key: &at, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*"),
					ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Minute)),
				})
				if !refused(err) {
					t.Errorf("the worker's key writes %s with a lock of its own: %v", at, err)
				}
			}
			for who, client := range l.raw {
				_, err := client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{
					Bucket: &l.cfg.Bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled},
				})
				if who != "root" && !refused(err) {
					t.Errorf("the key of the %s has the bucket lock nothing any more: %v", who, err)
				}
			}
		})
	}
}

// Of an archive of which the store does not say that all of it is locked, nothing is said; of one whose locks differ, the least.
func TestLockedIsTheLeastOfAll(t *testing.T) {
	t.Parallel()
	l := newLocked(t, types.ObjectLockRetentionModeCompliance, 14)
	plain := newBundle(t)
	_, w := plain.commit(t, newRef(), noise(10), noise(20))
	if lock, err := w.Lock(); err != nil || lock != (remora.ObjectLock{}) {
		t.Errorf("%+v %v", lock, err)
	}
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		answer func(http.Header)
		want   remora.ObjectLock
	}{
		"the key may not know":  {func(h http.Header) { h.Del("X-Amz-Object-Lock-Mode"); h.Del("X-Amz-Object-Lock-Retain-Until-Date") }, remora.ObjectLock{}},
		"a mode without a time": {func(h http.Header) { h.Del("X-Amz-Object-Lock-Retain-Until-Date") }, remora.ObjectLock{}},
		"a mode nobody knows":   {func(h http.Header) { h.Set("X-Amz-Object-Lock-Mode", "FOREVER") }, remora.ObjectLock{}},
		"a shorter one": {func(h http.Header) {
			h.Set("X-Amz-Object-Lock-Mode", "GOVERNANCE")
			h.Set("X-Amz-Object-Lock-Retain-Until-Date", soon.Format(time.RFC3339))
		}, remora.ObjectLock{Mode: remora.LockGovernance, Until: soon}},
	} {
		for _, of := range []string{"head", "manifest", "contents", "body-001"} {
			cfg := s3test.Key(l.cfg, "worker")
			client := *cfg.HTTP
			client.Transport = answering{client.Transport, of, func(r *http.Response) { c.answer(r.Header) }}
			cfg.HTTP = &client
			b := l.bundle
			b.bucket = s3test.Open(t, cfg)
			_, w := b.commit(t, newRef(), noise(10), noise(20))
			if lock, err := w.Lock(); err != nil || lock != c.want {
				t.Errorf("%s of the %s: %+v %v", name, of, lock, err)
			}
		}
	}
	// A store that does not say it has the archive all the same.
	for _, of := range []string{"head", "manifest"} {
		cfg := s3test.Key(l.cfg, "worker")
		client := *cfg.HTTP
		client.Transport = answering{client.Transport, of, func(r *http.Response) {
			if r.Request.Method == http.MethodHead {
				r.StatusCode = http.StatusForbidden
			}
		}}
		cfg.HTTP = &client
		b := l.bundle
		b.bucket = s3test.Open(t, cfg)
		_, w := b.commit(t, newRef(), noise(10), noise(20))
		if lock, err := w.Lock(); err == nil || lock != (remora.ObjectLock{}) {
			t.Errorf("of the %s: %+v %v", of, lock, err)
		}
	}
}

// answering changes the answers about one object of an archive.
type answering struct {
	next   http.RoundTripper
	of     string
	change func(*http.Response)
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	if err == nil && slices.Contains(strings.Split(r.URL.Path, "/"), a.of) {
		a.change(resp)
	}
	return resp, err
}
