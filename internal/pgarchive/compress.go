package pgarchive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sys/unix"
)

// Compressor deflates the data of any number of archives on a fixed number of goroutines, so that its memory, about
// 1 MiB for each, or 2 from level 6 on where data repeats itself, and at most 4 MiB of buffers kept for later, does not grow
// with the archives at work. It is safe for concurrent use.
type Compressor struct {
	todo    chan *piece
	workers int // and one piece more of an archive is under way, beside the one being filled
	wg      sync.WaitGroup

	pieces free[piece]
	inputs free[input]
	hex    *hexCode
}

// nice is how far behind (sched(7)): enough for a third of an equal's time.
const nice = 5

// kept is how many pieces are kept for later, about a quarter of a MiB each: those of a few archives on two cores.
const kept = 16

// Levels of compression: 1 keeps one core ahead of one database connection, 6 makes archives of what databases are mostly full of
// smaller than pg_dump's own, and takes about half as long again.
const (
	Fast  = 1
	Small = 6
)

// DefaultLevel is Small where a core is left beside the one that keeps up with a database connection, else Fast.
func DefaultLevel() int {
	if runtime.GOMAXPROCS(0) > 1 {
		return Small
	}
	return Fast
}

// NewCompressor starts workers. level is deflate's, 1 to 9. The caller closes it when no archive is at work.
func NewCompressor(workers, level int) (*Compressor, error) {
	if workers < 1 || level < 1 || level > 9 {
		return nil, fmt.Errorf("pgarchive: %d workers at level %d", workers, level)
	}
	c := &Compressor{todo: make(chan *piece), workers: workers, pieces: make(chan *piece, kept), inputs: make(chan *input, kept), hex: newHexCode()}
	for range workers {
		d, err := newDeflater(level, c)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.wg.Go(func() {
			behind(func() {
				for p := range c.todo {
					p.err = d.deflate(p)
					close(p.done)
				}
			})
		})
	}
	return c, nil
}

// behind does work on a thread that comes after others for a core: while a core is short, whoever brings the data goes first, which
// is pg_dump, on which the customer's database waits. Where the system refuses, all are alike. The thread ends with the calling
// goroutine, which must end then; the priority is a thread's own on Linux (setpriority(2)). What else this process does may have to
// wait for it too, as long as it holds all that Go lets run at once.
func behind(work func()) {
	runtime.LockOSThread() // and not unlocked, which ends the thread
	if unix.Gettid() == unix.Getpid() {
		// The first thread never ends, and would stay behind for good. It is held, so this is another one.
		var other sync.WaitGroup
		other.Go(func() { behind(work) })
		other.Wait()
		runtime.UnlockOSThread()
		return
	}
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil { // the system call's answer is 20 less the nice value
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-p+nice)
	}
	work()
}

// Close ends the workers and waits for them.
func (c *Compressor) Close() error {
	close(c.todo)
	c.wg.Wait()
	return nil
}

// nearby is how far back the encoder looks that knows only what is near, in bytes. The rows of a table repeat the rows before them,
// and each bit of a distance has its price: what it makes of pgbench's rows, which differ from the last in a number or two, is 14 %
// smaller than what level 6 makes that looks back 32 KiB, and of JSON 0.5 %; of texts and programs it is 6 to 9 % larger.
const nearby = 8 << 10

// deflater is one worker's encoders.
type deflater struct {
	far     *flate.Writer
	near    *flate.Writer // finds repetitions of what is nearby; nil until it is needed
	small   bool          // whether it may be
	huffman *flate.Writer // finds no repetitions, only codes bytes by how often they come
	hex     *hexCode
	out     bytes.Buffer // grows once for all pieces, each of which then takes no more than it has
	digits  []byte       // so does what hex makes
	free    free[input]
}

func newDeflater(level int, c *Compressor) (*deflater, error) {
	d := &deflater{hex: c.hex, free: c.inputs, small: level >= Small}
	var err error
	if d.far, err = flate.NewWriter(io.Discard, level); err != nil {
		return nil, err
	}
	d.huffman, err = flate.NewWriter(io.Discard, flate.HuffmanOnly)
	return d, err
}

// zlibHeader opens a zlib stream of the usual window (RFC 1950).
var zlibHeader = []byte{0x78, 0x9c}

// deflate compresses a piece so that the pieces of a stream, one after the other, are one zlib stream: each but
// the last ends at a byte's border with an empty stored block (RFC 1951, 3.2.4).
func (d *deflater) deflate(p *piece) error {
	p.sum = adler(p.in.bytes)
	p.out = p.out[:0]
	if p.first {
		p.out = append(p.out, zlibHeader...)
	}
	var err error
	p.out, err = d.code(p.out, p)
	d.free.give(p.in)
	p.in = nil
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	return nil
}

// code appends blocks of a piece that end at a byte's border.
func (d *deflater) code(to []byte, p *piece) ([]byte, error) {
	in := p.in.bytes
	switch d.choose(in) {
	case asItIs:
		return store(to, in, p.last), nil
	case asDigits:
		d.digits = d.hex.append(d.digits[:0], in, p.last)
		if len(d.digits) < len(in)*5/8 { // else the sample was no sample
			return append(to, d.digits...), nil
		}
		return d.encode(to, d.huffman, p)
	case coded:
		return d.encode(to, d.huffman, p)
	}
	if !d.small || !p.tried && !p.habit.near.Load() {
		return d.encode(to, d.far, p)
	}
	at := len(to)
	if p.tried {
		var err error
		if to, err = d.encode(to, d.far, p); err != nil {
			return nil, err
		}
		if len(to)-at > len(in)/2 { // there is little that repeats itself, near or far
			p.habit.near.Store(false)
			return to, nil
		}
	}
	if d.near == nil {
		var err error
		if d.near, err = flate.NewWriterWindow(io.Discard, nearby); err != nil {
			return nil, err
		}
	}
	if err := d.write(d.near, in, p.in.before, p.last); err != nil {
		return nil, err
	}
	if p.tried {
		better := d.out.Len() < len(to)-at
		if p.habit.near.Store(better); !better {
			return to, nil
		}
	}
	return append(to[:at], d.out.Bytes()...), nil
}

// encode appends what w makes of a piece.
func (d *deflater) encode(to []byte, w *flate.Writer, p *piece) ([]byte, error) {
	if err := d.write(w, p.in.bytes, p.in.before, p.last); err != nil {
		return nil, err
	}
	return append(to, d.out.Bytes()...), nil
}

// write leaves in out what w makes of in, which may repeat what was right before it. A Reset of w would take that for the next one's.
func (d *deflater) write(w *flate.Writer, in, before []byte, last bool) error {
	d.out.Reset()
	w.ResetDict(&d.out, before)
	if _, err := w.Write(in); err != nil {
		return err
	}
	if last {
		return w.Close()
	}
	return w.Flush()
}

// longestStored is the longest stored block.
const longestStored = 1<<16 - 1

// store appends stored blocks of in, which is not empty (RFC 1951, 3.2.4): each begins at a byte's border and ends at one.
func store(to, in []byte, last bool) []byte {
	to = slices.Grow(to, len(in)+5*(len(in)/longestStored+1))
	for len(in) > 0 {
		n := min(len(in), longestStored)
		final := byte(0)
		if last && n == len(in) {
			final = 1
		}
		to = binary.LittleEndian.AppendUint16(append(to, final), uint16(n)) //nolint:gosec // see longestStored
		to = binary.LittleEndian.AppendUint16(to, ^uint16(n))               //nolint:gosec // so here
		to = append(to, in[:n]...)
		in = in[n:]
	}
	return to
}

// way is how a piece is written.
type way int

const (
	repeats  way = iota // repetitions are found
	coded               // bytes are coded by how often they come
	asDigits            // the fixed code for digits is as good as that
	asItIs              // nothing makes it smaller
)

const probeSize = 4 << 10

// choose tells how a piece is written, by a sample of its middle. Where looking for repetitions makes it no smaller, as
// with the hexadecimal that COPY writes for random bytes, that would take several times as long, and fast levels make
// such a text larger than coding alone does.
func (d *deflater) choose(in []byte) way {
	if len(in) < 4*probeSize {
		return repeats
	}
	sample := in[len(in)/2 : len(in)/2+probeSize]
	size := func(w *flate.Writer) int {
		_ = d.write(w, sample, nil, false) // into memory
		return d.out.Len()
	}
	alone := size(d.huffman)
	switch {
	case alone > size(d.far):
		return repeats
	case alone >= len(sample):
		return asItIs
	case d.hex.size(sample) <= alone+alone/32:
		return asDigits
	}
	return coded
}
