package archivestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/seal"
)

// manyTables is what an archive of many tables contains.
func manyTables() []byte {
	var b bytes.Buffer
	for n := range 2000 {
		_, _ = fmt.Fprintf(&b, `{"schema":"public","name":"t%d","columns":["id","name"],"rows":%d},`, n, n*n)
	}
	return b.Bytes()
}

// The list of many tables is stored compressed, and read anywhere all the same: by the service, and without it.
func TestContentsOfManyTables(t *testing.T) {
	t.Parallel()
	b, ref, want := newBundle(t), newRef(), manyTables()
	w := archivestore.Create(t.Context(), b.bucket, ref, b.key.Recipient())
	m, err := w.Commit(noise(10), want, archivestore.Manifest{}, b.keys, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Contents; c.Unpacked != int64(len(want)) || c.Size > c.Unpacked/4 {
		t.Errorf("%d bytes are stored as %d, and would be %d", len(want), c.Size, c.Unpacked)
	}
	if got, err := archivestore.Contents(t.Context(), b.bucket, ref, b.key, b.keys); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	list, err := archivestore.OpenContents(t.Context(), b.bucket, ref, b.key, b.keys)
	if err != nil || list.Size() != int64(len(want)) {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, at := range []int{len(want) - 10, 0, 70_000, 70_010, 5, len(want) / 2} {
		all.Go(func() {
			p := make([]byte, 10)
			if n, err := list.ReadAt(p, int64(at)); n != 10 || err != nil || !bytes.Equal(p, want[at:at+10]) {
				t.Errorf("at %d: %d bytes %s, %v", at, n, p, err)
			}
		})
	}
	all.Wait()
	p := make([]byte, 10)
	if n, err := list.ReadAt(p, list.Size()-4); n != 4 || err != io.EOF || !bytes.Equal(p[:n], want[len(want)-4:]) {
		t.Errorf("at the end: %d bytes %s, %v", n, p, err)
	}
	if n, err := list.ReadAt(p, list.Size()); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}

	files := inMemory{}
	for _, name := range []string{"manifest", "head", "contents"} {
		r, err := archivestore.OpenSealed(t.Context(), b.bucket, ref, name)
		if err != nil {
			t.Fatal(err)
		}
		if files[name], err = io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil {
			t.Fatal(err)
		}
	}
	if _, listed, err := copied(files, b.key); err != nil || !bytes.Equal(listed, want) {
		t.Errorf("without the service: %d bytes, %v", len(listed), err)
	}
	manifest := string(files["manifest"])
	for lie, why := range map[int64]error{m.Contents.Unpacked - 1: seal.ErrForged, m.Contents.Unpacked + 1: seal.ErrForged, 1 << 40: archivestore.ErrNotOurs, -1: archivestore.ErrNotOurs} {
		files["manifest"] = []byte(strings.Replace(manifest, fmt.Sprintf(`"unpacked_size":%d`, m.Contents.Unpacked), fmt.Sprintf(`"unpacked_size":%d`, lie), 1))
		if _, _, err := copied(files, b.key); !errors.Is(err, why) {
			t.Errorf("said to be %d bytes: %v", lie, err)
		}
	}
}
