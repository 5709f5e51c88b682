package customerdb_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/hostilepg"
	"github.com/remora-backup/remora/internal/remora"
)

// What a server can do beside answering, at each step of a connection: each ends by our own limits, which nobody else's context
// has to bring, and with a reason for the customer. Those that only take time take the ten seconds that we give them.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	notices := func(b *pgproto3.Backend, c net.Conn) {
		for stays(c, 100*time.Millisecond) { // it is endless, not fast: what ends it is the time
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
			for row := make([]byte, 8<<10); stays(c, 100*time.Millisecond); {
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

// What nobody has asked for, and answers without end: each is left after what a few answers take, so that it costs us neither
// memory nor time.
func TestMoreThanWasAskedForIsLeft(t *testing.T) {
	t.Parallel()
	p := admit(t, "asked_too_much")
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	finding := func(n, size int) *pgproto3.DataRow {
		return &pgproto3.DataRow{Values: [][]byte{fmt.Append(nil, "code", n), []byte("info"), nil, make([]byte, size), nil}}
	}
	const unasked, long = "over 1000 notices, notifications and changed settings", "over 16777216 bytes in one answer"
	columns := &pgproto3.RowDescription{Fields: slices.Repeat([]pgproto3.FieldDescription{{Name: []byte("code")}}, 5)}
	for name, x := range map[string]struct {
		words string // of the query that gets this instead of an answer; "" is the login
		each  func(n int) pgproto3.BackendMessage
		most  int // of messages that are taken, but for those that wait in the sockets' buffers
		over  string
	}{
		"parameters with the login": {"", func(n int) pgproto3.BackendMessage { return &pgproto3.ParameterStatus{Name: fmt.Sprint(n), Value: "x"} }, 1000, unasked},
		"parameters":                {"role_attribute", func(n int) pgproto3.BackendMessage { return &pgproto3.ParameterStatus{Name: fmt.Sprint(n), Value: "x"} }, 1000, unasked},
		"notifications":             {"role_attribute", func(n int) pgproto3.BackendMessage { return &pgproto3.NotificationResponse{Channel: fmt.Sprint(n)} }, 1000, unasked},
		"notices":                   {"role_attribute", func(int) pgproto3.BackendMessage { return &pgproto3.NoticeResponse{Message: "x"} }, 1000, unasked},
		"answers without end": {"role_attribute", func(n int) pgproto3.BackendMessage {
			switch n % 1000 {
			case 0:
				return columns
			case 999:
				return &pgproto3.CommandComplete{CommandTag: []byte("SELECT 998")}
			}
			return finding(n, 10)
		}, 10_000, "over 10000 rows"},
		"empty answers without end": {"role_attribute", func(n int) pgproto3.BackendMessage {
			if n%2 == 0 {
				return columns
			}
			return &pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}
		}, 300_000, long},
		"long rows without end": {"role_attribute", func(n int) pgproto3.BackendMessage {
			if n == 0 {
				return columns
			}
			return finding(n, 60<<10)
		}, 300, long},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := make(chan int, 1)
			flood := func(c net.Conn) {
				var b []byte
				for n, bytes := 0, 0; ; n++ {
					if b, _ = x.each(n).Encode(b); len(b) < 32<<10 {
						continue
					}
					_, err := c.Write(b)
					if bytes, b = bytes+len(b), b[:0]; err != nil || bytes > 256<<20 {
						sent <- n - 8<<20/(bytes/n+1) // what fits into the buffers
						return
					}
				}
			}
			target := asked(t, func(client net.Conn, first *pgproto3.StartupMessage) {
				if x.words != "" {
					hostilepg.Relay(client, first, password, c.URL(p.name, password, p.name), func(sql string, client net.Conn) bool {
						if strings.Contains(sql, x.words) {
							flood(client)
							return true
						}
						return false
					})
				} else if b := pgproto3.NewBackend(client, client); hostilepg.LogIn(b, password) == nil && b.Flush() == nil {
					flood(client)
				}
			})
			began := time.Now()
			s, err := customerdb.Open(t.Context(), target)
			if err == nil {
				defer s.Close()
				_, err = s.Ask(t.Context())
			}
			f := &remora.Failure{Cause: errors.New("none")}
			errors.As(err, &f)
			if want := "the server sends more than was asked for: " + x.over; f.Reason != remora.ReasonDumpFailed || !strings.Contains(f.Detail, want) || !strings.Contains(f.Cause.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
			if n := <-sent; n > x.most {
				t.Errorf("%d messages were taken, in %v", n, time.Since(began))
			}
		})
	}
}
