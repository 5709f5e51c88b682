package pgdump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/devtools/hostilepg"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
)

// flooded is how to dump from a server that has answered everything as a real one does, up to the first query that has the
// given words, or to the login where there are none.
func flooded(t *testing.T, cfg pgdump.Config, words string, flood func(net.Conn)) pgdump.Config {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	s, err := hostilepg.Listen(func(client net.Conn, first *pgproto3.StartupMessage) {
		if words == "" {
			flood(client)
			return
		}
		hostilepg.Relay(client, first, canary, c.URL(cfg.Credential.User, canary, cfg.Credential.Database), func(sql string, client net.Conn) bool {
			if strings.Contains(sql, words) {
				flood(client)
				return true
			}
			return false
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	cfg.Credential.Port = s.Port
	return cfg
}

// send writes messages.
func send(c net.Conn, all ...pgproto3.BackendMessage) error {
	var b []byte
	for _, m := range all {
		b, _ = m.Encode(b) // of a test's own making
	}
	_, err := c.Write(b)
	return err
}

// endless writes a message, numbered by each, until nobody takes it any more; 64 KiB and more at a time.
func endless(each func(n int) pgproto3.BackendMessage) func(net.Conn) {
	return func(c net.Conn) {
		var b []byte
		for n := 0; ; n++ {
			if b, _ = each(n).Encode(b); len(b) < 64<<10 {
				continue
			}
			if _, err := c.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
}

// announced is one message that has begun, and all that it announces, up to 1 GiB.
func announced(kind byte, begins []byte) func(net.Conn) {
	return func(c net.Conn) {
		_, err := c.Write(append(binary.BigEndian.AppendUint32([]byte{kind}, 1<<30), begins...))
		for block, n := bytes.Repeat([]byte("x"), 1<<20), 0; err == nil && n < 1<<30; n += len(block) {
			_, err = c.Write(block)
		}
	}
}

// dripping writes pieces, again and again, each after a while.
func dripping(c net.Conn, while time.Duration, pieces ...[]byte) {
	for i := 0; ; i++ {
		if _, err := c.Write(pieces[i%len(pieces)]); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(while))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return // the client has gone
		}
	}
}

func fields(n int) *pgproto3.RowDescription {
	all := make([]pgproto3.FieldDescription, n)
	for i := range all {
		all[i] = pgproto3.FieldDescription{Name: []byte("oid"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}
	}
	return &pgproto3.RowDescription{Fields: all}
}

// What a server can send beside an answer, to the real pg_dump: each ends by the limits that a run has anyway, in pg_dump or
// by us, with a reason for the customer; nothing of it stays with us, and pg_dump is gone.
func TestFloods(t *testing.T) { // not parallel: it measures what is held
	const catalog, table = "FROM pg_class c", "COPY "
	cfg := customer(t, "flooded", append([]string{"CREATE TABLE t AS SELECT 1 AS id"}, grant("flooded")...)...)
	cfg.Plain, cfg.ConnectTimeout, cfg.StallTimeout, cfg.LeastBytes, cfg.LeastWithin = true, 2*time.Second, time.Minute, 64<<10, time.Minute
	notice := func(size int) func(net.Conn) {
		m := &pgproto3.NoticeResponse{Severity: "NOTICE", Message: strings.Repeat("n", size)}
		return endless(func(int) pgproto3.BackendMessage { return m })
	}
	copied := endless(func(int) pgproto3.BackendMessage { return &pgproto3.CopyData{Data: make([]byte, 8<<10)} })
	row := &pgproto3.DataRow{Values: [][]byte{bytes.Repeat([]byte("1"), 1000)}}
	end := []pgproto3.BackendMessage{&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'T'}}
	// after is what follows a message.
	after := func(m pgproto3.BackendMessage, flood func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			if send(c, m) == nil {
				flood(c)
			}
		}
	}
	unasked := remora.ReasonStalled // libpqs before 18 throw away what they have no memory for, and go on
	if cfg.Client.Major >= 18 {
		unasked = remora.ReasonMoreMemory
	}
	copying := &pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0}}
	before := held()
	dumps := make(chan *pgdump.Dump, 100)
	t.Run("all", func(t *testing.T) {
		for name, c := range map[string]struct {
			words string // of the query that gets this instead of an answer
			flood func(net.Conn)
			want  remora.Reason
		}{
			"notices instead of a login":        {"", notice(10), remora.ReasonDumpFailed},
			"an endless error, without a login": {"", announced('E', []byte("SFATAL")), remora.ReasonDumpFailed},
			"a login of a byte now and then": {"", func(c net.Conn) {
				dripping(c, 100*time.Millisecond, []byte{'R'}, []byte{0}, []byte{0}, []byte{0}, []byte{200})
			}, remora.ReasonUnreachable},
			"notices after the login": {"", func(c net.Conn) {
				b := pgproto3.NewBackend(c, c)
				if hostilepg.LogIn(b, canary) == nil && b.Flush() == nil {
					notice(10)(c) // libpq looks at its clock only where nothing has come
				}
			}, remora.ReasonStalled},
			"notices":           {catalog, notice(10), remora.ReasonStalled},
			"notices of 4 MiB":  {catalog, notice(4 << 20), remora.ReasonStalled},
			"a notice of 1 GiB": {catalog, announced('N', []byte("SNOTICE")), remora.ReasonMoreMemory},
			"an error of 1 GiB": {catalog, announced('E', []byte("SERROR")), remora.ReasonMoreMemory},
			"parameters": {catalog, endless(func(n int) pgproto3.BackendMessage {
				return &pgproto3.ParameterStatus{Name: fmt.Sprint(n), Value: strings.Repeat("v", 10000)}
			}), unasked},
			"notifications": {catalog, endless(func(n int) pgproto3.BackendMessage {
				return &pgproto3.NotificationResponse{Channel: fmt.Sprint(n), Payload: strings.Repeat("v", 10000)}
			}), unasked},
			"rows without end": {catalog, after(fields(1), endless(func(int) pgproto3.BackendMessage { return row })), remora.ReasonStalled},
			"too many rows": {catalog, func(c net.Conn) {
				err := send(c, fields(1))
				for n := 0; n < 100_000 && err == nil; n++ {
					err = send(c, row)
				}
				_ = send(c, end...)
			}, remora.ReasonMoreMemory},
			"a row of 1 GiB":           {catalog, after(fields(1), announced('D', []byte{0, 1})), remora.ReasonMoreMemory},
			"a small message of 1 GiB": {catalog, announced('Z', nil), remora.ReasonDumpFailed},
			"rows of 65535 columns": {catalog, func(c net.Conn) {
				wide := &pgproto3.DataRow{Values: make([][]byte, 65535)}
				_ = send(c, append([]pgproto3.BackendMessage{fields(65535)}, append(slices.Repeat([]pgproto3.BackendMessage{wide}, 100), end...)...)...)
				_, _ = c.Read(make([]byte, 1))
			}, remora.ReasonMoreMemory},
			"answers without end": {catalog, endless(func(n int) pgproto3.BackendMessage {
				if n%2 == 0 {
					return fields(1)
				}
				return end[0]
			}), remora.ReasonStalled},
			"a copy instead of rows": {catalog, after(copying, copied), remora.ReasonDumpFailed},
			"an answer of a byte now and then": {catalog, func(c net.Conn) {
				dripping(c, 100*time.Millisecond, []byte{'N'}, []byte{0}, []byte{0}, []byte{0}, []byte{200})
			}, remora.ReasonStalled},
			"a table without end":    {table, after(copying, copied), remora.ReasonCanceled},
			"a table's row of 1 GiB": {table, after(copying, announced('d', nil)), remora.ReasonMoreMemory},
			"a table of notices":     {table, after(copying, notice(10)), remora.ReasonStalled},
			"a table of a byte now and then": {table, after(copying, func(c net.Conn) {
				few, _ := (&pgproto3.CopyData{Data: make([]byte, 300)}).Encode(nil) // so that it is never silent
				dripping(c, 20*time.Millisecond, few)
			}), remora.ReasonStalled},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				cfg := flooded(t, cfg, c.words, c.flood)
				if c.want == remora.ReasonStalled {
					cfg.StallTimeout, cfg.LeastWithin = time.Second, time.Second
				}
				d, err := pgdump.Start(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close() //nolint:errcheck // closed below, where it must be
				dumps <- d
				if err := d.Limit(64 << 20); err != nil {
					t.Fatal(err)
				}
				if _, err = io.CopyN(io.Discard, d, 64<<20); err == nil { // what would end it is what may be stored (jobworkers: TestAnEndlessDatabaseIsLeft)
					_ = d.Close()
					_, err = d.Read(make([]byte, 1))
				}
				took := time.Since(began)
				f := &remora.Failure{}
				errors.As(err, &f)
				if f.Reason != c.want || took > 30*time.Second || d.Memory() > 64<<20 || len(d.Stderr()) > 65<<10 {
					t.Errorf("%s after %v, with %d bytes: %.300v", f.Reason, took, d.Memory(), err)
				}
				if err := syscall.Kill(d.PID(), 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("pg_dump still runs: %v", err)
				}
			})
		}
	})
	if kept := held() - before; kept > 8<<20 || len(dumps) == 0 {
		t.Errorf("%d bytes are held of %d dumps", kept, len(dumps))
	}
}

// held is what this process holds, in bytes.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // no memory is as large
}
