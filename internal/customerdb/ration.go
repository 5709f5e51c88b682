package customerdb

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

// What a server may say. Our questions cut their answers to length, a few MiB at most. What nobody asks for are notices,
// notifications and changed settings, the last two of which pgx keeps as long as the connection stands. Whatever length a message
// announces, pgx would make room for it.
const (
	maxAnswer  = 16 << 20 // bytes, to each thing that we say
	maxMessage = 64 << 10 // bytes, of one message
	maxUnasked = 1000     // messages of a connection's
)

// tooMuchError says that a server sends more than was asked for, and what.
type tooMuchError struct{ what string }

func (e *tooMuchError) Error() string { return "the server sends more than was asked for: " + e.what }

// ration is a connection as pgx reads and writes it, which ends where a server says more than it may.
type ration struct {
	r io.Reader
	w io.Writer

	answered atomic.Int64 // bytes, since we said something
	unasked  int
	head     []byte // of the message that is coming
	body     int    // of it, still to come

	over atomic.Pointer[tooMuchError] // why it was ended, which pgx may forget
}

// frontend puts the ration between pgx and its connection, of which there is one.
func (c *ration) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	c.r, c.w = r, w
	return pgproto3.NewFrontend(c, c)
}

func (c *ration) Write(p []byte) (int, error) {
	c.answered.Store(0)
	return c.w.Write(p)
}

func (c *ration) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if over := c.beyond(p[:n]); over != nil {
		c.over.Store(over)
		if conn, ok := c.w.(io.Closer); ok { // or pgx would go on to take what comes, to throw it away
			_ = conn.Close()
		}
		return 0, over
	}
	return n, err
}

// beyond tells what of it is more than the server may say, with these bytes; nil where nothing is.
func (c *ration) beyond(came []byte) *tooMuchError {
	if c.answered.Add(int64(len(came))) > maxAnswer {
		return &tooMuchError{fmt.Sprintf("over %d bytes in one answer", maxAnswer)}
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
			if c.unasked++; c.unasked > maxUnasked {
				return &tooMuchError{fmt.Sprintf("over %d notices, notifications and changed settings", maxUnasked)}
			}
		}
		c.body, c.head = max(int(binary.BigEndian.Uint32(c.head[1:]))-4, 0), c.head[:0]
		if c.body > maxMessage {
			return &tooMuchError{fmt.Sprintf("a message of %d bytes", c.body)}
		}
	}
	return nil
}
