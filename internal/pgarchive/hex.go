package pgarchive

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// COPY writes bytea as hexadecimal. That of random bytes, such as images, is a text in which nothing repeats and each
// digit comes as often as any other: 4 bits a digit are the least, and one code reaches that for every piece. A general
// encoder counts a piece's bytes, makes a code and writes one symbol after the other; hexCode knows its code beforehand,
// looks two digits up and writes eight at a time, in about half the time (BenchmarkHex).

// hexCode is a Huffman code (RFC 1951, 3.2.7) of 16 digits and, so that any text can be written, of all other bytes
// and the end mark: 15 digits of 4 bits, one of 5, and 241 others that share the 32nd part of the code's room which
// that leaves: 15 of 12 bits and 226 of 13.
type hexCode struct {
	// pairs has the code of two bytes, the first in the high byte of its index: 26 bits at most, the first byte's in
	// the lowest, and their number above them.
	pairs  [1 << 16]uint32
	single [endMark + 1]symbol
	header bitWriter // after the block's header
}

// symbol is some bits, the first lowest.
type symbol struct{ bits, n uint32 }

const (
	pairShift = 27
	pairBits  = 1<<pairShift - 1
)

const hexDigits = "0123456789abcdef"

// endMark is the symbol that ends a block.
const endMark = 256

// put appends bits, at most 32 of them.
func (w *bitWriter) put(s symbol) {
	w.acc |= uint64(s.bits) << w.n
	for w.n += s.n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

// bitWriter writes bits, the first into the lowest of a byte.
type bitWriter struct {
	out []byte
	acc uint64 // n bits that are no whole byte yet
	n   uint32
}

// newHexCode is made once for each compressor.
func newHexCode() *hexCode {
	h := &hexCode{}
	var lengths [257]uint8
	short := 15 // how many of the others have 12 bits
	for s := range lengths {
		lengths[s] = 13
		if short > 0 && (s < '0' || s > 'f') { // control characters, COPY's separators among them
			lengths[s] = 12
			short--
		}
	}
	for _, d := range hexDigits {
		lengths[d] = 4
	}
	lengths['f'] = 5
	h.number(lengths[:])
	for i := range h.pairs {
		a, b := h.single[i>>8], h.single[i&0xff]
		h.pairs[i] = a.bits | b.bits<<a.n | (a.n+b.n)<<pairShift
	}
	h.describe(lengths[:])
	return h
}

// number gives each symbol its code: by length, then by value, each one more than the one before (RFC 1951, 3.2.2).
// Codes are written beginning with their highest bit, everything else with its lowest.
func (h *hexCode) number(lengths []uint8) {
	code := uint32(0)
	for n := uint8(1); n <= 15; n++ {
		code <<= 1
		for s, l := range lengths {
			if l == n {
				h.single[s] = symbol{bits.Reverse32(code) >> (32 - n), uint32(n)}
				code++
			}
		}
	}
}

// describe makes the block's header (RFC 1951, 3.2.7). A symbol's length stands there in a code of its own, in which
// each length up to 15 has 4 bits: the header then has 138 bytes, a thousandth of what a piece comes to.
func (h *hexCode) describe(lengths []uint8) {
	w := &h.header
	w.put(symbol{0, 1})      // not the last block
	w.put(symbol{2, 2})      // with a code of its own
	w.put(symbol{0, 5})      // 257 symbols
	w.put(symbol{0, 5})      // one distance
	w.put(symbol{19 - 4, 4}) // 19 lengths of lengths, the first three of which are those of repetitions
	for i := range 19 {
		w.put(symbol{map[bool]uint32{true: 0, false: 4}[i < 3], 3})
	}
	for _, l := range append(lengths[:len(lengths):len(lengths)], 1) { // and the distance, which is never used
		w.put(symbol{bits.Reverse32(uint32(l)) >> 28, 4})
	}
}

// most is how many bytes append writes at most for n.
func (h *hexCode) most(n int) int { return len(h.header.out) + n*13/8 + 16 }

// append appends a block that holds in, and an empty stored block (RFC 1951, 3.2.4), which ends at a byte's border and
// is the stream's last where last says so.
func (h *hexCode) append(to, in []byte, last bool) []byte {
	to = append(slices.Grow(to, h.most(len(in))), h.header.out...)
	at, room := len(to), to[:cap(to)]
	acc, n := h.header.acc, h.header.n
	for ; len(in) >= 8; in = in[8:] {
		eight := binary.BigEndian.Uint64(in)
		code, k := h.four(uint32(eight >> 32)) //nolint:gosec // the first half
		more, l := h.four(uint32(eight))       //nolint:gosec // and the second
		if k+l > 56 {                          // these are not all digits, which have 40 bits at most
			acc |= code << (n & 7)
			n += k
			binary.LittleEndian.PutUint64(room[at:], acc)
			at += int(n >> 3)
			acc >>= n & 56
			n &= 7
			code, k = more, l
		} else {
			code |= more << (k & 63)
			k += l
		}
		// What is left from before is known last, so all else is joined first. Masks tell the compiler that no shift goes too far.
		acc |= code << (n & 7)
		n += k
		binary.LittleEndian.PutUint64(room[at:], acc)
		at += int(n >> 3)
		acc >>= n & 56
		n &= 7
	}
	w := bitWriter{out: room[:at], acc: acc, n: n}
	for _, b := range in {
		w.put(h.single[b])
	}
	w.put(h.single[endMark])
	final := uint32(0)
	if last {
		final = 1
	}
	w.put(symbol{final, 3}) // a stored block
	if w.n > 0 {
		w.put(symbol{0, 8 - w.n})
	}
	return append(w.out, 0, 0, 0xff, 0xff)
}

// four is the code of four bytes, the first of them the highest: 52 bits at most, the first byte's in the lowest, and their number.
func (h *hexCode) four(in uint32) (code uint64, n uint32) {
	a, b := h.pairs[in>>16], h.pairs[in&0xffff]
	return uint64(a&pairBits) | uint64(b&pairBits)<<(a>>pairShift&63), a>>pairShift + b>>pairShift
}

// size is how many bytes the code makes of in, without the block's header.
func (h *hexCode) size(in []byte) int {
	n := uint32(0)
	for _, b := range in {
		n += h.single[b].n
	}
	return int(n / 8)
}
