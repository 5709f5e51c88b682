package scratchpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/sandbox"
	"github.com/remora-backup/remora/internal/scratchpg"
)

// The test program is also the verifier that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SCRATCH_TO_BE_KILLED"); dir != "" {
		ctx := context.Background()
		s, err := scratchpg.Start(ctx, scratchpg.Config{Programs: pgdump.FindServers(ctx, nil, "")[0], Dir: dir, Sandbox: sandbox.Detect(ctx)})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(s.Folder())
		select {}
	}
	os.Exit(m.Run())
}

// short is a folder with a short name, which a socket's path needs, that others may pass through.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "scratch-test-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, cfg scratchpg.Config) *scratchpg.Server {
	t.Helper()
	servers := pgdump.FindServers(t.Context(), nil, "")
	if len(servers) == 0 {
		t.Fatal("no PostgreSQL server to test with")
	}
	cfg.Programs, cfg.Dir, cfg.Sandbox = servers[0], short(t), sandbox.Detect(t.Context())
	s, err := scratchpg.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// processes are those whose command line names the folder.
func processes(folder string) (all []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, at := range found {
		if line, err := os.ReadFile(at); err == nil && strings.Contains(string(line), folder) {
			all = append(all, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
}

func TestTheOwnerHasNoPower(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{})
	dir := filepath.Dir(s.Folder())
	if err := s.MakeDatabase(t.Context(), "UTF8", scratchpg.Bytes()); err != nil {
		t.Fatal(err)
	}
	c, err := s.Connect(t.Context(), scratchpg.Owner, scratchpg.Database)
	if err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(os.TempDir(), "pwned-"+filepath.Base(s.Folder()))
	for _, sql := range []string{
		"COPY (SELECT 1) TO PROGRAM 'touch " + canary + "'", "COPY (SELECT 1) TO '" + canary + "'", "SELECT pg_read_file('/etc/passwd')",
		"SELECT lo_import('/etc/passwd')", "CREATE EXTENSION dblink", "CREATE ROLE other", "ALTER SYSTEM SET fsync = on", "SET ROLE " + scratchpg.Admin,
		"ALTER ROLE " + scratchpg.Owner + " SUPERUSER", "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/dblink', 'dblink_connect'",
		"SET temp_file_limit = -1", "SELECT pg_reload_conf()", "SELECT rolpassword FROM pg_authid",
	} {
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: allowed", sql)
		}
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a program ran")
	}
	var most string
	if err := c.QueryRow(t.Context(), "SHOW temp_file_limit").Scan(&most); err != nil || most == "-1" {
		t.Errorf("temporary files have no limit of their own: %s %v", most, err)
	}
	if _, err := s.Connect(t.Context(), scratchpg.Owner, "postgres"); scratchpg.SQLState(err) != "42501" {
		t.Errorf("the owner in the superuser's database: %v", err)
	}
	for _, role := range []string{scratchpg.Admin, scratchpg.Owner, scratchpg.Reader} {
		conn, err := pgx.Connect(t.Context(), "host="+s.Folder()+" port=5432 dbname=postgres sslmode=disable password=guessed user="+role)
		if scratchpg.SQLState(err) != "28P01" {
			t.Errorf("%s without the password: %v", role, err)
		}
		if err == nil {
			_ = conn.Close(t.Context())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.Folder(), "*password*")); len(left) > 0 {
		t.Errorf("the superuser's password lies about: %v", left)
	}
	if _, err := c.Exec(t.Context(), "CREATE TABLE t (id int); CREATE SCHEMA mine; CREATE EXTENSION hstore"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	empty(t, dir)
	if left := processes(s.Folder()); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// Not even the superuser, with dblink, reaches a server that listens on this machine.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	if !sandbox.Detect(t.Context()).Apart() {
		t.Log("this kernel allows no namespaces: what is not kept apart is said")
		if sandbox.Detect(t.Context()).Missing == nil {
			t.Error("and it is not said")
		}
		return
	}
	other, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Stop() })
	s := start(t, scratchpg.Config{})
	defer s.Close()
	c, err := s.Connect(t.Context(), scratchpg.Admin, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "CREATE EXTENSION dblink"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Exec(t.Context(), "SELECT dblink_connect("+scratchpg.Literal(other.SuperuserURL("postgres")+"?connect_timeout=3")+")")
	if err == nil || !strings.Contains(err.Error(), "could not establish connection") {
		t.Errorf("it reached %s: %v", other.SuperuserURL("postgres"), err)
	}
	for _, addr := range []string{"169.254.169.254", "8.8.8.8"} {
		if _, err = c.Exec(t.Context(), "SELECT dblink_connect('host="+addr+" port=80 connect_timeout=3 user=x dbname=x')"); err == nil || !strings.Contains(err.Error(), "establish") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// Whoever has become the superuser still sees no file but the server's own and the system's, and writes none elsewhere, by
// whatever it starts either; where the kernel keeps it from that.
func TestNoFiles(t *testing.T) {
	t.Parallel()
	kept := true
	for _, m := range sandbox.Detect(t.Context()).Missing {
		kept = kept && !strings.Contains(m, "no Landlock")
	}
	dictionaries := filepath.Join(short(t), "dicts")
	if err := errors.Join(os.Mkdir(dictionaries, 0o777), os.Chmod(dictionaries, 0o777)); err != nil { //nolint:gosec // so that nothing else keeps the server from it
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dictionaries, "en_us.dict"), []byte("1\nword\n"), 0o644); err != nil { //nolint:gosec // it is everybody's
		t.Fatal(err)
	}
	s := start(t, scratchpg.Config{Dictionaries: dictionaries})
	defer s.Close()
	c, err := s.Connect(t.Context(), scratchpg.Admin, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(s.Folder(), "en_us.dict") // as tsearch_data has them
	if err := os.Symlink(filepath.Join(dictionaries, "en_us.dict"), link); err != nil {
		t.Fatal(err)
	}
	open := short(t)                              // all may pass through it, and what is in it is everybody's
	if err := os.Chmod(open, 0o777); err != nil { //nolint:gosec // so that nothing else keeps the server from it
		t.Fatal(err)
	}
	theirs := filepath.Join(open, "theirs")
	if err := os.WriteFile(theirs, []byte("contents"), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		sql  string
		kept bool
	}{
		"another's file":            {"SELECT pg_read_file('" + theirs + "')", kept},
		"another's folder":          {"SELECT pg_ls_dir('" + open + "')", kept},
		"a new file":                {"COPY (SELECT 1) TO '" + open + "/new'", kept},
		"another's file, a program": {"COPY (SELECT 1) TO PROGRAM 'cat " + theirs + "'", kept},
		"a new file, a program":     {"COPY (SELECT 1) TO PROGRAM 'echo x >" + open + "/newer'", kept},
		"its own folder":            {"COPY (SELECT 1) TO '" + s.Folder() + "/own'", false},
		"its own file":              {"SELECT pg_read_file('" + s.Folder() + "/data/PG_VERSION')", false},
		"the system's":              {"SELECT pg_read_file('/etc/passwd')", false},
		"a dictionary":              {"SELECT pg_read_file('" + link + "')", false},
		"a new dictionary":          {"COPY (SELECT 1) TO '" + dictionaries + "/new'", kept},
		"a program":                 {"COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'", false},
	} {
		if _, err := c.Exec(t.Context(), x.sql); (err != nil) != x.kept {
			t.Errorf("%s: %v (sandbox: %v)", name, err, sandbox.Detect(t.Context()))
		}
	}
}

// Debian's pg_updatedicts puts the dictionaries of hunspell and myspell where its PostgreSQLs have links to.
func TestDebiansDictionariesAreRead(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{})
	defer s.Close()
	c, err := s.Connect(t.Context(), scratchpg.Admin, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT pg_ls_dir('/var/cache/postgresql', true, false)"); err != nil { // also where there is none
		t.Error(err)
	}
}

func TestTheDiskIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{Disk: 200 << 20})
	dir := filepath.Dir(s.Folder())
	if err := s.MakeDatabase(t.Context(), "UTF8", scratchpg.Bytes()); err != nil {
		t.Fatal(err)
	}
	c, err := s.Connect(t.Context(), scratchpg.Owner, scratchpg.Database)
	if err != nil {
		t.Fatal(err)
	}
	// Small tables: one large one would meet the limit of a file's size first, which is not this test's.
	for n := 0; err == nil && n < 100; n++ {
		_, err = c.Exec(t.Context(), fmt.Sprintf("CREATE TABLE t%d AS SELECT repeat(md5(g::text), 20) FROM generate_series(1, 50000) g", n))
	}
	if state := scratchpg.SQLState(err); err == nil || state != "" && !strings.HasPrefix(state, "57") {
		t.Fatalf("no end of the server, but %v", err)
	}
	<-s.Ended()
	var limit *scratchpg.LimitError
	if !errors.As(s.Err(), &limit) || limit.What != "disk" {
		t.Error(s.Err())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	empty(t, dir)
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{Memory: 400 << 20})
	defer s.Close()
	c, err := s.Connect(t.Context(), scratchpg.Admin, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT length(repeat('x', 900000000))"); scratchpg.SQLState(err) != "53200" {
		t.Errorf("%v", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whoever restores may change what he likes of his session's settings, and gets no second process to work for him: each
// could take what one may.
func TestOneProcessWorks(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{})
	defer s.Close()
	if err := s.MakeDatabase(t.Context(), "UTF8", scratchpg.Bytes()); err != nil {
		t.Fatal(err)
	}
	c, err := s.Connect(t.Context(), scratchpg.Owner, scratchpg.Database)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SET max_parallel_workers = 8", "SET max_parallel_workers_per_gather = 8", "SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0",
		"SET max_parallel_maintenance_workers = 8", "CREATE TABLE t AS SELECT g FROM generate_series(1, 10000) g",
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := c.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT count(*) FROM t")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if said := strings.Join(lines, "\n"); err != nil || !strings.Contains(said, "Workers Planned") || !strings.Contains(said, "Workers Launched: 0") {
		t.Error(said, err)
	}
}

// A folder of files without a byte is no free lunch: each takes its entry of the disk's.
func TestEmptyFilesCount(t *testing.T) {
	t.Parallel()
	s := start(t, scratchpg.Config{})
	defer s.Close()
	before := s.Used()
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(s.Folder(), fmt.Sprint("empty-", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Used() - before; n < 1000*4096 {
		t.Errorf("1000 files take %d bytes", n)
	}
}

// A verifier that is killed leaves a folder, which the next one sweeps, and no process.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := short(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SCRATCH_TO_BE_KILLED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	folder := strings.TrimSpace(line)
	if err != nil || !strings.HasPrefix(folder, dir) {
		t.Fatal(line, err)
	}
	if n, err := scratchpg.Sweep(dir); n != 0 || err != nil {
		t.Errorf("a living one's was swept: %d %v", n, err)
	}
	if len(processes(folder)) == 0 {
		t.Error("no process is seen")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for left := processes(folder); len(left) > 0; left = processes(folder) {
		select {
		case <-deadline.Done():
			t.Fatalf("left running: %v", left)
		case <-tick.C:
		}
	}
	if n, err := scratchpg.Sweep(dir); n != 1 || err != nil {
		t.Errorf("swept %d: %v", n, err)
	}
	empty(t, dir)
}
