package jobworkers

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// verifier is one beside the bundle's workers, and the folder of its scratch servers.
func (b *bundle) verifier(t *testing.T) (*Verifier, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "verifier-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	prover, err := proof.New(proof.Config{
		Servers: pgdump.FindServers(t.Context(), []string{b.Clients[0].Dir}, ""), Sandbox: sandbox.Detect(t.Context()), Dir: dir, Disk: 2 << 30, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(VerifierConfig{
		Name: "verifier", Store: b.Store, Stores: storesOf(t, b.Store, b.Bucket, false), Keys: b.Keys, Prover: prover, Log: log, Metrics: prometheus.NewRegistry(), BeatEvery: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, dir
}

// newestProof is that of a backup.
func (b *bundle) newestProof(t *testing.T, id remora.BackupID) remora.Proof {
	t.Helper()
	all, err := b.Store.Proofs(t.Context(), b.id, id)
	if err != nil || len(all) == 0 {
		t.Fatalf("no proof: %v", err)
	}
	return all[0]
}

// backup makes a verified one.
func (b *bundle) backup(t *testing.T) remora.Backup {
	t.Helper()
	b.connect(t)
	got := b.attempt(t)
	if got.State != remora.BackupVerified {
		t.Fatalf("%+v", got)
	}
	return got
}

// Where the kernel does not allow all of the sandbox, the proof itself says so, beside the verifier's log.
func TestAnIncompleteSandboxIsTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	v.Prover.Sandbox.Missing = []string{"the moon"}
	got := b.backup(t)
	if err := work(t, t.Context(), &tick{Workers: b.Workers}, jobargs.Tick{}); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), &proveBackup{Verifier: v}, jobargs.ProveBackup{Proof: b.newestProof(t, got.ID).ID, Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if p := b.newestProof(t, got.ID); p.State != remora.ProofPassed || !strings.Contains(p.LeftOut, "not kept from the moon") {
		t.Errorf("%+v", p)
	}
}

// A backup that a worker has made becomes proven, by what the tick finds due.
func TestABackupIsProven(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, dir := b.verifier(t)
	got := b.backup(t)
	if err := work(t, t.Context(), &tick{Workers: b.Workers}, jobargs.Tick{}); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), &proveBackup{Verifier: v}, jobargs.ProveBackup{Proof: b.newestProof(t, got.ID).ID, Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	p := b.newestProof(t, got.ID)
	if now := b.newest(t); now.State != remora.BackupProven || p.State != remora.ProofPassed || p.Rows != 250000 || p.Tables != 1 {
		t.Errorf("%+v %+v", now, p)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// Stopped in the middle, it is given back, with nothing left, and the attempt is not counted; one that took longer than it may is.
func TestAStoppedProof(t *testing.T) {
	t.Parallel()
	for attempts, why := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(why.Error(), func(t *testing.T) {
			t.Parallel()
			stoppedProof(t, why, attempts)
		})
	}
}

func stoppedProof(t *testing.T, why error, attempts int) {
	t.Helper()
	b := newBundle(t)
	v, dir := b.verifier(t)
	got := b.backup(t)
	if err := b.Store.RequestProof(t.Context(), b.id, got.ID, remora.ProofRestore, "p"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for ctx.Err() == nil { // until the first beat of the restore
			if all, err := b.Store.Proofs(ctx, b.id, got.ID); err == nil && all[0].Current == "restoring" {
				stop(why)
			}
		}
	}()
	if err := work(t, ctx, &proveBackup{Verifier: v}, jobargs.ProveBackup{Proof: b.newestProof(t, got.ID).ID}); err != nil {
		t.Fatal(err)
	}
	stop(nil)
	<-watching
	if p := b.newestProof(t, got.ID); p.State != remora.ProofQueued || p.Attempts != attempts {
		t.Errorf("%+v", p)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// What was changed in the store, or is missing there, is found by reading again and by restoring: seen twice, the backup
// has failed and another one is asked for. A store that does not answer says nothing.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	both := []remora.ProofKind{remora.ProofReread, remora.ProofRestore}
	for name, c := range map[string]struct {
		object string
		damage func([]byte) []byte // nil removes it
		found  []remora.ProofKind
	}{
		"a flipped bit":       {"body-001", func(p []byte) []byte { p[len(p)/2] ^= 1; return p }, both},
		"a truncated body":    {"body-001", func(p []byte) []byte { return p[:len(p)-1] }, both},
		"no head":             {"head", nil, both[:1]},
		"no manifest":         {"manifest", nil, both[:1]},
		"an altered manifest": {"manifest", func(p []byte) []byte { return bytes.Replace(p, []byte(`"tables":1`), []byte(`"tables":2`), 1) }, both[:1]},
		"other contents":      {"contents", func(p []byte) []byte { p[len(p)-1] ^= 1; return p }, both},
	} {
		for _, kind := range c.found {
			t.Run(name+", "+string(kind), func(t *testing.T) {
				t.Parallel()
				b := newBundle(t)
				v, _ := b.verifier(t)
				got := b.backup(t)
				b.change(t, got, c.object, c.damage)
				if err := b.Store.RequestProof(t.Context(), b.id, got.ID, kind, "p"); err != nil {
					t.Fatal(err)
				}
				run := func(t *testing.T, v *Verifier, id remora.ProofID) error {
					if kind == remora.ProofReread {
						return work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: id})
					}
					return work(t, t.Context(), &proveBackup{Verifier: v}, jobargs.ProveBackup{Proof: id})
				}
				id := b.newestProof(t, got.ID).ID
				if err := run(t, v, id); err != nil {
					t.Fatal(err)
				}
				if p := b.newestProof(t, got.ID); p.State != remora.ProofQueued || p.Reason != remora.ReasonObjectDamaged {
					t.Fatalf("after the first look: %+v", p)
				}
				if err := run(t, v, id); err != nil {
					t.Fatal(err)
				}
				was, err := b.Store.Backup(t.Context(), b.id, got.ID)
				if err != nil || was.State != remora.BackupFailed || was.Reason != remora.ReasonObjectDamaged || was.Detail == "" {
					t.Errorf("%+v %v", was, err)
				}
				if next := b.newest(t); next.ID == got.ID || next.State != remora.BackupQueued {
					t.Errorf("no other backup was asked for: %+v", next)
				}
			})
		}
	}
}

// A verifier whose ring is behind, while the master key is changed, says nothing of a backup: it tells the operator, and the
// proof is made once the rings are one.
func TestAVerifierThatLacksAKeyDoesNotJudge(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	got := b.backup(t)
	if err := b.Store.RequestProof(t.Context(), b.id, got.ID, remora.ProofReread, "p"); err != nil {
		t.Fatal(err)
	}
	id := b.newestProof(t, got.ID).ID
	look := func() {
		t.Helper()
		if err := work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: id}); err != nil {
			t.Fatal(err)
		}
	}
	behind, err := keyring.Parse(keyring.Generate("elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	same, log := v.Keys, v.Log
	v.Keys, v.Log = behind, slog.New(slog.NewTextHandler(&said, nil))
	for range 2 {
		look()
		if p := b.newestProof(t, got.ID); p.State != remora.ProofQueued || p.Reason != remora.ReasonInternal || b.newest(t).State != remora.BackupVerified {
			t.Fatalf("%+v", p)
		}
	}
	if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), "give every process the same KEYRING") {
		t.Error(said.String())
	}
	v.Keys, v.Log = same, log
	look()
	if p := b.newestProof(t, got.ID); p.State != remora.ProofPassed {
		t.Errorf("%+v", p)
	}
}

// change alters an object of a backup's, as somebody with the store's key could.
func (b *bundle) change(t *testing.T, x remora.Backup, name string, damage func([]byte) []byte) {
	t.Helper()
	key := ""
	if err := b.Bucket.List(t.Context(), "", func(o objectstore.Object) error {
		if strings.HasSuffix(o.Key, "/"+name) && strings.Contains(o.Key, string(x.ID)) {
			key = o.Key
		}
		return nil
	}); err != nil || key == "" {
		t.Fatalf("no %s: %v", name, err)
	}
	p, err := b.Bucket.Get(t.Context(), key, 1<<30)
	if err == nil {
		err = b.Bucket.Delete(t.Context(), key)
	}
	if err == nil && damage != nil {
		_, err = b.Bucket.PutIfAbsent(t.Context(), key, damage(p))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestARereadPasses(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	got := b.backup(t)
	if err := b.Store.RequestProof(t.Context(), b.id, got.ID, remora.ProofReread, "p"); err != nil {
		t.Fatal(err)
	}
	id := b.newestProof(t, got.ID).ID
	if err := work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: id}); err != nil {
		t.Fatal(err)
	}
	if p := b.newestProof(t, got.ID); p.State != remora.ProofPassed || p.Bytes < 1_000_000 || b.newest(t).State != remora.BackupVerified {
		t.Errorf("%+v", p)
	}
}

// The worker's process may lead the queue and must know the kinds that it does not work.
func TestTheWorkerKnowsProofs(t *testing.T) {
	t.Parallel()
	list := river.NewWorkers()
	newBundle(t).Register(list)
	for _, err := range []error{
		river.AddWorkerSafely(list, &proveBackup{}), river.AddWorkerSafely(list, &rereadBackup{}),
	} {
		if err == nil {
			t.Error("a kind of proof is not known to the worker")
		}
	}
	if (&proveBackup{}).Timeout(nil) < remora.ProofLimit(1<<50) {
		t.Error("the job ends before the proof")
	}
}
