package pgarchive

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"math/bits"
)

// RowSum is the sum of a hash of each row of COPY's text, which is written to it. A restored table has its rows in
// another order than the archive where some of them fit into room left on earlier pages, as in nearly every table whose
// rows are of different widths: then the text's SHA-256 is another one, and this is the same. Each row's hash is what a
// server's own hashtextextended(line, 0) makes of its line, so that it can be checked with nothing but SQL. It finds what
// went wrong, and is no proof against somebody who makes up rows to fool it; the SHA-256 is. The zero value is ready.
type RowSum struct {
	high int64 // of 128 bits, two's complement, as the sum of numbers of 64 bits needs
	low  uint64
	part []byte // of a row that is not here whole
	long bool   // there was a row of more than longestRow
}

// longestRow is the most that is kept of a row until its end is there, in bytes: its length goes into its hash first. A
// table with a longer one has no sum. Such a row lies outside of its page but for a few bytes.
const longestRow = 64 << 10

// Write takes more of the text, in pieces of any size.
func (s *RowSum) Write(p []byte) (int, error) {
	size := len(p)
	for !s.long {
		n := bytes.IndexByte(p, '\n')
		most := n
		if n < 0 {
			most = len(p)
		}
		if len(s.part)+most > longestRow {
			s.long = true
			break
		}
		if n < 0 {
			s.part = append(s.part, p...)
			break
		}
		row := p[:n]
		if len(s.part) > 0 {
			s.part = append(s.part, row...)
			row = s.part
		}
		h := hashExtended(row)
		var carry uint64
		s.low, carry = bits.Add64(s.low, h, 0)
		s.high += int64(h)>>63 + int64(carry) //nolint:gosec // the server's number is signed; the carry is 0 or 1
		s.part, p = s.part[:0], p[n+1:]
	}
	return size, nil
}

// String is the sum as the server's numeric prints it; empty where a row was too long.
func (s *RowSum) String() string {
	if s.long {
		return ""
	}
	sum := new(big.Int).Lsh(big.NewInt(s.high), 64)
	return sum.Add(sum, new(big.Int).SetUint64(s.low)).String()
}

// reset begins another table.
func (s *RowSum) reset() { *s = RowSum{part: s.part[:0]} }

// hashExtended is PostgreSQL's hash_bytes_extended with the seed 0 (src/common/hashfn.c), which is Bob Jenkins's lookup3
// (https://burtleburtle.net/bob/c/lookup3.c, public domain) on a machine that counts from the lowest byte.
func hashExtended(p []byte) uint64 {
	start := 0x9e3779b9 + uint32(len(p)) + 3923095 //nolint:gosec // rows are below 1 GB
	a, b, c := start, start, start
	for ; len(p) >= 12; p = p[12:] {
		a += binary.LittleEndian.Uint32(p)
		b += binary.LittleEndian.Uint32(p[4:])
		c += binary.LittleEndian.Uint32(p[8:])
		a -= c
		a ^= bits.RotateLeft32(c, 4)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 6)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 8)
		b += a
		a -= c
		a ^= bits.RotateLeft32(c, 16)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 19)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 4)
		b += a
	}
	var rest [12]byte
	copy(rest[:8], p)
	if len(p) > 8 {
		copy(rest[9:], p[8:]) // the lowest byte is the length's
	}
	a += binary.LittleEndian.Uint32(rest[:])
	b += binary.LittleEndian.Uint32(rest[4:])
	c += binary.LittleEndian.Uint32(rest[8:])
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	c = (c ^ b) - bits.RotateLeft32(b, 24)
	return uint64(b)<<32 | uint64(c)
}
