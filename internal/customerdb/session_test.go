package customerdb_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
		Head: func(*pgarchive.Head, []byte) error { return s.Release(t.Context(), time.Minute) }, // from here on pg_dump needs it no more
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
	if err := s.Release(t.Context(), time.Minute); !errors.As(err, &f) || f.Reason != remora.ReasonRowSecurity || !strings.Contains(f.Fix, "CREATE POLICY") {
		t.Errorf("%v", err)
	}
	s = p.open(t)
	if s.audit.OpenRows() {
		t.Error("it is still said to be open")
	}
}

// Nobody looks whom the dump keeps waiting while policies are looked at again, so that has its time.
func TestOpenRowsAreNotLookedAtForLong(t *testing.T) {
	t.Parallel()
	p := admit(t, "rows_held", "owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)")
	s := p.open(t)
	c, _ := cluster()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var locked sync.WaitGroup
	locked.Go(func() { // it gets the lock, which the audit has, with the snapshot's end
		_ = run(ctx, c.SuperuserURL(p.name), "BEGIN; LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)")
	})
	defer locked.Wait()
	defer cancel()
	other := connected(t, c.SuperuserURL(p.name))
	for waits := false; !waits; {
		if err := other.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'pg_policy'::regclass)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Release(ctx, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "statement timeout") || !s.Alive() { // not a lock's, which is longer
		t.Errorf("%v; the session is there: %v", err, s.Alive())
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
	if !errors.As(err, &f) || f.Reason != remora.ReasonDumpFailed || !strings.Contains(f.Detail, "over 10000 rows") {
		t.Error(err)
	}
	if n := <-sent; n > 1_000_000 { // what fits into the sockets' buffers, and not what 10 s take
		t.Errorf("%d rows were taken", n)
	}
}

// A server on which even catalogs are kept from PUBLIC, as some guides advise. One after the other is taken away: pg_dump fails
// exactly where the doctor says so, or where the doctor itself could not ask, and what it tells to paste mends it. In the end
// everything is taken away that neither needs.
func TestClosedCatalogs(t *testing.T) {
	t.Parallel()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	creating.Lock()
	runOK(t, c.SuperuserURL("postgres"), "CREATE DATABASE closed_catalogs TEMPLATE template0", "CREATE ROLE closed_catalogs LOGIN BYPASSRLS PASSWORD '"+password+"'")
	creating.Unlock()
	if err := everykind.Fill(t.Context(), c.SuperuserURL("closed_catalogs")); err != nil {
		t.Fatal(err)
	}
	p := patient{"closed_catalogs", admitTo(c, "closed_catalogs", "closed_catalogs")}
	p.admin(t, `DO $$ DECLARE s text; l oid; BEGIN
		FOR s IN SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
			EXECUTE format('GRANT USAGE ON SCHEMA %1$s TO closed_catalogs; GRANT SELECT ON ALL TABLES IN SCHEMA %1$s TO closed_catalogs; GRANT SELECT ON ALL SEQUENCES IN SCHEMA %1$s TO closed_catalogs', s);
		END LOOP;
		FOR l IN SELECT oid FROM pg_largeobject_metadata LOOP EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO closed_catalogs', l); END LOOP;
		FOR l IN SELECT oid FROM pg_class WHERE relname ~ '^pg_stat(io)?_' LOOP EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', l::regclass); END LOOP; END $$`) // the statistics at once, since they are many
	admin, err := pgx.Connect(t.Context(), c.SuperuserURL("closed_catalogs"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	rows, _ := admin.Query(t.Context(), "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND has_any_column_privilege('closed_catalogs', oid, 'SELECT') ORDER BY 1")
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	needed := 0
	for _, name := range names {
		if _, err := admin.Exec(t.Context(), "REVOKE ALL ON pg_catalog."+name+" FROM PUBLIC"); err != nil {
			t.Fatal(err)
		}
		refused := p.refusal(t)
		if refused == nil {
			continue // whether pg_dump needs it is seen in the end
		}
		needed++
		var f *remora.Failure
		own := slices.Contains([]string{"pg_auth_members", "pg_parameter_acl", "pg_shdepend"}, name) // pg_dump does not read them, and the doctor does
		if err := p.dumpAlone(t); own != (err == nil) || err != nil && (!errors.As(err, &f) || f.Reason != remora.ReasonPermission) {
			t.Errorf("%s: %v, and pg_dump: %v", name, refused, err)
		}
		if refused.Reason != remora.ReasonPermission || !strings.HasPrefix(refused.Detail, "pg_catalog."+name+": ") || strings.Contains(refused.Detail, "\n") {
			t.Errorf("%s: %v", name, refused)
		}
		if _, err := admin.Exec(t.Context(), refused.Fix); err != nil || refused.Fix == "" {
			t.Fatalf("%s: %s: %v", name, refused.Fix, err)
		}
	}
	if f := p.refusal(t); f != nil || needed == 0 {
		t.Errorf("%d were mended, and %v", needed, f)
	}
	if err := p.dumpAlone(t); err != nil {
		t.Errorf("pg_dump lacks what the doctor did not ask for: %v", err)
	}
}

// What only objects of one kind need is not asked for where there are none.
func TestCatalogsOfNothing(t *testing.T) {
	t.Parallel()
	p := admit(t, "catalogs_of_nothing", "REVOKE SELECT ON pg_catalog.pg_attrdef, pg_catalog.pg_enum, pg_catalog.pg_ts_config_map FROM PUBLIC")
	if f := p.refusal(t); f != nil {
		t.Error(f)
	}
	if err := p.dumpAlone(t); err != nil {
		t.Error(err)
	}
}

// dumpAlone runs the real pg_dump in a snapshot of its own.
func (p patient) dumpAlone(t *testing.T) error {
	t.Helper()
	return readAll(t, pgdump.Config{Client: client(t), Credential: p.target.Credential, Addr: p.target.Addr, ServerMajor: client(t).Major})
}

// refusal is what the doctor says, where it refuses.
func (p patient) refusal(t *testing.T) *remora.Failure {
	t.Helper()
	var f *remora.Failure
	s, err := customerdb.Open(t.Context(), p.target)
	if errors.As(err, &f) {
		return f
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	audit, err := s.Ask(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return audit.Refusal()
}

// Who may not connect to the database is told that, and not that something is missing in it.
func TestAClosedDatabase(t *testing.T) {
	t.Parallel()
	p := admit(t, "closed_database", "REVOKE CONNECT ON DATABASE closed_database FROM PUBLIC")
	var f *remora.Failure
	if _, err := customerdb.Open(t.Context(), p.target); !errors.As(err, &f) || f.Reason != remora.ReasonLoginRefused {
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
	if err := s.Release(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}

// A role may have the server tell it of everything that it does. A session that looks once a second for most of a day hears none of
// that, so that it is not taken for a flood.
func TestATalkativeRoleIsWatchedToTheEnd(t *testing.T) {
	t.Parallel()
	p := admit(t, "talkative", "ALTER ROLE $me SET client_min_messages = debug2", "ALTER ROLE $me SET session_preload_libraries = auto_explain",
		"ALTER ROLE $me SET auto_explain.log_min_duration = 0", "ALTER ROLE $me SET auto_explain.log_level = notice")
	s := p.open(t)
	for n := range 1100 {
		if _, err := s.Waiting(t.Context(), pgdump.AppName+"/other"); err != nil {
			t.Fatalf("look %d: %v", n, err)
		}
	}
	if err := p.dump(t, s); err != nil {
		t.Error(err)
	}
}

// Whom pg_dump keeps waiting is seen in the snapshot's transaction too, although pg_dump has come after that had looked first.
func TestWhoWaitsIsSeenBesideTheSnapshot(t *testing.T) {
	t.Parallel()
	p := admit(t, "waiting")
	s := p.open(t)
	const app = pgdump.AppName + "/1"
	if w, err := s.Waiting(t.Context(), app); err != nil || w != (customerdb.Waiting{}) {
		t.Fatalf("%+v %v", w, err)
	}
	dump := p.holding(t, app)
	c, _ := cluster()
	url := c.SuperuserURL(p.name)
	var altered sync.WaitGroup
	altered.Go(func() {
		if err := run(context.Background(), url, "ALTER TABLE t ADD COLUMN more int"); err != nil {
			t.Error(err)
		}
	})
	defer altered.Wait()
	defer dump.Close(context.Background()) // which lets it through
	var seen customerdb.Waiting
	for began := time.Now(); seen.Sessions == 0 && time.Since(began) < time.Minute; {
		var err error
		if seen, err = s.Waiting(t.Context(), app); err != nil {
			t.Fatal(err)
		}
	}
	if seen.Sessions != 1 || seen.Mode != "AccessExclusiveLock" || seen.Object != "public.t" {
		t.Errorf("saw %+v", seen)
	}
	if err := s.Release(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}

// connected is a connection that ends with the test.
func connected(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// holding is a session of the credential's under an application's name, with the lock that pg_dump takes.
func (p patient) holding(t *testing.T, app string) *pgx.Conn {
	t.Helper()
	conn := p.connect(t)
	for _, sql := range []string{"SET application_name = '" + app + "'", "BEGIN", "LOCK TABLE t IN ACCESS SHARE MODE"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// A look that takes the server too long is an error of the server's, and not the last look: without a connection nobody would see for
// the rest of the dump who waits.
func TestALookThatTakesTooLongIsNotTheLast(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true}) // for all sessions wait for what is locked
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	run(t.Context(), c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD '"+password+"'")
	s := patient{"postgres", admitTo(c, "reader", "postgres")}.open(t)
	defer s.Close()
	if err := s.Release(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	other := connected(t, c.SuperuserURL("postgres"))
	if _, err := other.Exec(t.Context(), "BEGIN; LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Waiting(t.Context(), pgdump.AppName+"/1"); err == nil || !s.Alive() {
		t.Errorf("%+v, %v; the session is there: %v", w, err, s.Alive())
	}
	if _, err := other.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Waiting(t.Context(), pgdump.AppName+"/1"); err != nil {
		t.Error(err)
	}
}

// Whoever waits for the dump waits for our snapshot too, as CREATE INDEX CONCURRENTLY does: both end.
func TestLeavingEndsBothTransactions(t *testing.T) {
	t.Parallel()
	p := admit(t, "leaving")
	s := p.open(t)
	const app = pgdump.AppName + "/1"
	p.holding(t, app)
	c, _ := cluster()
	other := connected(t, c.SuperuserURL(p.name))
	open := func() (n int) {
		if err := other.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := open(); n != 2 {
		t.Fatalf("%d transactions", n)
	}
	if err := s.Leave(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	left := open()
	for began := time.Now(); left > 0 && time.Since(began) < time.Minute; { // the server ends a session a moment later
		left = open()
	}
	if left > 0 {
		t.Errorf("%d transactions are left", left)
	}
}

// Where nobody may look who waits, pg_dump still gets the snapshot.
func TestALookThatFailsKeepsTheSnapshot(t *testing.T) {
	t.Parallel()
	p := admit(t, "no_look")
	p.admin(t, "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_clear_snapshot() FROM PUBLIC")
	s := p.open(t)
	for range 2 {
		if _, err := s.Waiting(t.Context(), pgdump.AppName+"/1"); err == nil {
			t.Fatal("it could look")
		}
	}
	if all, err := s.Inventory(t.Context(), time.Minute); err != nil || len(all) == 0 {
		t.Error(all, err)
	}
	if err := p.dump(t, s); err != nil {
		t.Error(err)
	}
	if err := s.Release(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := s.Waiting(t.Context(), pgdump.AppName+"/1"); err != nil { // outside of the transaction it can
		t.Error(err)
	}
}
