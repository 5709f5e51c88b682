package customerdb_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/everykind"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
)

// The server's own count of writers stands still while the doctor and pg_dump read, and one new large object moves it.
func TestWitness(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true, Settings: map[string]string{"autovacuum": "off"}}) // nobody else is on it
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	run(t.Context(), c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD '"+password+"'", "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g",
		"CREATE SEQUENCE s", "SELECT lo_from_bytea(4711, 'x')", "GRANT SELECT ON t, s TO reader", "GRANT SELECT ON LARGE OBJECT 4711 TO reader")
	p := patient{"postgres", admitTo(c, "reader", "postgres")}
	backup := func() (remora.Witness, remora.Witness) {
		s := p.open(t)
		defer s.Close()
		if _, err := s.Inventory(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := p.dump(t, s); err != nil {
			t.Fatal(err)
		}
		w, err := s.Witness(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return w, remora.Witness{Before: w.Before}
	}
	first, unfinished := backup()
	if first.Testimony() != remora.TestimonyNothing || first.Before == 0 || unfinished.Testimony() != remora.TestimonyNone {
		t.Errorf("%+v", first)
	}
	if again, _ := backup(); again != first {
		t.Errorf("%+v after %+v", again, first)
	}
	for _, sql := range []string{"SELECT lo_create(0)", "NOTIFY x"} {
		s := p.open(t)
		conn, err := pgx.Connect(t.Context(), c.URL("reader", password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if w, err := s.Witness(t.Context()); err != nil || w.Testimony() != remora.TestimonyOthers || w.After <= w.Before {
			t.Errorf("%s: %+v %v", sql, w, err)
		}
	}
}

// Audit, inventory and pg_dump see one moment, whatever others commit meanwhile.
func TestOneSnapshot(t *testing.T) {
	t.Parallel()
	p := admit(t, "one_snapshot")
	s := p.open(t)
	p.admin(t, "DELETE FROM t WHERE id > 10", "CREATE TABLE later (id int)")
	before, err := s.Inventory(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	d, err := pgdump.Start(t.Context(), pgdump.Config{
		Client: client(t), Credential: p.target.Credential, Addr: p.target.Addr, ServerMajor: s.Server().Major, Snapshot: s.Snapshot(), Plain: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	compress, err := pgarchive.NewCompressor(1, pgarchive.Fast)
	if err != nil {
		t.Fatal(err)
	}
	defer compress.Close()
	a, err := pgarchive.Recode(d, compress, pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return s.Release(t.Context()) }, // from here on pg_dump needs it no more
		Body: func([]byte) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Contents.Rows(); n != 1001 {
		t.Errorf("%d rows", n)
	}
	after, err := p.open(t).Inventory(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if count(after, "table") != count(before, "table")+1 {
		t.Errorf("%v and then %v", before, after)
	}
}

func count(all remora.Inventory, kind string) int64 {
	for _, k := range all {
		if k.Kind == kind {
			return k.Count
		}
	}
	return 0
}

// A policy that is narrowed after the audit, and before pg_dump has locked the table, is seen.
func TestOpenRowsAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	p := admit(t, "rows_closed", "owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)")
	s := p.open(t)
	if !s.audit.OpenRows() || s.audit.Refusal() != nil {
		t.Fatalf("%+v", s.audit)
	}
	p.admin(t, "ALTER POLICY remora_read ON t USING (id < 10)")
	var f *remora.Failure
	if err := s.Release(t.Context()); !errors.As(err, &f) || f.Reason != remora.ReasonRowSecurity || !strings.Contains(f.Fix, "CREATE POLICY") {
		t.Errorf("%v", err)
	}
	s = p.open(t)
	if s.audit.OpenRows() {
		t.Error("it is still said to be open")
	}
}

// The inventory of a restored copy is the original's, for every kind of object, and one object less is seen.
func TestInventory(t *testing.T) {
	t.Parallel()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, db := range []string{"kinds", "kinds_copy"} {
		creating.Lock()
		runOK(t, c.SuperuserURL("postgres"), "CREATE DATABASE "+db+" TEMPLATE template0")
		creating.Unlock()
		t.Cleanup(func() { runOK(t, c.SuperuserURL("postgres"), "DROP DATABASE "+db+" WITH (FORCE)") })
	}
	if err := everykind.Fill(ctx, c.SuperuserURL("kinds")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // or the database cannot be dropped
		conn, err := pgx.Connect(context.Background(), c.SuperuserURL("kinds"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		rows, err := conn.Query(context.Background(), "SELECT format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); DROP SUBSCRIPTION %1$I', subname) FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()")
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range all {
			for part := range strings.SplitSeq(sql, ";") {
				if _, err := conn.Exec(context.Background(), part); err != nil {
					t.Error(err)
				}
			}
		}
	})
	args := []string{"-Fc", "-N", "_heroku", "-N", "heroku_ext", "--no-subscriptions", "-f", filepath.Join(t.TempDir(), "dump"), c.SuperuserURL("kinds")}
	if out, err := exec.Command(filepath.Join(c.BinDir(), "pg_dump"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(filepath.Join(c.BinDir(), "pg_restore"), "--exit-on-error", "-d", c.SuperuserURL("kinds_copy"), args[len(args)-2]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	take := func(db, before string) remora.Inventory {
		t.Helper()
		conn, err := pgx.Connect(ctx, c.SuperuserURL(db))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(ctx, before); err != nil {
			t.Fatal(err)
		}
		all, err := customerdb.Inventory(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := take("kinds", "")
	if got := take("kinds_copy", "BEGIN READ ONLY; SET search_path = nowhere; SET timezone = 'Asia/Tokyo'; SET quote_all_identifiers = on"); !slices.Equal(got, want) || len(want) < 30 {
		t.Errorf("%d kinds: %v, copied %v", len(want), want, got)
	}
	for _, k := range want {
		if k.Count == 0 || len(k.SHA256) != 64 {
			t.Errorf("%+v", k)
		}
	}
	runOK(t, c.SuperuserURL("kinds_copy"), "CREATE FUNCTION one_more() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	if got := take("kinds_copy", ""); count(got, "function") != count(want, "function")+1 {
		t.Errorf("%v", got)
	}
}

func runOK(t *testing.T, url string, statements ...string) {
	t.Helper()
	if err := run(context.Background(), url, statements...); err != nil {
		t.Fatal(err)
	}
}

// A server that answers without end is left.
func TestEndlessRowsAreLeft(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	target := hostile(t, func(c net.Conn) {
		n := 0
		defer func() { sent <- n }()
		b := pgproto3.NewBackend(c, c)
		logIn(b)
		b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "15.18"})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if _, err := b.Receive(); err != nil {
			return
		}
		b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("code")}, {Name: []byte("a")}, {Name: []byte("b")}, {Name: []byte("c")}, {Name: []byte("d")}}})
		for {
			for range 100 {
				n++
				b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("x"), []byte("deny"), []byte("x"), []byte("x"), []byte("x")}})
			}
			if b.Flush() != nil {
				return
			}
		}
	})
	_, err := customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonUnreachable {
		t.Error(err)
	}
	if n := <-sent; n > 1_000_000 { // what fits into the sockets' buffers, and not what 10 s take
		t.Errorf("%d rows were taken", n)
	}
}

// A server on which even catalogs are kept from PUBLIC, as some guides advise: it is no wrong password, and the words say
// what is missing. pg_dump needs them too.
func TestAClosedCatalog(t *testing.T) {
	t.Parallel()
	p := admit(t, "closed_catalog", "REVOKE SELECT ON pg_catalog.pg_foreign_server FROM PUBLIC")
	s, err := customerdb.Open(t.Context(), p.target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Ask(t.Context())
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonPermission || !strings.Contains(f.Detail, "pg_foreign_server") {
		t.Errorf("%+v", f)
	}
	p.admin(t, "GRANT SELECT ON pg_catalog.pg_foreign_server TO PUBLIC", "REVOKE CONNECT ON DATABASE closed_catalog FROM PUBLIC")
	if _, err = customerdb.Open(t.Context(), p.target); !errors.As(err, &f) || f.Reason != remora.ReasonLoginRefused {
		t.Errorf("%+v", f)
	}
}

// Nobody looks whom the dump keeps waiting while the inventory is taken. So it has its time, and the session goes on without it.
func TestAnInventoryThatTakesTooLongIsLeftOut(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	run(t.Context(), c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD '"+password+"'",
		"DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (a int, b text, c int)', i); END LOOP; END $$")
	s := patient{"postgres", admitTo(c, "reader", "postgres")}.open(t)
	defer s.Close()
	if all, err := s.Inventory(t.Context(), time.Millisecond); err != nil || all != nil {
		t.Errorf("%v, %v", all, err)
	}
	if all, err := s.Inventory(t.Context(), time.Minute); err != nil || len(all) == 0 {
		t.Error("the session does not go on:", all, err)
	}
	if err := s.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
