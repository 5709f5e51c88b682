package archivestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// Reader is a stored archive, plain and readable anywhere. It asks the store for what is read and
// little more, and for more at a time as reading goes on. It is safe for concurrent use and needs no closing: what it
// holds, a chunk of 64 KiB and perhaps an open answer for each object that was read, ends with its context.
type Reader struct {
	Manifest Manifest
	segments []segment
	size     int64
}

type segment struct {
	at    int64
	plain *object
}

// Open opens the archive of one run: its head, without which no byte of a body is read, and a body when it is first
// read. All of them must be there, and as long as the manifest says. Errors: ErrNotOurs, ErrUnknownKey, seal's,
// objectstore.ErrNotFound when it was never committed, objectstore.ErrMismatch when an object has another length; those
// of a read are seal's and the store's.
func Open(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, keys MACer) (*Reader, error) {
	m, err := manifest(ctx, b, ref, keys)
	if err != nil {
		return nil, err
	}
	return open(ctx, b, ref, key, m, m.Objects)
}

// Sealed is one stored object as it lies in the bucket. It is safe for concurrent use and needs no closing.
type Sealed struct{ from *stream }

// OpenSealed opens an object of a run as it is stored, by its name in the manifest; "manifest" is that itself. It checks
// nothing of it: whoever opens what is inside does. Errors: objectstore.ErrNotFound, also for what no object is called.
func OpenSealed(ctx context.Context, b *objectstore.Bucket, ref Ref, name string) (*Sealed, error) {
	if !isName(name) {
		return nil, objectstore.ErrNotFound
	}
	at := ref.key(name)
	stored, err := b.Head(ctx, at)
	if err != nil {
		return nil, err
	}
	return &Sealed{&stream{ctx: ctx, bucket: b, key: at, size: stored.Size}}, nil
}

// Size is that of the stored bytes.
func (s *Sealed) Size() int64 { return s.from.size }

// ReadAt reads stored bytes.
func (s *Sealed) ReadAt(p []byte, off int64) (int, error) { return s.from.ReadAt(p, off) }

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

func open(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, m Manifest, objects []StoredObject) (*Reader, error) {
	r := &Reader{Manifest: m}
	for _, o := range objects {
		at := ref.key(o.Name)
		if err := measure(ctx, b, at, o); err != nil {
			return nil, err
		}
		r.segments = append(r.segments, segment{r.size, &object{StoredObject: o, key: key, from: &stream{ctx: ctx, bucket: b, key: at, size: o.Size}}})
		r.size += o.PlainSize
	}
	if _, err := r.segments[0].plain.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// object is one stored object. Opening it costs two requests, so it waits for the first read.
type object struct {
	StoredObject
	key  seal.Key
	from *stream

	mu    sync.Mutex
	plain io.ReaderAt // nil until it is open
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	plain, err := o.open()
	if err != nil {
		return 0, err
	}
	return plain.ReadAt(p, off)
}

// open may be called again after an error.
func (o *object) open() (plain io.ReaderAt, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.plain == nil {
		if o.plain, err = seal.OpenAt(o.from, o.file(), o.key); err != nil {
			return nil, fmt.Errorf("open %s: %w", o.Name, err)
		}
	}
	return o.plain, nil
}

// ReadManifest reads what a committed archive consists of and checks that it is what was written for this run. Errors:
// ErrNotOurs, ErrUnknownKey, objectstore.ErrNotFound.
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

// ErrNoHead says that an archive was never committed, or is being made or deleted.
var ErrNoHead = errors.New("archivestore: there is no head, so it is no archive")

// Check tells what a run's archive consists of where what is stored of it is a committed archive: the manifest is ours, every
// object is there and as long as it says, and the head is the one that was written. It reads no body. Errors: ErrNoHead, those
// of ReadManifest, objectstore.ErrMismatch, *objectstore.Error.
func Check(ctx context.Context, b *objectstore.Bucket, s Stored, keys MACer) (Manifest, error) {
	if _, ok := s.Sizes[headName]; !ok {
		return Manifest{}, ErrNoHead
	}
	m, err := manifest(ctx, b, s.Ref, keys)
	if err != nil {
		return m, err
	}
	for _, o := range m.Stored() {
		if size, ok := s.Sizes[o.Name]; !ok || size != o.Size {
			return m, fmt.Errorf("%w: %s is missing or has another length", objectstore.ErrMismatch, o.Name)
		}
	}
	head := m
	head.Objects, head.Contents = m.Objects[:1], nil
	return m, Verify(ctx, b, head)
}

// OpenOrigin reads what a manifest says of where its archive comes from, with the resource's own key; nil where it says
// nothing. Errors: seal.ErrWrongKey, seal.ErrForged.
func (m Manifest) OpenOrigin(key seal.Key) (*remora.Origin, error) {
	if m.Origin == "" {
		return nil, nil //nolint:nilnil // as documented
	}
	plain, err := seal.OpenLetter(m.Origin, key)
	if err != nil {
		return nil, err
	}
	o := new(remora.Origin)
	if err := json.Unmarshal(plain, o); err != nil {
		return nil, fmt.Errorf("%w: %w", seal.ErrForged, err)
	}
	return o, nil
}

// SealOrigin is Manifest's Origin.
func SealOrigin(o remora.Origin, recipient string) (string, error) {
	plain, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("encode where it comes from: %w", err)
	}
	return seal.Letter(plain, recipient)
}

// Size is that of the plain bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads plain bytes.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for _, s := range r.segments {
		if off >= s.at+s.plain.PlainSize || n == len(p) {
			continue
		}
		from := off - s.at
		want := min(int64(len(p)-n), s.plain.PlainSize-from)
		k, err := s.plain.ReadAt(p[n:n+int(want)], from)
		n += k
		off += int64(k)
		if int64(k) < want {
			if err == nil || errors.Is(err, io.EOF) {
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
	ref := m.ref()
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

// How much one request asks for, in bytes, where reading goes on. It grows fourfold with each, so that what was asked
// for and not wanted is at most a few times what was read.
const (
	leastAhead = 256 << 10
	mostAhead  = 16 << 20
)

// stream reads an object anywhere, age's chunks of 64 KiB one after the other without a request for each, and keeps
// none of its bytes. The first read anywhere asks for just what it is given room for; only one that goes on where the
// last one ended asks for more, and takes it from the answer as it is read.
type stream struct {
	ctx    context.Context // of the reader it belongs to
	bucket *objectstore.Bucket
	key    string
	size   int64

	mu    sync.Mutex
	at    int64         // where the last read ended
	body  io.ReadCloser // goes on from there; nil where nothing is asked for
	left  int64         // bytes of body
	ahead int64         // what the next request asks for if reading goes on; zero is just what is read
}

func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off != s.at {
		s.drop()
		s.at, s.ahead = off, 0
	}
	n := 0
	for n < len(p) {
		if s.at >= s.size {
			return n, io.EOF
		}
		if s.left == 0 {
			if err := s.ask(int64(len(p) - n)); err != nil {
				return n, err
			}
		}
		k, err := io.ReadFull(s.body, p[n:n+int(min(s.left, int64(len(p)-n)))])
		n += k
		s.at += int64(k)
		s.left -= int64(k)
		if err != nil {
			s.drop()
			return n, fmt.Errorf("read %s: %w", s.key, err)
		}
		if s.left == 0 {
			s.drop()
		}
	}
	return n, nil
}

// ask requests the next bytes, those that are needed or some more.
func (s *stream) ask(need int64) (err error) {
	n := min(max(need, s.ahead), s.size-s.at)
	if s.body, err = s.bucket.OpenRange(s.ctx, s.key, s.at, n); err != nil {
		s.body = nil
		return err
	}
	s.left = n
	s.ahead = min(max(4*s.ahead, leastAhead), mostAhead)
	return nil
}

// drop ends what was asked for.
func (s *stream) drop() {
	if s.body != nil {
		_ = s.body.Close() // it was read, or is given up
	}
	s.body, s.left = nil, 0
}
