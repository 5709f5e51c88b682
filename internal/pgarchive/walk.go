package pgarchive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Handlers receive an archive as Walk passes along it. An error from any of them ends the walk and is
// returned as it is.
type Handlers struct {
	// Head gets the head as pg_dump wrote it, before any of the body. It must not keep or change raw, which gets its data
	// offsets afterwards.
	Head func(h *Head, raw []byte) error
	// Body gets the bytes after the head, in order. p is valid during the call only.
	Body func(p []byte) error
	// Progress, where set, is told each time a block begins, whenever some more was read, which is every 64 KiB at
	// most, and once at the end. It must be quick; how often anybody is told further is for it to choose, as only the
	// newest counts (jobworkers' heart writes that down, with a beat every few seconds).
	Progress func(Progress)
	// Excluded are schemas that pg_dump was told to leave out. Recode leaves out the event triggers that call a function
	// in one of them too: only who has those functions could restore them.
	Excluded []string
	// HeadMost is how long the head may be, in bytes; default DefaultHead. It is held once, and beside it about 150 bytes
	// for each entry, which are about as much as the shortest of entries themselves.
	HeadMost int
}

// Progress is how far a walk is.
type Progress struct {
	Bytes   int64  // of the archive, head included
	Done    int    // blocks read whole
	Total   int    // blocks there will be
	Current string // whose block is being read: schema.table, or "large objects"; empty at the end
}

// Archive is what a walk found.
type Archive struct {
	*Head
	Raw      []byte // the head with its data offsets filled in; the archive is Raw and the body
	BodySize int64
	Tables   int       // entries of kind TABLE DATA
	Contents *Contents // nil where the data was compressed already and so not looked into
	LeftOut  []string  // names of event triggers that were taken out of the head
}

// Size is the whole archive's, in bytes.
func (a *Archive) Size() int64 { return int64(len(a.Raw)) + a.BodySize }

// bufferSize is what is read at a time: large enough that a handler is called seldom, small beside a part.
const bufferSize = 64 << 10

// Walk reads one archive from r to its proper end and passes it on. It returns an error, and no archive, when
// r fails (the error is r's), when anything is unknown or inconsistent (*CorruptError with the offset, or
// ErrUnsupported), when the head is too long (*LongHeadError), and when the stream ends before every entry's block was there. Where the head says already
// where blocks start, as it does in an archive read back from the store, they must start there. Memory: the head
// (while it grows, more than twice of it), what its entries say, and 64 KiB. It does not close r.
func Walk(r io.Reader, to Handlers) (*Archive, error) {
	w, err := begin(r, to)
	if err != nil {
		return nil, err
	}
	return w.walk(to)
}

// begin reads the head. With errNewer there is a walker too, which has read the version and no more.
func begin(r io.Reader, to Handlers) (*walker, error) {
	br := bufio.NewReaderSize(r, bufferSize)
	h, err := readHead(br, cmp.Or(to.HeadMost, DefaultHead))
	if errors.Is(err, errNewer) {
		return &walker{in: br, head: h}, err
	}
	if err != nil {
		return nil, err
	}
	w := &walker{
		in: br, head: h, raw: h.raw, at: int64(len(h.raw)), total: len(h.byID), last: -1,
		chunkAt: 1 + h.intSize,
	}
	w.want(1, (*walker).block)
	return w, nil
}

// walk passes everything as it is.
func (w *walker) walk(to Handlers) (*Archive, error) {
	w.progress = to.Progress
	if err := to.Head(w.head, w.head.raw); err != nil {
		return nil, err
	}
	if err := w.run(to.Body); err != nil {
		return nil, err
	}
	return w.archive(w.at - int64(len(w.raw))), nil
}

// takeOrphans takes orphaned event triggers out of the head.
func (w *walker) takeOrphans(schemas []string) []string {
	names := w.head.takeOrphans(schemas)
	w.raw = w.head.raw
	return names
}

func (w *walker) archive(bodySize int64) *Archive {
	a := &Archive{Head: w.head, Raw: w.raw, BodySize: bodySize}
	for _, e := range w.head.Entries {
		if e.Kind == "TABLE DATA" {
			a.Tables++
		}
	}
	w.tell()
	return a
}

// sink takes what a walker finds in the body, where it is not passed as it is.
type sink interface {
	// block begins: its type and its entry's number as they stand.
	block(e Entry, objects bool, framing []byte) error
	// object begins, by its number as it stands; zero ends the block.
	object(number []byte) error
	// data is more of the table or large object. It must not keep p.
	data(p []byte) error
	// end is that of the table or large object.
	end() error
}

// walker follows the framing of the body through buffers that break it anywhere. It is always in one of two
// conditions: collecting a field of `need` bytes, or passing over `skip` bytes of a chunk.
type walker struct {
	in       *bufio.Reader
	sink     sink // nil where everything is passed as it is
	head     *Head
	raw      []byte
	at       int64 // offset in the archive
	field    []byte
	need     int
	next     func(*walker) error // called when the field is complete
	skip     int
	current  Entry
	objects  bool // inside of a large-objects block
	chunks   bool // the field being collected is a chunk's length
	chunkAt  int  // how long such a field is
	kind     byte // of the block
	started  bool // inside of a block
	done     int
	total    int
	last     int // entry whose block is or was read
	progress func(Progress)
}

func (w *walker) want(n int, next func(*walker) error) {
	w.field, w.need, w.next, w.chunks = w.field[:0], n, next, false
}

func (w *walker) wantChunk() {
	w.want(w.chunkAt, (*walker).chunk)
	w.chunks = true
}

// run feeds the body to the walker, and passes it to body where that is set.
func (w *walker) run(body func([]byte) error) error {
	for {
		if _, err := w.in.Peek(1); err != nil {
			// Identity, not errors.Is: the end is io.EOF itself. A failure that wraps one ("read: EOF") is a
			// failure, and an archive that happens to stop at a block's border must not pass for whole.
			if err == io.EOF {
				return w.end()
			}
			return fmt.Errorf("read archive: %w", err)
		}
		p, _ := w.in.Peek(w.in.Buffered())
		if err := w.feed(p); err != nil {
			return err
		}
		if body != nil {
			if err := body(p); err != nil {
				return err
			}
		}
		_, _ = w.in.Discard(len(p)) // they are buffered
		w.tell()
	}
}

func (w *walker) feed(p []byte) error {
	for len(p) > 0 {
		if w.skip > 0 {
			n := min(w.skip, len(p))
			if err := w.data(p[:n]); err != nil {
				return err
			}
			w.skip -= n
			p = p[n:]
			continue
		}
		if w.chunks && len(w.field) == 0 {
			rest, err := w.feedChunks(p)
			if err != nil {
				return err
			}
			if p = rest; len(p) == 0 {
				return nil
			}
		}
		n := min(w.need-len(w.field), len(p))
		w.field = append(w.field, p[:n]...)
		w.at += int64(n)
		p = p[n:]
		if len(w.field) == w.need {
			if err := w.next(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// feedChunks takes chunks that are in p whole, which is nearly all of them: pg_dump writes one for each row.
func (w *walker) feedChunks(p []byte) (rest []byte, err error) {
	for len(p) > w.chunkAt && p[0] == 0 {
		n := int(binary.LittleEndian.Uint32(p[1:]))
		if n == 0 || n > len(p)-w.chunkAt || w.chunkAt != 5 {
			break
		}
		w.at += int64(w.chunkAt)
		if err := w.data(p[w.chunkAt : w.chunkAt+n]); err != nil {
			return nil, err
		}
		p = p[w.chunkAt+n:]
	}
	return p, nil
}

func (w *walker) data(p []byte) error {
	w.at += int64(len(p))
	if w.sink == nil {
		return nil
	}
	return w.sink.data(p)
}

// end judges the end of the stream: it must be where a block could begin, with none missing.
func (w *walker) end() error {
	if w.started || len(w.field) > 0 || w.skip > 0 {
		return w.corrupt("the archive ends inside of a block")
	}
	if w.done != w.total {
		return w.corrupt("the archive ends after %d of %d blocks", w.done, w.total)
	}
	return nil
}

func (w *walker) corrupt(format string, args ...any) error {
	return &CorruptError{Offset: w.at, What: fmt.Sprintf(format, args...)}
}

// Types of blocks.
const (
	dataBlock    = 1
	objectsBlock = 3
)

func (w *walker) block() error {
	switch w.field[0] {
	case dataBlock:
		w.objects = false
	case objectsBlock:
		w.objects = true
	default:
		return w.corrupt("a block has the type %d", w.field[0])
	}
	w.kind = w.field[0]
	w.started = true
	w.want(1+w.head.intSize, (*walker).id)
	return nil
}

func (w *walker) id() error {
	id, ok := decodeInt(w.field)
	i, known := w.head.byID[id]
	if !ok || !known {
		return w.corrupt("a block belongs to no entry (%d)", id)
	}
	if i <= w.last { // pg_dump writes them in the order in which it lists them; otherwise numbers could be exchanged unseen
		return w.corrupt("the block of entry %d comes again, or after one that is listed behind it", id)
	}
	w.last = i
	w.current = w.head.Entries[i]
	if large := w.current.Kind == "BLOBS"; large != w.objects {
		return w.corrupt("the block of entry %d is of the wrong type", id)
	}
	start := w.at - int64(2+w.head.intSize)
	if at := w.current.block; at > 0 && at != uint64(start) { //nolint:gosec // not negative
		return w.corrupt("the block of entry %d starts at %d, where the head says %d", id, start, at)
	}
	w.tell()
	if w.sink == nil {
		w.head.setOffset(w.raw, w.current, start)
	} else if err := w.sink.block(w.current, w.objects, append([]byte{w.kind}, w.field...)); err != nil {
		return err
	}
	if w.objects {
		w.want(1+w.head.intSize, (*walker).object)
	} else {
		w.wantChunk()
	}
	return nil
}

// title is what a person calls the block that is being read.
func (w *walker) title() string {
	switch {
	case w.current.DumpID == 0:
		return ""
	case w.objects:
		return "large objects"
	case w.current.Namespace != "":
		return w.current.Namespace + "." + w.current.Tag
	default:
		return w.current.Tag
	}
}

// object reads a large object's OID; 0 ends the block. OIDs are unsigned 32-bit numbers written as signed.
func (w *walker) object() error {
	if w.field[0] > 1 || bytes.IndexFunc(w.field[5:], func(r rune) bool { return r != 0 }) >= 0 { // of larger integers
		return w.corrupt("a large object's number is malformed")
	}
	if w.sink != nil {
		if err := w.sink.object(w.field); err != nil {
			return err
		}
	}
	for _, b := range w.field[1:] {
		if b != 0 {
			w.wantChunk()
			return nil
		}
	}
	w.close()
	return nil
}

// chunk reads a chunk's length; 0 ends the data.
func (w *walker) chunk() error {
	n, ok := decodeInt(w.field)
	if !ok || n < 0 {
		return w.corrupt("a chunk's length is malformed")
	}
	if n > 0 {
		w.skip = n
		w.wantChunk()
		return nil
	}
	if w.sink != nil {
		if err := w.sink.end(); err != nil {
			return err
		}
	}
	if w.objects {
		w.want(1+w.head.intSize, (*walker).object)
	} else {
		w.close()
	}
	return nil
}

func (w *walker) close() {
	w.started = false
	w.current = Entry{}
	w.done++
	w.want(1, (*walker).block)
}

func (w *walker) tell() {
	if w.progress != nil {
		w.progress(Progress{Bytes: w.at, Done: w.done, Total: w.total, Current: w.title()})
	}
}
