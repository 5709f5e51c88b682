package pgarchive

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// recoded sends a table's text through a recoder, and returns its pieces, compressed. The first, which is tried, is waited for before the
// others are sent.
func recoded(t *testing.T, c *Compressor, text []byte) (pieces [][]byte, h *habit) {
	t.Helper()
	rec := &recoder{
		compressor: c, intSize: 4, counter: newCounter("UTF8"), objects: sha256.New(), sum: newObjectSum(), contents: &Contents{},
		order: make(chan *piece, 60), stop: make(chan struct{}), corrupt: fmt.Errorf,
		next: newPiece(c.pieces), in: newInput(c.inputs),
	}
	text = slices.Concat(text, []byte(copyEnd))
	if err := rec.block(Entry{copied: true, copy: &copyTarget{}}, false, nil); err != nil {
		t.Fatal(err)
	}
	take := func() {
		p := <-rec.order
		<-p.done
		if p.err != nil {
			t.Fatal(p.err)
		}
		pieces = append(pieces, bytes.Clone(p.out))
	}
	first := min(len(text), pieceSize+1) // the byte more is what sends the piece
	if err := rec.data(text[:first]); err != nil {
		t.Fatal(err)
	}
	if first > pieceSize {
		take()
	}
	if err := rec.data(text[first:]); err != nil {
		t.Fatal(err)
	}
	if err := rec.end(); err != nil {
		t.Fatal(err)
	}
	for len(pieces) < (len(text)+pieceSize-1)/pieceSize {
		take()
	}
	if got := inflate(t, bytes.Join(pieces, nil)[len(zlibHeader):]); !bytes.Equal(got, text) {
		t.Fatalf("%d bytes came back as %d others", len(text), len(got))
	}
	return pieces, rec.habit
}

// counting are rows that differ from the last in a number.
func counting(size int) []byte {
	var b bytes.Buffer
	for n := 1_000_000; b.Len() < size; n++ {
		_, _ = fmt.Fprintf(&b, "%d\t%d\t0\t%s\n", n, n/100_000, strings.Repeat(" ", 84))
	}
	return b.Bytes()[:size]
}

// chapters are sentences, and then the same ones again, farther back than nearby.
func chapters(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // as much as a test needs
	var chapter, b bytes.Buffer
	for chapter.Len() < 2*nearby {
		_, _ = fmt.Fprintf(&chapter, "%s%d ", []string{"keep", "dry", "handle", "with", "care"}[random.IntN(5)], random.IntN(1000))
	}
	for n := 0; b.Len() < size; n++ {
		_, _ = fmt.Fprintf(&b, "%d\t%s\n", n, chapter.Bytes())
	}
	return b.Bytes()[:size]
}

// How a table's repetitions are found is what its first full piece has shown: nearby where rows repeat the rows before them, else as far
// back as there is. It is tried again, and the table after it is another one.
func TestHabits(t *testing.T) {
	t.Parallel()
	c, err := NewCompressor(1, Small) // one after the other, so that each piece knows of the ones before
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it has no error to tell
	far, h := recoded(t, c, chapters(3*pieceSize+1))
	if h.near.Load() {
		t.Error("chapters repeat what is nearby")
	}
	near, h := recoded(t, c, counting(3*pieceSize+1))
	if !h.near.Load() || len(near[0]) > len(near[2])*11/10 {
		t.Errorf("rows repeat what is far, or the first was not written as was better: %d and %d bytes", len(near[0]), len(near[2]))
	}
	// One table has both: the pieces up to the next one that is tried go out as the first one was best.
	both, h := recoded(t, c, slices.Concat(counting(2*pieceSize), chapters((tryEvery+1)*pieceSize), counting(1)))
	if h.near.Load() {
		t.Error("it was not tried again")
	}
	if before, after := len(both[tryEvery-1]), len(both[tryEvery+1]); len(near[2]) > len(both[0])*11/10 || before < 2*after || after > len(far[2])*11/10 {
		t.Errorf("rows: %d bytes, among others %d; chapters: %d bytes, among others %d, and when they were tried %d", len(near[2]), len(both[0]), len(far[2]), before, after)
	}
	// Those that have tried nothing go on as the one that has.
	many, err := NewCompressor(3, Small)
	if err != nil {
		t.Fatal(err)
	}
	defer many.Close() //nolint:errcheck // as above
	if pieces, _ := recoded(t, many, counting(20*pieceSize+1)); len(pieces[19]) > len(near[2])*11/10 {
		t.Errorf("by three workers: %d bytes, and by one %d", len(pieces[19]), len(near[2]))
	}
	// A small table is not worth the trying.
	if one, _ := recoded(t, c, counting(pieceSize-10)); len(one[0]) < len(near[1])*11/10 {
		t.Errorf("a single piece of rows: %d bytes, and of many %d", len(one[0]), len(near[1]))
	}
}

// A piece may repeat the end of the one before it, and what was right before one is no other's.
func TestPiecesKnowTheLast(t *testing.T) {
	t.Parallel()
	end := digits(dictSize / 2)
	text := slices.Concat(digits(pieceSize)[:pieceSize-dictSize], end, end) // the second piece is the end of the first, again
	for _, level := range []int{Fast, Small} {
		c, err := NewCompressor(1, level)
		if err != nil {
			t.Fatal(err)
		}
		if pieces, _ := recoded(t, c, text); len(pieces[1]) > dictSize/20 {
			t.Errorf("level %d: what is repeated has %d bytes", level, len(pieces[1]))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		d, err := newDeflater(level, &Compressor{hex: newHexCode()})
		if err != nil {
			t.Fatal(err)
		}
		long := bytes.Repeat(end, 9) // of which a sample is taken first
		for _, before := range [][]byte{nil, end, nil} {
			out, err := d.code(nil, &piece{in: &input{bytes: long, before: before}, habit: new(habit), last: true})
			if err != nil {
				t.Fatal(err)
			}
			if back, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(out), before)); err != nil || !bytes.Equal(back, long) {
				t.Errorf("level %d, %d bytes before: %v", level, len(before), err)
			}
		}
	}
}
