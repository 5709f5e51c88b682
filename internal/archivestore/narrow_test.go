package archivestore_test

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
)

// meter counts what is read of a store.
type meter struct {
	next               http.RoundTripper
	heads, gets, bytes atomic.Int64
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch r.Method {
	case http.MethodHead:
		m.heads.Add(1)
	case http.MethodGet:
		m.gets.Add(1)
		resp.Body = metered{resp.Body, &m.bytes}
	}
	return resp, nil
}

type metered struct {
	io.ReadCloser
	n *atomic.Int64
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.n.Add(int64(n))
	return n, err
}

// measured is a bundle and what is read of its store.
func measured(t *testing.T) (bundle, *meter) {
	t.Helper()
	m := &meter{}
	b := newBundle(t, func(cfg *objectstore.Config) { m.next, cfg.HTTP.Transport = cfg.HTTP.Transport, m })
	return b, m
}

// A few bytes cost a few bytes, and many cost few requests.
func TestNoMoreIsReadThanIsAskedFor(t *testing.T) {
	t.Parallel()
	b, m := measured(t)
	ref := newRef()
	head, body := noise(5<<20), noise(40<<20)
	b.store(t, ref, head, body)
	whole := append(bytes.Clone(head), body...)
	var r *archivestore.Reader
	costs := func(what string, gets, kib int64, do func() error) {
		t.Helper()
		m.heads.Store(0)
		m.gets.Store(0)
		m.bytes.Store(0)
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if g, n := m.gets.Load(), m.bytes.Load()>>10; g > gets || n > kib {
			t.Errorf("%s: %d KiB in %d GETs, more than %d in %d", what, n, g, kib, gets)
		}
	}
	read := func(at, n int) func() error {
		return func() error {
			p := make([]byte, n)
			_, err := r.ReadAt(p, int64(at))
			if err == nil && !bytes.Equal(p, whole[at:at+n]) {
				t.Errorf("other bytes at %d", at)
			}
			return err
		}
	}
	costs("opening", 3, 67, func() (err error) {
		r, err = archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys)
		return err
	})
	if n := m.heads.Load(); n != 3 { // the manifest, the head, the body
		t.Errorf("%d HEADs", n)
	}
	costs("the first byte", 1, 65, read(0, 1))
	costs("the first byte of the body", 3, 130, read(5<<20, 1))
	costs("a byte in the middle", 1, 65, read(20<<20, 1))
	costs("the same again", 0, 0, read(20<<20, 1))
	costs("a look elsewhere", 1, 65, read(9<<20, 1))
	costs("reading on a little", 1, 400, read(9<<20+64<<10, 64<<10))
	costs("reading on to the end", 5, 37<<10, func() error {
		for at := 9<<20 + 128<<10; at < len(whole); at += 32 << 10 { // as a download does
			if err := read(at, 32<<10)(); err != nil {
				return err
			}
		}
		return nil
	})
	costs("all of it, by another reader", 16, 46<<10, func() error {
		r, err := archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size()))
		return err
	})
}

// Downloads that stand still hold next to nothing.
func TestStalledReadersAreSmall(t *testing.T) { //nolint:paralleltest // it measures the heap
	b, _ := measured(t)
	ref := newRef()
	b.store(t, ref, noise(100_000), noise(12<<20))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	const readers = 100
	var all []*archivestore.Reader
	before := heap()
	for range readers {
		r, err := archivestore.Open(t.Context(), b.bucket, ref, b.key, b.keys)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(r, 0, 2<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	held := heap() - before
	t.Logf("%d readers hold %d KiB", readers, held>>10)
	if held > readers*400<<10 {
		t.Errorf("%d readers hold %d MiB", readers, held>>20)
	}
	runtime.KeepAlive(all)
}
