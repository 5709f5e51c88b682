package pgarchive

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
)

// objectPiece is how much of a large object has a line of its own, in bytes: so much of it a server holds when it is asked for the sum.
const objectPiece = 16 << 10

// objectSum sums up large objects as RowSum does rows, so that it does not depend on their order: from version 17 on
// pg_dump writes them by owner and rights, which a copy need not keep. The line of each 16 KiB is "number piece digest",
// the digest being its SHA-256, in hexadecimal, and pieces counted from 0; an empty object has one empty piece.
type objectSum struct {
	rows   RowSum
	number uint32
	piece  int
	size   int // of the piece
	digest hash.Hash
	line   []byte
}

func newObjectSum() *objectSum { return &objectSum{digest: sha256.New()} }

func (s *objectSum) begin(number uint32) { s.number, s.piece = number, 0 }

func (s *objectSum) add(p []byte) {
	for len(p) > 0 {
		if s.size == objectPiece {
			s.flush()
		}
		n := min(len(p), objectPiece-s.size)
		_, _ = s.digest.Write(p[:n]) // a hash never fails
		s.size += n
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
	s.line = hex.AppendEncode(s.line, s.digest.Sum(nil))
	_, _ = s.rows.Write(append(s.line, '\n'))
	s.digest.Reset()
	s.piece++
	s.size = 0
}

func (s *objectSum) String() string { return s.rows.String() }
