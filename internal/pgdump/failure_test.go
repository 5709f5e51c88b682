package pgdump_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/devtools/hostilepg"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// When we gave up ourselves, that is what is reported: neither the database nor the archive is to blame.
func TestGivingUpIsNoFaultOfTheDatabase(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "given_up", append([]string{large}, grant("given_up")...)...)
	stopping := errors.New("the worker is stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	d, err := pgdump.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	check, err := pgdump.StartCheck(ctx, cfg.Client, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(check, d, 10<<10); err != nil {
		t.Fatal(err)
	}
	cancel(stopping)
	for name, err := range map[string]error{"dump": second(io.Copy(io.Discard, d)), "check": check.Finish()} {
		var f *remora.Failure
		if !errors.As(err, &f) || f.Reason != remora.ReasonCanceled || !errors.Is(err, stopping) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(d.Close(), d.Close(), check.Close(), check.Close()); err != nil {
		t.Error(err)
	}
	closed := start(t, cfg)
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	var f *remora.Failure
	if _, err := closed.Read(make([]byte, 1)); !errors.As(err, &f) || f.Reason != remora.ReasonCanceled {
		t.Errorf("read after close: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestABrokenSessionIsNamed(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "broken", append([]string{large}, grant("broken")...)...)
	for _, how := range []string{"pg_terminate_backend", "pg_cancel_backend"} {
		d := start(t, cfg)
		if _, err := io.CopyN(io.Discard, d, 1<<10); err != nil {
			t.Fatal(err)
		}
		sql(t, "broken", "SELECT "+how+"(pid) FROM pg_stat_activity WHERE usename = 'broken'")
		var f *remora.Failure
		if _, err := io.Copy(io.Discard, d); !errors.As(err, &f) || f.Reason != remora.ReasonConnectionLost {
			t.Errorf("%s: %v", how, err)
		}
		gone(t, "broken")
	}
}

// A follower that must choose between us and its leader chooses the leader.
func TestARecoveryConflictIsNamed(t *testing.T) {
	t.Parallel()
	leader, err := localpg.Start(t.Context(), localpg.Config{TLS: true, Settings: map[string]string{"max_standby_streaming_delay": "0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Stop() //nolint:errcheck // the test is over
	follower, err := leader.Follower(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Stop() //nolint:errcheck // the test is over
	cfg := customer(t, "conflict")
	_, port := follower.Addr()
	cfg.Credential.Port = uint16(port)
	on := func(c *localpg.Cluster, statements ...string) { sqlAt(t, c.SuperuserURL("postgres"), statements...) }
	on(leader, fmt.Sprintf("CREATE ROLE conflict LOGIN PASSWORD '%s'", canary), large, "CREATE TABLE zz (id int)", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO conflict")
	cfg.Credential.Database = "postgres"
	waitFor(t, follower.SuperuserURL("postgres"), "SELECT to_regclass('zz') IS NOT NULL AND has_table_privilege('conflict', 'zz', 'SELECT')")
	d := start(t, cfg)
	if _, err := io.CopyN(io.Discard, d, 1<<10); err != nil {
		t.Fatal(err)
	}
	on(leader, "DROP TABLE zz") // pg_dump holds its lock on the follower
	var f *remora.Failure
	// Nothing more is read until the follower has told our session to go, so that pg_dump cannot end first.
	waitFor(t, follower.SuperuserURL("postgres"), "SELECT count(*) > 0 OR to_regclass('zz') IS NULL FROM pg_locks WHERE NOT granted")
	if _, err := io.Copy(io.Discard, d); !errors.As(err, &f) || f.Reason != remora.ReasonRecoveryConflict {
		t.Error(err)
	}
}

// Whoever sits between us and the server could ask for the password itself: TLS without a known certificate
// does not tell them apart. It is not given to him.
func TestAPasswordIsNotHandedOver(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "scram", append([]string{"CREATE TABLE t (id int)"}, grant("scram")...)...)
	if _, err := io.Copy(io.Discard, start(t, cfg)); err != nil {
		t.Errorf("the real server: %v", err)
	}
	port, got := eavesdropper(t)
	cfg.Credential.Port = port
	_, err := io.Copy(io.Discard, start(t, cfg))
	var f *remora.Failure
	if told := <-got; told || !errors.As(err, &f) || f.Reason != remora.ReasonWeakLogin {
		t.Errorf("password told %v (%v)", told, err)
	}
}

// Where the URL asks for a verified certificate, every client verifies it.
func TestCertificatesAreVerifiedWhereAskedFor(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "verified", append([]string{"CREATE TABLE t (id int)"}, grant("verified")...)...)
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true, Name: "db.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // the test is over
	sqlAt(t, c.SuperuserURL("postgres"), fmt.Sprintf("CREATE ROLE verified LOGIN PASSWORD '%s'", canary))
	_, port := c.Addr()
	cfg.Credential.Port, cfg.Credential.Database, cfg.Credential.Verify = uint16(port), "postgres", true
	cfg.Client.Sandbox = sandbox.Sandbox{} // whose user could not read the file
	known := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(known, []byte(c.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		host, roots string
		want        remora.Reason
	}{
		"known":            {"db.example", known, remora.ReasonNone},
		"of nobody":        {"db.example", "", remora.ReasonCertificate},
		"of somebody else": {"other.example", known, remora.ReasonCertificate},
	} {
		cfg.Credential.Host, cfg.Roots = x.host, x.roots
		_, err := io.Copy(io.Discard, start(t, cfg))
		f := &remora.Failure{}
		errors.As(err, &f)
		if f.Reason != x.want || x.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// eavesdropper is a server with TLS that asks for the password in the clear, once, and says whether it got it.
func eavesdropper(t *testing.T) (port uint16, told chan bool) {
	t.Helper()
	told = make(chan bool, 1)
	s, err := hostilepg.Listen(func(c net.Conn, _ *pgproto3.StartupMessage) {
		b := pgproto3.NewBackend(c, c)
		b.Send(&pgproto3.AuthenticationCleartextPassword{})
		ferr := b.Flush()
		_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		m, rerr := b.Receive()
		p, ok := m.(*pgproto3.PasswordMessage)
		told <- errors.Join(ferr, rerr) == nil && ok && p.Password == canary
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.Port, told
}

// A server whose libraries were upgraded warns every client about its collations; nothing is missing then.
func TestACollationWarningIsExplained(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "collated", append([]string{"CREATE TABLE t (id int)"}, grant("collated")...)...)
	sql(t, "postgres", "UPDATE pg_database SET datcollversion = '1' WHERE datname = 'collated'")
	d := start(t, cfg)
	if _, err := io.Copy(io.Discard, d); err != nil {
		t.Fatal(err)
	}
	if said := d.Stderr(); !strings.Contains(said, "collation version") || len(pgdump.Unexplained(said)) != 0 {
		t.Errorf("%q leaves %q", said, pgdump.Unexplained(said))
	}
}

// A role may have the server tell it of everything that it does, which is nothing of the archive's.
func TestATalkativeRoleIsNotExplained(t *testing.T) {
	t.Parallel()
	for name, set := range map[string][]string{
		"tells_all":    {"client_min_messages = debug5"},
		"explains_all": {"session_preload_libraries = auto_explain", "auto_explain.log_min_duration = 0", "auto_explain.log_level = notice"},
	} {
		cfg := customer(t, name, append([]string{"CREATE TABLE t AS SELECT 1 AS id"}, grant(name)...)...)
		for _, x := range set {
			sql(t, "postgres", "ALTER ROLE "+name+" SET "+x)
		}
		d := start(t, cfg)
		if _, err := io.Copy(io.Discard, d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if said := d.Stderr(); said != "" {
			t.Errorf("%s: %.300q", name, said)
		}
	}
}

// What a client program started ends with it, and before its number can be anybody else's.
func TestTheWholeGroupEnds(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "group_end")
	dir := t.TempDir()
	script := "#!/bin/sh\nsleep 1000 >/dev/null 2>&1 &\necho $!\n"
	if err := os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Client = pgdump.Client{Major: cfg.Client.Major, Dir: dir}
	out, err := io.ReadAll(start(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("its child still runs: %s", state)
		}
	}
}

func TestOutdatedClientsAreKnown(t *testing.T) {
	t.Parallel()
	for version, outdated := range map[string]bool{"15.18": true, "15.20": false, "17.12": false, "17.11": true, "13.16": true, "18beta1": true, "18.7": false, "19.0": false} {
		c := pgdump.Client{Version: version}
		_, _ = fmt.Sscan(version[:2], &c.Major)
		if c.Outdated() != outdated {
			t.Errorf("%s: %v", version, !outdated)
		}
	}
}

func TestFixNamesEverySchemaThatItCanBe(t *testing.T) {
	t.Parallel()
	said := "pg_dump: error: query failed: ERROR:  permission denied for table t\n" +
		`pg_dump: detail: Query was: LOCK TABLE "a"."t", "a b"."t", "a"."t2", "c"."o" IN ACCESS SHARE MODE`
	fix := pgdump.Fix(said, "ro")
	for schema, want := range map[string]bool{`"a"`: true, `"a b"`: true, `"c"`: false} {
		if strings.Contains(fix, "SCHEMA "+schema+" ") != want {
			t.Errorf("%s: %s", schema, fix)
		}
	}
	if fix := pgdump.Fix("permission denied for schema x\"; DROP TABLE y; --", "ro"); !strings.Contains(fix, `SCHEMA "x""; DROP TABLE y; --" `) {
		t.Error(fix)
	}
	if fix := pgdump.Fix("pg_dump: error: query failed: ERROR:  permission denied for table pg_ts_dict\npg_dump: detail: Query was: SELECT 1 FROM pg_catalog.pg_ts_dict", "ro"); fix != "" {
		t.Errorf("the server's own tables are given away: %s", fix)
	}
}
