package customerdb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/hostilepg"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// hostile is a server that speaks TLS and reads a client's first message, and then does as the test wishes.
func hostile(t *testing.T, then func(net.Conn)) customerdb.Target {
	t.Helper()
	return asked(t, func(c net.Conn, _ *pgproto3.StartupMessage) { then(c) })
}

// asked is one that is told the client's first message too.
func asked(t *testing.T, then func(net.Conn, *pgproto3.StartupMessage)) customerdb.Target {
	t.Helper()
	s, err := hostilepg.Listen(then)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return customerdb.Target{
		Credential: credential.Credential{Host: "db.example", Port: s.Port, User: "reader", Password: redact.New(password), Database: "d"},
		Addr:       netip.MustParseAddr("127.0.0.1"),
	}
}

// logIn lets a client in.
func logIn(b *pgproto3.Backend) { _ = hostilepg.LogIn(b, password) }

// A server that announces a huge message gets no memory for it.
func TestHugeMessagesAreRefused(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	target := hostile(t, func(c net.Conn) {
		head := binary.BigEndian.AppendUint32([]byte{'E'}, 1<<29)
		n, err := c.Write(head)
		for block := make([]byte, 1<<20); err == nil && n < 1<<29; {
			var m int
			m, err = c.Write(block)
			n += m
		}
		sent <- n
	})
	_, err := customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonDumpFailed || !strings.Contains(f.Detail, "a message of 536870908 bytes") {
		t.Error(err)
	}
	if n := <-sent; n > 64<<20 { // what fits into the sockets' buffers
		t.Errorf("%d bytes were taken", n)
	}
}

// A server knows its password, and must not get it into our rows and pages.
func TestAnEchoedPasswordIsRemoved(t *testing.T) {
	t.Parallel()
	target := hostile(t, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no to canary-pw"})
		_ = b.Flush()
	})
	_, err := customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonLoginRefused || !strings.Contains(f.Detail, "no to") {
		t.Fatal(err)
	}
	if out := fmt.Sprintf("%+v %#v %s %v", f, f, f.Detail, f.Cause); strings.Contains(out, "canary-pw") {
		t.Error(out)
	}
}

// A session is read-only from its first message on, whatever role and database have set, and outside of transactions too.
func TestSessionsBeginReadOnly(t *testing.T) {
	t.Parallel()
	told := make(chan map[string]string, 1)
	_, _ = customerdb.Open(t.Context(), asked(t, func(_ net.Conn, first *pgproto3.StartupMessage) { told <- first.Parameters }))
	if set := <-told; set["default_transaction_read_only"] != "on" || set["search_path"] != "pg_catalog" || set["client_min_messages"] != "error" || set["statement_timeout"] == "" {
		t.Errorf("%v", set)
	}
}

// What a server has said of itself, and was checked, it does not take back in answer to something else.
func TestAServerDoesNotSayAnewWhoItIs(t *testing.T) {
	t.Parallel()
	p := admit(t, "said_anew")
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	s, err := customerdb.Open(t.Context(), asked(t, func(client net.Conn, first *pgproto3.StartupMessage) {
		hostilepg.Relay(client, first, password, c.URL(p.name, password, p.name), func(sql string, client net.Conn) bool {
			if !strings.Contains(sql, "pg_database_size") {
				return false
			}
			b := pgproto3.NewBackend(client, client)
			b.Send(&pgproto3.RowDescription{Fields: slices.Repeat([]pgproto3.FieldDescription{{Name: []byte("server_version_num")}}, 6)})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("0"), []byte("x"), []byte("t"), []byte("me"), nil, []byte("0")}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'T'})
			_ = b.Flush() // the client's error tells
			return true
		})
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, snapshot := s.Server(), s.Snapshot()
	if err := s.Measure(t.Context()); err == nil {
		t.Error("it may")
	}
	if now := s.Server(); now.Major != before.Major || now.Version != before.Version || s.Snapshot() != snapshot {
		t.Errorf("%+v, then %+v", before, now)
	}
}

// A report that was cut off is whole only where the server itself has refused the rest, and what came says why: a catalog that is
// closed, which refuses the credential. Whatever else ends it is an error.
func TestACutReportIsNone(t *testing.T) {
	t.Parallel()
	p := admit(t, "cut_report")
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	denied := &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42501", Message: "permission denied for table pg_am"}
	for name, x := range map[string]struct {
		severity string // of the one row that comes
		then     []pgproto3.BackendMessage
		waits    bool // until nobody waits for the rest any more
		want     remora.Reason
		refused  bool
		unsized  bool // the server was not asked how large the database is before, and the report does not say it
	}{
		"a closed catalog, refused":       {"fatal", []pgproto3.BackendMessage{denied, &pgproto3.ReadyForQuery{TxStatus: 'E'}}, false, remora.ReasonNone, true, false},
		"a closed catalog, lost":          {"fatal", nil, false, remora.ReasonUnreachable, false, false},
		"a closed catalog, no time left":  {"fatal", nil, true, remora.ReasonUnreachable, false, false},
		"a closed catalog, another error": {"fatal", []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "ERROR", Code: "XX000", Message: "x"}, &pgproto3.ReadyForQuery{TxStatus: 'E'}}, false, remora.ReasonDumpFailed, false, false},
		"something good to know, refused": {"info", []pgproto3.BackendMessage{denied, &pgproto3.ReadyForQuery{TxStatus: 'E'}}, false, remora.ReasonPermission, false, false},
		"something good to know, lost":    {"info", nil, false, remora.ReasonUnreachable, false, false},
		"something good to know, whole":   {"info", []pgproto3.BackendMessage{&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'T'}}, false, remora.ReasonNone, false, false},
		"no size":                         {"info", []pgproto3.BackendMessage{&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'T'}}, false, remora.ReasonDumpFailed, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := customerdb.Open(ctx, asked(t, func(client net.Conn, first *pgproto3.StartupMessage) {
				hostilepg.Relay(client, first, password, c.URL(p.name, password, p.name), func(sql string, client net.Conn) bool {
					if !strings.Contains(sql, "role_attribute") {
						return false
					}
					b := pgproto3.NewBackend(client, client)
					b.Send(&pgproto3.RowDescription{Fields: slices.Repeat([]pgproto3.FieldDescription{{Name: []byte("code")}}, 5)})
					b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("catalog_select"), []byte(x.severity), []byte("pg_catalog.pg_am"), []byte("x"), nil}})
					for _, m := range x.then {
						b.Send(m)
					}
					for range 1500 { // more than the sockets' buffers take, so that the first has been read when all are sent
						if x.waits {
							b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("x"), []byte("info"), nil, make([]byte, 8<<10), nil}})
						}
					}
					_ = b.Flush() // the client's error tells
					if x.waits {
						cancel()
						_, _ = client.Read(make([]byte, 1))
					}
					return true
				})
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if !x.unsized {
				if err := s.Measure(ctx); err != nil {
					t.Fatal(err)
				}
			}
			audit, err := s.Ask(ctx)
			f := &remora.Failure{}
			if errors.As(err, &f); f.Reason != x.want || (err == nil) != (x.want == remora.ReasonNone) {
				t.Errorf("%v, want %q", err, x.want)
			}
			if refused := audit.Refusal(); err == nil && (refused != nil) != x.refused {
				t.Errorf("%+v", refused)
			}
		})
	}
}
