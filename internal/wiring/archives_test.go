package wiring

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

// Where our bucket does not have a backup as it was written, what web reads of it comes from the copy; without one, and where the copy is
// no better, it is what is wrong with ours that is told.
func TestABackupIsReadFromItsCopy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	theirs := s3test.Config(t)
	ours, second := s3test.Open(t, s3test.Config(t)), s3test.Open(t, theirs)
	stores, err := placement.New(placement.Config{Ours: ours, Buckets: store, Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stores.Close)
	log := &logtest.Buffer{}
	a := archives{process{Settings: config.Settings{Keys: keys}, log: slog.New(slog.NewTextHandler(log, nil))}, store, stores, time.Minute}

	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	id := remora.NewID[remora.ResourceID]()
	_, err = store.ProvisionResource(ctx, remora.Provision{ID: id, Plan: "hammerhead", Grant: redact.New("grant")}, key.Secret(), key.Recipient())
	err = errors.Join(err, store.SaveTokens(ctx, id, redact.New("access"), redact.New("refresh"), time.Now().Add(time.Hour)), store.SetReady(ctx, id, "app", "helper"),
		store.SaveFound(ctx, id, "helper", []postgres.Found{{AddonID: "addon", Addon: "postgresql-1", OwnerApp: "shop", Attachment: "DB", Credential: "ro"}}),
		store.SetSecondPlace(ctx, id, remora.Place{Endpoint: theirs.Endpoint, Bucket: theirs.Bucket, PathStyle: true}, remora.BucketKeys{AccessKey: theirs.AccessKey, SecretKey: theirs.SecretKey}, remora.BucketLock{}, "p"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := store.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := store.ClaimBackup(ctx, o.Backups[0].ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	ref := archivestore.Ref{Resource: id, Backup: c.Backup, Epoch: c.Epoch}
	w := archivestore.Create(ctx, ours, ref, key.Recipient())
	if _, err := w.Write(bytes.Repeat([]byte("body"), 100_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit([]byte("head"), []byte("what it contains"), archivestore.Manifest{}, keys, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := store.KeepBackup(ctx, c, remora.Kept{Objects: []remora.Object{{Name: "head", Size: 4, SHA256: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
	b, err := store.Backup(ctx, id, c.Backup)
	if err != nil {
		t.Fatal(err)
	}
	whole := "head" + strings.Repeat("body", 100_000)
	text := func(x dashboard.Archive) string {
		t.Helper()
		all, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size()))
		if err != nil {
			t.Error(err)
		}
		return string(all)
	}
	reads := func(what string) {
		t.Helper()
		archive, err := a.open(ctx, id, b, nil)
		if err != nil || text(archive) != whole {
			t.Errorf("%s: %v", what, err)
		}
		list, err := a.contents(ctx, id, b)
		if err != nil || text(list) != "what it contains" {
			t.Errorf("%s: contents: %v", what, err)
		}
		if file, err := a.sealed(ctx, id, b, "body-001"); err != nil || file.Size() < 400_000 {
			t.Errorf("%s: sealed: %v", what, err)
		}
		if _, err := a.sealed(ctx, id, b, "body-002"); remora.KindOf(err) != remora.KindNotFound {
			t.Errorf("%s: a file that none has: %v", what, err)
		}
	}
	reads("ours")
	queued, err := store.Copies(ctx, id, b.ID)
	if err != nil || len(queued) != 1 {
		t.Fatal(queued, err)
	}
	prefix := archivestore.Prefix + string(id) + "/b/" + string(b.ID) + "/1/"
	gone := func(in *objectstore.Bucket, name string) func() { // and how to bring it back
		t.Helper()
		body, err := in.Get(ctx, prefix+name, 1<<20)
		if err == nil {
			err = in.Delete(ctx, prefix+name)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := in.Delete(ctx, prefix+name); err != nil {
				t.Fatal(err)
			}
			if _, err := in.PutIfAbsent(ctx, prefix+name, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	back := gone(ours, "body-001")
	if _, err := a.open(ctx, id, b, nil); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("there is no copy yet: %v", err)
	}
	back()
	claim, err := store.ClaimCopy(ctx, b.ID, queued[0].Bucket)
	if err == nil {
		var n int64
		if n, err = archivestore.Replicate(ctx, ours, second, ref, keys, func(int) {}); err == nil {
			err = store.EndCopy(ctx, claim, n)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"body-001", "contents", "manifest", "head"} {
		back := gone(ours, name)
		reads(name + " is gone")
		if _, err := ours.PutIfAbsent(ctx, prefix+name, []byte("another")); err != nil {
			t.Fatal(err)
		}
		if archive, err := a.open(ctx, id, b, nil); name != "contents" && (err != nil || text(archive) != whole) {
			t.Errorf("%s is another: %v", name, err)
		}
		back()
	}
	if said := log.String(); !strings.Contains(said, "backup is read from its copy") {
		t.Error(said)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // which takes requests and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // with the test
	cfg := s3test.Config(t)
	cfg.Endpoint = "http://" + silent.Addr().String()
	waiting := a
	waiting.patience = time.Millisecond
	waiting.stores, err = placement.New(placement.Config{Ours: s3test.Open(t, cfg), Buckets: store, Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver})
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.stores.Close()
	if archive, err := waiting.open(ctx, id, b, nil); err != nil || text(archive) != whole {
		t.Errorf("ours is silent: %v", err)
	}
	defer gone(ours, "head")()
	defer gone(second, "head")()
	if _, err := a.open(ctx, id, b, nil); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("gone in both: %v", err)
	}
}
