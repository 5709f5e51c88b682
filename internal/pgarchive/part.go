package pgarchive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Errors of Select.
var (
	ErrNoTable   = errors.New("pgarchive: the archive has no such table with rows of its own")
	ErrNoOffsets = errors.New("pgarchive: the archive does not say where its data starts")
)

// Part is an archive made of some of another one's data: its head, which lists everything and says of what was left
// out that it has no data, and the chosen blocks. It reads from the other archive and is as safe for concurrent use
// as that.
type Part struct {
	head   []byte
	blocks []extent
	from   io.ReaderAt
}

// extent is some of an archive.
type extent struct{ at, size int64 }

// Select opens the part of an archive that holds the rows of the named tables (schema.table, as they are called,
// without quotes) and reads nothing but the head for it. pg_restore reads a part as any archive; --table restores what
// is in it. A head may have DefaultHead. Errors: ErrNoTable, ErrNoOffsets, Walk's, those of r.
func Select(r io.ReaderAt, size int64, tables ...string) (*Part, error) {
	h, err := readHead(bufio.NewReaderSize(io.NewSectionReader(r, 0, size), bufferSize), DefaultHead)
	if err != nil {
		return nil, err
	}
	starts := []int64{size}
	for _, e := range h.Entries {
		if !e.HasData {
			continue
		}
		at, stated := h.statedOffset(e)
		if !stated {
			return nil, ErrNoOffsets
		}
		if at < uint64(len(h.raw)) || at >= uint64(size) { //nolint:gosec // not negative
			return nil, &CorruptError{Offset: int64(e.offsetAt), What: fmt.Sprintf("entry %d starts at %d of %d", e.DumpID, at, size)}
		}
		starts = append(starts, int64(at)) //nolint:gosec // below size
	}
	slices.Sort(starts)
	p := &Part{head: bytes.Clone(h.raw), from: r}
	next, found := int64(len(h.raw)), map[string]bool{}
	for _, e := range h.Entries {
		if !e.HasData {
			continue
		}
		name := e.Namespace + "." + e.Tag
		if e.Kind != "TABLE DATA" || !slices.Contains(tables, name) {
			h.leaveOut(p.head, e)
			continue
		}
		found[name] = true
		at, _ := h.statedOffset(e)
		i, _ := slices.BinarySearch(starts, int64(at)) //nolint:gosec // below size
		x := extent{int64(at), starts[i+1] - starts[i]}
		h.setOffset(p.head, e, next)
		p.blocks = append(p.blocks, x)
		next += x.size
	}
	for _, t := range tables {
		if !found[t] {
			return nil, fmt.Errorf("%w: %s", ErrNoTable, t)
		}
	}
	return p, nil
}

// leaveOut writes into a head that an entry has no data.
func (h *Head) leaveOut(raw []byte, e Entry) {
	clear(raw[e.dumperAt : e.dumperAt+1+h.intSize])
	clear(raw[e.offsetAt : e.offsetAt+1+h.offSize])
	raw[e.offsetAt] = offsetNoData
}

// Size is the part's, in bytes.
func (p *Part) Size() int64 {
	n := int64(len(p.head))
	for _, x := range p.blocks {
		n += x.size
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(p.head)) {
		n = copy(b, p.head[off:])
	}
	at := int64(len(p.head))
	for _, x := range p.blocks {
		if from := off + int64(n) - at; n < len(b) && from >= 0 && from < x.size {
			want := b[n:min(int64(len(b)), int64(n)+x.size-from)]
			k, err := p.from.ReadAt(want, x.at+from)
			n += k
			if k < len(want) {
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return n, err
			}
		}
		at += x.size
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
