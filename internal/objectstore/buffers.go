package objectstore

import "sync"

// buffers lends part buffers. It keeps some of those given back, so that a long upload, or the next one,
// allocates nothing; what is beyond that is left to the garbage collector.
type buffers struct {
	size int
	keep int
	mu   sync.Mutex
	free [][]byte
}

func newBuffers(size, keep int) *buffers { return &buffers{size: size, keep: keep} }

func (p *buffers) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := len(p.free) - 1; k >= 0 {
		buf := p.free[k]
		p.free[k] = nil
		p.free = p.free[:k]
		return buf
	}
	return make([]byte, 0, p.size)
}

// put takes back what get lent, and ignores anything else.
func (p *buffers) put(buf []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(buf) == p.size && len(p.free) < p.keep {
		p.free = append(p.free, buf[:0])
	}
}
