package pgarchive

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
)

// objectPiece is how much of a large object is hashed at a time, in bytes: its line must not be longer than RowSum takes.
const objectPiece = 16 << 10

// objectSum sums up large objects as RowSum does rows, so that it does not depend on their order: from version 17 on
// pg_dump writes them by owner and rights, which a copy need not keep. The line of each 16 KiB is "number piece bytes",
// the bytes in hexadecimal and pieces counted from 0; an empty object has one empty piece.
type objectSum struct {
	rows   RowSum
	number uint32
	piece  int
	part   []byte
	line   []byte
}

func (s *objectSum) begin(number uint32) { s.number, s.piece, s.part = number, 0, s.part[:0] }

func (s *objectSum) add(p []byte) {
	for len(p) > 0 {
		if len(s.part) == objectPiece {
			s.flush()
		}
		n := min(len(p), objectPiece-len(s.part))
		s.part = append(s.part, p[:n]...)
		p = p[n:]
	}
}

// end is that of an object.
func (s *objectSum) end() { s.flush() }

func (s *objectSum) flush() {
	s.line = strconv.AppendUint(s.line[:0], uint64(s.number), 10)
	s.line = append(s.line, ' ')
	s.line = strconv.AppendInt(s.line, int64(s.piece), 10)
	s.line = append(s.line, ' ')
	s.line = appendHex(s.line, s.part)
	_, _ = s.rows.Write(append(s.line, '\n')) // a hash never fails
	s.piece++
	s.part = s.part[:0]
}

// hexPairs are the two digits of each byte, the first in the low byte.
var hexPairs = func() (pairs [256]uint16) {
	for i := range pairs {
		pairs[i] = uint16(hexDigits[i>>4]) | uint16(hexDigits[i&15])<<8
	}
	return pairs
}()

// appendHex is hex.AppendEncode in half the time (BenchmarkAppendHex): two digits are looked up, and eight written, at once.
func appendHex(to, p []byte) []byte {
	at := len(to)
	to = slices.Grow(to, 2*len(p))[:at+2*len(p)]
	out := to[at:]
	for ; len(p) >= 4 && len(out) >= 8; p, out = p[4:], out[8:] {
		binary.LittleEndian.PutUint64(out, uint64(hexPairs[p[0]])|uint64(hexPairs[p[1]])<<16|uint64(hexPairs[p[2]])<<32|uint64(hexPairs[p[3]])<<48)
	}
	hex.Encode(out, p)
	return to
}

func (s *objectSum) String() string { return s.rows.String() }
