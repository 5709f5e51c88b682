package jobworkers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// copying has the resource's backups be copied to a bucket of its own, with the keys and policies that the documentation gives.
func (b *bundle) copying(t *testing.T) (root *objectstore.Bucket, cfg objectstore.Config, proxy *faultproxy.HTTP) {
	t.Helper()
	if _, err := b.Store.ChangePlan(t.Context(), b.id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	return b.theirs(t, s3test.Config(t), b.Store.SetSecondPlace)
}

// copies makes one attempt at the copy of a backup, and returns it.
func (b *bundle) copies(t *testing.T, x remora.BackupID) remora.Copy {
	t.Helper()
	if err := work(t, t.Context(), &copyBackup{Workers: b.Workers}, jobargs.CopyBackup{Backup: x, Bucket: b.copy(t, x).Bucket}); err != nil {
		t.Fatal(err)
	}
	return b.copy(t, x)
}

func (b *bundle) copy(t *testing.T, x remora.BackupID) remora.Copy {
	t.Helper()
	all, err := b.Store.Copies(t.Context(), b.id, x)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

// everything is what lies of archives in a bucket, by key.
func everything(t *testing.T, b *objectstore.Bucket) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := b.List(t.Context(), archivestore.Prefix, func(o objectstore.Object) (err error) {
		all[o.Key], err = b.Get(t.Context(), o.Key, 1<<30)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, ours, theirs *objectstore.Bucket) {
	t.Helper()
	want, got := everything(t, ours), everything(t, theirs)
	if len(want) != 4 || len(got) != 4 {
		t.Errorf("%d objects of %d", len(got), len(want))
	}
	for key := range want {
		if !bytes.Equal(want[key], got[key]) {
			t.Errorf("%s differs", key)
		}
	}
}

// From the kept backup to the end of its copy: byte for byte what lies in ours, readable and complete by itself, and gone with its
// backup, with the keys and policies that the documentation gives.
func TestABackupIsCopied(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	root, _, _ := b.copying(t)
	log := b.logs()
	x := b.backup(t)
	if c := b.copy(t, x.ID); x.Bucket != "" || c.State != remora.CopyQueued {
		t.Fatalf("%+v %+v", x, c)
	}
	b.nothing(t, root)
	c := b.copies(t, x.ID)
	if c.State != remora.CopyMade || c.Bytes <= x.StoredSize {
		t.Fatalf("%+v of %d bytes", c, x.StoredSize)
	}
	same(t, b.Bucket, root)
	kept := b.Bucket
	b.Bucket = root
	b.restores(t, x)
	b.Bucket = kept
	if n := testutil.ToFloat64(b.Workers.copies.WithLabelValues(copyMade)); n != 1 {
		t.Errorf("counted %v times", n)
	}
	if said := log.String(); strings.Contains(said, "level=ERROR") || !strings.Contains(said, "was copied to its owner's bucket") {
		t.Error(said)
	}
	// What is in theirs is known, and holds nothing up.
	d := newDeleter(t, b.Store, b.Bucket)
	if err := errors.Join(d.known(t.Context(), b.id), d.knownToThem(t.Context(), b.id)); err != nil {
		t.Error(err)
	}
	if err := (&deleteBackup{Deleter: d}).deleteEverywhere(t.Context(), b.id, x.ID); err != nil {
		t.Error(err)
	}
	b.nothing(t, b.Bucket)
	b.nothing(t, root)
}

// What a bucket holds that only ever took copies keeps nothing in ours from expiring: somebody may have put it there, and our database, made
// anew, forgets what ours no longer has. It does where backups lie in that bucket, or did.
func TestWhatLiesAmongCopiesHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	root, cfg, proxy := b.copying(t)
	b.connect(t)
	if _, err := root.PutIfAbsent(t.Context(), archivestore.Prefix+string(b.id)+"/b/"+string(remora.NewID[remora.BackupID]())+"/1/head", []byte("x")); err != nil {
		t.Fatal(err)
	}
	d := newDeleter(t, b.Store, b.Bucket)
	look := func(when string, holds bool) {
		t.Helper()
		var f *remora.Failure
		if err := d.knownToThem(t.Context(), b.id); errors.As(err, &f) != holds || !holds && err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	look("it takes copies", false)
	if err := b.Store.LeaveBucket(t.Context(), b.id, "p"); err != nil {
		t.Fatal(err)
	}
	look("it took copies", false)
	place := remora.Place{Endpoint: proxy.URL, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "remora", PathStyle: true}
	keys := remora.BucketKeys{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey}
	if err := b.Store.SetBucket(t.Context(), b.id, place, keys, remora.BucketLock{}, "p"); err != nil {
		t.Fatal(err)
	}
	look("it is in use", true)
	if x := b.attempt(t); x.State != remora.BackupVerified || x.Bucket == "" {
		t.Fatalf("%+v", x)
	}
	if err := b.Store.SetSecondPlace(t.Context(), b.id, place, keys, remora.BucketLock{}, "p"); err != nil {
		t.Fatal(err)
	}
	look("it takes copies, and was in use", true)
}

// A worker that stops in the middle gives the copy back, one that is killed is found out by its lease, and whoever comes next goes on
// with what is there.
func TestACopyIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	root, _, proxy := b.copying(t)
	x := b.backup(t)
	at := b.copy(t, x.ID)
	w, args := &copyBackup{Workers: b.Workers}, jobargs.CopyBackup{Backup: x.ID, Bucket: at.Bucket}
	for _, name := range []string{"body-001", "head"} {
		ctx, stop := context.WithCancel(t.Context())
		proxy.Clear()
		proxy.Add(faultproxy.Rule{
			Match: func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/"+name)
			},
			Do: func(http.ResponseWriter, *http.Request, http.Handler) { stop(); panic(http.ErrAbortHandler) },
		})
		if err := work(t, ctx, w, args); err != nil {
			t.Error(err)
		}
		stop()
		if c := b.copy(t, x.ID); c.State != remora.CopyQueued || c.Running || c.Reason != "" {
			t.Errorf("%+v", c)
		}
		if _, headed := everything(t, root)[archivestore.Prefix+string(b.id)+"/b/"+string(x.ID)+"/1/head"]; headed {
			t.Error("it is an archive")
		}
	}
	proxy.Clear()
	// Killed: nobody else is at it before its lease has ended.
	if _, err := b.Store.ClaimCopy(t.Context(), x.ID, at.Bucket); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), w, args); err != nil || b.copy(t, x.ID).State != remora.CopyQueued {
		t.Error(err)
	}
	pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SET remora.service = 'on'; UPDATE copies SET lease_until = now() - interval '1 second'")
	if c := b.copies(t, x.ID); c.State != remora.CopyMade {
		t.Errorf("%+v", c)
	}
	same(t, b.Bucket, root)
}

// A copy whose workers are killed, each time, has failed: its owner is told, and so is the operator, for nobody knows yet whose fault it is.
func TestACopyThatKillsItsWorkers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	root, _, _ := b.copying(t)
	x := b.backup(t)
	pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SET remora.service = 'on'; UPDATE copies SET attempts = 99")
	log := b.logs()
	if c := b.copies(t, x.ID); c.State != remora.CopyFailed || c.Reason != remora.ReasonInternal {
		t.Errorf("%+v", c)
	}
	b.nothing(t, root)
	if n := testutil.ToFloat64(b.Workers.copies.WithLabelValues(copyFailed)); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("counted %v times: %s", n, log.String())
	}
}

// A store that is silent is tried again; one that refuses, or holds another object, is not. Its owner is told what to do, nobody here is
// alarmed, and the backup is as good as ever. What is damaged or missing in ours is ours to mend.
func TestACopyThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail    faultproxy.Fault
		revoke  bool // the keys, at the store
		ours    bool // an object of ours is gone
		other   bool // another object is there
		endless bool // is what it lists
		want    remora.Reason
		again   bool
		says    string
		alarm   bool
	}{
		"an error":        {fail: faultproxy.Answer(500, `<Error><Code>InternalError</Code></Error>`), want: remora.ReasonOwnBucketFailed, again: true, says: "InternalError"},
		"a cut":           {fail: faultproxy.Cut(100), want: remora.ReasonOwnBucketFailed, again: true, says: "did not answer"},
		"revoked":         {revoke: true, want: remora.ReasonOwnBucketRefused, says: "The key may not list"},
		"a quota":         {fail: faultproxy.Answer(403, `<Error><Code>QuotaExceeded</Code></Error>`), want: remora.ReasonOwnBucketRefused, says: "no room left"},
		"an endless list": {endless: true, want: remora.ReasonOwnBucketRefused, says: "hundreds of objects"},
		"another object":  {other: true, want: remora.ReasonOwnBucketRefused, says: "not the backup's"},
		"missing in ours": {ours: true, want: remora.ReasonObjectDamaged, says: "missing", alarm: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			root, cfg, proxy := b.copying(t)
			x := b.backup(t)
			log := b.logs()
			at := archivestore.Prefix + string(b.id) + "/b/" + string(x.ID) + "/1/"
			switch {
			case c.revoke:
				s3test.Allow(t, cfg, nil)
			case c.other:
				if _, err := root.PutIfAbsent(t.Context(), at+"contents", []byte("x")); err != nil {
					t.Fatal(err)
				}
			case c.endless:
				page := `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>` +
					strings.Repeat("<Contents><Key>remora/"+at+"x</Key></Contents>", 1000) + `</ListBucketResult>`
				proxy.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, Do: faultproxy.Answer(200, page)})
			case c.ours:
				if err := b.Bucket.Delete(t.Context(), at+"contents"); err != nil {
					t.Fatal(err)
				}
			default:
				proxy.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return r.Method == http.MethodPut }, Do: c.fail})
			}
			got := b.copies(t, x.ID)
			state, outcome := remora.CopyFailed, copyTheirs
			if c.again {
				state, outcome = remora.CopyQueued, copyAgain
			}
			if c.ours {
				outcome = copyFailed
				if p := b.newestProof(t, x.ID); p.Kind != remora.ProofReread || p.State != remora.ProofQueued {
					t.Errorf("it is not read again: %+v", p)
				}
			}
			if got.State != state || got.Reason != c.want || !strings.Contains(got.Detail, c.says) || got.Says() == "" {
				t.Errorf("%+v", got)
			}
			if said := log.String(); strings.Contains(said, "level=ERROR") != c.alarm {
				t.Errorf("the operator is alarmed: %s", said)
			}
			if n := testutil.ToFloat64(b.Workers.copies.WithLabelValues(outcome)); n != 1 {
				t.Errorf("counted %v times", n)
			}
			if y := b.newest(t); y.State != remora.BackupVerified || y.Reason != "" {
				t.Errorf("%+v", y)
			}
			if _, headed := everything(t, root)[at+"head"]; headed {
				t.Error("it is an archive")
			}
			events, err := b.Store.Events(t.Context(), b.id, remora.EventLook{Most: 9})
			told := 0
			for _, e := range events {
				if e.Kind == remora.EventCopyFailed {
					told++
				}
			}
			if err != nil || (told == 1) == c.again {
				t.Errorf("told %d times: %v", told, err)
			}
			if c.other || c.again || c.ours {
				return
			}
			// Mended and asked for again, it is made.
			proxy.Clear()
			if c.revoke {
				s3test.Allow(t, cfg, map[string]string{"worker": `{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"]}]}`})
			}
			if err := b.Store.AskCopy(t.Context(), b.id, x.ID, "p"); err != nil {
				t.Fatal(err)
			}
			if got := b.copies(t, x.ID); got.State != remora.CopyMade {
				t.Errorf("%+v", got)
			}
			same(t, b.Bucket, root)
		})
	}
}

// One of a resource's copies is made at a time; the other waits and is not tried for nothing.
func TestACopyWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.copying(t)
	one := b.backup(t)
	if _, err := b.Store.RequestBackup(t.Context(), b.id, one.Database, "p"); err != nil {
		t.Fatal(err)
	}
	two := b.attempt(t)
	if _, err := b.Store.ClaimCopy(t.Context(), one.ID, b.copy(t, one.ID).Bucket); err != nil {
		t.Fatal(err)
	}
	release, err := b.budget.admit(t.Context(), "a run", b.budget.size) // which leaves no room
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	err = work(t, t.Context(), &copyBackup{Workers: b.Workers}, jobargs.CopyBackup{Backup: two.ID, Bucket: b.copy(t, two.ID).Bucket})
	var later *river.JobSnoozeError
	if !errors.As(err, &later) || later.Duration != copyPause || b.copy(t, two.ID).State != remora.CopyQueued {
		t.Error(err)
	}
}

// An attempt that has not moved for a while ends and is tried again later: it was whose store gave or took nothing.
func TestACopyThatStandsStill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ours       bool
		method, at string
		want       remora.Reason
	}{
		"theirs takes nothing": {method: http.MethodPut, at: "/head", want: remora.ReasonOwnBucketFailed}, // ours is read whole by then
		"theirs says nothing":  {method: http.MethodGet, want: remora.ReasonOwnBucketFailed},
		"ours gives nothing":   {ours: true, method: http.MethodGet, want: remora.ReasonStoreFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ours *faultproxy.HTTP
			b := newBundle(t, func(cfg *objectstore.Config) {
				var err error
				if ours, err = faultproxy.NewHTTP(cfg.Endpoint); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(ours.Close)
				cfg.Endpoint = ours.URL
			})
			_, _, theirs := b.copying(t)
			x := b.backup(t)
			log := b.logs()
			at := theirs
			if c.ours {
				at = ours
			}
			var held atomic.Bool
			var asked atomic.Int64
			b.Now = func() time.Time { // once it is held, each look is later by all of the time
				if held.Load() {
					asked.Add(1)
				}
				return time.Now().Add(time.Duration(asked.Load()) * stallAfter)
			}
			gone := make(chan struct{})
			t.Cleanup(func() { close(gone) })
			at.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return r.Method == c.method && strings.HasSuffix(r.URL.Path, c.at) }, Do: func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
				held.Store(true)
				select {
				case <-gone:
				case <-r.Context().Done():
				}
			}})
			if got := b.copies(t, x.ID); got.State != remora.CopyQueued || got.Reason != c.want || !got.DueAt.After(time.Now().Add(30*time.Second)) {
				t.Errorf("%+v", got)
			}
			if strings.Contains(log.String(), "level=ERROR") != c.ours {
				t.Error(log.String())
			}
		})
	}
}

// What moves by the floor within the time goes on, however slowly it does.
func TestMovement(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for name, c := range map[string]struct {
		each    int // bytes a minute
		minutes int
		want    bool
	}{
		"nothing, not yet": {0, 9, false}, "nothing": {0, 10, true}, "less than the floor": {stallFloor/10 - 1, 10, true}, "the floor": {stallFloor / 10, 600, false},
	} {
		m, stalled := movement{since: start}, false
		for i := range c.minutes {
			m.moved(c.each)
			stalled = stalled || m.stalled(start.Add(time.Duration(i+1)*time.Minute))
		}
		if stalled != c.want {
			t.Errorf("%s: %v", name, stalled)
		}
	}
}

// A backup that expires while it is copied is gone in both places in the end: the worker stops, the deletion waits for him, and what a
// suspended one writes after that is found.
func TestACopyThatOutlivesItsBackup(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 9)
	ctx := t.Context()
	if _, err := a.Store.ChangePlan(ctx, a.id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	cfg := s3test.Config(t)
	cfg.Prefix = "remora/"
	root := s3test.Open(t, cfg)
	place := remora.Place{Endpoint: cfg.Endpoint, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "remora", PathStyle: true}
	if err := a.Store.SetSecondPlace(ctx, a.id, place, remora.BucketKeys{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey}, remora.BucketLock{}, "p"); err != nil {
		t.Fatal(err)
	}
	oldest := a.backups[0]
	if err := a.Store.AskCopy(ctx, a.id, oldest, "p"); err != nil {
		t.Fatal(err)
	}
	all, err := a.Store.Copies(ctx, a.id, oldest)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	c, err := a.Store.ClaimCopy(ctx, oldest, all[0].Bucket)
	if err != nil {
		t.Fatal(err)
	}
	ref := archivestore.Ref{Resource: a.id, Backup: oldest, Epoch: c.Archive}
	copied := func() {
		t.Helper()
		if _, err := archivestore.Replicate(ctx, a.real, root, ref, a.keys, func(int) {}); err != nil {
			t.Fatal(err)
		}
	}
	copied() // he is done, and has not said so
	if _, err := a.Store.SetRetention(ctx, a.id, a.db, remora.Retention{Last: 1, Zone: "UTC"}, 99, "p"); err != nil {
		t.Fatal(err)
	}
	a.ahead += remora.RetentionGrace + time.Hour
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	a.ahead += 2 * time.Hour
	var later *river.JobSnoozeError
	if err := a.delete(t, oldest); !errors.As(err, &later) {
		t.Error("it is deleted while somebody may write:", err)
	}
	late := everything(t, root)
	if err := a.Store.EndCopy(ctx, c, 1); remora.KindOf(err) != remora.KindStale {
		t.Error(err)
	}
	if err := a.Store.LetGoOfCopy(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := a.delete(t, oldest); err != nil {
		t.Fatal(err)
	}
	for _, in := range []*objectstore.Bucket{a.real, root} {
		for key := range everything(t, in) {
			if strings.Contains(key, string(oldest)) {
				t.Errorf("%s is left", key)
			}
		}
	}
	if x, err := a.Store.Backup(ctx, a.id, oldest); err != nil || x.State != remora.BackupDeleted {
		t.Errorf("%+v %v", x, err)
	}
	for key, body := range late { // he was suspended, and writes
		if _, err := root.PutIfAbsent(ctx, key, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Store.LetGoOfCopy(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := work(t, ctx, &sweepArchives{Deleter: a.Deleter}, jobargs.SweepArchives{}); err != nil {
		t.Error(err)
	}
	if n := len(everything(t, root)); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

// Where a copy cannot be deleted its backup stays expired, is gone from ours, and is tried again; nobody here is alarmed.
func TestACopyThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	root, cfg, _ := b.copying(t)
	x := b.backup(t)
	if c := b.copies(t, x.ID); c.State != remora.CopyMade {
		t.Fatalf("%+v", c)
	}
	s3test.Allow(t, cfg, nil)
	pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SET remora.service = 'on'; UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now() - interval '2 hours'")
	d := newDeleter(t, b.Store, b.Bucket)
	if err := d.knownToThem(t.Context(), b.id); err != nil {
		t.Errorf("it keeps what lies in ours from expiring: %v", err)
	}
	log := &logtest.Buffer{}
	d.Log = slog.New(slog.NewTextHandler(log, nil))
	var later *river.JobSnoozeError
	if err := work(t, t.Context(), &deleteBackup{Deleter: d}, jobargs.DeleteBackup{Backup: x.ID}); !errors.As(err, &later) {
		t.Error(err)
	}
	b.nothing(t, b.Bucket)
	if len(everything(t, root)) != 4 || strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "level=WARN") {
		t.Error(log.String())
	}
	if n, err := b.Store.OverdueDeletions(t.Context(), time.Hour); err != nil || n != 0 {
		t.Error(n, err)
	}
	s3test.Allow(t, cfg, map[string]string{"deleter": `{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"]}]}`})
	if err := work(t, t.Context(), &deleteBackup{Deleter: d}, jobargs.DeleteBackup{Backup: x.ID}); err != nil {
		t.Error(err)
	}
	b.nothing(t, root)
	if got, err := b.Store.Backup(t.Context(), b.id, x.ID); err != nil || got.State != remora.BackupDeleted {
		t.Errorf("%+v %v", got, err)
	}
}

// Of a backup that a release before copies has deleted, and of one whose copy our database has forgotten, the copy goes all the same.
func TestACopyThatWasForgottenIsDeleted(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*testing.T, *bundle, *Deleter, remora.BackupID){
		"by the release before": func(t *testing.T, b *bundle, d *Deleter, x remora.BackupID) {
			if err := archivestore.DeleteBackup(t.Context(), b.Bucket, b.id, x); err != nil {
				t.Fatal(err)
			}
			pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SET remora.service = 'on'; UPDATE backups SET state = 'deleted', deleted_at = now()")
			if err := work(t, t.Context(), &sweepArchives{Deleter: d}, jobargs.SweepArchives{}); err != nil {
				t.Error(err)
			}
		},
		"by our database": func(t *testing.T, b *bundle, d *Deleter, x remora.BackupID) {
			pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SET remora.service = 'on'; DELETE FROM copies; UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now()")
			if err := work(t, t.Context(), &deleteBackup{Deleter: d}, jobargs.DeleteBackup{Backup: x}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			root, _, _ := b.copying(t)
			x := b.backup(t)
			if c := b.copies(t, x.ID); c.State != remora.CopyMade {
				t.Fatalf("%+v", c)
			}
			forget(t, b, newDeleter(t, b.Store, b.Bucket), x.ID)
			b.nothing(t, b.Bucket)
			b.nothing(t, root)
		})
	}
}
