package archivestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/seal"
)

// A body of another backup of the same resource, of the same size and sealed to the same key, in this one's
// place: reading it must fail, not only a later look at its digest.
func TestAReadNeverGivesAnotherBackupsBytes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	mine, other := newRef(), newRef()
	other.Resource = mine.Resource
	b.store(t, mine, noise(1000), bytes.Repeat([]byte("mine"), 50_000))
	b.store(t, other, noise(1000), bytes.Repeat([]byte("alas"), 50_000))
	for _, name := range []string{"head", "body-001"} {
		good, err := b.bucket.Get(t.Context(), keyOf(mine, name), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := b.bucket.Get(t.Context(), keyOf(other, name), 1<<20)
		if err != nil || len(theirs) != len(good) {
			t.Fatal(err, len(theirs), len(good))
		}
		b.replace(t, keyOf(mine, name), theirs)
		r, err := archivestore.Open(t.Context(), b.bucket, mine, b.key, b.keys)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
		}
		if !errors.Is(err, seal.ErrForged) {
			t.Errorf("another backup's %s: %v", name, err)
		}
		b.replace(t, keyOf(mine, name), good)
	}
}

func keyOf(r archivestore.Ref, name string) string {
	return archivestore.Prefix + string(r.Resource) + "/b/" + string(r.Backup) + "/" + strconv.Itoa(r.Epoch) + "/" + name
}

func (b bundle) replace(t *testing.T, key string, data []byte) {
	t.Helper()
	if err := b.bucket.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := b.bucket.PutIfAbsent(context.Background(), key, data); err != nil {
		t.Fatal(err)
	}
}

// Every byte of every object, flipped, is an error or changes nothing that is read.
func TestChangedBytesAreNeverRead(t *testing.T) {
	t.Parallel()
	b, ref := newBundle(t), newRef()
	whole := noise(200_000)
	m := b.store(t, ref, whole[:5000], whole[5000:])
	for _, o := range m.Objects {
		good, err := b.bucket.Get(t.Context(), keyOf(ref, o.Name), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(good); at += 1 + len(good)/25 {
			bad := bytes.Clone(good)
			bad[at] ^= 0x10
			b.replace(t, keyOf(ref, o.Name), bad)
			var got []byte
			r, err := archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys)
			if err == nil {
				got, err = io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
			}
			if err == nil || !bytes.Equal(got, whole[:len(got)]) {
				t.Fatalf("%s, byte %d: read %d bytes, %v", o.Name, at, len(got), err)
			}
			if err := archivestore.Verify(t.Context(), b.bucket, m); !errors.Is(err, objectstore.ErrMismatch) {
				t.Fatalf("%s, byte %d: verified: %v", o.Name, at, err)
			}
		}
		b.replace(t, keyOf(ref, o.Name), good)
	}
}
