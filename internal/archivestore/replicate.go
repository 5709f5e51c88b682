package archivestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/remora-backup/remora/internal/objectstore"
)

// SourceError is of the bucket that Replicate reads, which may be somebody else's than the one it writes to.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "read what is copied: " + e.Err.Error() }

// Unwrap lets errors.Is see the store's error.
func (e *SourceError) Unwrap() error { return e.Err }

func ofSource(err error) error {
	if err == nil {
		return nil
	}
	return &SourceError{err}
}

// ErrDiffers says that an object lies where a copy is to lie, and is another one.
var ErrDiffers = errors.New("archivestore: another object is there already")

// ErrEndless says that a bucket lists more where an archive lies, or a copy is to lie, than anybody has written there.
var ErrEndless = errors.New("archivestore: there is no end to what the bucket lists")

// mostBeside is how many keys may be listed where a copy is to lie, beside its own. A store may list what it likes.
const mostBeside = 500

// Replicate copies a committed archive to another bucket as it lies in its own, sealed, in the order of a commit: the bodies, the
// contents and the manifest, and then the head, without which the copy is no archive. Each object is held against the manifest
// while it passes, and becomes visible where it is the one that was written. It may be called again at any time: what is there
// already is compared, and what is missing is written. It needs no key, and returns how many bytes the copy has. moved is told of
// bytes as they go, those of what is compared too.
//
// Errors: *SourceError of what is read, and in it objectstore.ErrMismatch, objectstore.ErrNotFound, ErrNotOurs, where that is not what
// was written; ErrDiffers; ErrEndless; else those of the bucket that is written to.
func Replicate(ctx context.Context, from, to *objectstore.Bucket, ref Ref, keys MACer, moved func(int)) (int64, error) {
	raw, err := from.Get(ctx, ref.key(manifestName), maxManifest)
	if err != nil {
		return 0, ofSource(err)
	}
	m, err := decode(raw, ref, keys)
	if err != nil {
		return 0, ofSource(err)
	}
	sum := sha256.Sum256(raw)
	order := m.Stored()[1:]
	order = append(order, StoredObject{Name: manifestName, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}, m.Objects[0])

	r := replica{from, to, ref, moved, map[string]int64{}}
	own := map[string]string{} // names, by key
	for _, o := range order {
		own[ref.key(o.Name)] = o.Name
	}
	// Asked for by a list, for a key that may list what lies below a prefix alone is not told of an object that it is missing.
	listed := 0
	err = to.List(ctx, ref.key(""), func(o objectstore.Object) error {
		if listed++; listed > len(order)+mostBeside {
			return ErrEndless
		}
		if name, is := own[o.Key]; is {
			r.there[name] = o.Size
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, o := range order {
		if err := r.object(ctx, o); err != nil {
			return 0, err
		}
		size += o.Size
	}
	return size, nil
}

type replica struct {
	from, to *objectstore.Bucket
	ref      Ref
	moved    func(int)
	there    map[string]int64 // sizes, by name, of what lay there before
}

func (r replica) object(ctx context.Context, o StoredObject) error {
	if size, is := r.there[o.Name]; is {
		return r.compare(ctx, o, size)
	}
	err := r.copy(ctx, o)
	if errors.Is(err, objectstore.ErrExists) { // by another attempt
		there, err := r.to.Head(ctx, r.ref.key(o.Name))
		if err != nil {
			return err
		}
		return r.compare(ctx, o, there.Size)
	}
	return err
}

func (r replica) copy(ctx context.Context, o StoredObject) error {
	at := r.ref.key(o.Name)
	if err := measure(ctx, r.from, at, o); err != nil {
		return ofSource(err)
	}
	in, err := r.from.OpenRange(ctx, at, 0, o.Size)
	if err != nil {
		return ofSource(err)
	}
	defer in.Close() //nolint:errcheck // it was read, or is given up
	up := r.to.Create(ctx, at)
	defer up.Abort() //nolint:errcheck // after a commit it does nothing; what else it leaves goes with the backup
	if _, err := io.Copy(up, source{told{in, r.moved}}); err != nil {
		return err
	}
	if err := up.Finish(); err != nil {
		return err
	}
	if w := up.Written(); w.Size != o.Size || hex.EncodeToString(w.SHA256) != o.SHA256 {
		return ofSource(fmt.Errorf("%w: %s", objectstore.ErrMismatch, o.Name))
	}
	_, err = up.Commit()
	return err
}

// source tells what is wrong with what is read from what is wrong with where it is written.
type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = ofSource(err)
	}
	return n, err
}

// told tells of the bytes that are read.
type told struct {
	io.Reader
	moved func(int)
}

func (t told) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.moved(n)
	return n, err
}

// compare reads an object that is there already, for whoever planted one can give it any size and CRC-32 he likes. Of a copy that
// was interrupted that costs what sending it again would, which may not be: nothing is written over.
func (r replica) compare(ctx context.Context, o StoredObject, size int64) error {
	differs := fmt.Errorf("%w: %s", ErrDiffers, o.Name)
	if size != o.Size {
		return differs
	}
	in, err := r.to.OpenRange(ctx, r.ref.key(o.Name), 0, o.Size)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was read, or is given up
	h := sha256.New()
	if _, err := io.Copy(h, told{in, r.moved}); err != nil {
		return fmt.Errorf("read %s: %w", o.Name, err)
	}
	if want, err := hex.DecodeString(o.SHA256); err != nil || !bytes.Equal(h.Sum(nil), want) {
		return differs
	}
	return nil
}
