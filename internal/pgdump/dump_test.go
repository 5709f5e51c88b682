package pgdump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// canary is the password that must be nowhere. Its characters need escaping in a password file.
const canary = `c4n4ry:pass\word`

// box is what the programs run in, but for those that a test has written itself, which only we can read.
var box = sync.OnceValue(func() sandbox.Sandbox { return sandbox.Detect(context.Background()) })

var cluster = sync.OnceValues(func() (*localpg.Cluster, error) {
	return localpg.Start(context.Background(), localpg.Config{TLS: true})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := cluster(); err == nil {
		_ = c.Stop()
	}
	if left := goroutines(); left != "" {
		fmt.Println("goroutines of the package are left:\n" + left)
		code = 1
	}
	os.Exit(code)
}

// goroutines returns the stacks of those that the package started and nobody waited for. One that is about to
// return, after it told that it is done, has a while to do so.
func goroutines() string {
	for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("internal/pgdump.")) {
			return ""
		}
		if time.Now().After(deadline) {
			return string(stacks)
		}
	}
}

// customer makes a database with a read-only role of the same name, and returns how to dump it.
func customer(t *testing.T, name string, statements ...string) pgdump.Config {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	sql(t, "postgres", "CREATE DATABASE "+name, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, canary))
	t.Cleanup(func() { sql(t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)", "DROP ROLE "+name) })
	sql(t, name, statements...)
	clients := pgdump.Find(t.Context(), []string{c.BinDir()}, "")
	client, exact, err := pgdump.Choose(clients, clients[0].Major)
	if err != nil || !exact {
		t.Fatal(client, err)
	}
	client.Sandbox = box()
	_, port := c.Addr()
	return pgdump.Config{
		Client: client, ServerMajor: client.Major, Addr: netip.MustParseAddr("127.0.0.1"),
		Credential: credential.Credential{Host: "db.example", Port: uint16(port), User: name, Password: redact.New(canary), Database: name},
		LockWait:   300 * time.Millisecond,
	}
}

func sql(t *testing.T, db string, statements ...string) {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	sqlAt(t, c.SuperuserURL(db), statements...)
}

func sqlAt(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// large makes a table that takes pg_dump a while.
const large = "CREATE TABLE large AS SELECT g AS id, md5(g::text) || md5((g+1)::text) AS text FROM generate_series(1, 300000) g"

func grant(role string) []string {
	return []string{"GRANT USAGE ON SCHEMA public TO " + role, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + role, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO " + role}
}

func start(t *testing.T, cfg pgdump.Config) *pgdump.Dump {
	t.Helper()
	d, err := pgdump.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDumpIsReadAndChecked(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "whole", append([]string{large, "CREATE SEQUENCE s"}, grant("whole")...)...)
	d := start(t, cfg)
	check, err := pgdump.StartCheck(t.Context(), cfg.Client, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer check.Close() //nolint:errcheck // finished below
	n, err := io.Copy(check, d)
	if err != nil || n < 1<<20 {
		t.Fatal(n, err)
	}
	if err := check.Finish(); err != nil {
		t.Error(err)
	}
	if said := d.Stderr(); said != "" {
		t.Errorf("stderr: %s", said)
	}
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// Whenever pg_dump dies, also after its last byte, the reader gets a failure and never an end of file.
func TestAKilledDumpNeverEnds(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "killed", append([]string{large}, grant("killed")...)...)
	whole, err := io.ReadAll(start(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		d := start(t, cfg)
		if _, err := io.ReadFull(d, make([]byte, after)); err != nil {
			t.Fatal(err)
		}
		// Near the end it may have written all into the pipe and gone: then it was not killed, and ends well.
		if err := syscall.Kill(d.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(d)
		var f *remora.Failure
		if after+len(rest) < len(whole) && !errors.As(err, &f) {
			t.Errorf("killed after %d bytes, %d more read: %v", after, len(rest), err)
		}
	}
	// One that writes everything and then fails: a stand-in, since the real one cannot be stopped there.
	dir := t.TempDir()
	script := "#!/bin/sh\ncase $1 in --version) exec " + cfg.Client.Dir + "/pg_dump --version;; esac\n" + cfg.Client.Dir + `/pg_dump "$@"; kill -9 $$` + "\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o755), os.Symlink(cfg.Client.Dir+"/pg_restore", filepath.Join(dir, "pg_restore"))); err != nil {
		t.Fatal(err)
	}
	cfg.Client = pgdump.Client{Major: cfg.Client.Major, Dir: dir}
	got, err := io.ReadAll(start(t, cfg))
	var f *remora.Failure
	if len(got) != len(whole) || !errors.As(err, &f) {
		t.Errorf("after its last byte: %d of %d bytes, %v", len(got), len(whole), err)
	}
}

func TestClosingLeavesNoSessionBehind(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "closed", append([]string{large}, grant("closed")...)...)
	for name, end := range map[string]func(*pgdump.Dump, context.CancelFunc) error{
		"close":  func(d *pgdump.Dump, _ context.CancelFunc) error { return d.Close() },
		"cancel": func(d *pgdump.Dump, c context.CancelFunc) error { c(); return d.Close() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		d, err := pgdump.Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := end(d, cancel); err != nil {
			t.Error(name, err)
		}
		cancel()
		if err := syscall.Kill(d.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: pg_dump still runs: %v", name, err)
		}
		gone(t, "closed")
	}
}

// waitFor asks a server until it answers true.
func waitFor(t *testing.T, url, question string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	for yes := false; !yes; {
		if err := conn.QueryRow(ctx, "SELECT coalesce(("+question+"), false), pg_sleep(0.05)::text").Scan(&yes, new(string)); err != nil {
			t.Fatalf("%s: %v", question, err)
		}
	}
}

// gone waits until the role has no session on the server.
func gone(t *testing.T, role string) {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	for n := 1; n > 0; {
		if err := conn.QueryRow(ctx, "SELECT count(*), pg_sleep(0.05)::text FROM pg_stat_activity WHERE usename = $1", role).Scan(&n, new(string)); err != nil {
			t.Fatalf("a session of %s stays: %v", role, err)
		}
	}
}

// A pg_dump killed with -9 while it waits for a lock leaves a server process behind that knows nothing of it.
func TestSessionOfAKilledDumpInALockWaitEnds(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "waiting", append([]string{"CREATE TABLE held (id int)"}, grant("waiting")...)...)
	cfg.LockWait = time.Hour
	c, _ := cluster()
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("waiting"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background()) //nolint:errcheck // it holds a lock only
	if _, err := tx.Exec(t.Context(), "LOCK TABLE held"); err != nil {
		t.Fatal(err)
	}
	d := start(t, cfg)
	for waiting := 0; waiting == 0; {
		if err := tx.QueryRow(t.Context(), "SELECT count(*), pg_sleep(0.05)::text FROM pg_locks WHERE NOT granted AND relation = 'held'::regclass").Scan(&waiting, new(string)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(d.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, "waiting")
}

func TestFailuresAreNamed(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason remora.Reason
		sql    []string
		change func(*pgdump.Config)
		fix    string
	}{
		"f_schema":   {remora.ReasonPermission, []string{"CREATE SCHEMA hidden", "CREATE TABLE hidden.t (id int)"}, nil, `GRANT USAGE ON SCHEMA "hidden" TO "f_schema"`},
		"f_table":    {remora.ReasonPermission, []string{`CREATE SCHEMA "Odd one"`, `CREATE TABLE "Odd one"."t-1" (id int)`, `GRANT USAGE ON SCHEMA "Odd one" TO f_table`}, nil, `GRANT SELECT ON ALL TABLES IN SCHEMA "Odd one" TO "f_table"`},
		"f_sequence": {remora.ReasonPermission, []string{"CREATE SEQUENCE s"}, nil, `GRANT SELECT ON ALL SEQUENCES IN SCHEMA "public" TO "f_sequence"`},
		"f_rls":      {remora.ReasonRowSecurity, append([]string{"CREATE TABLE t (id int)", "ALTER TABLE t ENABLE ROW LEVEL SECURITY"}, grant("f_rls")...), nil, ""},
		"f_large":    {remora.ReasonLargeObject, []string{"SELECT lo_create(4711), lo_create(4712)"}, nil, `GRANT SELECT ON LARGE OBJECT`},
		"f_spaces":   {remora.ReasonPermission, []string{`CREATE SCHEMA "A b"`, `CREATE TABLE "A b"."c "" d" (id int)`}, nil, `GRANT USAGE ON SCHEMA "A b" TO "f_spaces"`},
		"f_spaces2":  {remora.ReasonPermission, []string{`CREATE SCHEMA "A b"`, `CREATE TABLE "A b"."c "" d" (id int)`, `GRANT USAGE ON SCHEMA "A b" TO f_spaces2`}, nil, `GRANT USAGE ON SCHEMA "A b" TO "f_spaces2"`},
		"f_login":    {remora.ReasonLoginRefused, nil, func(c *pgdump.Config) { c.Credential.Password = redact.New("wrong") }, ""},
		"f_role":     {remora.ReasonLoginRefused, nil, func(c *pgdump.Config) { c.Credential.User = "nobody_here" }, ""},
		"f_database": {remora.ReasonDatabaseMissing, nil, func(c *pgdump.Config) { c.Credential.Database = "missing" }, ""},
		"f_port":     {remora.ReasonUnreachable, nil, func(c *pgdump.Config) { c.Credential.Port = 1 }, ""},
		"f_limit":    {remora.ReasonTooManyConnections, []string{"ALTER ROLE f_limit CONNECTION LIMIT 0"}, nil, ""},
		"f_closed":   {remora.ReasonLoginRefused, []string{"REVOKE CONNECT ON DATABASE f_closed FROM PUBLIC"}, nil, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := customer(t, name, c.sql...)
			if c.change != nil {
				c.change(&cfg)
			}
			_, err := io.Copy(io.Discard, start(t, cfg))
			var f *remora.Failure
			if !errors.As(err, &f) || f.Reason != c.reason {
				t.Fatalf("got %v, want %s", err, c.reason)
			}
			if fix := pgdump.Fix(f.Detail, cfg.Credential.User); c.fix == "" && fix != "" || !strings.Contains(fix, c.fix) {
				t.Errorf("fix: %s", fix)
			} else if fix != "" { // the statements are there to be pasted: they must mend it
				sql(t, name, fix)
				if _, err := io.Copy(io.Discard, start(t, cfg)); err != nil {
					t.Errorf("after %s: %v", fix, err)
				}
			}
		})
	}
}

func TestServerWithoutTLSIsRefused(t *testing.T) {
	t.Parallel()
	plain, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Stop() //nolint:errcheck // the test is over
	cfg := customer(t, "f_tls")
	_, port := plain.Addr()
	cfg.Credential.Port = uint16(port)
	_, err = io.Copy(io.Discard, start(t, cfg))
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonTLSRequired {
		t.Error(err)
	}
}

func TestALockedTableIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "locked", append([]string{"CREATE TABLE held (id int)"}, grant("locked")...)...)
	c, _ := cluster()
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("locked"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE held"); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, start(t, cfg))
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonLockTimeout {
		t.Error(err)
	}
}

// The server that accepts a connection and says nothing is given up, here after the shortest time libpq knows.
func TestASilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "silent", append([]string{"CREATE TABLE held (id int)"}, grant("silent")...)...)
	cfg.LockWait, cfg.StallTimeout = time.Hour, 500*time.Millisecond
	c, _ := cluster()
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE held"); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, start(t, cfg))
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonStalled {
		t.Error(err)
	}
	gone(t, "silent")
}

// A server that sends a little now and then, and so is never silent, is given up too. How long we ourselves take
// between two reads is not held against it.
func TestATrickleIsGivenUp(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "trickle", grant("trickle")...)
	cfg.Client = pgdump.Client{Major: cfg.Client.Major, Dir: t.TempDir()}
	script := "#!/bin/sh\nprintf %2000s; while :; do printf x; sleep 0.02; done\n"
	if err := os.WriteFile(filepath.Join(cfg.Client.Dir, "pg_dump"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	cfg.LeastBytes, cfg.LeastWithin = 1000, 500*time.Millisecond
	began := time.Now()
	n, err := io.Copy(io.Discard, start(t, cfg))
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonStalled || n < 2000 || time.Since(began) < cfg.LeastWithin {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// The password is in neither the arguments nor the environment of the process, and what else is looked at
// (the user's name, in the environment) is found, so the search works.
func TestPasswordIsNotInTheProcessList(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "canary", append([]string{large}, grant("canary")...)...)
	d := start(t, cfg)
	if _, err := d.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	for _, f := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", d.PID(), f))
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, b...)
	}
	if bytes.Contains(seen, []byte("c4n4ry")) || !bytes.Contains(seen, []byte("PGUSER=canary")) || bytes.Contains(seen, []byte(os.Getenv("HOME")+"\x00")) && os.Getenv("HOME") != "" {
		t.Errorf("%q", seen)
	}
	mask, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil || !bytes.Contains(mask, []byte("SigBlk:\t0000000000004000")) {
		t.Errorf("SIGTERM is not blocked: %v %s", err, mask)
	}
}

func TestChecksRefuseWhatIsNoArchive(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "checked", append([]string{large}, grant("checked")...)...)
	whole, err := io.ReadAll(start(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(whole)/2] ^= 0x10
	for name, in := range map[string][]byte{"empty": nil, "noise": bytes.Repeat([]byte("noise"), 1<<20), "cut": whole[:len(whole)-1], "flipped": flipped} {
		c, err := pgdump.StartCheck(t.Context(), cfg.Client, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write(in)
		if err == nil {
			err = c.Finish()
		}
		var f *remora.Failure
		if !errors.As(err, &f) || f.Reason != remora.ReasonArchiveInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	clients := []pgdump.Client{{Major: 15}, {Major: 17}}
	for _, c := range []struct {
		server, want int
		exact        bool
	}{{13, 15, false}, {15, 15, true}, {16, 17, false}, {17, 17, true}} {
		if got, exact, err := pgdump.Choose(clients, c.server); err != nil || got.Major != c.want || exact != c.exact {
			t.Errorf("%d: %v %v %v", c.server, got, exact, err)
		}
	}
	var f *remora.Failure
	if _, _, err := pgdump.Choose(clients, 18); !errors.As(err, &f) || f.Reason != remora.ReasonVersionMismatch {
		t.Error(err)
	}
	if _, _, err := pgdump.Choose(nil, 18); !errors.As(err, &f) || f.Reason != remora.ReasonNoClient {
		t.Error(err)
	}
}

func TestUnexplained(t *testing.T) {
	t.Parallel()
	if got := pgdump.Unexplained("pg_dump: warning: there are circular foreign-key constraints on this table:\npg_dump: detail: t\n"); len(got) != 0 {
		t.Error(got)
	}
	if got := pgdump.Unexplained("pg_dump: warning: subscriptions not dumped because current user is not a superuser"); len(got) != 1 {
		t.Error(got)
	}
}
