package pgarchive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
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
	part []byte    // of a row that is not here whole
	row  hash.Hash // of a long row that is not here whole; nil in others
	long bool      // there was a row of more than longestRow
}

// longestRow is the most that is kept of a row until its end is there, in bytes: its length goes into its hash first. Of
// a longer one the hash is that of its SHA-256, in hexadecimal, which needs no more memory.
const longestRow = 64 << 10

// Write takes more of the text, in pieces of any size.
func (s *RowSum) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		if n < 0 {
			s.keep(p)
			break
		}
		row := p[:n]
		if s.row != nil || len(s.part) > 0 || n > longestRow {
			s.keep(row)
			row = s.part
		}
		if s.row != nil {
			row = hex.AppendEncode(nil, s.row.Sum(nil))
			s.row, s.long = nil, true
		}
		h := hashExtended(row)
		var carry uint64
		s.low, carry = bits.Add64(s.low, h, 0)
		s.high += int64(h)>>63 + int64(carry) //nolint:gosec // the server's number is signed; the carry is 0 or 1
		s.part, p = s.part[:0], p[n+1:]
	}
	return size, nil
}

// keep takes a piece of a row that is not here whole.
func (s *RowSum) keep(p []byte) {
	if s.row == nil && len(s.part)+len(p) > longestRow {
		s.row = sha256.New()
		_, _ = s.row.Write(s.part) // hashes never fail
		s.part = s.part[:0]
	}
	if s.row == nil {
		s.part = append(s.part, p...)
		return
	}
	_, _ = s.row.Write(p)
}

// String is the sum as the server's numeric prints it; empty where a row was too long for its own hash: see Long.
func (s *RowSum) String() string {
	if s.long {
		return ""
	}
	return s.text()
}

// Long is the sum where a row was too long for its own hash; empty elsewhere.
func (s *RowSum) Long() string {
	if !s.long {
		return ""
	}
	return s.text()
}

func (s *RowSum) text() string {
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
