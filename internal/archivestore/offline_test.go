package archivestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/seal"
)

// inMemory are the objects of a run that somebody has fetched.
type inMemory map[string][]byte

func (m inMemory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b, ok := m[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// fetched stores an archive sealed to keys and fetches all of its objects as they lie in the bucket.
func (b bundle) fetched(t *testing.T, ref archivestore.Ref, head, body []byte, recipients ...string) inMemory {
	t.Helper()
	w := archivestore.Create(t.Context(), b.bucket, ref, recipients...)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(head, []byte(contents), archivestore.Manifest{}, b.keys, time.Now()); err != nil {
		t.Fatal(err)
	}
	out := inMemory{}
	for _, name := range []string{"manifest", "head", "body-001", "contents"} {
		r, err := archivestore.OpenSealed(t.Context(), b.bucket, ref, name)
		if err != nil {
			t.Fatal(err)
		}
		if out[name], err = io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// copied opens what was fetched, without the service's own keys.
func copied(files inMemory, keys ...seal.Key) (plain, listed []byte, err error) {
	c, err := archivestore.OpenCopy(context.Background(), files, keys)
	if err != nil {
		return nil, nil, err
	}
	if listed, err = c.Contents(context.Background()); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	err = c.WriteTo(context.Background(), &out)
	return out.Bytes(), listed, err
}

// Whoever holds a key that an archive is sealed to opens it with its files alone; the service too, unless its key was left
// out.
func TestAnArchiveSealedToItsOwner(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	owner, stranger := newKey(t), newKey(t)
	head, body := noise(1000), noise(150_000)
	whole := slices.Concat(head, body)

	both, alone := newRef(), newRef()
	files := b.fetched(t, both, head, body, b.key.Recipient(), owner.Recipient())
	for _, key := range []seal.Key{b.key, owner} {
		r, err := archivestore.Open(t.Context(), b.bucket, both, key, b.keys)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, whole) {
			t.Error(err)
		}
		if got, listed, err := copied(files, stranger, key); err != nil || !bytes.Equal(got, whole) || string(listed) != contents {
			t.Error(err, string(listed))
		}
	}

	files = b.fetched(t, alone, head, body, owner.Recipient())
	if got, _, err := copied(files, owner); err != nil || !bytes.Equal(got, whole) {
		t.Error(err)
	}
	if _, err := archivestore.Open(t.Context(), b.bucket, alone, b.key, b.keys); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("the service opens what only its owner may: %v", err)
	}
	m, err := archivestore.ReadManifest(t.Context(), b.bucket, alone, b.keys)
	if err != nil || len(m.SealedTo) != 1 || m.SealedTo[0] != seal.Fingerprint(owner.Recipient()) {
		t.Error(m.SealedTo, err)
	}
	if err := archivestore.Verify(t.Context(), b.bucket, m); err != nil { // which needs no key
		t.Error(err)
	}
	_, _, err = copied(files, stranger)
	if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), m.SealedTo[0]) || !strings.Contains(err.Error(), seal.Fingerprint(stranger.Recipient())) {
		t.Error(err)
	}
	for _, name := range []string{"", "../head", "head/", "body-1", "body-000", "body-1000x", "r/x"} {
		if _, err := archivestore.OpenSealed(t.Context(), b.bucket, alone, name); !errors.Is(err, objectstore.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What was changed, cut, lengthened, exchanged or lost opens in no copy, whatever key it is sealed to.
func TestNoMutantOpensInACopy(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	owner := newKey(t)
	mine, other := newRef(), newRef()
	other.Resource = mine.Resource
	head, body := noise(1000), noise(150_000)
	good := b.fetched(t, mine, head, body, owner.Recipient())
	theirs := b.fetched(t, other, head, body, owner.Recipient())
	whole := slices.Concat(head, body)
	tried := 0
	dies := func(what, name string, stored []byte) {
		t.Helper()
		tried++
		files := inMemory{}
		for k, v := range good {
			files[k] = v
		}
		if files[name] = stored; stored == nil {
			delete(files, name)
		}
		plain, _, err := copied(files, owner)
		if err == nil || !bytes.HasPrefix(whole, plain) {
			t.Errorf("%s, %s: %d bytes were read: %v", name, what, len(plain), err)
		}
	}
	for name, stored := range good {
		dies("lost", name, nil)
		dies("of another backup", name, theirs[name])
		dies("empty", name, []byte{})
		dies("cut", name, stored[:len(stored)-1])
		if name == "manifest" {
			dies("of no format", name, bytes.Replace(stored, []byte(`"format":1`), []byte(`"format":2`), 1))
			dies("with a name that moves a cursor", name, bytes.Replace(stored, []byte(`"backup":"`), []byte(`"backup":"\u001b[2K`), 1))
			dies("with a version that moves a cursor", name, bytes.Replace(stored, []byte(`"client_version":"`), []byte(`"client_version":"\u001b[2K`), 1))
			dies("with a key that moves a cursor", name, bytes.Replace(stored, []byte(`"sealed_to":["`), []byte(`"sealed_to":["\u001b[2K`), 1))
			dies("of other sizes", name, bytes.Replace(stored, []byte(`"plain_size":151000`), []byte(`"plain_size":151001`), 1))
			continue
		}
		dies("lengthened", name, append(bytes.Clone(stored), 0))
		for at := 0; at < len(stored); at += 1 + len(stored)/30 {
			bad := bytes.Clone(stored)
			bad[at] ^= 0x40
			dies("changed", name, bad)
		}
	}
	dies("in another's place", "head", good["body-001"])
	t.Logf("%d mutants", tried)
}
