package pgarchive

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"testing"

	kflate "github.com/klauspost/compress/flate"
)

// inflate reads what Go's own decoder makes of a stream.
func inflate(t testing.TB, p []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(p)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// digits are the hexadecimal of n random bytes.
func digits(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	return []byte(hex.EncodeToString(random))
}

func TestHexCode(t *testing.T) {
	t.Parallel()
	h := newHexCode()
	all := make([]byte, 256*257) // each byte after each
	for i := range all {
		all[i] = byte(i * (1 + i/256))
	}
	text := digits(pieceSize / 2)
	for _, in := range [][]byte{nil, {0}, {255, 0, 'f'}, all, text, text[:len(text)-1], text[:len(text)-2], text[:len(text)-3], bytes.Repeat([]byte{'z'}, pieceSize)} {
		first := h.append([]byte("before"), in, false)
		both := h.append(first, in, true)
		if len(first)-len("before") > h.most(len(in)) {
			t.Errorf("%d bytes are %d, more than %d", len(in), len(first), h.most(len(in)))
		}
		if got := inflate(t, both[len("before"):]); !bytes.Equal(got, bytes.Repeat(in, 2)) {
			t.Errorf("%d bytes twice came back as %d others", len(in), len(got))
		}
	}
	if n := len(h.append(nil, text, true)); n > len(text)*51/100 {
		t.Errorf("%d digits are %d bytes", len(text), n)
	}
}

// Each piece is written as suits it, those of random bytea with the code for digits; where a piece is not what its sample was, it is not.
func TestWaysToWrite(t *testing.T) {
	t.Parallel()
	c, err := NewCompressor(1, Small)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it has no error to tell
	d, err := newDeflater(Fast, c)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 * longestStored
	row := func(n int) []byte { return append(append([]byte("4711\t\\\\x"), digits(n)...), "\t\\N\tx\n"...) }
	mixed := bytes.Repeat([]byte{0xe4, 0xf6, 0xfc, 'X'}, size/4)
	copy(mixed[size/2:], digits(probeSize/2))
	random := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(random)
	letters := make([]byte, size)
	for i, b := range random {
		letters[i] = ' ' + b%64
	}
	for name, x := range map[string]struct {
		in   []byte
		way  way
		most float64
	}{
		"rows of 1 kB": {bytes.Repeat(row(500), 2)[:1<<10], repeats, 1.01}, // too small to be looked at
		"bytea":        {append(row(size/4), row(size/8)...), asDigits, 0.515},
		"mixed":        {mixed, asDigits, 0.3},
		"text":         {bytes.Repeat([]byte("all work and no play\n"), size/21), repeats, 0.01},
		"letters":      {letters, coded, 0.81},
		"random":       {random, asItIs, 1.0001},
		"blocks":       {random[:2*longestStored], asItIs, 1.0001},
	} {
		if got := d.choose(x.in); got != x.way {
			t.Errorf("%s: %d", name, got)
		}
		before := "before"
		p := &piece{in: &input{bytes: x.in}, habit: new(habit)}
		both, err := d.code([]byte(before), p)
		if p.last = true; err == nil {
			both, err = d.code(both, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, ok := bytes.CutPrefix(both, []byte(before))
		if got := inflate(t, out); !ok || !bytes.Equal(got, bytes.Repeat(x.in, 2)) {
			t.Errorf("%s: %d bytes twice came back as %d others", name, len(x.in), len(got))
		}
		if got := float64(len(out)) / float64(2*len(x.in)); got > x.most {
			t.Errorf("%s: %.4f of its size", name, got)
		}
	}
}

func BenchmarkHex(b *testing.B) {
	text := digits(pieceSize / 2)
	h := newHexCode()
	var out []byte
	general, err := kflate.NewWriter(io.Discard, kflate.HuffmanOnly)
	if err != nil {
		b.Fatal(err)
	}
	for name, code := range map[string]func(){
		"ours":      func() { out = h.append(out[:0], text, false) },
		"klauspost": func() { _, _ = general.Write(text); _ = general.Flush() },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				code()
			}
		})
	}
}
