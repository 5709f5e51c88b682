package archivestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

func TestMain(m *testing.M) { os.Exit(s3test.Main(m)) }

type bundle struct {
	bucket *objectstore.Bucket
	key    seal.Key
	other  string // whom everything is sealed to as well
	keys   *keyring.Keyring
}

func newBundle(t *testing.T, change ...func(*objectstore.Config)) bundle {
	t.Helper()
	cfg := s3test.Config(t)
	for _, c := range change {
		c(&cfg)
	}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	return bundle{s3test.Open(t, cfg), newKey(t), newKey(t).Recipient(), keys}
}

// contents stand for what an archive contains.
const contents = `{"tables":[{"name":"customers","rows":4711}]}`

func newRef() archivestore.Ref {
	return archivestore.Ref{Resource: remora.NewID[remora.ResourceID](), Backup: remora.NewID[remora.BackupID](), Epoch: 1}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

func (b bundle) store(t *testing.T, ref archivestore.Ref, head, body []byte) archivestore.Manifest {
	t.Helper()
	m, _ := b.commit(t, ref, head, body)
	return m
}

func (b bundle) commit(t *testing.T, ref archivestore.Ref, head, body []byte) (archivestore.Manifest, *archivestore.Writer) {
	t.Helper()
	w := archivestore.Create(t.Context(), b.bucket, ref, b.other, b.key.Recipient())
	if _, err := io.Copy(w, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(head, []byte(contents), archivestore.Manifest{Tables: 3}, b.keys, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	sent := int64(0)
	for _, o := range m.Objects[1:] {
		sent += o.Size
	}
	if w.Sent() != sent {
		t.Errorf("%d bytes were sent, it says %d", sent, w.Sent())
	}
	return m, w
}

func (b bundle) keysOf(t *testing.T) (all []string) {
	t.Helper()
	if err := b.bucket.List(context.Background(), "", func(o objectstore.Object) error { all = append(all, o.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatIsStoredComesBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ head, body int }{"small": {10, 20}, "no body": {10, 0}, "several parts": {100_000, 12 << 20}, "several bodies": {70_000, 22 << 20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, func(cfg *objectstore.Config) {
				if name == "several bodies" {
					cfg.MaxParts = 2
				}
			})
			ref, head, body := newRef(), noise(c.head), noise(c.body)
			m := b.store(t, ref, head, body)
			if n := len(m.Objects); name == "several bodies" && n < 4 {
				t.Errorf("%d objects", n)
			}
			r, err := archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys)
			if err != nil {
				t.Fatal(err)
			}
			whole := append(bytes.Clone(head), body...)
			if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, whole) {
				t.Fatalf("%d bytes: %v", len(got), err)
			}
			for _, at := range []int{0, 5, c.head - 1, c.head, len(whole) / 2, len(whole) - 1} {
				p := make([]byte, min(100_000, len(whole)-at))
				if _, err := r.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, whole[at:at+len(p)]) {
					t.Errorf("at %d: %v", at, err)
				}
			}
			if err := archivestore.Verify(t.Context(), b.bucket, r.Manifest); err != nil {
				t.Error(err)
			}
			if got, err := archivestore.Contents(t.Context(), b.bucket, ref, b.key, b.keys); err != nil || string(got) != contents {
				t.Errorf("%s %v", got, err)
			}
			if name == "small" {
				for _, key := range b.keysOf(t) {
					stored, err := b.bucket.Get(t.Context(), key, 1<<20)
					if err != nil || bytes.Contains(stored, head) || bytes.Contains(stored, body) || bytes.Contains(stored, []byte("customers")) {
						t.Errorf("%s lies there plain: %v", key, err)
					}
				}
			}
		})
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := archivestore.Create(t.Context(), b.bucket, newRef(), b.key.Recipient())
	if _, err := w.Write(noise(11 << 20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	// One that fails at its very commit, because somebody has the head already.
	ref := newRef()
	b.store(t, ref, []byte("head"), []byte("body"))
	before := len(b.keysOf(t))
	w = archivestore.Create(t.Context(), b.bucket, ref, b.key.Recipient())
	if _, err := w.Write([]byte("other")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit([]byte("head"), nil, archivestore.Manifest{}, b.keys, time.Now()); err == nil {
		t.Error("written over")
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if open, err := b.bucket.OpenUploads(t.Context(), ""); err != nil || len(open) != 0 || len(b.keysOf(t)) != before {
		t.Errorf("%v %v %v", open, err, b.keysOf(t))
	}
	if _, err := archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys); err != nil {
		t.Errorf("the first one is hurt: %v", err)
	}
}

// Objects that were moved, mixed or changed by somebody with the bucket's keys do not open as this backup.
func TestForeignObjectsDoNotOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	mine, other := newRef(), newRef()
	body := noise(300_000)
	m := b.store(t, mine, noise(1000), body)
	b.store(t, other, noise(1000), body)
	key := func(r archivestore.Ref, name string) string {
		return "r/" + string(r.Resource) + "/b/" + string(r.Backup) + "/1/" + name
	}
	get := func(k string) []byte {
		t.Helper()
		v, err := b.bucket.Get(t.Context(), k, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	put := func(k string, v []byte) {
		t.Helper()
		if err := b.bucket.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if _, err := b.bucket.PutIfAbsent(t.Context(), k, v); err != nil {
			t.Fatal(err)
		}
	}
	opens := func() error {
		r, err := archivestore.Open(t.Context(), b.bucket, mine, b.key, b.keys)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
		}
		return errors.Join(err, archivestore.Verify(t.Context(), b.bucket, m))
	}
	if err := opens(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"head", "body-001", "manifest"} {
		good := get(key(mine, name))
		put(key(mine, name), get(key(other, name)))
		if err := opens(); err == nil {
			t.Errorf("another backup's %s opens", name)
		}
		for _, at := range []int{0, len(good) / 3, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 4
			put(key(mine, name), bad)
			if err := opens(); err == nil {
				t.Errorf("%s opens with byte %d changed", name, at)
			}
		}
		put(key(mine, name), good[:len(good)-1])
		if err := opens(); err == nil {
			t.Errorf("%s opens cut", name)
		}
		put(key(mine, name), good)
	}
	if err := opens(); err != nil {
		t.Fatal(err)
	}
	stranger, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archivestore.Open(t.Context(), b.bucket, mine, stranger, b.keys); err == nil {
		t.Error("another resource's key opens it")
	}
	if _, err := archivestore.Open(t.Context(), b.bucket, newRef(), b.key, b.keys); !errors.Is(err, objectstore.ErrNotFound) {
		t.Error(err)
	}
	for _, k := range b.keysOf(t) {
		if ref, ok := archivestore.ParseKey(k); !ok || (ref != mine && ref != other) {
			t.Error(k, ref, ok)
		}
	}
	for _, k := range []string{"", "r/x/b/y/1/head", key(mine, "head") + "/x", "../" + key(mine, "head"), strings.Replace(key(mine, "head"), "/1/", "/01/", 1)} {
		if _, ok := archivestore.ParseKey(k); ok {
			t.Errorf("%s is taken for one of ours", k)
		}
	}
}

func newKey(t *testing.T) seal.Key {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
