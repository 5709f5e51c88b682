package jobworkers

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

func under(t *testing.T, b *objectstore.Bucket, prefix string) (out []string) {
	t.Helper()
	err := b.List(t.Context(), prefix, func(o objectstore.Object) error {
		out = append(out, o.Key[len(prefix):])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A new add-on's key is copied when it is made ready; where that was not to be, before the first archive of it is stored.
func TestNoArchiveIsStoredWithoutACopyOfItsKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	at := archivestore.KeysPrefix + string(b.id) + "/key/"
	if got := under(t, b.Bucket, at); !slices.Equal(got, []string{"k1"}) {
		t.Fatalf("when it is ready: %v", got)
	}
	if err := archivestore.EraseKeys(t.Context(), b.Bucket, b.id, ""); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, b.Store.Pool.Config().ConnString(), "SELECT set_config('remora.service', 'on', false)", "UPDATE resources SET key_copies = '{}'")
	if got := b.attempt(t); got.State != remora.BackupVerified {
		t.Fatalf("%+v", got)
	}
	if got := under(t, b.Bucket, at); !slices.Equal(got, []string{"k1"}) {
		t.Errorf("after its first backup: %v", got)
	}
}

// The rounds copy what has no copy, also of add-ons from before, and anew after the master key was changed; then the deleter erases
// the copies by the old one. Removals are marked, and no longer once they are undone.
func TestCopiesFollowTheMasterKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	bucket, pool := s3test.Open(t, s3test.Config(t)), pgtest.Pool(t)
	k1, k2 := keyring.Generate("k1").Reveal(), keyring.Generate("k2").Reveal()
	with := func(setting string) *bundle {
		t.Helper()
		keys, err := keyring.Parse(redact.New(setting))
		if err != nil {
			t.Fatal(err)
		}
		store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys, UndoWithin: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		b := newBundle(t)
		b.Store, b.Keys, b.Stores = store, keys, storesOf(t, store, bucket, false)
		return b
	}
	b := with(k1)
	var ids []remora.ResourceID
	for range 3 {
		id := remora.NewID[remora.ResourceID]()
		ids = append(ids, id)
		_, err := b.Store.ProvisionResource(ctx, remora.Provision{ID: id, Name: "x", Plan: "mako", Region: "us"}, b.key.Secret(), b.key.Recipient())
		if err := errors.Join(err, b.Store.SetReady(ctx, id, "app", "helper")); err != nil {
			t.Fatal(err)
		}
	}
	copies := func(want ...string) {
		t.Helper()
		for _, id := range ids {
			if got := under(t, bucket, archivestore.KeysPrefix+string(id)+"/key/"); !slices.Equal(got, want) {
				t.Errorf("%v and not %v", got, want)
			}
		}
	}
	round := func(b *bundle) {
		t.Helper()
		if err := work(t, ctx, &sweepUploads{Workers: b.Workers}, jobargs.SweepUploads{}); err != nil {
			t.Fatal(err)
		}
	}
	round(b)
	copies("k1")
	b = with(k2 + "," + k1)
	round(b)
	copies("k1") // what k1 has sealed here waits
	if _, err := b.Store.Reseal(ctx, archivestore.Purposes(), func(string, int) {}); err != nil {
		t.Fatal(err)
	}
	uses := func() (n int64) {
		t.Helper()
		all, err := b.Store.KeyUses(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range all {
			if u.Key == "k1" {
				n += u.Values
			}
		}
		return n
	}
	if n := uses(); n != 3 {
		t.Errorf("k1 is said to have sealed %d values", n)
	}
	round(b)
	copies("k1", "k2")
	d := newDeleter(t, b.Store, bucket)
	if err := work(t, ctx, &expireBackups{Deleter: d}, jobargs.ExpireBackups{}); err != nil {
		t.Fatal(err)
	}
	copies("k2")
	if n := uses(); n != 0 {
		t.Errorf("k1 is said to have sealed %d values", n)
	}
	lone, err := keyring.Parse(redact.New(k2))
	if err != nil {
		t.Fatal(err)
	}
	known, err := archivestore.ReadKnown(ctx, bucket, lone)
	if err != nil || len(known.Keys) != 3 || len(known.Unreadable) != 0 || known.Keys[ids[0]].Addon.HelperAppID != "app" {
		t.Errorf("%+v %v", known, err)
	}

	ticked := func() {
		t.Helper()
		if err := work(t, ctx, &tick{Workers: b.Workers}, jobargs.Tick{}); err != nil {
			t.Fatal(err)
		}
	}
	at := archivestore.KeysPrefix + string(ids[0]) + "/removed"
	if err := b.Store.DeprovisionResource(ctx, ids[0]); err != nil {
		t.Fatal(err)
	}
	ticked()
	if len(under(t, bucket, at)) != 1 {
		t.Error("the bucket is not told of a removal")
	}
	if err := b.Store.UndoRemoval(ctx, ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := work(t, ctx, &expireBackups{Deleter: d}, jobargs.ExpireBackups{}); err != nil {
		t.Fatal(err)
	}
	round(b)
	ticked()
	if len(under(t, bucket, at)) != 0 {
		t.Error("an undone removal is still marked")
	}
	copies("k2")
}
