package jobworkers

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// ownBucket has the resource keep its archives in a bucket of its own, below a prefix, with the two keys and policies that
// docs/own-bucket.md gives. The proxy stands before the store.
func (b *bundle) ownBucket(t *testing.T) (root *objectstore.Bucket, cfg objectstore.Config, proxy *faultproxy.HTTP) {
	t.Helper()
	return b.theirs(t, s3test.Config(t), b.Store.SetBucket)
}

// theirs is a bucket of the resource's owner, in a store that is there, which set has be used.
func (b *bundle) theirs(t *testing.T, cfg objectstore.Config, set func(context.Context, remora.ResourceID, remora.Place, remora.BucketKeys, remora.BucketLock, string) error) (root *objectstore.Bucket, _ objectstore.Config, proxy *faultproxy.HTTP) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "own-bucket.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```json\n(\\{\\s+\"Version\".*?)```").FindAllStringSubmatch(strings.ReplaceAll(string(text), "PREFIX", "remora"), -1)
	if len(found) != 2 {
		t.Fatalf("%d policies", len(found))
	}
	s3test.Allow(t, cfg, map[string]string{"worker": found[0][1], "deleter": found[1][1]})
	if proxy, err = faultproxy.NewHTTP(cfg.Endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	writes, deletes := s3test.Key(cfg, "worker"), s3test.Key(cfg, "deleter")
	place := remora.Place{Endpoint: proxy.URL, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "remora", PathStyle: true}
	keys := remora.BucketKeys{AccessKey: writes.AccessKey, SecretKey: writes.SecretKey, DeleteAccessKey: deletes.AccessKey, DeleteSecretKey: deletes.SecretKey}
	tried, err := b.Stores.Probe(t.Context(), b.id, place, keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), b.id, place, keys, tried.ObjectLock, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	cfg.Prefix = "remora/"
	return s3test.Open(t, cfg), cfg, proxy
}

func (b *bundle) logs() *logtest.Buffer {
	log := &logtest.Buffer{}
	b.Log = slog.New(slog.NewTextHandler(log, nil))
	return log
}

// From the run to the end of a backup in a customer's own bucket: it is made, restored and compared, read again, opened for its
// owner, and deleted, with the keys and policies that the documentation gives, and our own bucket sees nothing of it. A backup that
// was made before stays in ours.
func TestABackupInItsOwnersBucket(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	ours := b.backup(t)
	root, _, _ := b.ownBucket(t)
	if _, err := b.Store.RequestBackup(t.Context(), b.id, ours.Database, "p"); err != nil {
		t.Fatal(err)
	}
	theirs := b.attempt(t)
	if theirs.State != remora.BackupVerified || theirs.Bucket == "" || ours.Bucket != "" {
		t.Fatalf("%+v", theirs)
	}
	has := func(in *objectstore.Bucket, x remora.Backup) (n int) {
		err := in.List(t.Context(), "", func(o objectstore.Object) error {
			if strings.Contains(o.Key, string(x.ID)) {
				n++
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if has(root, theirs) != 4 || has(root, ours) != 0 || has(b.Bucket, theirs) != 0 || has(b.Bucket, ours) != 4 {
		t.Error(has(root, theirs), has(root, ours), has(b.Bucket, theirs), has(b.Bucket, ours))
	}
	for _, x := range []remora.Backup{ours, theirs} {
		in, err := b.Stores.At(t.Context(), b.id, x.Bucket)
		if err != nil {
			t.Fatal(err)
		}
		kept := b.Bucket
		b.Bucket = in
		b.restores(t, x)
		b.Bucket = kept
		for _, kind := range []remora.ProofKind{remora.ProofRestore, remora.ProofReread} {
			if err := b.Store.RequestProof(t.Context(), b.id, x.ID, kind, "p"); err != nil {
				t.Fatal(err)
			}
			p := b.newestProof(t, x.ID)
			if kind == remora.ProofRestore {
				err = work(t, t.Context(), &proveBackup{Verifier: v}, jobargs.ProveBackup{Proof: p.ID, Attempt: 1})
			} else {
				err = work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: p.ID, Attempt: 1})
			}
			if p := b.newestProof(t, x.ID); err != nil || p.State != remora.ProofPassed || p.Kind != kind {
				t.Errorf("%+v %v", p, err)
			}
		}
	}
	d := newDeleter(t, b.Store, b.Bucket)
	if err := errors.Join(d.known(t.Context(), b.id), d.knownToThem(t.Context(), b.id)); err != nil {
		t.Error(err)
	}
	// A backup in the customer's bucket that our database does not know keeps everything of his, and nobody is alarmed.
	stray := archivestore.Ref{Resource: b.id, Backup: remora.NewID[remora.BackupID](), Epoch: 1}
	if _, err := root.PutIfAbsent(t.Context(), archivestore.Prefix+string(b.id)+"/b/"+string(stray.Backup)+"/1/head", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var failure *remora.Failure
	if err := d.knownToThem(t.Context(), b.id); !errors.As(err, &failure) {
		t.Error(err)
	}
	if hold, err := b.Store.DeletionHold(t.Context()); err != nil || hold.InForce() {
		t.Error(hold, err)
	}
	del := &deleteBackup{Deleter: d}
	if err := del.deleteEverywhere(t.Context(), b.id, theirs.ID); err != nil {
		t.Error(err)
	}
	if has(root, theirs) != 0 || has(b.Bucket, ours) != 4 {
		t.Error(has(root, theirs), has(b.Bucket, ours))
	}
}

// A customer's bucket that refuses or loses what is sent: nothing is listed and nothing is left, its owner is told what to do, and
// nobody here is alarmed. What heals is tried again, and what does not is not.
func TestTheirFailingBucket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail faultproxy.Fault // nil: the keys are revoked at the store, for good
		want remora.Reason
		says string
	}{
		"revoked in the middle": {nil, remora.ReasonOwnBucketRefused, "The key may not write an object (s3:PutObject)."},
		"a quota":               {faultproxy.Answer(403, `<Error><Code>QuotaExceeded</Code></Error>`), remora.ReasonOwnBucketRefused, "no room left"},
		"an error":              {faultproxy.Answer(500, `<Error><Code>InternalError</Code></Error>`), remora.ReasonOwnBucketFailed, "InternalError"},
		"a cut connection":      {faultproxy.Cut(1 << 20), remora.ReasonOwnBucketFailed, "did not answer"},
		"sent elsewhere":        {faultproxy.Answer(307, `<Error><Code>TemporaryRedirect</Code></Error>`), remora.ReasonOwnBucketRefused, "another region"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			b.connect(t)
			root, cfg, proxy := b.ownBucket(t)
			log := b.logs()
			failed := make(chan struct{}, 1000)
			proxy.Add(faultproxy.Rule{
				Match: func(r *http.Request) bool {
					return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2"
				},
				Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					failed <- struct{}{}
					if c.fail == nil {
						s3test.Allow(t, cfg, nil)
						next.ServeHTTP(w, r)
						return
					}
					c.fail(w, r, next)
				},
			})
			got := b.attempt(t)
			state := remora.BackupFailed
			if c.want.Heals() {
				state = remora.BackupQueued
			}
			if got.State != state || got.Reason != c.want || !strings.Contains(got.Detail, c.says) || got.Reason.Actor() != remora.ActorCustomer {
				t.Fatalf("%+v", got)
			}
			if len(failed) == 0 {
				t.Error("the proxy failed nothing, so this proves nothing")
			}
			if said := log.String(); strings.Contains(said, "level=ERROR") {
				t.Errorf("the operator is alarmed: %s", said)
			}
			b.noSession(t)
			b.nothing(t, b.Bucket)
			if c.fail != nil {
				b.nothing(t, root)
				return
			}
			// Nobody could abort the upload. It is tidied up once the keys are good again.
			d := newDeleter(t, b.Store, b.Bucket)
			d.SweepAfter = 0
			if err := d.tidy(t.Context()); err != nil {
				t.Error(err)
			}
			open, err := root.OpenUploads(t.Context(), "")
			if err != nil || len(open) == 0 {
				t.Errorf("%v %v", open, err)
			}
		})
	}
}

// What a killed worker has left in a customer's bucket is deleted by the key that deletes.
func TestWhatARunLeftInTheirBucketIsTidied(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	root, _, _ := b.ownBucket(t)
	c, err := b.Store.ClaimBackup(t.Context(), b.newest(t).ID, "killed")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Stores.At(t.Context(), b.id, c.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	w := archivestore.Create(t.Context(), in, refOf(c), b.key.Recipient())
	if _, err := w.Write(make([]byte, 12<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.PutIfAbsent(t.Context(), archivestore.Prefix+string(b.id)+"/b/"+string(c.Backup)+"/1/contents", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store.FailRun(t.Context(), c, &remora.Failure{Reason: remora.ReasonWorkerLost}, ""); err != nil {
		t.Fatal(err)
	}
	d := newDeleter(t, b.Store, b.Bucket)
	d.SweepAfter = 0
	if err := d.tidy(t.Context()); err != nil {
		t.Error(err)
	}
	b.nothing(t, root)
	if left, err := b.Store.Leftovers(t.Context(), -2*time.Hour, 9); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	_ = w.Abort()
}

// An object of a customer's own bucket that is not what was written is damaged as in ours, and nobody here is alarmed; one that
// cannot be read now is not.
func TestTheirDamagedBucket(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	b.connect(t)
	root, cfg, _ := b.ownBucket(t)
	x := b.attempt(t)
	if x.State != remora.BackupVerified {
		t.Fatalf("%+v", x)
	}
	log := &logtest.Buffer{}
	v.Log = slog.New(slog.NewTextHandler(log, nil))
	reread := func() remora.Proof {
		t.Helper()
		if err := b.Store.RequestProof(t.Context(), b.id, x.ID, remora.ProofReread, "p"); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if err := work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: b.newestProof(t, x.ID).ID, Attempt: n + 1}); err != nil {
				t.Fatal(err)
			}
		}
		return b.newestProof(t, x.ID)
	}
	s3test.Allow(t, cfg, nil)
	if p := reread(); p.State != remora.ProofLost || p.Reason != remora.ReasonOwnBucketRefused {
		t.Errorf("%+v", p)
	}
	if got, err := b.Store.Backup(t.Context(), b.id, x.ID); err != nil || got.State != remora.BackupVerified {
		t.Errorf("%+v %v", got, err)
	}
	whole := s3test.Key(cfg, "worker")
	s3test.Allow(t, cfg, map[string]string{"worker": `{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"]}]}`})
	key := ""
	if err := root.List(t.Context(), "", func(o objectstore.Object) error {
		if strings.HasSuffix(o.Key, "/body-001") {
			key = o.Key
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s3test.Open(t, whole).Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if p := reread(); p.State != remora.ProofFailed || p.Reason != remora.ReasonObjectDamaged || !strings.Contains(p.Detail, "your own bucket") {
		t.Errorf("%+v", p)
	}
	if said := log.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("the operator is alarmed: %s", said)
	}
	if n := testutil.ToFloat64(v.proofs.WithLabelValues(string(remora.ProofReread), string(remora.ProofFailed))); n != 0 {
		t.Errorf("the alarm counts %v", n)
	}
	if n := testutil.ToFloat64(v.proofs.WithLabelValues(string(remora.ProofReread), string(failedTheirs))); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// The address of a customer's store that the policy of the program forbids is not dialled, whatever is in our database.
func TestARunAsksNoForbiddenStore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	_, _, proxy := b.ownBucket(t)
	proxy.Add(faultproxy.Rule{Do: func(http.ResponseWriter, *http.Request, http.Handler) { t.Error("it was asked") }})
	s, err := placement.New(placement.Config{Ours: b.Bucket, Buckets: b.Store, Policy: dialer.Strict(), Resolver: net.DefaultResolver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b.Stores = s
	log := b.logs()
	got := b.attempt(t)
	if got.State != remora.BackupFailed || got.Reason != remora.ReasonOwnBucketRefused || strings.Contains(log.String(), "level=ERROR") {
		t.Fatalf("%+v %s", got, log.String())
	}
}
