package faultproxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// TCP is a proxy that knows nothing of what passes.
type TCP struct {
	Addr string // host:port to connect to

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	delay  time.Duration
	rate   int           // bytes a second in each direction of a connection; 0 is as fast as it goes
	paused chan struct{} // closed by Resume; nil while bytes pass
	refuse bool
	left   int64 // bytes until a cut; 0 is never
	hold   turns // of the next connection
	closed chan struct{}
}

// NewTCP starts a proxy for target, host:port. The caller closes it.
func NewTCP(target string) (*TCP, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &TCP{Addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}, closed: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Delay holds every piece of data for d, in both directions, from now on: a round trip takes 2d.
func (p *TCP) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Rate lets each connection that is made from now on pass that many bytes a second in each direction; 0 is as many as come.
func (p *TCP) Rate(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytes
}

// Stop lets no byte pass until Resume, as a network does that drops packets: connections stay open.
func (p *TCP) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
	}
}

// Resume ends Stop.
func (p *TCP) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// Cut ends every connection there is with a reset.
func (p *TCP) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// CutAfter cuts once n more bytes have come, of all connections in both directions together. 0 is never.
func (p *TCP) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
}

// HoldAt holds what the client of the next connection sends from its nth turn on, until release is closed. A client's turn
// comes with what it sends first, and with what it sends after the server has said something.
func (p *TCP) HoldAt(turn int, release <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = turns{left: turn, release: release}
}

// count tells whether these n bytes are the ones to cut at.
func (p *TCP) count(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.left
	p.left = max(before-int64(n), 0)
	return before > 0 && p.left == 0
}

// Refuse ends each new connection at once, or accepts them again.
func (p *TCP) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = yes
}

// Close ends the proxy and all its connections.
func (p *TCP) Close() error {
	err := p.listener.Close()
	close(p.closed)
	p.Cut()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *TCP) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(in) })
	}
}

func (p *TCP) serve(in net.Conn) {
	defer in.Close() //nolint:errcheck // both ends are being thrown away
	if !p.add(in) {
		return
	}
	defer p.remove(in)
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close() //nolint:errcheck // as above
	if !p.add(out) {
		return
	}
	defer p.remove(out)
	p.mu.Lock()
	talk := p.hold
	p.hold = turns{}
	p.mu.Unlock()
	var heard atomic.Bool
	heard.Store(true)
	var both sync.WaitGroup
	both.Go(func() { p.pass(out, in, func() bool { return talk.client(&heard, p.closed) }) })
	both.Go(func() { p.pass(in, out, func() bool { heard.Store(true); return true }) })
	both.Wait()
}

func (p *TCP) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return false
	default:
	}
	if p.refuse {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *TCP) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// piece is what one read gave, and when it came, or got through at the proxy's rate.
type piece struct {
	data []byte
	came time.Time
	err  error // the direction's end
}

// turns counts those of a connection's client until it is held.
type turns struct {
	left    int // the held one included; 0 is none
	release <-chan struct{}
}

// client waits where what the client sends is held, and tells whether it may pass then. heard says that the server has said
// something since the client did.
func (t *turns) client(heard *atomic.Bool, closed <-chan struct{}) bool {
	if !heard.Swap(false) || t.left == 0 {
		return true
	}
	if t.left--; t.left > 0 {
		return true
	}
	select {
	case <-t.release:
		return true
	case <-closed:
		return false
	}
}

// pass copies one direction, as long as may says so. An end of file passes as such; anything else ends both directions. Reading goes on while
// pieces are held, so that a delay is that of a long way and not of a slow one.
func (p *TCP) pass(to, from net.Conn, may func() bool) {
	way := make(chan piece, 256)
	quit := make(chan struct{})
	defer close(quit)
	p.wg.Go(func() { read(from, way, quit) })
	p.mu.Lock()
	rate := p.rate
	p.mu.Unlock()
	var free time.Time // when the way is, at its rate
	for x := range way {
		if rate > 0 {
			if free.Before(x.came) {
				free = x.came
			}
			free = free.Add(time.Duration(len(x.data)) * time.Second / time.Duration(rate))
			x.came = free
		}
		if p.count(len(x.data)) {
			p.Cut()
			return
		}
		if !p.gate(x.came) {
			return
		}
		if len(x.data) > 0 {
			if !may() {
				return
			}
			if _, err := to.Write(x.data); err != nil {
				_ = from.Close()
				return
			}
		}
		if x.err != nil {
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		}
	}
}

func read(from net.Conn, way chan<- piece, quit <-chan struct{}) {
	defer close(way)
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		select {
		case way <- piece{buf[:n], time.Now(), err}:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// gate waits as Delay and Stop say and tells whether the proxy is still open.
func (p *TCP) gate(came time.Time) bool {
	p.mu.Lock()
	delay, paused := p.delay, p.paused
	p.mu.Unlock()
	if wait := time.Until(came.Add(delay)); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.closed:
			return false
		}
	}
	if paused != nil {
		select {
		case <-paused:
		case <-p.closed:
			return false
		}
	}
	return true
}
