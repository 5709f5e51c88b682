package objectstore

import (
	"context"
	"sync"
	"time"
)

// buffers lends part buffers to all uploads of a bucket. Each upload may have two, one that is filled and one that
// travels, as long as fewer than limit are lent, and one in any case, so that none waits for another. A third is lent
// where the store is so slow that waiting for the second takes patience, soon or again and again; from then on the upload has it
// without waiting. Buffers that are given back are kept, so that a long upload, or the next one, allocates nothing.
type buffers struct {
	size, limit int

	mu   sync.Mutex
	lent int
	free [][]byte
	back chan struct{} // closed when one is given back
}

// patience is how long an upload waits for a buffer of its own to come back before it takes one more: about as long as
// a near store takes for a part.
const patience = 50 * time.Millisecond

// loan is what one upload has. The lender's lock guards it.
type loan struct {
	has  int
	got  int  // in all
	late int  // got, when it waited in vain last, or when it began
	slow bool // it has done so soon after
}

// soon is within how many buffers of an upload's beginning a store takes patience that is far away, and of its last such wait one
// that has become slow. One pause of its disk's is neither.
const soon = 8

func newBuffers(size, limit int) *buffers {
	return &buffers{size: size, limit: limit, back: make(chan struct{})}
}

// get waits until there is a buffer for this upload, or for the end of ctx, and returns its error.
func (p *buffers) get(ctx context.Context, to *loan) ([]byte, error) {
	slow := time.NewTimer(patience)
	defer slow.Stop()
	for {
		buf, back := p.try(to)
		if buf != nil {
			return buf, nil
		}
		select {
		case <-back:
		case <-slow.C:
			p.mu.Lock()
			to.slow = to.slow || to.got-to.late <= soon
			to.late = to.got
			p.mu.Unlock()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try returns a buffer, or what is closed when it is worth another try.
func (p *buffers) try(to *loan) (buf []byte, back <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to.has > 0 && p.lent >= p.limit || to.has > 1 && !to.slow {
		return nil, p.back
	}
	to.has++
	to.got++
	p.lent++
	if k := len(p.free) - 1; k >= 0 {
		buf = p.free[k]
		p.free[k] = nil
		p.free = p.free[:k]
		return buf, nil
	}
	return make([]byte, 0, p.size), nil
}

// put takes back what get lent, and ignores anything else.
func (p *buffers) put(buf []byte, from *loan) {
	if cap(buf) != p.size {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	from.has--
	p.lent--
	if p.lent+len(p.free) < p.limit {
		p.free = append(p.free, buf[:0])
	}
	close(p.back)
	p.back = make(chan struct{})
}
