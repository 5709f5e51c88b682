package customerdb_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/remora"
)

// What a server can do beside answering, at each step of a connection: each ends by our own limits, which nobody else's context
// has to bring, and with a reason for the customer. Those that only take time take the ten seconds that we give them.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	notices := func(b *pgproto3.Backend, c net.Conn) {
		for stays(c, time.Millisecond) { // it is endless, not fast
			b.Send(&pgproto3.NoticeResponse{Severity: "NOTICE", Message: "wait"})
			if b.Flush() != nil {
				return
			}
		}
	}
	ready := func(b *pgproto3.Backend, version string) bool {
		logIn(b)
		b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: version})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return false
		}
		_, err := b.Receive() // what it is asked
		return err == nil
	}
	for name, c := range map[string]struct {
		serve func(*pgproto3.Backend, net.Conn)
		want  remora.Reason
	}{
		"silence before the login":     {func(_ *pgproto3.Backend, c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, remora.ReasonUnreachable},
		"notices before the login":     {notices, remora.ReasonUnreachable},
		"one byte now and then":        {func(_ *pgproto3.Backend, c net.Conn) { drip(c) }, remora.ReasonUnreachable},
		"silence instead of an answer": {func(b *pgproto3.Backend, c net.Conn) { ready(b, "15.20"); _, _ = c.Read(make([]byte, 1)) }, remora.ReasonUnreachable},
		"notices instead of an answer": {func(b *pgproto3.Backend, c net.Conn) { ready(b, "15.20"); notices(b, c) }, remora.ReasonUnreachable},
		"a copy instead of an answer": {func(b *pgproto3.Backend, c net.Conn) {
			ready(b, "15.20")
			b.Send(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0}})
			for row := make([]byte, 8<<10); stays(c, time.Millisecond); {
				b.Send(&pgproto3.CopyData{Data: row})
				if b.Flush() != nil {
					return
				}
			}
		}, remora.ReasonUnreachable},
		"nothing of what was asked": {func(b *pgproto3.Backend, _ net.Conn) {
			ready(b, "99.0")
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'T'})
			_ = b.Flush()
		}, remora.ReasonDumpFailed},
		"something else": {func(b *pgproto3.Backend, _ net.Conn) {
			ready(b, "15.20")
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("canary")}}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("x")}})
			_ = b.Flush()
		}, remora.ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := customerdb.Open(t.Context(), hostile(t, func(conn net.Conn) { c.serve(pgproto3.NewBackend(conn, conn), conn) }))
			var f *remora.Failure
			if !errors.As(err, &f) || f.Reason != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// drip sends the first byte of a message, and then its length, a byte at a time.
func drip(c net.Conn) {
	for _, b := range []byte{'R', 0, 0, 0, 8, 0, 0, 0, 10} {
		if _, err := c.Write([]byte{b}); err != nil || !stays(c, 3*time.Second) {
			return
		}
	}
}

// stays lets a while pass, and tells whether the other side is still there: it ends with that, not after it.
func stays(c net.Conn, while time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(while))
	for {
		if _, err := c.Read(make([]byte, 512)); err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}
