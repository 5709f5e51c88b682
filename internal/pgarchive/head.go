package pgarchive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// Version of an archive's format, such as 1.14.
type Version struct{ Major, Minor, Rev int }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Compression is how the blocks are compressed.
type Compression string

// The compressions an archive can name.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	LZ4  Compression = "lz4"
	Zstd Compression = "zstd"
)

// Entry is one line of the table of contents.
type Entry struct {
	DumpID    int
	Kind      string // TABLE, TABLE DATA, SEQUENCE SET, …
	Namespace string // the schema; empty where the object has none
	Tag       string // the object's name
	HasData   bool   // a block of its own follows the head

	*Statements // nil but in ReadHead's

	copied   bool        // its block is what a COPY statement takes
	copy     *copyTarget // where it is copied
	start    int         // where it begins in the head; it ends where the next one begins
	dumperAt int         // where the head says that it has data
	needsAt  int         // where the entries that it depends on are listed
	offsetAt int         // where the entry's data offset lies in the head
	block    uint64      // what that offset is; zero where it is not stated, as in anything that came through a pipe
}

// Statements are most of what an entry says.
type Statements struct {
	Definition string // the statement that makes it
	Copy       string // the COPY statement that its block is for; empty where the block is none of COPY's
	Needs      []int  // the DumpIDs of entries that it depends on
}

// Head is an archive's header and table of contents.
type Head struct {
	Version       Version
	Compression   Compression
	Database      string // the name pg_dump connected to
	ServerVersion string
	DumpVersion   string // pg_dump's
	Encoding      string // of everything in it, by its name in PostgreSQL; empty where it is not said
	Entries       []Entry
	Sequences     []Sequence

	raw        []byte
	size       int // of raw, kept or not
	compressAt int // where the compression lies in raw
	countAt    int // where the number of entries does
	offSize    int
	intSize    int
	byID       map[int]int    // index of the entry with data
	calls      map[int]string // of event triggers, by their DumpIDs, the schema of their function
}

// DefaultHead is how long a head may be, in bytes, where nobody says otherwise. 2,000 tables make 4 to 7 MiB.
const DefaultHead = 64 << 20

// LongHeadError says that an archive's table of contents is longer than its reader allows, which is no fault of the
// archive's.
type LongHeadError struct{ Most int } // bytes

func (e *LongHeadError) Error() string {
	return fmt.Sprintf("pgarchive: the table of contents is longer than %d bytes", e.Most)
}

// State of an entry's data offset in the file.
const (
	offsetNotSet = 1
	offsetSet    = 2
	offsetNoData = 3
)

// ErrUnsupported is wrapped by errors about archives that are well-formed as far as can be told, but of a
// version or kind that this package does not know.
var ErrUnsupported = errors.New("pgarchive: unsupported archive")

// errNewer says that an archive has a version that came after this package.
var errNewer = fmt.Errorf("%w: its version is newer than 1.16", ErrUnsupported)

// WrittenBy tells whether pg_dump of that major writes a version that this package reads.
func WrittenBy(major int) bool { return major >= 12 && major <= 18 }

// CorruptError says where an archive stops making sense.
type CorruptError struct {
	Offset int64
	What   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("pgarchive: byte %d: %s", e.Offset, e.What)
}

// headReader reads fields, and keeps every byte or hands entries on.
type headReader struct {
	r       *bufio.Reader
	most    int    // bytes
	at      int    // bytes read
	raw     []byte // all of them; the last ones where entries are handed on
	intSize int
	names   map[string]string // kinds and schemas, which many entries share
	err     error
	keep    bool               // everything that an entry says
	each    func(*Head, Entry) // is handed each entry, which is not kept then, and the head so far; may be nil
}

func (h *headReader) corrupt(format string, args ...any) {
	if h.err == nil {
		h.err = &CorruptError{Offset: int64(h.at), What: fmt.Sprintf(format, args...)}
	}
}

// take reads n bytes, growing only as bytes arrive, so that a length that lies costs no memory. They are good until
// the next ones are taken.
func (h *headReader) take(n int) []byte {
	if h.each != nil {
		h.raw = h.raw[:0]
	}
	at := len(h.raw)
	if h.err == nil && n > h.most-h.at {
		h.err = h.beyond(h.most - h.at)
	}
	for left := n; left > 0 && h.err == nil; {
		step := min(left, 64<<10)
		h.raw = append(h.raw, make([]byte, step)...)
		if _, err := io.ReadFull(h.r, h.raw[len(h.raw)-step:]); err != nil {
			h.raw = h.raw[:len(h.raw)-step]
			// Identity, not errors.Is: an error that merely wraps io.EOF is a failed read.
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				h.corrupt("the archive ends inside its head")
			} else {
				h.err = fmt.Errorf("read archive: %w", err)
			}
			break
		}
		h.at += step
		left -= step
	}
	if h.err != nil {
		return make([]byte, min(n, 16))
	}
	return h.raw[at : at+n]
}

// beyond tells a head that is longer than it may be, by more than n bytes from here, from a number that lies.
func (h *headReader) beyond(n int) error {
	got, err := io.CopyN(io.Discard, h.r, int64(n)+1)
	if err == nil {
		return &LongHeadError{h.most}
	}
	// Identity, not errors.Is: an error that merely wraps io.EOF is a failed read.
	if err == io.EOF { //nolint:errorlint // see above
		return &CorruptError{Offset: int64(h.at) + got, What: "the archive ends inside its head"}
	}
	return fmt.Errorf("read archive: %w", err)
}

func (h *headReader) byte() byte { return h.take(1)[0] }

func (h *headReader) int() int {
	b := h.take(1 + h.intSize)
	if h.err != nil {
		return 0
	}
	v, ok := decodeInt(b)
	if !ok {
		h.corrupt("a number is out of range")
	}
	return v
}

// decodeInt reads a sign byte and a little-endian magnitude that must fit 31 bits.
func decodeInt(b []byte) (int, bool) {
	var v uint64
	for i := len(b) - 1; i >= 1; i-- {
		v = v<<8 | uint64(b[i])
	}
	if b[0] > 1 || v > 1<<31-1 {
		return 0, false
	}
	if b[0] == 1 {
		return -int(v), true
	}
	return int(v), true
}

// field reads a string; ok is false for a null one. It is good until the next one is read.
func (h *headReader) field() (b []byte, ok bool) {
	n := h.int()
	if h.err != nil || n < 0 {
		if n < -1 {
			h.corrupt("a string has length %d", n)
		}
		return nil, false
	}
	b = h.take(n)
	if h.err != nil {
		return nil, false
	}
	if bytes.IndexByte(b, 0) >= 0 {
		h.corrupt("a string holds a zero byte")
	}
	return b, true
}

// text reads a string; a null one is empty.
func (h *headReader) text() string {
	b, _ := h.field()
	return string(b)
}

// name reads a string that other entries have too.
func (h *headReader) name() string {
	b, _ := h.field()
	s, ok := h.names[string(b)]
	if !ok {
		s = string(b)
		h.names[s] = s
	}
	return s
}

func (h *headReader) skip() { h.field() }

// ReadHead reads an archive's header and table of contents, with all that its entries say. It reads a buffer ahead. Errors
// are Walk's.
func ReadHead(r io.Reader) (*Head, error) {
	in := newHeadReader(bufio.NewReaderSize(r, bufferSize), DefaultHead)
	in.keep = true
	return in.head()
}

// readHead reads the header and the table of contents, of at most so many bytes.
func readHead(r *bufio.Reader, most int) (*Head, error) { return newHeadReader(r, most).head() }

// eachEntry reads a head through and hands on its entries. What it returns has neither them nor the head's bytes.
func eachEntry(r *bufio.Reader, most int, do func(*Head, Entry)) (*Head, error) {
	in := newHeadReader(r, most)
	in.each = do
	return in.head()
}

func newHeadReader(r *bufio.Reader, most int) *headReader {
	return &headReader{r: r, most: most, intSize: 4, names: map[string]string{}}
}

func (in *headReader) head() (*Head, error) {
	if string(in.take(5)) != "PGDMP" {
		in.corrupt("this is not a custom-format archive")
	}
	h := &Head{byID: map[int]int{}, calls: map[int]string{}}
	h.Version = Version{int(in.byte()), int(in.byte()), int(in.byte())}
	h.intSize, h.offSize = int(in.byte()), int(in.byte())
	format := in.byte()
	if in.err != nil {
		return nil, in.err
	}
	switch v := h.Version; {
	case v.Major == 1 && v.Minor > 16:
		h.raw = in.raw
		return h, errNewer
	case v.Major != 1 || v.Minor < 14:
		return nil, fmt.Errorf("%w: version %s", ErrUnsupported, v)
	}
	if format != 1 {
		return nil, fmt.Errorf("%w: format %d", ErrUnsupported, format)
	}
	if (h.intSize != 4 && h.intSize != 8) || (h.offSize != 4 && h.offSize != 8) {
		return nil, fmt.Errorf("%w: integers of %d and offsets of %d bytes", ErrUnsupported, h.intSize, h.offSize)
	}
	in.intSize = h.intSize
	h.compressAt = in.at
	h.Compression = in.compression(h.Version)
	for range 7 { // when the dump was made, as C's struct tm
		in.int()
	}
	h.Database = in.text()
	h.ServerVersion = in.text()
	h.DumpVersion = in.text()
	h.countAt = in.at
	n := in.int()
	if n < 0 {
		in.corrupt("the table of contents claims %d entries", n)
	}
	for i := 0; i < n && in.err == nil; i++ {
		h.add(in)
	}
	h.size = in.at
	if in.each == nil {
		h.raw = in.raw
	}
	return h, in.err
}

func (h *headReader) compression(v Version) Compression {
	if v.Minor < 15 { // a zlib level; -1 is zlib's default
		if h.int() == 0 {
			return None
		}
		return Gzip
	}
	switch c := h.byte(); c {
	case 0:
		return None
	case 1:
		return Gzip
	case 2:
		return LZ4
	case 3:
		return Zstd
	default:
		h.corrupt("compression %d is not known", c)
		return ""
	}
}

// add reads one entry of the table of contents.
func (h *Head) add(in *headReader) {
	e := Entry{start: in.at}
	e.DumpID = in.int()
	e.dumperAt = in.at
	dumper := in.int()
	in.skip() // table's OID
	in.skip() // object's OID
	e.Tag = in.text()
	e.Kind = in.name()
	in.int() // section
	definition, statement := "", ""
	if b, _ := in.field(); in.each == nil || e.Kind == "ENCODING" {
		definition = string(b)
	}
	in.skip() // drop statement
	b, copied := in.field()
	if e.copied = copied; in.each == nil {
		statement = string(b)
	}
	e.Namespace = in.name()
	in.skip() // tablespace
	in.skip() // table access method
	if h.Version.Minor >= 16 {
		in.int() // relkind
	}
	in.skip() // owner
	in.skip() // with OIDs
	if in.keep {
		e.Statements = &Statements{Definition: definition, Copy: statement}
	}
	e.needsAt = in.at
	for { // dependencies end with a null string
		id, more := in.field()
		if !more || in.err != nil {
			break
		}
		if in.keep {
			if n, err := strconv.Atoi(string(id)); err == nil {
				e.Needs = append(e.Needs, n)
			}
		}
	}
	if e.Kind == "EVENT TRIGGER" && in.each == nil {
		h.calls[e.DumpID] = calls(definition)
	}
	e.offsetAt = in.at
	offset := in.take(1 + h.offSize)
	if in.err != nil {
		return
	}
	switch state := offset[0]; {
	case e.DumpID <= 0:
		in.corrupt("an entry has the id %d", e.DumpID)
	case dumper != 0 && state == offsetNotSet:
		e.HasData = true
	case dumper != 0 && state == offsetSet:
		e.HasData = true
		if e.block = h.decodeOffset(offset[1:]); e.block == 0 {
			in.corrupt("the block of entry %d starts at 0", e.DumpID)
		}
	case dumper == 0 && state == offsetNoData:
	default:
		in.corrupt("entry %d says both that it has data and that it has none", e.DumpID)
	}
	if e.Kind == "ENCODING" { // the first entry that pg_dump writes
		if m := clientEncoding.FindStringSubmatch(definition); m != nil {
			h.Encoding = m[1]
		}
	}
	if in.each != nil {
		in.each(h, e)
		return
	}
	if e.HasData {
		if _, twice := h.byID[e.DumpID]; twice {
			in.corrupt("entry %d is listed twice", e.DumpID)
		}
		h.byID[e.DumpID] = len(h.Entries)
	}
	h.Entries = append(h.Entries, e)
	if e.copied {
		at := parseCopy(statement)
		h.Entries[len(h.Entries)-1].copy = &at
	}
	if e.Kind == "SEQUENCE SET" {
		h.Sequences = append(h.Sequences, sequence(e, definition))
	}
}

var clientEncoding = regexp.MustCompile(`^SET client_encoding = '([A-Za-z0-9_-]+)';`)

func (h *Head) decodeOffset(b []byte) uint64 {
	if h.offSize == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// setGzip makes a head that names no compression name gzip, at zlib's default level, in as many bytes.
func (h *Head) setGzip(raw []byte) {
	h.Compression = Gzip
	if h.Version.Minor >= 15 {
		raw[h.compressAt] = 1
		return
	}
	raw[h.compressAt], raw[h.compressAt+1] = 1, 1 // minus one; the other bytes are zero
}

// setOffset writes into a head where an entry's block starts, as pg_dump does on a file it can seek.
func (h *Head) setOffset(raw []byte, e Entry, at int64) {
	if h.offSize == 4 && at > 1<<32-1 {
		return // stays "not set"
	}
	h.encodeOffset(raw[e.offsetAt:e.offsetAt+1+h.offSize], offsetSet, uint64(at)) //nolint:gosec // an offset is not negative
}

func (h *Head) encodeOffset(b []byte, state byte, at uint64) {
	b[0] = state
	if h.offSize == 4 {
		binary.LittleEndian.PutUint32(b[1:], uint32(at)) //nolint:gosec // the caller knows that it fits
	} else {
		binary.LittleEndian.PutUint64(b[1:], at)
	}
}
