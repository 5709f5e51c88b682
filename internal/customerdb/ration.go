package customerdb

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

// What a server may say. Our questions cut their answers to length, a few MiB at most. What nobody asks for are notices,
// notifications and changed settings, the last two of which pgx keeps as long as the connection stands.
const (
	maxAnswer  = 16 << 20 // bytes, to each thing that we say
	maxUnasked = 1000     // messages of a connection's
)

var errTooMuch = errors.New("the server sends more than was asked for")

// ration is a connection as pgx reads and writes it, which ends where a server says more than it may. It is below the limit of
// one message's length, and so knows where each begins.
type ration struct {
	r io.Reader
	w io.Writer

	answered atomic.Int64 // bytes, since we said something
	unasked  int
	head     []byte // of the message that is coming
	body     int    // of it, still to come
}

func newFrontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	c := &ration{r: r, w: w}
	return pgproto3.NewFrontend(c, c)
}

func (c *ration) Write(p []byte) (int, error) {
	c.answered.Store(0)
	return c.w.Write(p)
}

func (c *ration) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.beyond(p[:n]) {
		if conn, ok := c.w.(io.Closer); ok { // or pgx would go on to take what comes, to throw it away
			_ = conn.Close()
		}
		return 0, errTooMuch
	}
	return n, err
}

// beyond tells whether with these bytes it is more than the server may say.
func (c *ration) beyond(came []byte) bool {
	if c.answered.Add(int64(len(came))) > maxAnswer {
		return true
	}
	for len(came) > 0 {
		if c.body > 0 {
			skip := min(c.body, len(came))
			c.body, came = c.body-skip, came[skip:]
			continue
		}
		c.head, came = append(c.head, came[0]), came[1:]
		if len(c.head) < 5 {
			continue
		}
		switch c.head[0] {
		case 'S', 'N', 'A':
			c.unasked++
		}
		c.body, c.head = max(int(binary.BigEndian.Uint32(c.head[1:]))-4, 0), c.head[:0]
	}
	return c.unasked > maxUnasked
}
