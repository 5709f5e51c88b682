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

// How a table's repetitions are found is what its second piece has shown: nearby where rows repeat the rows before them, else as far
// back as there is. The table after it is another one.
func TestHabits(t *testing.T) {
	t.Parallel()
	c, err := NewCompressor(1, Small) // one after the other, so that the third piece knows of the second
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it has no error to tell
	rec := &recoder{
		compressor: c, intSize: 4, counter: newCounter("UTF8"), objects: sha256.New(), contents: &Contents{},
		order: make(chan *piece, 20), stop: make(chan struct{}), corrupt: fmt.Errorf,
		next: newPiece(c.pieces), in: newInput(c.inputs),
	}
	var rows, chapters bytes.Buffer
	for n := 1_000_000; rows.Len() < 5*pieceSize; n++ {
		_, _ = fmt.Fprintf(&rows, "%d\t%d\t0\t%s\n", n, n/100_000, strings.Repeat(" ", 84))
	}
	chapter := make([]byte, 2*nearby)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // as much as a test needs
	for i := range chapter {
		chapter[i] = 'a' + byte(random.IntN(20))
	}
	for n := 0; chapters.Len() < 5*pieceSize; n++ {
		_, _ = fmt.Fprintf(&chapters, "%d\t%s\n", n, chapter)
	}
	for _, table := range []struct {
		name string
		text []byte
		near bool
		most float64 // of a later piece, to the first
	}{{"rows", rows.Bytes(), true, 0.9}, {"chapters", chapters.Bytes(), false, 1.01}} {
		text := slices.Concat(table.text, []byte(copyEnd))
		if err := rec.block(Entry{copied: true, copy: &copyTarget{}}, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := rec.data(text); err != nil {
			t.Fatal(err)
		}
		if err := rec.end(); err != nil {
			t.Fatal(err)
		}
		var out []byte
		var sizes []int
		for range (len(text) + pieceSize - 1) / pieceSize {
			p := <-rec.order
			<-p.done
			if p.err != nil {
				t.Fatal(p.err)
			}
			out, sizes = append(out, p.out...), append(sizes, len(p.out))
		}
		if got := inflate(t, out[len(zlibHeader):]); !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes came back as %d others", table.name, len(text), len(got))
		}
		if near := rec.habit.near.Load(); near != table.near || float64(sizes[3]) > table.most*float64(sizes[0]) {
			t.Errorf("%s: nearby: %v; pieces of %d bytes", table.name, near, sizes)
		}
	}
}

// A piece may repeat the end of the one before it, and what was right before is no other piece's.
func TestPiecesKnowTheLast(t *testing.T) {
	t.Parallel()
	for _, level := range []int{Fast, Small} {
		d, err := newDeflater(level, &Compressor{})
		if err != nil {
			t.Fatal(err)
		}
		text := digits(dictSize / 2)
		for _, before := range [][]byte{nil, text, nil} {
			out, err := d.code(nil, &piece{in: &input{bytes: text, before: before}, habit: new(habit), last: true})
			if err != nil {
				t.Fatal(err)
			}
			back, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(out), before))
			if err != nil || !bytes.Equal(back, text) {
				t.Errorf("level %d, %d bytes before: %v", level, len(before), err)
			}
			if known := len(before) > 0; known != (len(out) < len(text)/20) {
				t.Errorf("level %d, %d bytes before: %d bytes are %d", level, len(before), len(text), len(out))
			}
		}
	}
}
