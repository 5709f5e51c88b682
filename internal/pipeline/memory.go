package pipeline

import (
	"errors"

	"github.com/remora-backup/remora/internal/pgdump"
)

// What a run takes of memory besides pg_dump and the upload's parts, in bytes: measured, and rounded up.
const (
	ourMemory   = 3 << 20 // buffers, and what pipes hold
	ourHead     = 4       // for each byte of the archive's head: 3.7 while it is read
	readMemory  = 2 << 20 // pg_restore of any archive; measured 0.9
	readHead    = 4       // for each byte of the head; measured 2.5
	longestHead = 512 << 20
	shortHead   = 64 << 10 // one up to this is reckoned as that, so that what the children may take from their start on stays right
)

// Overhead is what a run takes besides pg_dump, the upload's parts and what its tables cost, in bytes.
const Overhead = ourMemory + readMemory

// room is how a run's memory is shared between its two children and us. What pg_dump has taken when its first byte comes
// is its catalog; what the head costs the others is known when the head is here; all the rest is for rows. Its sum never
// exceeds all.
type room struct {
	all  int64 // 0 is without a bound
	dump *pgdump.Dump
	read reader
}

// first is what the children may take from their start on, of so much in all: what they may of an archive with a short head.
func first(all int64) (dump, read int64) {
	if all == 0 {
		return 0, 0
	}
	return max(all-Overhead-shortHead*(ourHead+readHead), 1), readMemory + shortHead*readHead
}

// head is how long the head may be, now that pg_dump has begun to write it; 0 is the default.
func (r room) head() int {
	if r.all == 0 {
		return 0
	}
	left := r.all - Overhead - r.dump.Memory()
	return int(min(max(left/(ourHead+readHead), 1), longestHead))
}

// rows divides what there is when the head is here, which is n bytes long; 0 where it cannot be told from the rows.
func (r room) rows(n int64) error {
	switch {
	case r.all == 0 || 0 < n && n <= shortHead: // as it is
		return nil
	case n == 0:
		half := (r.all - ourMemory) / 2
		return errors.Join(r.read.Limit(half), r.dump.Limit(half))
	}
	if err := r.read.Limit(readMemory + n*readHead); err != nil {
		return err
	}
	return r.dump.Limit(r.all - Overhead - n*(ourHead+readHead))
}

// peak is what the run took at most, in bytes: of its children as measured, of us as reckoned.
func (r room) peak(head int64) int64 {
	return r.dump.Memory() + r.read.Memory() + head*ourHead
}
