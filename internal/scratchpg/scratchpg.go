package scratchpg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// Config of a server. Limits of zero are the defaults.
type Config struct {
	Programs pgdump.Client // with initdb and postgres beside pg_restore; see pgdump.FindServers
	Dir      string        // below which its folder is made; it must be short, for the socket's path
	Sandbox  sandbox.Sandbox
	Memory   int64 // what each process may take, in bytes of address space; default 1 GiB
	Disk     int64 // what the folder may take, in bytes; default 20 GiB

	// Dictionaries is where dictionaries for text search lie that the installation only links to, with all below; it may be
	// missing. Default Debian's.
	Dictionaries string
}

// Names of the roles and of the database.
const (
	Admin    = "remora_admin"
	Owner    = "remora_owner"
	Reader   = "remora_reader"
	Database = "scratch"
)

const (
	port     = 5432     // only part of the socket's name
	maxPath  = 107      // of a socket, as Linux has it
	buffers  = 64 << 20 // the server's own
	lookEach = 250 * time.Millisecond

	debiansDictionaries = "/var/cache/postgresql" // pg_updatedicts makes them there
)

// Server is a running server. The caller must Close it.
type Server struct {
	cfg      Config
	folder   *folder
	proc     *sandbox.Process
	output   *bounded
	secrets  map[string]redact.Secret
	over     chan struct{} // closed by Close: nobody needs to look any more
	watching sync.WaitGroup

	mu  sync.Mutex
	why error
}

// LimitError says that a server was ended because it took more than it may.
type LimitError struct {
	What  string // disk
	Bytes int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("scratchpg: more %s than %d bytes", e.What, e.Bytes)
}

// ErrCrashed says that the server ended by itself.
var ErrCrashed = errors.New("scratchpg: the server ended by itself")

// Start makes a server with no database but its own. After an error nothing of it is left.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Memory == 0 {
		cfg.Memory = 1 << 30
	}
	if cfg.Disk == 0 {
		cfg.Disk = 20 << 30
	}
	if cfg.Dictionaries == "" {
		cfg.Dictionaries = debiansDictionaries
	}
	s := &Server{cfg: cfg, output: &bounded{}, over: make(chan struct{}), secrets: map[string]redact.Secret{}}
	for _, role := range []string{Admin, Owner, Reader} {
		s.secrets[role] = redact.New(remora.NewToken())
	}
	if s.folder, err = claim(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if path := s.Folder() + "/.s.PGSQL." + strconv.Itoa(port); len(path) > maxPath {
		return nil, fmt.Errorf("scratchpg: the path %s is too long for a socket", path)
	}
	if err := s.initialize(ctx); err != nil {
		return nil, err
	}
	if s.proc, err = s.start("postgres", s.arguments()...); err != nil {
		return nil, err
	}
	s.watching.Go(s.watch)
	return s, s.await(ctx)
}

// Folder is where the server's socket is.
func (s *Server) Folder() string { return s.folder.path }

func (s *Server) data() string { return filepath.Join(s.folder.path, "data") }

// initialize runs initdb.
func (s *Server) initialize(ctx context.Context) error {
	secret := filepath.Join(s.folder.path, "password")
	if err := os.WriteFile(secret, []byte(s.secrets[Admin].Reveal()), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := sandbox.Give(secret); err != nil {
		return err
	}
	p, err := s.start("initdb", "-D", s.data(), "-U", Admin, "-A", "scram-sha-256", "--pwfile="+secret, "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.End(syscall.SIGKILL))
	}
	if p.Err() != nil {
		return fmt.Errorf("initdb: %w: %s", p.Err(), s.output)
	}
	// Nobody comes but by the socket, and nobody without a password, the server's own user neither.
	hba := filepath.Join(s.data(), "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("local all all scram-sha-256\n"), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return os.Remove(secret)
}

// arguments are the server's. Nothing of it is to outlive it, so nothing is written twice or waited for; statements of
// the archive go to no log, since they may hold data. There are few connections, and as many locks for all of them as a server
// has by default.
func (s *Server) arguments() []string {
	settings := []string{
		"listen_addresses=", "unix_socket_directories=" + s.folder.path, "unix_socket_permissions=0700", "port=" + strconv.Itoa(port),
		"fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=256MB", "min_wal_size=32MB",
		"autovacuum=off", "track_counts=off", "max_connections=10", "superuser_reserved_connections=3", "max_prepared_transactions=0", "max_locks_per_transaction=1024",
		"max_worker_processes=0", "max_logical_replication_workers=0", "max_parallel_workers_per_gather=0", "jit=off", // the first binds, whatever a session sets
		"shared_buffers=" + kilobytes(buffers), "maintenance_work_mem=" + kilobytes(s.cfg.Memory/8), "work_mem=16MB",
		"temp_file_limit=" + kilobytes(min(s.cfg.Disk, 1<<40)), "dynamic_shared_memory_type=mmap", "max_stack_depth=2MB",
		"restart_after_crash=off", "log_min_messages=fatal", "log_min_error_statement=panic", "log_error_verbosity=terse", "lc_messages=C",
		"timezone=UTC", "client_connection_check_interval=1000",
	}
	if s.cfg.Programs.Major < 14 {
		settings = settings[:len(settings)-1]
	}
	args := []string{"-D", s.data()}
	for _, x := range settings {
		args = append(args, "-c", x)
	}
	return args
}

func kilobytes(n int64) string { return strconv.FormatInt(n>>10, 10) + "kB" }

// start starts one of the server's programs in the sandbox.
func (s *Server) start(name string, args ...string) (*sandbox.Process, error) {
	cmd := exec.Command(filepath.Join(s.cfg.Programs.Dir, name), args...) //nolint:noctx // Close ends it
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent", "TZ=UTC"}
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.WaitDelay = time.Second // for whoever inherited them
	s.cfg.Sandbox.Confine(cmd, s.Limits())
	reach := s.cfg.Programs.Reach(s.cfg.Dictionaries)
	reach.Write = []string{s.folder.path}
	return s.cfg.Sandbox.StartWithin(cmd, syscall.SIGKILL, reach)
}

// Limits are those of each process that works on the archive.
func (s *Server) Limits() sandbox.Limits {
	return sandbox.Limits{Memory: s.cfg.Memory, File: min(s.cfg.Disk, 2<<30), Files: 1024}
}

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		conn, err := s.Connect(ctx, Admin, "postgres")
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.proc.Done():
			return fmt.Errorf("postgres ended at its start: %s", s.output)
		case <-ctx.Done():
			return fmt.Errorf("postgres takes no connections: %w", err)
		case <-poll.C:
		}
	}
}

// Password of one of the roles.
func (s *Server) Password(role string) redact.Secret { return s.secrets[role] }

// Connect opens a session. The caller closes it.
func (s *Server) Connect(ctx context.Context, role, database string) (*pgx.Conn, error) {
	// A constant that leaves nothing out: the parser reads environment and files for what is missing.
	cfg, err := pgx.ParseConfig("host=/nonexistent port=1 user=unset password=unset dbname=unset sslmode=disable passfile=/nonexistent servicefile=/nonexistent connect_timeout=10 target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("make configuration: %w", err)
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database, cfg.Fallbacks = s.folder.path, port, role, s.secrets[role].Reveal(), database, nil
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", role, err)
	}
	return conn, nil
}

// Locale is how a database orders its texts and reads its letters: options of CREATE DATABASE, such as LC_COLLATE, by name.
type Locale map[string]string

// String names it for people.
func (l Locale) String() string {
	if l["LOCALE_PROVIDER"] == "icu" {
		return l["ICU_LOCALE"] + " of ICU with " + l["LOCALE"]
	}
	return cmp.Or(l["LOCALE"], l["LC_COLLATE"])
}

// Bytes is the order that every server has.
func Bytes() Locale { return Locale{"LOCALE": "C"} }

// MakeDatabase makes the roles and the database that belongs to the owner, its schema public too. encoding and locale
// are as CREATE DATABASE takes them; a locale that is not installed is an error of SQLSTATE 42809 or 22023.
func (s *Server) MakeDatabase(ctx context.Context, encoding string, locale Locale) error {
	conn, err := s.Connect(ctx, Admin, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	for _, sql := range []string{
		"CREATE ROLE " + Owner + " LOGIN PASSWORD " + Literal(s.secrets[Owner].Reveal()),
		"CREATE ROLE " + Reader + " LOGIN BYPASSRLS PASSWORD " + Literal(s.secrets[Reader].Reveal()) + " IN ROLE " + Owner,
		"REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil && !exists(err) {
			return fmt.Errorf("make roles: %w", err)
		}
	}
	sql := "CREATE DATABASE " + Database + " OWNER " + Owner + " TEMPLATE template0 CONNECTION LIMIT 5 ENCODING " + Literal(encoding)
	for _, option := range slices.Sorted(maps.Keys(locale)) {
		sql += " " + option + " " + Literal(locale[option])
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	in, err := s.Connect(ctx, Admin, Database)
	if err != nil {
		return err
	}
	defer in.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	if _, err := in.Exec(ctx, "ALTER SCHEMA public OWNER TO "+Owner); err != nil {
		return fmt.Errorf("give schema public away: %w", err)
	}
	return nil
}

// exists tells that a role was made before, when another locale was tried.
func exists(err error) bool { return SQLState(err) == "42710" }

// watch ends the server when its folder grows too large, and says why it ended.
func (s *Server) watch() {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for {
		select {
		case <-s.over:
			return
		case <-s.proc.Done():
			s.ended(ErrCrashed)
			return
		case <-tick.C:
		}
		if size(s.folder.path) > s.cfg.Disk {
			s.ended(&LimitError{"disk", s.cfg.Disk})
			_ = s.kill() // it has ended when this returns, one way or the other
			return
		}
	}
}

func (s *Server) ended(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = why
	}
}

// Ended is closed once the server runs no more; Err tells why.
func (s *Server) Ended() <-chan struct{} { return s.proc.Done() }

// Err is why the server ended before it was closed: a *LimitError or ErrCrashed; nil where it runs.
func (s *Server) Err() error {
	select {
	case <-s.proc.Done():
		s.ended(ErrCrashed)
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// Used is what the folder takes on the disk now, in bytes.
func (s *Server) Used() int64 { return size(s.folder.path) }

// PID is the server's first process.
func (s *Server) PID() int { return s.proc.PID() }

// kill ends the server and all that it started.
func (s *Server) kill() error {
	if s.cfg.Sandbox.Apart() {
		return s.proc.End(syscall.SIGKILL) // of the first process of its namespace: the kernel ends the others with it
	}
	return s.proc.End(syscall.SIGQUIT) // on which the server ends its processes at once
}

// Close ends the server and removes all of it. It may be called once.
func (s *Server) Close() error {
	close(s.over)
	var err error
	if s.proc != nil {
		err = s.kill()
		s.watching.Wait()
	}
	return errors.Join(err, s.folder.release())
}

// Ident quotes a name for SQL.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a text for SQL.
func Literal(text string) string {
	return `E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + `'`
}

// bounded keeps the beginning of what the server says.
type bounded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := 16<<10 - b.b.Len(); room > 0 {
		b.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(b.b.String())
}
