package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
	"github.com/remora-backup/remora/internal/scratchpg"
)

// Config of a prover.
type Config struct {
	Servers []pgdump.Client // with the server's programs, ascending
	Sandbox sandbox.Sandbox
	Dir     string // where scratch folders are made
	Memory  int64  // of each process, in bytes; zero is scratchpg's default
	Disk    int64  // of one restore, in bytes
	// TakeInventory takes a database's inventory in a session of a role that may read everything of it. Nil where none
	// is compared.
	TakeInventory func(ctx context.Context, conn *pgx.Conn) (remora.Inventory, error)
	Log           *slog.Logger
}

// Prover proves archives, one or several at a time.
type Prover struct{ Config }

// New returns a prover. It does no I/O.
func New(cfg Config) (*Prover, error) {
	if cfg.Dir == "" || cfg.Log == nil || cfg.Disk <= 0 {
		return nil, errors.New("proof: Dir, Disk and Log are required")
	}
	return &Prover{cfg}, nil
}

// Archive is what to prove.
type Archive struct {
	Plain     io.ReaderAt
	Size      int64
	Major     int                 // it restores into a server of this major or later
	Contents  *pgarchive.Contents // what was counted while it was made; nil where nobody has
	Inventory remora.Inventory    // of the database, in the dump's snapshot; nil where nobody has taken it

	// Limit is how long it may take once its scratch server is there; zero is as long as the context lasts.
	Limit time.Duration
	// Progress is told how far it is, several times a second. It must be quick; it may be nil.
	Progress func(bytes int64, what string)
}

// Result is what came out.
type Result struct {
	Verdict       Verdict
	Why           []string // what differs, or what makes a proof impossible, for people; never a row's data
	LeftOut       []string // what was not restored, or not compared, and why
	Tables        int      // compared
	Rows, Bytes   int64    // compared, of COPY's text
	Objects       bool     // the inventory was compared
	ServerVersion string
	Missing       []string // of the sandbox
}

// Verdict is a result in one word.
type Verdict string

// The verdicts.
const (
	Passed     Verdict = "passed"
	Differs    Verdict = "differs"    // the archive does not restore to what was counted
	Impossible Verdict = "impossible" // it cannot be proven here, which says nothing of the archive
)

func (r *Result) impossible(format string, args ...any) {
	r.Verdict = Impossible
	r.Why = append(r.Why, fmt.Sprintf(format, args...))
}

func (r *Result) differs(format string, args ...any) {
	if r.Verdict != Impossible {
		r.Verdict = Differs
	}
	if len(r.Why) < 2*most {
		r.Why = append(r.Why, fmt.Sprintf(format, args...))
	}
}

// ErrUnreadable says that reading the archive failed: its store does not answer, or what it holds does not open.
var ErrUnreadable = errors.New("proof: the archive cannot be read")

// errLimit is the cause of a context that ended because a restore took too long.
var errLimit = errors.New("proof: the restore takes too long")

// Prove restores the archive and compares. An error means that nothing can be said yet: the archive cannot be read, the
// context ended, or something of ours failed. Whatever happens, nothing of it is left running or lying about.
func (p *Prover) Prove(ctx context.Context, a Archive) (Result, error) {
	if a.Progress == nil {
		a.Progress = func(int64, string) {}
	}
	out := Result{Verdict: Passed, Missing: p.Sandbox.Missing}
	var corrupt *pgarchive.CorruptError
	var long *pgarchive.LongHeadError
	head, err := pgarchive.ReadHead(io.NewSectionReader(a.Plain, 0, a.Size))
	switch {
	case errors.Is(err, pgarchive.ErrUnsupported) || err == nil && a.Contents == nil:
		out.impossible("the archive has a format that is newer than our reader, so that its rows were not counted")
		return out, nil
	case errors.As(err, &long):
		out.impossible("the archive lists more objects than we restore: its table of contents is longer than %d MiB", long.Most>>20)
		return out, nil
	case errors.As(err, &corrupt):
		out.differs("the archive's table of contents makes no sense: %s", corrupt.What)
		return out, nil
	case err != nil:
		return out, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	server, _, err := pgdump.Choose(p.Servers, a.Major)
	if err != nil {
		out.impossible("there is no PostgreSQL %d server here to restore it into", a.Major)
		return out, nil
	}
	out.ServerVersion = server.Version
	if why := p.room(a.Contents); why != "" {
		out.impossible("%s", why)
		return out, nil
	}
	s, err := scratchpg.Start(ctx, scratchpg.Config{Programs: server, Dir: p.Dir, Sandbox: p.Sandbox, Memory: p.Memory, Disk: p.Disk})
	if err != nil {
		return out, fmt.Errorf("start a scratch server: %w", err)
	}
	if a.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.Limit, errLimit)
		defer cancel()
	}
	r := &restore{Prover: p, Archive: a, Server: s, plan: planOf(head), out: &out}
	err = r.run(ctx, server)
	return out, errors.Join(err, s.Close())
}

// room tells why there is no room for what was counted; "" where there is. A table takes about as much as its text, and
// its indexes some more.
func (p *Prover) room(c *pgarchive.Contents) string {
	need := c.LargeObjects.Bytes
	for _, t := range c.Tables {
		need += t.Bytes
	}
	if need > p.Disk {
		return fmt.Sprintf("it holds %d MB of rows, and one restore may take %d MB here", need/1e6, p.Disk/1e6)
	}
	if free, err := scratchpg.Free(p.Dir); err == nil && free < need+need/2+(256<<20) {
		return fmt.Sprintf("it holds %d MB of rows, and the verifier's disk has %d MB left", need/1e6, free/1e6)
	}
	return ""
}

// restore is one archive in one scratch server.
type restore struct {
	*Prover
	Archive
	*scratchpg.Server
	plan    *plan
	out     *Result
	own     map[table]bool // tables of extensions
	byBytes bool           // texts have another order than where they were, since the locale is not installed
}

// run does all of it, under a context that ends with the server, and tells limits from failures.
func (r *restore) run(outer context.Context, client pgdump.Client) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var watch sync.WaitGroup
	stop := make(chan struct{})
	watch.Go(func() {
		select {
		case <-r.Ended():
			cancel(r.Err())
		case <-stop:
		}
	})
	err := r.steps(ctx, client)
	close(stop)
	watch.Wait()
	var limit *scratchpg.LimitError
	switch cause := errors.Join(context.Cause(outer), r.Err()); {
	case errors.As(cause, &limit):
		r.limited("it took more than the %d MB of disk that one restore may take here", limit.Bytes/1e6)
	case errors.Is(cause, errLimit):
		r.limited("it took longer than the %s that restoring it may take here", r.Limit)
	case context.Cause(outer) != nil:
		return context.Cause(outer)
	case errors.Is(cause, scratchpg.ErrCrashed):
		r.limited("the scratch server ended while the archive was being restored, as it does when it runs out of memory")
	default:
		return err
	}
	return nil
}

// limited replaces what followed from the limit.
func (r *restore) limited(format string, args ...any) {
	r.out.Why = nil
	r.out.impossible(format, args...)
}

func (r *restore) steps(ctx context.Context, client pgdump.Client) error {
	if len(r.plan.lost) > 0 {
		r.out.impossible("it needs what only a superuser could make, or what would call other servers: %s", named(r.plan.lost))
		return nil
	}
	r.Progress(0, "making a scratch server")
	if err := r.prepare(ctx); err != nil || r.out.Verdict != Passed {
		return err
	}
	if err := r.restore(ctx, client); err != nil || r.out.Verdict != Passed {
		return err
	}
	if len(r.plan.leftOut) > 0 {
		r.out.LeftOut = append(r.out.LeftOut, "not restored, since only a superuser could, or since it would call other servers: "+named(r.plan.leftOut))
	}
	err := r.compare(ctx)
	if scratchpg.SQLState(err) != "" { // what the archive holds can change the settings of its database
		r.out.impossible("the copy cannot be compared: %s", words(err))
		return nil
	}
	return err
}

// restore lets stock pg_restore do it, as the plain owner.
func (r *restore) restore(ctx context.Context, client pgdump.Client) (err error) {
	made := map[string]bool{}
	for _, x := range r.plan.extensions {
		made[x.schema] = true
	}
	to, err := pgdump.StartRestore(ctx, pgdump.RestoreConfig{
		Client: client, Folder: r.Folder(), Database: scratchpg.Database, User: scratchpg.Owner, Password: r.Password(scratchpg.Owner),
		List: r.plan.list(made), Sandbox: r.Sandbox, Limits: r.Limits(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	from := &feed{r: io.NewSectionReader(r.Plain, 0, r.Size), told: r.Progress}
	if _, err := io.CopyBuffer(to, from, make([]byte, 1<<20)); from.err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, from.err)
	} else if err != nil && ctx.Err() != nil {
		return err
	}
	said, well, err := to.Finish()
	if err != nil {
		return err
	}
	if well {
		return nil
	}
	r.judge(said)
	return nil
}

// judge makes a verdict of what pg_restore said.
func (r *restore) judge(said string) {
	all := complaints(said)
	var tell []string
	why := ""
	for _, c := range all {
		why = cmp.Or(why, unprovable(c))
		if r.byBytes && ordered.MatchString(c.words) {
			why = cmp.Or(why, "texts have another order here")
		}
		tell = append(tell, c.String())
	}
	switch {
	case why != "":
		r.out.impossible("%s: %s", why, strings.Join(tell[:min(len(tell), most)], "; "))
	case len(all) == 0:
		r.out.differs("pg_restore ended with an error and gave no reason")
	default:
		for _, t := range tell {
			r.out.differs("pg_restore: %s", t)
		}
	}
}

// feed reads the archive and keeps the reason when that fails: it is the store's, and no verdict.
type feed struct {
	r    io.Reader
	n    int64
	err  error
	told func(int64, string)
}

func (f *feed) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	f.told(f.n, "restoring")
	return n, err
}
