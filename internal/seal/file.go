package seal

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// The format's own figures (https://c2sp.org/age): plain bytes of a chunk, and what its tag adds.
const (
	chunk    = 64 << 10
	overhead = 16
	// maxOpening is far above the opening of a file with MaxRecipients and one more, each about 100 bytes.
	maxOpening = 4 << 10
)

// File is what must be kept of a sealed file, out of reach of whoever keeps the file, to open it.
type File struct {
	Size      int64  // bytes, sealed
	PlainSize int64  // bytes, plain
	Opening   []byte // SHA-256 of the bytes before the first chunk
}

// payload is the size of the chunks of n plain bytes. An empty file has one empty chunk.
func payload(n int64) int64 { return n + overhead*max(1, (n+chunk-1)/chunk) }

// Writer seals to its recipients, each of whose keys opens the file alone. It buffers one chunk.
type Writer struct {
	inner io.WriteCloser
	to    *counter
	file  File
}

// counter knows what has passed to w.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// NewWriter writes the opening to w. The caller closes the Writer, which does not close w; a file that was
// not closed does not open.
func NewWriter(w io.Writer, recipients ...string) (*Writer, error) {
	to, err := parse(recipients)
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	s := &Writer{to: &counter{w: io.MultiWriter(w, digest)}}
	if s.inner, err = age.Encrypt(s.to, to...); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	s.to.w = w
	s.file.Opening = digest.Sum(nil)
	return s, nil
}

// Write implements io.Writer. Its errors are those of the writer beneath.
func (s *Writer) Write(p []byte) (int, error) {
	n, err := s.inner.Write(p)
	s.file.PlainSize += int64(n)
	return n, err
}

// Close writes the last chunk.
func (s *Writer) Close() error { return s.inner.Close() }

// File is complete after Close.
func (s *Writer) File() File {
	f := s.file
	f.Size = s.to.n
	return f
}

// OpenAt opens file f, which r holds. It reads the opening and the last chunk at once and the rest when it is
// asked for, in chunks. Any of the keys that it is sealed to will do. The returned ReaderAt may be used concurrently if r may, holds nothing to close, and
// never returns a byte that was not written there. Errors: ErrWrongKey, ErrForged, and those of r.
func OpenAt(r io.ReaderAt, f File, keys ...Key) (io.ReaderAt, error) {
	ids, err := identities(keys)
	if err != nil {
		return nil, err
	}
	opening, err := f.opening(io.NewSectionReader(r, 0, f.Size))
	if err != nil {
		return nil, err
	}
	plain, n, err := age.DecryptReaderAt(overlay{r, opening}, f.Size, ids...)
	switch {
	case err != nil:
		return nil, notOpened(err)
	case n != f.PlainSize:
		return nil, fmt.Errorf("%w: it holds %d bytes", ErrForged, n)
	}
	return plain, nil
}

// Open is OpenAt for a file that is read once from its start. Where it is shorter or longer than it was written, the
// reader's end is an error.
func Open(r io.Reader, f File, keys ...Key) (io.Reader, error) {
	ids, err := identities(keys)
	if err != nil {
		return nil, err
	}
	opening, err := f.opening(r)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(io.MultiReader(bytes.NewReader(opening), r), ids...)
	if err != nil {
		return nil, notOpened(err)
	}
	return &exact{plain, f.PlainSize}, nil
}

// opening reads what is before the first chunk, and returns it where it is what was written.
func (f File) opening(r io.Reader) ([]byte, error) {
	size := f.Size - payload(f.PlainSize)
	if f.PlainSize < 0 || size <= 0 || size > maxOpening {
		return nil, fmt.Errorf("%w: %d bytes cannot hold %d", ErrForged, f.Size, f.PlainSize)
	}
	opening := make([]byte, size)
	if _, err := io.ReadFull(r, opening); err != nil {
		return nil, fmt.Errorf("read the opening: %w", err)
	}
	if sum := sha256.Sum256(opening); subtle.ConstantTimeCompare(sum[:], f.Opening) != 1 {
		return nil, fmt.Errorf("%w: its opening differs", ErrForged)
	}
	return opening, nil
}

func notOpened(err error) error {
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return ErrWrongKey
	}
	return fmt.Errorf("open: %w", err)
}

// exact ends with an error where there are not as many bytes as there must be.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left < 0 || errors.Is(err, io.EOF) && e.left != 0 {
		return 0, fmt.Errorf("%w: it has another length", ErrForged)
	}
	return n, err
}

// overlay serves the opening that was checked, never what a second reading of it would give. A read that begins in it
// ends with it: age reads it through a buffer, which would otherwise be filled from the chunks for nothing.
type overlay struct {
	io.ReaderAt
	opening []byte
}

func (o overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(o.opening)) {
		return o.ReaderAt.ReadAt(p, off)
	}
	n := copy(p, o.opening[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
