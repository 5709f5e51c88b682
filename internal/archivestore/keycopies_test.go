package archivestore_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

func ring(t *testing.T, keys ...redact.Secret) *keyring.Keyring {
	t.Helper()
	all := ""
	for i, k := range keys {
		if i > 0 {
			all += ","
		}
		all += k.Reveal()
	}
	r, err := keyring.Parse(redact.New(all))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What the bucket says without our database is read with the ring alone, also after the master key was changed and the old one is
// gone; the bucket shows none of it, and what is not ours is not believed.
func TestWhatTheBucketKnows(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	k1, k2 := keyring.Generate("k1"), keyring.Generate("k2")
	old, both, newest := ring(t, k1), ring(t, k2, k1), ring(t, k2)
	id, gone := newRef().Resource, newRef().Resource
	copied := archivestore.KeyCopy{Resource: id, Key: b.key.Secret(), Recipient: b.key.Recipient(), Addon: remora.OriginAddon{Name: "remora-clean-1", Plan: "mako", HelperApp: "shop-backups"}}
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	put := func(r *keyring.Keyring) {
		t.Helper()
		for range 2 { // the second time it is there
			if by, err := archivestore.PutKey(ctx, b.bucket, r, copied); err != nil || by != r.IDs()[0] {
				t.Fatal(by, err)
			}
		}
	}
	put(old)
	if err := archivestore.PutRemoved(ctx, b.bucket, old, archivestore.Removed{Resource: gone, AskedAt: asked, UndoUntil: asked.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	knows := func(r *keyring.Keyring) archivestore.Known {
		t.Helper()
		k, err := archivestore.ReadKnown(ctx, b.bucket, r)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	all := func(r *keyring.Keyring) {
		t.Helper()
		k := knows(r)
		if c := k.Keys[id]; c.Key.Reveal() != copied.Key.Reveal() || c.Recipient != copied.Recipient || c.Addon != copied.Addon || len(k.Unreadable) != 0 {
			t.Errorf("%+v %v", c, k.Unreadable)
		}
		if m := k.Removed[gone]; !m.AskedAt.Equal(asked) || !m.UndoUntil.Equal(asked.Add(time.Hour)) {
			t.Errorf("%+v", m)
		}
	}
	all(old)
	for _, key := range b.keysOf(t) {
		stored, err := b.bucket.Get(ctx, key, 1<<20)
		if err != nil || bytes.Contains(stored, []byte("clean")) || bytes.Contains(stored, []byte("shop")) || bytes.Contains(stored, []byte(b.key.Secret().Reveal())) {
			t.Errorf("%s lies there plain: %v", key, err)
		}
	}

	k := knows(newest)
	if m, ok := k.Removed[gone]; len(k.Keys) != 0 || len(k.Unreadable) != 2 || !ok || !m.AskedAt.IsZero() {
		t.Errorf("with another ring: %+v", k)
	}
	put(both)
	for _, purpose := range archivestore.Purposes() {
		sub, err := both.Subkey("k1", purpose)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is there
			if _, err := archivestore.PutRetired(ctx, b.bucket, both, "k1", purpose, sub); err != nil {
				t.Fatal(err)
			}
		}
	}
	all(ring(t, k2)) // which has never seen the old key
	if err := archivestore.EraseKeys(ctx, b.bucket, id, "k2"); err != nil {
		t.Fatal(err)
	}
	all(ring(t, k2))

	// A neighbour's copy, or a removal that was forged, is none.
	other := newRef().Resource
	from, err := b.bucket.Get(ctx, archivestore.KeysPrefix+string(id)+"/key/k2", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for key, body := range map[string][]byte{
		archivestore.KeysPrefix + string(other) + "/key/k2": from,
		archivestore.KeysPrefix + string(id) + "/removed":   []byte(`{"mac":"00","manifest":{"resource":"` + string(id) + `","asked_at":"2026-01-02T03:04:05Z"}}`),
	} {
		if _, err := b.bucket.PutIfAbsent(ctx, key, body); err != nil {
			t.Fatal(err)
		}
	}
	k = knows(ring(t, k2))
	if _, ok := k.Keys[other]; ok || len(k.Unreadable) != 2 || !k.Removed[id].AskedAt.IsZero() {
		t.Errorf("%+v", k)
	}
	stranger := copied
	stranger.Key = newKey(t).Secret()
	if _, err := archivestore.PutKey(ctx, b.bucket, both, stranger); !errors.Is(err, archivestore.ErrNotOurs) {
		t.Errorf("another key in its place: %v", err)
	}
}

// An archive that is committed and whole is told from what is not, without reading its bodies, and says where it comes from.
func TestCheck(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	stored := func(ref archivestore.Ref) (out archivestore.Stored) {
		t.Helper()
		err := archivestore.RunsOf(ctx, b.bucket, ref.Resource, func(s archivestore.Stored) error {
			if s.Ref == ref {
				out = s
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := remora.Origin{
		Addon: remora.OriginAddon{Name: "remora-clean-1", Sealing: &remora.Sealing{Recipients: []string{"age1x"}, Alone: true}}, Database: remora.OriginDatabase{ID: "d", Credential: "ro", Schedule: &remora.Rule{Kind: remora.RuleDaily, Zone: "UTC"}},
	}
	made := func() archivestore.Ref {
		t.Helper()
		ref := newRef()
		origin, err := archivestore.SealOrigin(want, b.key.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		w := archivestore.Create(ctx, b.bucket, ref, newKey(t).Recipient()) // sealed to its owner alone
		if _, err := w.Write(noise(1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(noise(100), []byte(contents), archivestore.Manifest{Origin: origin}, b.keys, time.Now()); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	m, err := archivestore.Check(ctx, b.bucket, stored(made()), b.keys)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.OpenOrigin(b.key)
	if err != nil || got.Addon.Name != want.Addon.Name || !got.Addon.Sealing.Alone || got.Database.Schedule.Kind != remora.RuleDaily || got.Database.Credential != "ro" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := m.OpenOrigin(newKey(t)); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("a stranger's key: %v", err)
	}
	plain := newRef()
	old := b.store(t, plain, noise(10), noise(20)) // as before manifests said it
	if got, err := old.OpenOrigin(b.key); got != nil || err != nil {
		t.Error(got, err)
	}
	for name, c := range map[string]struct {
		harm func(ref archivestore.Ref)
		want error
	}{
		"no head":        {func(ref archivestore.Ref) { b.drop(t, keyOf(ref, "head")) }, archivestore.ErrNoHead},
		"another head":   {func(ref archivestore.Ref) { b.flip(t, keyOf(ref, "head")) }, objectstore.ErrMismatch},
		"a shorter body": {func(ref archivestore.Ref) { b.replace(t, keyOf(ref, "body-001"), noise(10)) }, objectstore.ErrMismatch},
		"no contents":    {func(ref archivestore.Ref) { b.drop(t, keyOf(ref, "contents")) }, objectstore.ErrMismatch},
		"no manifest":    {func(ref archivestore.Ref) { b.drop(t, keyOf(ref, "manifest")) }, objectstore.ErrNotFound},
		"a forged one":   {func(ref archivestore.Ref) { b.flip(t, keyOf(ref, "manifest")) }, archivestore.ErrNotOurs},
	} {
		ref := made()
		c.harm(ref)
		if _, err := archivestore.Check(ctx, b.bucket, stored(ref), b.keys); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (b bundle) drop(t *testing.T, key string) {
	t.Helper()
	if err := b.bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// flip changes an object's last byte but one.
func (b bundle) flip(t *testing.T, key string) {
	t.Helper()
	stored, err := b.bucket.Get(t.Context(), key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	stored[len(stored)-2] ^= 1
	b.replace(t, key, stored)
}

// Whoever may add objects may plant one where a copy is to lie. It is not taken for the copy, which nobody would make any more.
func TestPlantedCopiesAreNoCopies(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx, id := t.Context(), newRef().Resource
	by := b.keys.IDs()[0]
	purpose := archivestore.MACPurpose
	sub, err := b.keys.Subkey(by, purpose)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{string(id) + "/removed", "retired/k0/" + purpose + "/" + by} {
		if _, err := b.bucket.PutIfAbsent(ctx, archivestore.KeysPrefix+key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := archivestore.PutRemoved(ctx, b.bucket, b.keys, archivestore.Removed{Resource: id, AskedAt: time.Now()}); !errors.Is(err, archivestore.ErrNotOurs) {
		t.Errorf("a removal: %v", err)
	}
	if _, err := archivestore.PutRetired(ctx, b.bucket, b.keys, "k0", purpose, sub); err == nil {
		t.Error("a retired key's copy was not made, and was said to be")
	}
}
