package pgarchive

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Errors of Select.
var (
	ErrNoTable   = errors.New("pgarchive: the archive has no such table with rows of its own; a partitioned table's are its partitions'")
	ErrNoOffsets = errors.New("pgarchive: the archive does not say where its data starts")
)

// Part is an archive made of some of another one's data: its head, which lists everything and says of what was left
// out that it has no data, and the chosen blocks. It reads from the other archive and is as safe for concurrent use
// as that. Of the head it keeps what it says otherwise: some 32 bytes for each table there is.
type Part struct {
	head    *Head
	changes []change
	blocks  []extent
	from    io.ReaderAt
}

// extent is some of an archive.
type extent struct{ at, size int64 }

// change is what a part's head says of one entry.
type change struct {
	dumperAt, offsetAt int
	start              int64 // of its block, in the part; zero where it was left out
}

// Select opens the part of an archive that holds the rows of the named tables (schema.table, as they are called,
// without quotes, in UTF-8 or in the archive's own encoding) and reads nothing but the head for it. pg_restore reads a part as any archive; --table restores what
// is in it. A head may have DefaultHead. Errors: ErrNoTable, ErrNoOffsets, Walk's, those of r.
func Select(r io.ReaderAt, size int64, tables ...string) (*Part, error) {
	found := make(map[string]bool, len(tables))
	for _, t := range tables {
		found[t] = false
	}
	p := &Part{from: r}
	starts := []int64{size}
	var wrong error
	h, err := eachEntry(bufio.NewReaderSize(io.NewSectionReader(r, 0, size), bufferSize), DefaultHead, func(h *Head, e Entry) {
		if !e.HasData || wrong != nil {
			return
		}
		switch {
		case e.block == 0:
			wrong = ErrNoOffsets
		case e.block >= uint64(size): //nolint:gosec // a size is not negative
			wrong = &CorruptError{Offset: int64(e.offsetAt), What: fmt.Sprintf("entry %d starts at %d of %d", e.DumpID, e.block, size)}
		}
		c := change{dumperAt: e.dumperAt, offsetAt: e.offsetAt}
		starts = append(starts, int64(e.block)) //nolint:gosec // below size, or wrong
		if e.Kind == "TABLE DATA" {
			raw := e.Namespace + "." + e.Tag
			read, _ := readable(h.Encoding, raw)
			for _, name := range []string{raw, read} {
				if _, wanted := found[name]; wanted {
					found[name] = true
					c.start = int64(e.block) //nolint:gosec // below size, or wrong
				}
			}
		}
		p.changes = append(p.changes, c)
	})
	if err == nil {
		err = wrong
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(starts)
	if starts[0] < int64(h.size) {
		return nil, &CorruptError{Offset: int64(h.size), What: fmt.Sprintf("a block starts at %d", starts[0])}
	}
	p.head = h
	next := int64(h.size)
	for i, c := range p.changes {
		if c.start == 0 {
			continue
		}
		k, _ := slices.BinarySearch(starts, c.start)
		x := extent{c.start, starts[k+1] - starts[k]}
		p.changes[i].start = next
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

// Size is the part's, in bytes.
func (p *Part) Size() int64 {
	n := int64(p.head.size)
	for _, x := range p.blocks {
		n += x.size
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	n, at := 0, int64(p.head.size)
	if off < at {
		k, err := p.readHead(b[:min(int64(len(b)), at-off)], off)
		if n = k; err != nil {
			return n, err
		}
	}
	for _, x := range p.blocks {
		if from := off + int64(n) - at; n < len(b) && from >= 0 && from < x.size {
			want := b[n:min(int64(len(b)), int64(n)+x.size-from)]
			k, err := readFull(p.from, want, x.at+from)
			if n += k; err != nil {
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

// readHead reads the other archive's head and changes what the part says otherwise.
func (p *Part) readHead(b []byte, off int64) (int, error) {
	n, err := readFull(p.from, b, off)
	h := p.head
	i, _ := slices.BinarySearchFunc(p.changes, off, func(c change, off int64) int {
		return cmp.Compare(int64(c.offsetAt+h.offSize), off)
	})
	for _, c := range p.changes[i:] {
		if int64(c.dumperAt) >= off+int64(n) {
			break
		}
		field := make([]byte, 1+h.offSize)
		if c.start > 0 {
			h.encodeOffset(field, offsetSet, uint64(c.start)) //nolint:gosec // an offset is not negative
		} else {
			h.encodeOffset(field, offsetNoData, 0)
			lay(b[:n], off, make([]byte, 1+h.intSize), c.dumperAt)
		}
		lay(b[:n], off, field, c.offsetAt)
	}
	return n, err
}

// lay writes what of a field at some byte lies in b, which begins at off.
func lay(b []byte, off int64, field []byte, at int) {
	if from := int64(at) - off; from >= 0 && from < int64(len(b)) {
		copy(b[from:], field)
	} else if from < 0 && -from < int64(len(field)) {
		copy(b, field[-from:])
	}
}

// readFull reads what is known to be there.
func readFull(r io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}
