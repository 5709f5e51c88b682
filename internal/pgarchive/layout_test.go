package pgarchive_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// layout is where an archive's fields are, found by a reader of its own that believes everything: archives are taken
// apart with it and put together otherwise.
type layout struct {
	in                []byte
	intSize, offSize  int
	ints, offsets     []int // where each begins; an offset is its state's byte and then its bytes
	countAt, bodyAt   int   // the number of entries; the first block
	lengths           []int // those of ints that are a string's or a chunk's length
	blocks            []span
	entries, withData int
}

// span is a block: its type's byte, its number.
type span struct{ at, end int }

func (l *layout) int(at int) (v, next int) {
	l.ints = append(l.ints, at)
	v = int(binary.LittleEndian.Uint32(l.in[at+1:]))
	if l.in[at] == 1 {
		v = -v
	}
	return v, at + 1 + l.intSize
}

func (l *layout) text(at int) (null bool, next int) {
	l.lengths = append(l.lengths, at)
	n, next := l.int(at)
	return n < 0, next + max(n, 0)
}

func layoutOf(in []byte) *layout {
	l := &layout{in: in, intSize: int(in[8]), offSize: int(in[9])}
	minor, at := in[6], 11
	ints := func(n int) {
		for range n {
			_, at = l.int(at)
		}
	}
	texts := func(n int) {
		for range n {
			_, at = l.text(at)
		}
	}
	if minor < 15 {
		ints(1) // compression
	} else {
		at++
	}
	ints(7) // when it was made
	texts(3)
	l.countAt = at
	l.entries, at = l.int(at)
	for range l.entries {
		ints(1)
		var dumper int
		dumper, at = l.int(at)
		l.withData += dumper
		texts(4) // two numbers, tag, kind
		ints(1)  // section
		texts(6) // three statements, schema, tablespace, access method
		if minor >= 16 {
			ints(1) // relkind
		}
		texts(2) // owner, with OIDs
		for null := false; !null; {
			null, at = l.text(at)
		}
		l.offsets = append(l.offsets, at)
		at += 1 + l.offSize
	}
	l.bodyAt = at
	chunks := func() {
		for n := 1; n > 0; {
			l.lengths = append(l.lengths, at)
			n, at = l.int(at)
			at += n
		}
	}
	for at < len(in) {
		begin, kind := at, in[at]
		at++
		ints(1)
		if kind == 1 {
			chunks()
		} else {
			for oid := 1; oid != 0; {
				if oid, at = l.int(at); oid != 0 {
					chunks()
				}
			}
		}
		l.blocks = append(l.blocks, span{begin, at})
	}
	return l
}

// resized is the same archive with integers and offsets of other sizes, as a machine that has them would write it.
func resized(in []byte, intSize, offSize int) []byte {
	l := layoutOf(in)
	var out []byte
	at := 0
	upTo := func(to int) { out, at = append(out, in[at:to]...), to }
	resize := func(n, to int) {
		out = append(out, in[at:at+min(n, to)]...)
		out, at = append(out, make([]byte, max(to-n, 0))...), at+n
	}
	upTo(8)
	out, at = append(out, byte(intSize), byte(offSize)), 10
	for _, field := range slices.Sorted(slices.Values(slices.Concat(l.ints, l.offsets))) {
		upTo(field + 1)
		if slices.Contains(l.offsets, field) {
			resize(l.offSize, offSize)
		} else {
			resize(l.intSize, intSize)
		}
	}
	upTo(len(in))
	return out
}

// PostgreSQL writes integers of four bytes and offsets of eight wherever it runs today; the format has them both ways.
func TestEverySizeOfIntegersAndOffsets(t *testing.T) {
	t.Parallel()
	c := compressor(t, 1, pgarchive.Fast)
	for _, name := range []string{"1.14-none", "1.15-none", "1.16-none", "1.14-gzip", "1.16-zstd"} {
		in := stored(t, name)
		if l := layoutOf(in); l.intSize != 4 || l.offSize != 8 || len(l.blocks) != l.withData || !bytes.Equal(resized(in, 4, 8), in) {
			t.Fatalf("%s: it is not taken apart as it is", name)
		}
		a, piped, full, err := recode(c, bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range [][2]int{{4, 4}, {8, 4}, {8, 8}} {
			other := resized(in, size[0], size[1])
			b, piped2, full2, err := recode(c, bytes.NewReader(other))
			if err != nil {
				t.Errorf("%s %v: %v", name, size, err)
				continue
			}
			if !bytes.Equal(piped2, resized(piped, size[0], size[1])) || len(full2) != len(resized(full, size[0], size[1])) {
				t.Errorf("%s %v: it comes out otherwise", name, size)
			}
			if a.Contents != nil && (!reflect.DeepEqual(b.Contents.Tables[1], a.Contents.Tables[1]) || b.Contents.LargeObjects != a.Contents.LargeObjects) {
				t.Errorf("%s %v: %+v", name, size, b.Contents)
			}
			again, out, err := walk(bytes.NewReader(full2)) // which holds the offsets against the blocks
			if err != nil || !bytes.Equal(again.Raw, b.Raw) || !bytes.Equal(out, full2) {
				t.Errorf("%s %v: with its offsets it is no archive: %v", name, size, err)
			}
			part, err := pgarchive.Select(bytes.NewReader(full2), int64(len(full2)), "public.parts_1")
			if err != nil {
				t.Fatal(err)
			}
			some := make([]byte, part.Size())
			if _, err := part.ReadAt(some, 0); err != nil {
				t.Fatal(err)
			}
			if p, _, err := walk(bytes.NewReader(some)); err != nil || strings.Join(withData(p), "") != "public.parts_1" {
				t.Errorf("%s %v: a part is no archive: %v", name, size, err)
			}
			if name == "1.14-none" { // pg_restore warns of what a larger integer may hold
				if want, got := restore(t, in), restore(t, full2); !strings.HasSuffix(got, want) {
					t.Errorf("%s %v: pg_restore reads something else", name, size)
				}
			}
		}
	}
}

// Large objects are numbered by 32 bits, whatever an archive's integers have.
func TestNumbersOfObjects(t *testing.T) {
	t.Parallel()
	in := resized(stored(t, "1.14-none"), 8, 8)
	at := bytes.Index(in, []byte{0, 0x15, 0x40, 0, 0, 0, 0, 0, 0}) // 16405, the first of them
	if at < 0 {
		t.Fatal("there is no such object")
	}
	in[at+7] = 1
	var corrupt *pgarchive.CorruptError
	if _, _, err := walk(bytes.NewReader(in)); !errors.As(err, &corrupt) {
		t.Errorf("walked: %v", err)
	}
}

// broken is an archive that is wrong in its structure, though every field of it is well-formed.
func broken(random *rand.Rand, in []byte) (out []byte, what string) {
	l := layoutOf(in)
	block := func() span { return l.blocks[random.IntN(len(l.blocks))] }
	put := func(at, v int) {
		out = bytes.Clone(in)
		clear(out[at : at+1+l.intSize])
		if v < 0 {
			out[at], v = 1, -v
		}
		binary.LittleEndian.PutUint32(out[at+1:], uint32(v)) //nolint:gosec // small
	}
	value := func(at int) int { return int(binary.LittleEndian.Uint32(in[at+1:])) }
	switch x := block(); random.IntN(7) {
	case 0:
		out = bytes.Clone(in)
		for out[x.at] == in[x.at] {
			out[x.at] = byte(random.Uint32())
		}
		return out, "another type of block"
	case 1:
		borders := []int{len(in)}
		for _, b := range l.blocks {
			borders = append(borders, b.at)
		}
		to := borders[random.IntN(len(borders))]
		return slices.Concat(in[:to], in[x.at:x.end], in[to:]), "a doubled block"
	case 2:
		return slices.Concat(in[:x.at], in[x.end:]), "a missing block"
	case 3:
		other := x
		for other == x {
			other = block()
		}
		put(x.at+1, value(other.at+1))
		copy(out[other.at+1:], in[x.at+1:x.at+1+l.intSize])
		return out, "swapped numbers"
	case 4:
		put(x.at+1, random.IntN(1<<31))
		return out, "a block of no entry"
	case 5:
		n := l.entries
		for n == l.entries {
			n = random.IntN(2 * l.entries)
		}
		put(l.countAt, n)
		return out, "a wrong count of entries"
	default:
		at := l.lengths[random.IntN(len(l.lengths))]
		if at < l.bodyAt {
			return broken(random, in) // a string's, which may still make sense
		}
		n := value(at)
		put(at, n+1+random.IntN(1000))
		return out, "a wrong length of a chunk"
	}
}
