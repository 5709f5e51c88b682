package pgdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// AppName is what our sessions are called in the customer's pg_stat_activity, or what their names begin with.
const AppName = "remora-backup"

// Config of one dump.
type Config struct {
	Client      Client
	Credential  credential.Credential
	Addr        netip.Addr // where to connect: resolved and checked by the caller, so that nobody can move it
	Plain       bool       // the archive's data uncompressed, for a reader that compresses it
	ServerMajor int
	Roots       string // file of who vouches for certificates, where the credential asks for that; default the system's
	AppName     string // what its session is called on the server, at most 63 bytes; default AppName
	Snapshot    string // one that another session has exported and still holds when pg_dump connects; "" is pg_dump's own
	// OpenRows reads tables under row security, where pg_dump would refuse to (--enable-row-security). Rows that no
	// policy shows are then missing without a word: only for a credential that is known to be shown all of them.
	OpenRows bool

	Memory         int64         // what it may take from its start on, in bytes, as Dump.Limit counts it; 0 is without a bound
	LockWait       time.Duration // how long to wait for a table's lock; default 30 s
	ConnectTimeout time.Duration // default 10 s
	StallTimeout   time.Duration // how long pg_dump may say nothing at all; default 10 min

	// LeastBytes is what must come of pg_dump in each LeastWithin that we wait for it, so that a server which sends
	// next to nothing does not hold us for a day. Default 64 KiB an hour, which is well below what empty tables give
	// at a few round trips of 100 ms each.
	LeastBytes  int64
	LeastWithin time.Duration
}

// systemRoots is where Debian and Heroku keep the authorities that everybody knows. Only libpqs from 16 on can be told
// to look for them by themselves.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

func (c *Config) setDefaults() {
	if c.AppName == "" {
		c.AppName = AppName
	}
	if c.Roots == "" {
		c.Roots = systemRoots
	}
	for _, d := range []struct {
		v        *time.Duration
		fallback time.Duration
	}{
		{&c.LockWait, 30 * time.Second},
		{&c.ConnectTimeout, 10 * time.Second},
		{&c.StallTimeout, 10 * time.Minute},
		{&c.LeastWithin, time.Hour},
	} {
		if *d.v == 0 {
			*d.v = d.fallback
		}
	}
	if c.LeastBytes == 0 {
		c.LeastBytes = 64 << 10
	}
}

// Excluded are the schemas that no dump has: Heroku's own, which only Heroku can fill.
func Excluded() []string { return []string{"heroku_ext", "_heroku"} }

// args are pg_dump's. Those that shape the archive are the ones that Heroku gives as the equivalent of
// pg:backups (https://help.heroku.com/7U1BTYHB), without --verbose, so that what is left on standard error
// means something. -d holds connection settings that have no environment variable, and nothing else.
func (c *Config) args() []string {
	args := []string{
		"--format=custom", "--no-acl", "--no-owner", "--quote-all-identifiers",
		"--no-password", "--lock-wait-timeout=" + strconv.FormatInt(c.LockWait.Milliseconds(), 10),
		"--dbname=keepalives=1 keepalives_idle=30 keepalives_interval=10 keepalives_count=3",
	}
	for _, schema := range Excluded() {
		args = append(args, "--exclude-schema="+schema)
	}
	if c.Plain {
		args = append(args, "--compress=0")
	}
	if c.Snapshot != "" {
		args = append(args, "--snapshot="+c.Snapshot)
	}
	if c.OpenRows {
		args = append(args, "--enable-row-security")
	}
	return args
}

func (c *Config) env() []string {
	// A role may have a short timeout of its own, and pg_dump takes it off only after its first statements. It may also have set
	// that the server tells it more than warnings, which pg_dump passes on until it has connected and Unexplained cannot explain.
	options := "-c default_transaction_read_only=on -c statement_timeout=0 -c bytea_output=hex -c client_min_messages=warning"
	if c.ServerMajor >= 14 {
		options += " -c client_connection_check_interval=1000"
	}
	mode, roots := "require", "/nonexistent"
	if c.Credential.Verify {
		mode, roots = "verify-full", c.Roots
	}
	env := []string{
		"PGHOST=" + c.Credential.Host, "PGHOSTADDR=" + c.Addr.String(), "PGPORT=" + strconv.Itoa(int(c.Credential.Port)),
		"PGUSER=" + c.Credential.User, "PGDATABASE=" + c.Credential.Database,
		"PGTZ=UTC", // with it, and the option above, a row's text is the same for every role and machine
		"PGPASSFILE=/proc/self/fd/3", "PGSSLMODE=" + mode, "PGAPPNAME=" + c.AppName, "PGOPTIONS=" + options,
		"PGCONNECT_TIMEOUT=" + strconv.Itoa(max(int(c.ConnectTimeout.Seconds()), 2)), "PGGSSENCMODE=disable",
		// SCRAM alone has it. It binds the login to the server's certificate, so that nobody in the middle can pass it on.
		"PGCHANNELBINDING=require",
		// Without these libpq would look into files of the user that we run as.
		"PGSERVICEFILE=/nonexistent", "PGSSLCERT=/nonexistent", "PGSSLKEY=/nonexistent", "PGSSLROOTCERT=" + roots, "PGSSLCRL=/nonexistent",
	}
	if c.Client.Major >= 16 { // older libpqs do not know it, and channel binding says as much
		env = append(env, "PGREQUIREAUTH=scram-sha-256")
	}
	return env
}

// reach is the server, and who vouches for it.
func (c *Config) reach() sandbox.Reach {
	var read []string
	if c.Credential.Verify {
		read = []string{c.Roots}
	}
	r := c.Client.Reach(read...)
	r.Connect = c.Credential.Port
	return r
}

// Dump is a running pg_dump, read as a stream. It is for one goroutine, but Close, which may come from any.
type Dump struct {
	cfg   Config
	child *child
	out   *os.File
	n     int64
	seen  int64 // of n, when its memory was looked at last
	err   error // what every Read returns from now on

	came   int64         // since there was enough last, in bytes
	waited time.Duration // for it

	closed atomic.Bool
}

// Start begins a dump. It returns once pg_dump runs; whatever goes wrong later comes from Read. The caller
// must Close the dump. When ctx ends, pg_dump is ended too.
func Start(ctx context.Context, cfg Config) (*Dump, error) {
	cfg.setDefaults()
	pass, err := passfile(cfg.Credential.Password)
	if err != nil {
		return nil, err
	}
	defer pass.Close() //nolint:errcheck // the child has its own
	if err := cfg.Client.Sandbox.Give(pass); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer w.Close() //nolint:errcheck // the child has its own
	enlarge(r)
	child, err := launch(ctx, program{
		client: cfg.Client, name: "pg_dump", args: cfg.args(), env: cfg.env(), files: []*os.File{pass}, stdout: w,
		secrets: []redact.Secret{cfg.Credential.Password}, confine: sandbox.Sandbox.Demote, limits: least(cfg.Memory), reach: cfg.reach(),
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &Dump{cfg: cfg, child: child, out: r}, nil
}

// Read reads the archive. It returns io.EOF only after pg_dump has exited with status 0; any other end is a
// *remora.Failure, again at every later Read: classified from what pg_dump said, or ReasonStalled, or, where
// the context ended or Close was called, ReasonCanceled with the context's cause inside. It waits for pg_dump at most
// StallTimeout, and at most LeastWithin for each LeastBytes; how long the caller takes between two Reads does not count.
func (d *Dump) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	asked := time.Now()
	if err := d.out.SetReadDeadline(asked.Add(min(d.cfg.StallTimeout, d.cfg.LeastWithin-d.waited))); err != nil {
		return 0, d.fail(fmt.Errorf("set deadline: %w", err))
	}
	n, err := d.out.Read(p)
	d.n += int64(n)
	d.came, d.waited = d.came+int64(n), d.waited+time.Since(asked)
	if d.came >= d.cfg.LeastBytes {
		d.came, d.waited = 0, 0
	}
	if d.seen == 0 || d.n-d.seen >= sampled {
		d.seen = d.n
		d.child.sample()
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		d.err = d.exit()
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.child.end()
		d.err = d.judge(&remora.Failure{Reason: remora.ReasonStalled, Detail: d.Stderr()})
	default:
		return n, d.fail(err)
	}
	return n, d.err
}

// exit judges how pg_dump ended, after it closed its output.
func (d *Dump) exit() error {
	timer := time.NewTimer(d.cfg.StallTimeout)
	defer timer.Stop()
	select {
	case <-d.child.done:
	case <-timer.C:
		d.child.end()
		return d.judge(&remora.Failure{Reason: remora.ReasonStalled, Detail: d.Stderr()})
	}
	err := d.child.wait()
	said := d.Stderr()
	switch {
	case err != nil:
		return d.judge(&remora.Failure{Reason: Classify(said), Detail: said, Cause: err})
	case d.n == 0:
		return &remora.Failure{Reason: remora.ReasonDumpFailed, Detail: said, Cause: errors.New("pg_dump wrote nothing")}
	}
	return io.EOF
}

func (d *Dump) fail(err error) error {
	d.child.end()
	d.err = d.judge(&remora.Failure{Reason: remora.ReasonDumpFailed, Detail: d.Stderr(), Cause: err})
	return d.err
}

// judge replaces a failure that is only the echo of our own giving up.
func (d *Dump) judge(f *remora.Failure) error {
	if err := d.child.ended(); err != nil {
		return err
	}
	if d.closed.Load() {
		return &remora.Failure{Reason: remora.ReasonCanceled, Cause: f.Cause}
	}
	return f
}

// Stderr is what pg_dump said so far: at most 64 KiB, without the password.
func (d *Dump) Stderr() string { return d.child.stderr.String() }

// PID is pg_dump's process id.
func (d *Dump) PID() int { return d.child.cmd.Process.Pid }

// Close ends pg_dump, where it still runs, and waits for it: first by SIGINT, on which it cancels its query,
// after 2 s by SIGKILL. It may be called more than once.
func (d *Dump) Close() error {
	d.closed.Store(true)
	d.child.close()
	if err := d.out.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close pipe: %w", err)
	}
	return nil
}
