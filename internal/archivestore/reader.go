package archivestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/seal"
)

// Reader is a stored archive, plain, readable anywhere. It reads ahead, so reading on is cheap. It is safe for
// concurrent use and needs no closing.
type Reader struct {
	Manifest Manifest
	segments []segment
}

type segment struct {
	at, size int64
	plain    io.ReaderAt
}

// Open opens the archive of one run. Errors: ErrNotOurs, seal.ErrForged, objectstore.ErrNotFound when it was never committed,
// objectstore.ErrMismatch when an object is not as long as the manifest says.
func Open(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, keys MACer) (*Reader, error) {
	m, err := manifest(ctx, b, ref, keys)
	if err != nil {
		return nil, err
	}
	r := &Reader{Manifest: m}
	at := int64(0)
	for _, o := range m.Objects {
		plain, err := open(ctx, b, ref.key(o.Name), o, key)
		if err != nil {
			return nil, err
		}
		r.segments = append(r.segments, segment{at, o.PlainSize, plain})
		at += o.PlainSize
	}
	return r, nil
}

// open opens one object for reading anywhere.
func open(ctx context.Context, b *objectstore.Bucket, at string, o StoredObject, key seal.Key) (io.ReaderAt, error) {
	if err := measure(ctx, b, at, o); err != nil {
		return nil, err
	}
	plain, err := seal.OpenAt(&window{ctx: ctx, bucket: b, key: at, size: o.Size}, o.file(), key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Name, err)
	}
	return plain, nil
}

// measure asks whether an object is as long as it was written. Reading alone would not see that it has grown.
func measure(ctx context.Context, b *objectstore.Bucket, at string, o StoredObject) error {
	stored, err := b.Head(ctx, at)
	if err != nil {
		return err
	}
	if stored.Size != o.Size {
		return fmt.Errorf("%w: %s has %d bytes instead of %d", objectstore.ErrMismatch, o.Name, stored.Size, o.Size)
	}
	return nil
}

// Contents reads what a committed archive contains, as it was given to Commit; nil where nothing was. Errors are
// Open's.
func Contents(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, keys MACer) ([]byte, error) {
	m, err := manifest(ctx, b, ref, keys)
	if err != nil || m.Contents == nil {
		return nil, err
	}
	if m.Contents.PlainSize > maxContents {
		return nil, ErrNotOurs
	}
	plain, err := open(ctx, b, ref.key(m.Contents.Name), *m.Contents, key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(plain, 0, m.Contents.PlainSize))
}

// maxContents bounds what is read of them, in bytes: some hundred for each table.
const maxContents = 512 << 20

// ReadManifest reads what a committed archive consists of and checks that it is what was written for this run. Errors:
// ErrNotOurs, objectstore.ErrNotFound.
func ReadManifest(ctx context.Context, b *objectstore.Bucket, ref Ref, keys MACer) (Manifest, error) {
	return manifest(ctx, b, ref, keys)
}

// manifest reads and checks what a backup consists of.
func manifest(ctx context.Context, b *objectstore.Bucket, ref Ref, keys MACer) (Manifest, error) {
	raw, err := b.Get(ctx, ref.key(manifestName), maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	return decode(raw, ref, keys)
}

// Size is the plain archive's, in bytes.
func (r *Reader) Size() int64 { return r.Manifest.PlainSize }

// ReadAt reads plain bytes.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for _, s := range r.segments {
		if off >= s.at+s.size || n == len(p) {
			continue
		}
		from := off - s.at
		want := min(int64(len(p)-n), s.size-from)
		k, err := s.plain.ReadAt(p[n:n+int(want)], from)
		n += k
		off += int64(k)
		if int64(k) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Verify reads every stored object again and holds it against the manifest's sizes and digests. The manifest itself is
// for ReadManifest to judge. Errors: objectstore.ErrMismatch, objectstore.ErrNotFound, *objectstore.Error.
func Verify(ctx context.Context, b *objectstore.Bucket, m Manifest) error {
	ref := Ref{m.Resource, m.Backup, m.Epoch}
	for _, o := range m.Stored() {
		if err := measure(ctx, b, ref.key(o.Name), o); err != nil {
			return err
		}
		in, err := b.OpenRange(ctx, ref.key(o.Name), 0, o.Size)
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, in)
		_ = in.Close() // it was read
		if err != nil {
			return fmt.Errorf("read %s: %w", o.Name, err)
		}
		if n != o.Size || hex.EncodeToString(h.Sum(nil)) != o.SHA256 {
			return fmt.Errorf("%w: %s", objectstore.ErrMismatch, o.Name)
		}
	}
	return nil
}

// windowSize is what is read of an object at a time.
const windowSize = 4 << 20

// window reads an object through a buffer, so that age's chunks of 64 KiB do not each cost a request.
type window struct {
	ctx    context.Context // of the reader it belongs to
	bucket *objectstore.Bucket
	key    string
	size   int64

	mu    sync.Mutex
	at    int64
	bytes []byte
}

func (w *window) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(p) {
		if off >= w.size {
			return n, io.EOF
		}
		if off < w.at || off >= w.at+int64(len(w.bytes)) {
			if err := w.load(off, len(p)-n); err != nil {
				return n, err
			}
		}
		k := copy(p[n:], w.bytes[off-w.at:])
		n += k
		off += int64(k)
	}
	return n, nil
}

// load fills the window from off on: wide where reading goes on from the last one, narrow for a look elsewhere.
func (w *window) load(off int64, need int) error {
	size := int64(windowSize)
	if off != w.at+int64(len(w.bytes)) && off != 0 {
		size = max(int64(need), 128<<10)
	}
	size = min(size, w.size-off)
	in, err := w.bucket.OpenRange(w.ctx, w.key, off, size)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it is read whole or given up
	if int64(cap(w.bytes)) < size {
		w.bytes = make([]byte, size)
	}
	w.bytes = w.bytes[:size]
	if _, err := io.ReadFull(in, w.bytes); err != nil {
		w.bytes = w.bytes[:0]
		return fmt.Errorf("read %s: %w", w.key, err)
	}
	w.at = off
	return nil
}
