package archivestore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// Writer is an archive on its way into the bucket: Write takes the body's plain bytes, Commit the head. It is
// for one goroutine, and ends with Commit or Abort.
type Writer struct {
	ctx        context.Context // of this one operation
	bucket     *objectstore.Bucket
	ref        Ref
	recipients []string
	bodies     []*body
	visible    []string // keys that have, or may have, become objects of ours, for Abort
	size       int64
	sent       atomic.Int64
	over       bool
	lock       remora.ObjectLock // of the objects that were asked about
	unsaid     error             // why the store did not say
}

type body struct {
	upload *objectstore.Upload
	sealed *seal.Writer
	ended  bool
}

// finish sends the last of a body, which stays invisible and then holds no buffer while others follow it. It may be
// called again.
func (b *body) finish() error {
	if b.ended {
		return nil
	}
	b.ended = true
	if err := b.sealed.Close(); err != nil {
		return fmt.Errorf("end body: %w", err)
	}
	return b.upload.Finish()
}

// Create begins an archive, sealed to recipients, each of whose keys opens it alone. It does no I/O.
func Create(ctx context.Context, b *objectstore.Bucket, ref Ref, recipients ...string) *Writer {
	return &Writer{ctx: ctx, bucket: b, ref: ref, recipients: recipients}
}

// What sealing adds: 16 bytes to each 64 KiB, the file's header with all its recipients, and at the end a chunk that is not full.
func sealedSize(plain int64) int64 { return plain + (plain/(64<<10)+2)*16 + 2048 }

// step bounds how much is sealed before the room left is looked at again.
const step = 256 << 10

// Write takes the next bytes of the body. Errors are the store's.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), step)
		b, err := w.body(int64(n))
		if err != nil {
			return written, err
		}
		k, err := b.sealed.Write(p[:n])
		written += k
		w.size += int64(k)
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// body returns the object that the next n bytes go into, a new one where they have no room.
func (w *Writer) body(n int64) (*body, error) {
	if k := len(w.bodies); k > 0 {
		if b := w.bodies[k-1]; b.upload.Room() > sealedSize(n)+(64<<10) { // age holds back up to one chunk
			return b, nil
		}
		if err := w.bodies[k-1].finish(); err != nil {
			return nil, err
		}
	}
	b := &body{upload: w.bucket.Create(w.ctx, w.ref.key(bodyName(len(w.bodies)+1)))}
	w.bodies = append(w.bodies, b)
	var err error
	b.sealed, err = seal.NewWriter(counted{b.upload, &w.sent}, w.recipients...)
	return b, err
}

// Sent is how many sealed bytes of the body were given to the store so far. It may be called at any time, from any
// goroutine.
func (w *Writer) Sent() int64 { return w.sent.Load() }

type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// Finish sends the last of the body, which stays invisible: for what comes between it and Commit to be beside its way.
// Write must not follow.
func (w *Writer) Finish() error {
	if n := len(w.bodies); n > 0 {
		return w.bodies[n-1].finish()
	}
	return nil
}

// Commit stores the archive: the bodies, what they contain where that is known, and the manifest become objects, at
// once, for what is far away is waited for; then, as the commit, the head. The caller must know by then that the body is
// whole. facts are the manifest's fields that the caller knows. On an error nothing of it is listed; call Abort.
func (w *Writer) Commit(head, contents []byte, facts Manifest, keys MACer, now time.Time) (Manifest, error) {
	sealedHead, headFile, err := sealBytes(head, w.recipients...)
	if err != nil {
		return Manifest{}, err
	}
	m := facts
	m.Format, m.Resource, m.Backup, m.Epoch, m.MadeAt = manifestFormat, w.ref.Resource, w.ref.Backup, w.ref.Epoch, now.UTC()
	m.PlainSize = int64(len(head)) + w.size
	for _, r := range w.recipients {
		m.SealedTo = append(m.SealedTo, seal.Fingerprint(r))
	}
	m.Objects = []StoredObject{describe(headName, objectstore.Describe(sealedHead), headFile)}
	var writes []write
	if err := w.Finish(); err != nil {
		return Manifest{}, err
	}
	for i, b := range w.bodies {
		m.Objects = append(m.Objects, describe(bodyName(i+1), b.upload.Written(), b.sealed.File()))
		writes = append(writes, write{bodyName(i + 1), b.upload.Commit})
	}
	if contents != nil {
		packed, unpacked, err := pack(contents)
		if err != nil {
			return Manifest{}, err
		}
		sealed, file, err := sealBytes(packed, w.recipients...)
		if err != nil {
			return Manifest{}, err
		}
		c := describe(contentsName, objectstore.Describe(sealed), file)
		c.Unpacked = unpacked
		m.Contents = &c
		writes = append(writes, w.put(contentsName, sealed))
	}
	manifest, err := m.encode(keys)
	if err != nil {
		return Manifest{}, err
	}
	writes = append(writes, w.put(manifestName, manifest))
	if err := w.show(writes); err != nil {
		return Manifest{}, err
	}
	var asking sync.WaitGroup
	var others []string
	for _, x := range writes {
		others = append(others, x.name)
	}
	asking.Go(func() { w.askLock(others...) }) // beside the head's way, since it is asked of every archive
	err = w.show([]write{w.put(headName, sealedHead)})
	asking.Wait()
	if err != nil {
		return Manifest{}, err
	}
	w.over = true
	if w.lock.Mode != "" {
		w.askLock(headName)
	}
	return m, nil
}

// lockPatience is how long a commit waits for what the store says of its lock, which is not worth more.
const lockPatience = 5 * time.Second

// Lock is until when the store keeps every object of the committed archive, whoever wants to delete or change it: the earliest of
// their times, in the weaker of their modes. It is zero where the store does not say so of one of them, or our key may not know;
// the error is why it could not be asked.
func (w *Writer) Lock() (remora.ObjectLock, error) { return w.lock, w.unsaid }

// askLock asks of objects that are there, until one is not locked.
func (w *Writer) askLock(names ...string) {
	ctx, cancel := context.WithTimeout(w.ctx, lockPatience)
	defer cancel()
	for _, name := range names {
		o, err := w.bucket.Head(ctx, w.ref.key(name))
		if err != nil || o.LockMode == "" {
			w.lock, w.unsaid = remora.ObjectLock{}, err
			return
		}
		if w.lock.Mode == "" || o.LockMode == objectstore.LockGovernance {
			w.lock.Mode = remora.LockModeOf(o.LockMode)
		}
		if w.lock.Until.IsZero() || o.LockedUntil.Before(w.lock.Until) {
			w.lock.Until = o.LockedUntil
		}
	}
}

// write makes one object visible.
type write struct {
	name string
	do   func() (objectstore.Object, error)
}

func (w *Writer) put(name string, bytes []byte) write {
	return write{name, func() (objectstore.Object, error) { return w.bucket.PutIfAbsent(w.ctx, w.ref.key(name), bytes) }}
}

// show does writes side by side and remembers what may have become visible: an error does not say that it has not,
// unless the key was somebody else's.
func (w *Writer) show(writes []write) error {
	errs := make([]error, len(writes))
	var wg sync.WaitGroup
	for i, x := range writes {
		wg.Go(func() { _, errs[i] = x.do() })
	}
	wg.Wait()
	for i, x := range writes {
		if !errors.Is(errs[i], objectstore.ErrExists) {
			w.visible = append(w.visible, w.ref.key(x.name))
		}
	}
	return errors.Join(errs...)
}

func describe(name string, o objectstore.Object, f seal.File) StoredObject {
	return StoredObject{
		Name: name, Size: o.Size, PlainSize: f.PlainSize,
		SHA256: hex.EncodeToString(o.SHA256), Opening: hex.EncodeToString(f.Opening),
	}
}

func sealBytes(plain []byte, recipients ...string) ([]byte, seal.File, error) {
	var out bytes.Buffer
	w, err := seal.NewWriter(&out, recipients...)
	if err != nil {
		return nil, seal.File{}, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, seal.File{}, fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, seal.File{}, fmt.Errorf("seal: %w", err)
	}
	return out.Bytes(), w.File(), nil
}

// Abort drops what was written, on a context of its own. Objects that had been completed when Commit failed
// are deleted where our key may; where it may not, they have no head, are no backup, and are the deleter's.
// It may be called at any time; after a Commit that worked it does nothing.
func (w *Writer) Abort() error {
	if w.over {
		return nil
	}
	w.over = true
	var errs []error
	for _, b := range w.bodies {
		errs = append(errs, b.upload.Abort())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 15*time.Second)
	defer cancel()
	for _, key := range slices.Backward(w.visible) { // the head first: without it there is no backup
		if err := w.bucket.Delete(ctx, key); err != nil && !errors.Is(err, objectstore.ErrDenied) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
