package pgarchive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync/atomic"
)

// pieceSize is how much is compressed at a time: the encoders of levels 1 to 6 make a block of as much as a stored one may hold, and a
// byte more would need one of its own.
const pieceSize = 2 * longestStored

// dictSize is how much a piece knows of the one before it. All 32 KiB would make texts and programs up to 1.1 % smaller still, and JSON
// 0.1 % or nothing; the encoder goes through what it is told before it begins.
const dictSize = 4 << 10

// tryEvery is how many full pieces of a block there are to one that is written both ways.
const tryEvery = 32

// smallPiece is up to where a piece's buffer grows with it, so that thousands of small tables are not a piece's memory
// each; beyond that it is made whole.
const smallPiece = 16 << 10

// Recode reads one archive that pg_dump wrote without compression (-Fc -Z0), as Walk does, and passes it on as
// pg_dump writes it with gzip: any pg_restore that knows the archive's version reads it. Its data is compressed by c
// while more is read, and counted: Contents says what every table held. Handlers are called from another goroutine,
// one at a time and never after Recode has returned. An archive that is compressed already is walked and passed as
// it is; one of a version newer than this package is passed unread, all of it body, and Raw is empty. Event triggers of
// excluded schemas are taken out of a head only here, where the head is ours to write. Errors and
// memory are Walk's, and about a quarter of a MiB for each of c's workers and three more.
func Recode(r io.Reader, c *Compressor, to Handlers) (*Archive, error) {
	w, err := begin(r, to)
	if errors.Is(err, errNewer) {
		return w.pass(to)
	}
	if err != nil {
		return nil, err
	}
	if w.head.Compression != None {
		return w.walk(to)
	}
	w.progress = to.Progress
	leftOut := w.takeOrphans(to.Excluded)
	w.head.setGzip(w.raw)
	if err := to.Head(w.head, w.head.raw); err != nil {
		return nil, err
	}
	rec := &recoder{
		compressor: c, intSize: w.head.intSize, counter: newCounter(w.head.Encoding), objects: sha256.New(), sum: newObjectSum(), contents: &Contents{Encoding: w.head.Encoding},
		order: make(chan *piece, c.workers+1), stop: make(chan struct{}), corrupt: w.corrupt,
	}
	for _, s := range w.head.Sequences {
		rec.contents.Sequences = append(rec.contents.Sequences, s.readable(w.head.Encoding))
	}
	rec.next, rec.in = newPiece(c.pieces), newInput(c.inputs)
	w.sink = rec
	out := &assembler{head: w.head, raw: w.raw, at: int64(len(w.raw)), to: to.Body, free: c.pieces}
	written := make(chan error, 1)
	go func() { written <- out.run(rec.order, rec.stop) }()
	rerr := w.run(nil)
	if rerr == nil {
		rerr = rec.flush()
	}
	close(rec.order)
	if err := <-written; err != nil { // then reading failed only because of it
		return nil, err
	}
	if rerr != nil {
		return nil, rerr
	}
	a := w.archive(out.at - int64(len(w.raw)))
	a.Contents, a.LeftOut = rec.contents, leftOut
	if l := &a.Contents.LargeObjects; l.Count > 0 {
		l.SHA256, l.Sum = hex.EncodeToString(rec.objects.Sum(nil)), rec.sum.String()
	}
	return a, nil
}

// pass passes what cannot be read: that it is whole is for pg_restore to say.
func (w *walker) pass(to Handlers) (*Archive, error) {
	if err := to.Head(w.head, nil); err != nil {
		return nil, err
	}
	if err := to.Body(w.head.raw); err != nil {
		return nil, err
	}
	w.at, w.raw, w.progress = int64(len(w.head.raw)), nil, to.Progress
	for {
		_, err := w.in.Peek(1)
		if err == io.EOF {
			return w.archive(w.at), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		p, _ := w.in.Peek(w.in.Buffered())
		w.at += int64(len(p))
		if err := to.Body(p); err != nil {
			return nil, err
		}
		_, _ = w.in.Discard(len(p)) // they are buffered
		w.tell()
	}
}

// piece is some framing and then some data of one table or large object, in the archive's order.
type piece struct {
	framing []byte // goes out before the data, as it is
	marks   []mark
	in      *input // until it is compressed
	out     []byte
	stream  bool // there is data, if only none of it: a zlib stream of nothing has bytes
	first   bool // of its zlib stream
	last    bool
	habit   *habit
	tried   bool // both ways, for the habit
	size    int  // of in, which the assembler does not see
	sum     uint32
	done    chan struct{}
	err     error
}

// mark says that an entry's block begins at some byte of the framing.
type mark struct {
	entry Entry
	at    int
}

// habit is how repetitions are found in a block, which is a table or some large objects, as the piece that was tried last has shown.
// Pieces that are at work by then go out as before, so that an archive's size is not the same each time.
type habit struct{ near atomic.Bool }

// input is a piece's data. It is kept apart, since what is compressed already waits for its turn without it.
type input struct {
	bytes  []byte
	before []byte // the end of the same stream's last piece
}

func newInput(free free[input]) *input {
	in := free.take()
	in.bytes, in.before = in.bytes[:0], in.before[:0]
	return in
}

func newPiece(free free[piece]) *piece {
	p := free.take()
	*p = piece{framing: p.framing[:0], marks: p.marks[:0], out: p.out[:0], done: make(chan struct{})}
	return p
}

// free keeps what was used to be used again. Unlike a sync.Pool it keeps it while garbage is collected, so that there
// is next to none.
type free[T any] chan *T

func (f free[T]) take() *T {
	select {
	case v := <-f:
		return v
	default:
		return new(T)
	}
}

func (f free[T]) give(v *T) {
	select {
	case f <- v:
	default:
	}
}

// recoder cuts what a walker finds into pieces and counts it.
type recoder struct {
	compressor *Compressor
	intSize    int
	order      chan *piece
	stop       chan struct{} // closed when nobody takes pieces any more
	in         *input        // of the next piece
	corrupt    func(string, ...any) error

	next     *piece
	habit    *habit
	full     int  // pieces of the block so far
	table    bool // what is read is a table's COPY text
	counter  *counter
	objects  hash.Hash
	sum      *objectSum // of them too
	contents *Contents
}

var errStopped = errors.New("pgarchive: the archive's taker has failed")

func (r *recoder) block(e Entry, objects bool, framing []byte) error {
	r.next.marks = append(r.next.marks, mark{e, len(r.next.framing)})
	r.next.framing = append(r.next.framing, framing...)
	r.habit, r.full = new(habit), 0
	if objects {
		r.table = false
		return nil
	}
	if r.table = e.copied; !r.table { // pg_dump --inserts, which we never ask for
		return r.corrupt("the block of %s.%s is no text that COPY reads", e.Namespace, e.Tag)
	}
	r.counter.begin(e)
	r.next.first = true
	return nil
}

func (r *recoder) object(number []byte) error {
	r.next.framing = append(r.next.framing, number...)
	oid := uint32(0)
	for i, b := range number[1:5] {
		oid |= uint32(b) << (8 * i)
	}
	if number[0] == 1 { // numbers above 2^31 are written as negative ones
		oid = -oid
	}
	if oid != 0 {
		r.contents.LargeObjects.Count++
		_, _ = fmt.Fprintf(r.objects, "%d\n", oid) // a hash never fails
		r.sum.begin(oid)
		r.next.first = true
	}
	return nil
}

func (r *recoder) data(p []byte) error {
	for len(p) > 0 {
		if len(r.in.bytes) == pieceSize {
			if err := r.send(); err != nil {
				return err
			}
		}
		n := min(len(p), pieceSize-len(r.in.bytes))
		if need := len(r.in.bytes) + n; need > cap(r.in.bytes) && need > smallPiece {
			r.in.bytes = append(make([]byte, 0, pieceSize), r.in.bytes...)
		}
		r.in.bytes = append(r.in.bytes, p[:n]...)
		p = p[n:]
	}
	return nil
}

func (r *recoder) end() error {
	r.next.last = true
	if err := r.send(); err != nil {
		return err
	}
	r.next.framing = appendInt(r.next.framing, r.intSize, 0) // no more chunks
	if !r.table {
		r.sum.end()
		return nil
	}
	t, ok := r.counter.end()
	if !ok {
		return r.corrupt("the rows of %s.%s do not end as COPY's text ends", t.Schema, t.Name)
	}
	r.contents.Tables = append(r.contents.Tables, t)
	return nil
}

// send hands the piece on, to be compressed now and written in its turn.
func (r *recoder) send() error {
	p, in := r.next, r.in
	p.in, p.stream, p.size = in, true, len(in.bytes)
	p.habit = r.habit
	if !p.last { // most tables have no other
		p.tried = r.full%tryEvery == 0
		r.full++
	}
	select {
	case r.order <- p:
	case <-r.stop:
		return errStopped
	}
	r.next, r.in = newPiece(r.compressor.pieces), newInput(r.compressor.inputs)
	if !p.last {
		r.in.before = append(r.in.before, in.bytes[pieceSize-dictSize:]...) // only the last is not full
	}
	if r.table {
		r.counter.add(in.bytes)
	} else {
		r.contents.LargeObjects.Bytes += int64(p.size)
		_, _ = r.objects.Write(in.bytes)
		r.sum.add(in.bytes)
	}
	r.compressor.todo <- p
	return nil
}

// flush sends the framing after the last data.
func (r *recoder) flush() error {
	close(r.next.done)
	select {
	case r.order <- r.next:
		return nil
	case <-r.stop:
		return errStopped
	}
}

// maxChunk bounds a chunk that we write; pg_restore makes room for each as it is announced.
const maxChunk = 128 << 10

// gathered is how small a chunk is copied to be passed with its framing, instead of by itself.
const gathered = 8 << 10

// assembler writes pieces in order.
type assembler struct {
	head *Head
	raw  []byte // gets the offsets
	at   int64  // offset in the archive
	to   func([]byte) error
	sum  uint32 // Adler-32 of the stream so far
	buf  []byte
	free free[piece]
}

// run takes pieces until there are no more. After an error it closes stop and takes the rest for nothing.
func (a *assembler) run(order <-chan *piece, stop chan<- struct{}) (err error) {
	for p := range order {
		<-p.done
		if err == nil {
			if err = p.err; err == nil {
				err = a.write(p)
			}
			if err != nil {
				close(stop)
			}
		}
		a.free.give(p)
	}
	return err
}

func (a *assembler) write(p *piece) error {
	for _, m := range p.marks {
		a.head.setOffset(a.raw, m.entry, a.at+int64(m.at))
	}
	a.buf = append(a.buf[:0], p.framing...)
	if p.stream {
		if p.first {
			a.sum = 1
		}
		a.sum = joinAdler(a.sum, p.sum, p.size)
		if p.last {
			p.out = binary.BigEndian.AppendUint32(p.out, a.sum)
		}
		for chunk := range slices.Chunk(p.out, maxChunk) {
			a.buf = appendInt(a.buf, a.head.intSize, len(chunk))
			if len(chunk) < gathered {
				a.buf = append(a.buf, chunk...)
				continue
			}
			if err := a.pass(a.buf); err != nil {
				return err
			}
			if err := a.pass(chunk); err != nil {
				return err
			}
			a.buf = a.buf[:0]
		}
	}
	return a.pass(a.buf)
}

func (a *assembler) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	a.at += int64(len(p))
	return a.to(p)
}

// appendInt writes a number as archives have them: a sign byte and the magnitude, little-endian.
func appendInt(b []byte, size, v int) []byte {
	b = append(b, 0)
	for range size {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}
