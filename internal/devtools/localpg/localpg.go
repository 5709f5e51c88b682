// Package localpg starts private Postgres clusters from the server binaries that are installed, for tests
// and for the demo. Each listens on loopback only, on a port of its own, and ends with the process that
// started it.
package localpg

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/internal/devtools/freeport"
	"github.com/remora-backup/remora/internal/sandbox"
)

// superuser is the cluster's first role. Its name says that no test should work as it without need.
const superuser = "cluster_admin"

// Config of a cluster.
type Config struct {
	BinDir   string            // "" is $PG_BIN_DIR, else the newest /usr/lib/postgresql/*/bin, else PATH's
	Dir      string            // where the data folder goes; "" is a temporary folder that Stop removes
	TLS      bool              // a self-signed pair; connections by password are then refused without TLS
	Name     string            // with TLS, the DNS name that the certificate is for; "" is none
	Settings map[string]string // server settings beyond the ones that make it fast and private
	Port     int               // 0 is a free one
}

// Cluster is one running server.
type Cluster struct {
	binDir, dir, data string
	removeDir         bool
	port              int
	password          string
	settings          map[string]string
	certificate       string

	mu   sync.Mutex
	proc *server
}

// server is the running program and what it says.
type server struct {
	*sandbox.Process
	output *bytes.Buffer // to be read once it has ended
}

// Start makes a cluster and starts it; it is ready for connections when Start returns. The caller ends it
// with Stop or Kill.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(c.dir, "password")
	if err := c.write(secret, c.password); err != nil {
		return nil, c.fail(err)
	}
	err = c.run(ctx, "initdb", "-D", c.data, "-U", superuser, "-A", "scram-sha-256", "--pwfile="+secret,
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if err != nil {
		return nil, c.fail(err)
	}
	if err := c.configure(cfg); err != nil {
		return nil, c.fail(err)
	}
	if err := c.Restart(ctx); err != nil {
		return nil, c.fail(err)
	}
	return c, nil
}

// Follower makes a streaming replica of the cluster, on a port of its own.
func (c *Cluster) Follower(ctx context.Context, cfg Config) (*Cluster, error) {
	f, err := prepare(Config{BinDir: c.binDir, Dir: cfg.Dir, Port: cfg.Port})
	if err != nil {
		return nil, err
	}
	f.password, f.settings = c.password, c.settings
	if err := f.run(ctx, "pg_basebackup", "-D", f.data, "-R", "-X", "stream", "-c", "fast", "-d", c.SuperuserURL("postgres")); err != nil {
		return nil, f.fail(err)
	}
	if err := f.Restart(ctx); err != nil {
		return nil, f.fail(err)
	}
	return f, nil
}

// Promote makes a follower a server of its own, and returns when it takes writes.
func (c *Cluster) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is lost with it
	if _, err := conn.Exec(ctx, "SELECT pg_promote(true, 30)"); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// memory is a folder whose files lie in memory, for the servers of a test where there is room: to make a database is to make a
// thousand files, which is most of what many tests wait for. Elsewhere, and where LOCALPG_ON_DISK says that a database will be
// larger than memory, it is empty. What a test leaves there that was killed stays in memory until somebody removes it.
func memory() string {
	const shared, room = "/dev/shm", 8 << 30
	var fs unix.Statfs_t
	if !testing.Testing() || os.Getenv("LOCALPG_ON_DISK") != "" || unix.Statfs(shared, &fs) != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < room { //nolint:gosec // it is no negative number
		return ""
	}
	return shared
}

func prepare(cfg Config) (*Cluster, error) {
	bin, err := findBin(cfg.BinDir)
	if err != nil {
		return nil, err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	c := &Cluster{binDir: bin, dir: cfg.Dir, port: cfg.Port, password: hex.EncodeToString(random), settings: map[string]string{
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "80",
		"shared_buffers": "64MB", "unix_socket_directories": "", "listen_addresses": "127.0.0.1", "max_wal_size": "2GB",
		"wal_level": "replica", "log_min_messages": "fatal", "timezone": "UTC",
	}}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp(memory(), "localpg-"); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
		c.removeDir = true
	} else if err := os.MkdirAll(c.dir, 0o755); err != nil { //nolint:gosec // the server's user must reach its data
		return nil, fmt.Errorf("make folder: %w", err)
	}
	c.data = filepath.Join(c.dir, "data")
	if err := c.own(c.dir); err != nil {
		return nil, c.fail(err)
	}
	if c.port == 0 {
		if c.port, err = freeport.Pick(); err != nil {
			return nil, c.fail(err)
		}
	}
	return c, nil
}

func (c *Cluster) configure(cfg Config) error {
	hba := "host all,replication all 127.0.0.1/32 scram-sha-256\n"
	if cfg.TLS {
		cert, key, err := selfSigned(cfg.Name)
		if err != nil {
			return err
		}
		for name, content := range map[string]string{"server.crt": cert, "server.key": key} {
			if err := c.write(filepath.Join(c.data, name), content); err != nil {
				return err
			}
		}
		c.settings["ssl"], c.certificate = "on", cert
		hba = "hostssl all,replication all 127.0.0.1/32 scram-sha-256\nhostnossl all all 127.0.0.1/32 reject\n"
	}
	for k, v := range cfg.Settings {
		c.settings[k] = v
	}
	return c.write(filepath.Join(c.data, "pg_hba.conf"), hba)
}

// Addr is where the server listens.
func (c *Cluster) Addr() (host string, port int) { return "127.0.0.1", c.port }

// Certificate is the server's, in PEM; empty without TLS.
func (c *Cluster) Certificate() string { return c.certificate }

// PID is the process id of the running server's first process, whose children its sessions are.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc.PID()
}

// BinDir is where the server's programs are.
func (c *Cluster) BinDir() string { return c.binDir }

// SuperuserURL connects as the cluster's superuser. It holds the password of a cluster that nobody else
// reaches and that lives as long as this process.
func (c *Cluster) SuperuserURL(db string) string { return c.URL(superuser, c.password, db) }

// URL connects as anybody.
func (c *Cluster) URL(user, password, db string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/" + db}
	if c.settings["ssl"] == "on" {
		u.RawQuery = "sslmode=require"
	}
	return u.String()
}

// Restart starts the server, after stopping it where it runs, and returns when it takes connections.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.end(syscall.SIGINT); err != nil {
		return err
	}
	args := []string{"-D", c.data, "-p", strconv.Itoa(c.port)}
	keys := make([]string, 0, len(c.settings))
	for k := range c.settings {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		args = append(args, "-c", k+"="+c.settings[k])
	}
	p, err := c.start("postgres", args...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.proc = p
	c.mu.Unlock()
	return c.await(ctx, p)
}

func (c *Cluster) await(ctx context.Context, p *server) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.Done():
			return fmt.Errorf("postgres ended at its start: %s", p.output.String())
		case <-ctx.Done():
			return fmt.Errorf("postgres takes no connections: %w", err)
		case <-poll.C:
		}
	}
}

// Stop ends the server, dropping its connections, and removes a temporary data folder.
func (c *Cluster) Stop() error { return c.stop(syscall.SIGINT) }

// Kill ends the server as a crash would, and removes a temporary data folder.
func (c *Cluster) Kill() error { return c.stop(syscall.SIGQUIT) }

// Crash ends the server's first process as the kernel would, with no time to say anything, and waits; the others notice by
// themselves. The data folder stays: Restart recovers it.
func (c *Cluster) Crash() error { return c.end(syscall.SIGKILL) }

func (c *Cluster) stop(sig syscall.Signal) error {
	err := c.end(sig)
	if c.removeDir {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

func (c *Cluster) end(sig syscall.Signal) error {
	c.mu.Lock()
	p := c.proc
	c.proc = nil
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.End(sig)
}

func (c *Cluster) fail(err error) error {
	return errors.Join(err, c.Kill())
}

// start starts a program in the cluster's own user: postgres refuses to be root.
func (c *Cluster) start(name string, args ...string) (*server, error) {
	cmd := exec.Command(filepath.Join(c.binDir, name), args...) //nolint:gosec // our own constants
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=/nonexistent"}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	s := &server{output: &bytes.Buffer{}}
	cmd.Stdout, cmd.Stderr = s.output, s.output
	var err error
	s.Process, err = sandbox.Start(cmd, syscall.SIGQUIT)
	return s, err
}

// nobody exists on every Debian, which initdb needs: it looks its user up.
const nobody = 65534

func (c *Cluster) own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		return fmt.Errorf("give folder away: %w", err)
	}
	return nil
}

func (c *Cluster) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return c.own(path)
}

func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	p, err := c.start(name, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.End(syscall.SIGKILL))
	}
	if p.Err() != nil {
		return fmt.Errorf("%s: %w: %s", name, p.Err(), p.output.String())
	}
	return nil
}

func findBin(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("PG_BIN_DIR")
	}
	if dir != "" {
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	newest, at := 0, ""
	for _, f := range found {
		bin := filepath.Dir(f)
		if major, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && major > newest {
			newest, at = major, bin
		}
	}
	if at != "" {
		return at, nil
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			return filepath.Dir(p), nil
		}
	}
	return "", errors.New("no PostgreSQL server found: install the package postgresql, or set PG_BIN_DIR to the folder of initdb and postgres")
}
