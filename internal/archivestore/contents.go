package archivestore

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/seal"
)

// What an archive contains is a text that repeats itself, of some hundred bytes for each table: that of many tables is stored
// compressed by gzip. A short one is stored as it is, since that costs a tiny backup nothing and can be read by anybody.
const packFrom = 64 << 10

// maxContents bounds what is read of it, in bytes, once it is unpacked.
const maxContents = 512 << 20

// pack compresses contents where that is worth it; unpacked is how long they are then without it, else 0.
func pack(contents []byte) (stored []byte, unpacked int64, err error) {
	if len(contents) < packFrom {
		return contents, 0, nil
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(contents); err != nil {
		return nil, 0, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, 0, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), int64(len(contents)), nil
}

// Listing is what an archive contains, as JSON, readable anywhere, which costs little where it is read from its start. It is safe
// for concurrent use and needs no closing, as Reader.
type Listing struct {
	stored *Reader
	packed bool
	size   int64

	mu    sync.Mutex
	at    int64     // of plain
	plain io.Reader // goes on from there; nil where nothing is being unpacked
}

// OpenContents opens what a committed archive contains, as it was given to Commit; nil where nothing was. Errors are
// Open's.
func OpenContents(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, keys MACer) (*Listing, error) {
	m, err := manifest(ctx, b, ref, keys)
	if err != nil || m.Contents == nil {
		return nil, err
	}
	if m.Contents.tooLong() {
		return nil, ErrNotOurs
	}
	stored, err := open(ctx, b, ref, key, m, []StoredObject{*m.Contents})
	if err != nil {
		return nil, err
	}
	return &Listing{stored: stored, packed: m.Contents.Unpacked > 0, size: cmp.Or(m.Contents.Unpacked, m.Contents.PlainSize)}, nil
}

// Contents is OpenContents, read whole.
func Contents(ctx context.Context, b *objectstore.Bucket, ref Ref, key seal.Key, keys MACer) ([]byte, error) {
	l, err := OpenContents(ctx, b, ref, key, keys)
	if err != nil || l == nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(l, 0, l.Size()))
}

func (o StoredObject) tooLong() bool { return max(o.PlainSize, o.Unpacked) > maxContents }

// Size is that of the JSON.
func (l *Listing) Size() int64 { return l.size }

// ReadAt reads some of the JSON.
func (l *Listing) ReadAt(p []byte, off int64) (int, error) {
	if !l.packed {
		return l.stored.ReadAt(p, off)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if off >= l.size {
		return 0, io.EOF
	}
	if l.plain == nil || off < l.at {
		packed, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(l.stored, 0, l.stored.Size()), 32<<10))
		if err != nil {
			return 0, fmt.Errorf("unpack: %w", err)
		}
		l.plain, l.at = packed, 0
	}
	k, err := io.CopyN(io.Discard, l.plain, off-l.at)
	l.at += k
	n := 0
	if err == nil {
		n, err = io.ReadFull(l.plain, p[:min(int64(len(p)), l.size-off)])
		l.at += int64(n)
	}
	if err != nil {
		l.plain = nil
		return n, fmt.Errorf("unpack: %w", err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// unpack is pack's way back, for what lies in memory.
func unpack(stored []byte, o StoredObject) ([]byte, error) {
	if o.Unpacked == 0 {
		return stored, nil
	}
	in, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(in, o.Unpacked+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if int64(len(out)) != o.Unpacked {
		return nil, fmt.Errorf("%w: %s is not as long as the manifest says", seal.ErrForged, o.Name)
	}
	return out, nil
}
