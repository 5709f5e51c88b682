// Command remora-demo is the whole service on one machine, without any account: it starts private Postgres
// servers, a real S3 server and a simulated Heroku, runs the product's own processes against them, and does the
// main job with the real Heroku CLI, from addons:create to a restored and compared copy.
//
// The processes of the product are this program, executed again: the same wiring as production, but with an
// address policy that lets a customer's database be on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/wiring"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	run := demo
	if os.Getenv("REMORA_STACK") != "" { // one of the product's processes
		run = func(ctx context.Context, args []string, out io.Writer) error {
			return wiring.Run(ctx, args, out, os.Stderr, dialer.AllowLoopback())
		}
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "remora-demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func demo(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("make demo", flag.ContinueOnError)
	once := flags.Bool("once", false, "end after the comparison")
	root := flags.String("root", ".", "the checkout")
	rows := flags.Int("rows", 600_000, "rows of the customer's large table; 600000 are about 150 MB")
	port := flags.Int("port", 5000, "where the dashboard is; 0 is any free port")
	sim := flags.Int("heroku-port", 5001, "where the simulated Heroku is; 0 is any free port")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *once {
		*port, *sim = 0, 0
	}
	if _, err := stack.CLI(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logFile, err := os.CreateTemp("", "remora-demo-*.log")
	if err != nil {
		return err
	}
	defer logFile.Close() //nolint:errcheck // a log
	p := &progress{out: out, started: time.Now()}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w (the processes' log is in %s)", err, logFile.Name())
		} else if *once {
			err = os.Remove(logFile.Name()) // nothing went wrong that it could tell of
		}
	}()
	s, err := p.start(ctx, stack.Config{Root: *root, Program: []string{self}, Logs: logFile, Port: *port, SimPort: *sim, Mailed: p.mailed}, *rows)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(out, "Stopping everything that was started.")
		err = errors.Join(err, s.Close())
	}()
	if err := p.mainJob(ctx, s); err != nil {
		return err
	}
	if *once {
		return nil
	}
	fmt.Fprintf(out, `
Open the dashboard, one click through Heroku's sign-on:
  %[1]s/sso/apps/%[2]s/addons/%[3]s
The simulated Heroku, with the log of the Helper App, where the service says what happens:
  %[1]s
Mail to any address (Settings, Notifications) is printed below, in this shell, with its links.
Drive it with the real Heroku CLI, in another shell:
  %[4]s
  alias heroku=%[5]s
  heroku addons:info remora-backup -a %[2]s
  heroku pg:backups:restore 'LINK FROM THE DASHBOARD' DATABASE_URL -a %[6]s --confirm %[6]s
  heroku addons:upgrade remora-backup remora-backup:hammerhead -a %[2]s
  heroku addons:destroy remora-backup -a %[2]s --confirm %[2]s
The processes' log: %[7]s
It all stays up until Ctrl-C.
`, s.SimURL, stack.HelperApp, "remora-backup", s.Sim.CLILine(), must(stack.CLI()), stack.ShopApp, logFile.Name())
	<-ctx.Done()
	return nil
}

func must(s string, _ error) string { return s }

// progress says what happens, and how long it took.
type progress struct {
	out     io.Writer
	started time.Time
}

func (p *progress) step(what string, do func() error) error {
	fmt.Fprintf(p.out, "%5.1f s  %s\n", time.Since(p.started).Seconds(), what)
	return do()
}

// mailed shows each mail that the service sends: the demo's mail server is every mailbox.
func (p *progress) mailed(m inbox.Mail) {
	fmt.Fprintf(p.out, "%5.1f s  mail to %s: %s\n", time.Since(p.started).Seconds(), strings.Join(m.To, ", "), m.Subject)
	for line := range strings.Lines(m.Text) {
		if strings.HasPrefix(line, "http") {
			fmt.Fprintf(p.out, "         %s", line)
		}
	}
}

func (p *progress) start(ctx context.Context, cfg stack.Config, rows int) (s *stack.Stack, err error) {
	err = p.step("starting two Postgres servers, an S3 server and a simulated Heroku", func() error {
		s, err = stack.Start(ctx, cfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = p.step(fmt.Sprintf("making the customer's database, with %d rows in its largest table", rows), func() error {
		if err := s.Fill(ctx, rows); err != nil {
			return err
		}
		size, err := s.LargestTable(ctx)
		fmt.Fprintf(p.out, "         the largest table has %d MB\n", size/1_000_000)
		return err
	})
	for _, c := range pgdump.Find(ctx, []string{s.Customer.BinDir()}, "") {
		if c.Outdated() {
			fmt.Fprintf(p.out, "         PostgreSQL %s has known holes, so that production would not use it; the demo does (ALLOW_OUTDATED_PG)\n", c.Version)
		}
	}
	if err == nil {
		err = p.step("starting web, worker, verifier and deleter, as processes of their own", func() error {
			web, err := s.Spawn("web")
			if err != nil {
				return err
			}
			for _, name := range []string{"worker", "verifier", "deleter"} {
				if _, err := s.Spawn(name); err != nil {
					return err
				}
			}
			return s.AwaitWeb(ctx, web)
		})
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// mainJob is what the product is for.
func (p *progress) mainJob(ctx context.Context, s *stack.Stack) error {
	visitor, err := s.Connect(ctx, p.step)
	if err != nil {
		return err
	}
	backup, err := p.watch(ctx, s)
	if err != nil {
		return err
	}
	if err := p.proof(ctx, s, backup); err != nil {
		return err
	}
	return p.restore(ctx, s, visitor, backup)
}

// proof waits until the verifier has restored the first backup, which it does by itself.
func (p *progress) proof(ctx context.Context, s *stack.Stack, backup remora.Backup) error {
	return p.step("the verifier restores it into a scratch server of its own, without a network, and compares", func() error {
		last, err := s.AwaitProof(ctx, backup)
		if err != nil {
			return err
		}
		if last.State != remora.ProofPassed {
			return fmt.Errorf("the proof is %s: %s", last.State, last.Detail)
		}
		fmt.Fprintf(p.out, "         proven: %d tables with %d rows, row for row, in %.1f s\n", last.Tables, last.Rows, last.EndedAt.Sub(last.StartedAt).Seconds())
		return nil
	})
}

// watch shows the backup that finding the database has started.
func (p *progress) watch(ctx context.Context, s *stack.Stack) (remora.Backup, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var backup remora.Backup
	err := p.step("the credential is found on the Helper App; the first backup begins by itself", func() (err error) {
		shown := ""
		backup, err = s.Await(ctx, func(b remora.Backup) bool { return b.State.Ended() }, func(b remora.Backup) {
			now := string(b.State)
			if g := b.Progress; g != nil && g.TablesTotal > 0 {
				now = strings.TrimRight(fmt.Sprintf("%s: %d of %d tables, %.1f MB read, %.1f MB stored, %s", b.State, g.TablesDone, g.TablesTotal, float64(g.Bytes)/1e6, float64(g.BytesOut)/1e6, g.Current), ", ")
			}
			if now != shown {
				fmt.Fprintf(p.out, "         %s\n", now)
				shown = now
			}
		})
		return err
	})
	if err == nil && !backup.State.Good() {
		err = fmt.Errorf("the backup is %s: %s %s", backup.State, backup.Reason.Sentence(), backup.Detail)
	}
	return backup, err
}

func (p *progress) restore(ctx context.Context, s *stack.Stack, visitor *stack.Visitor, backup remora.Backup) error {
	var restored string
	err := p.step("restoring into an empty database, from a download link, with stock pg_restore", func() error {
		link, err := visitor.Link(ctx, backup.ID)
		if err != nil {
			return err
		}
		restored, err = s.Restore(ctx, link, "restored")
		return err
	})
	if err != nil {
		return err
	}
	return p.step("comparing: schema by pg_dump, contents by digests that both servers compute", func() error {
		c, err := stack.Compare(ctx, s.Customer.BinDir(), s.OwnerURL("shop"), restored)
		if err != nil {
			return fmt.Errorf("the restored database is NOT equal: %w", err)
		}
		fmt.Fprintf(p.out, "%5.1f s  EQUAL: %d tables and materialized views with %d rows, %d sequences; the archive has %.1f MB, %.1f MB stored, sealed\n",
			time.Since(p.started).Seconds(), c.Tables, c.Rows, c.Sequences, float64(backup.PlainSize)/1e6, float64(backup.StoredSize)/1e6)
		return nil
	})
}
