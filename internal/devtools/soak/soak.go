package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/remora"
)

// neighbour is the app of another customer, who is to see nothing of the first.
const neighbour = "neighbour-backups"

// atOnce is a setting by which nobody can undo that an add-on was removed.
const atOnce = "UNDO_WITHIN=0s"

// rows of the customer's largest table: a dump of them takes long enough to be killed in.
const rows = 60_000

// soak is one run. Everything but watch is of one goroutine.
type soak struct {
	seconds int
	seed    uint64
	root    string
	program []string // see stack.Config
	logs    io.ReadWriteSeeker
	out     io.Writer
	round   time.Duration // of killing, between two looks at the promises

	*stack.Stack
	copies    *localpg.Cluster // where archives are restored, which writes nothing on the customer's server
	chance    *rand.Rand
	processes []*process
	visitor   *stack.Visitor
	other     *stack.Visitor
	resource  remora.ResourceID
	database  remora.DatabaseID
	began     time.Time // when the schedule's every minute began
	nextXID   int64     // of the customer's server, when all was ready
	restored  map[remora.BackupID]bool
	kills     map[string]int
	broken    error // what watch has seen
	mu        sync.Mutex
}

// process is one of the product's, which is started again whenever it has ended, as Heroku does.
type process struct {
	name string
	*stack.Process
}

func (s *soak) run(ctx context.Context) (err error) {
	started := time.Now()
	s.say("seed %d", s.seed)
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ready := time.Now()
	err = s.soak(ctx)
	if err == nil {
		err = s.removed(ctx)
	}
	s.say("%.0f s, %.0f of them killing and looking: killed %s; %d good backups, each restored and equal", time.Since(started).Seconds(), time.Since(ready).Seconds(), s.killed(), len(s.restored))
	return err
}

// soak kills and looks for as long as it is to, while it is watched.
func (s *soak) soak(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { s.watch(watching) })
	err := s.rounds(ctx, time.Now().Add(time.Duration(s.seconds)*time.Second))
	stop()
	watched.Wait()
	return errors.Join(err, s.seen())
}

func (s *soak) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\n", args...) // to a terminal, or a test's log
}

func (s *soak) killed() string {
	var all []string
	n := 0
	for name, times := range s.kills {
		all, n = append(all, fmt.Sprintf("%s %d", name, times)), n+times
	}
	slices.Sort(all)
	return fmt.Sprintf("%d times (%s)", n, strings.Join(all, ", "))
}

// start brings everything up, to a customer whose first backup is asked for and whose schedule is due every minute.
func (s *soak) start(ctx context.Context) (err error) {
	s.chance, s.kills, s.restored = rand.New(rand.NewPCG(s.seed, 1)), map[string]int{}, map[remora.BackupID]bool{} //nolint:gosec // chance is to be repeatable
	if s.Stack, err = stack.Start(ctx, stack.Config{Root: s.root, Program: s.program, Logs: s.logs}); err != nil {
		return err
	}
	ok := false
	defer func() {
		if !ok {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.copies, err = localpg.Start(ctx, localpg.Config{}); err != nil {
		return err
	}
	s.OnClose(s.copies.Stop)
	// A server that is killed must keep what it has confirmed, as any of ours does; the customer's is to do nothing by itself
	// that takes a transaction's number.
	if err := stack.Exec(ctx, s.Own.SuperuserURL("postgres"), "ALTER ROLE remora SET synchronous_commit = on"); err != nil {
		return err
	}
	if err := stack.Exec(ctx, s.Customer.SuperuserURL("postgres"), "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	if err := s.Fill(ctx, rows); err != nil {
		return err
	}
	s.Sim.CreateApp(neighbour)
	for _, name := range []string{"web", "worker", "verifier", "deleter"} {
		p, err := s.Spawn(name, atOnce)
		if err != nil {
			return err
		}
		s.processes = append(s.processes, &process{name, p})
	}
	if err := s.AwaitWeb(ctx, s.processes[0].Process); err != nil {
		return err
	}
	if s.visitor, err = s.Connect(ctx, func(_ string, do func() error) error { return do() }); err != nil {
		return err
	}
	if _, err := s.Heroku(ctx, "addons:create", "remora-backup:test", "-a", neighbour); err != nil {
		return err
	}
	if s.other, err = s.SignOnTo(ctx, neighbour); err != nil {
		return err
	}
	s.resource = remora.ResourceID(s.Sim.AddonID("remora-backup", stack.HelperApp))
	first, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := s.Await(first, func(remora.Backup) bool { return true }, nil)
	if err != nil {
		return err
	}
	s.database = b.Database
	if err := s.everyMinute(ctx); err != nil {
		return err
	}
	s.nextXID, err = s.xid(ctx)
	ok = err == nil
	return err
}

// everyMinute makes the schedule due each minute, which no plan allows.
func (s *soak) everyMinute(ctx context.Context) error {
	return s.own(ctx, "UPDATE schedules SET kind = 'cron', cron = '* * * * *', next_run_at = date_trunc('minute', now()) RETURNING next_run_at", func(scan func(...any) error) error {
		return scan(&s.began)
	})
}

// rounds kills and looks, in turns, until it is time.
func (s *soak) rounds(ctx context.Context, until time.Time) error {
	for n := 1; ; n++ {
		end := time.Now().Add(s.round)
		if end.After(until) {
			end = until
		}
		for time.Now().Before(end) {
			if err := s.kill(ctx); err != nil {
				return err
			}
			if err := s.seen(); err != nil {
				return err
			}
		}
		looked := time.Now()
		if err := s.holds(ctx); err != nil {
			return fmt.Errorf("after %s: %w", s.killed(), err)
		}
		s.say("round %d: killed %s so far; all promises hold (%.0f s to see)", n, s.killed(), time.Since(looked).Seconds())
		if !time.Now().Before(until) {
			return nil
		}
	}
}

// kill asks for a backup, waits for a random moment and kills somebody.
func (s *soak) kill(ctx context.Context) error {
	if err := s.tend(); err != nil {
		return err
	}
	s.ask(ctx)
	if err := pause(ctx, time.Duration(s.chance.IntN(1200))*time.Millisecond); err != nil {
		return err
	}
	switch at := s.chance.IntN(10); {
	case at < 3:
		return s.killDump(ctx)
	case at < 5:
		return s.killOne("worker")
	case at < 7:
		if err := s.S3.Kill(); err != nil {
			return err
		}
		s.note("S3")
		return errors.Join(pause(ctx, time.Duration(s.chance.IntN(1000))*time.Millisecond), s.S3.Restart())
	case at < 9:
		if err := s.Own.Crash(); err != nil {
			return err
		}
		s.note("Postgres")
		return errors.Join(pause(ctx, time.Duration(s.chance.IntN(1000))*time.Millisecond), s.recover(ctx))
	default:
		return s.killOne([]string{"web", "verifier", "deleter"}[s.chance.IntN(3)])
	}
}

// note counts who was killed, and says when among the processes' own words.
func (s *soak) note(name string) {
	s.kills[name]++
	_, _ = fmt.Fprintf(s.logs, "soak: %s killed %s\n", time.Now().UTC().Format(time.RFC3339Nano), name) // a log
}

// recover starts our Postgres again, as soon as what the killed one left has noticed.
func (s *soak) recover(ctx context.Context) (err error) {
	for range 50 {
		if err = s.Own.Restart(ctx); err == nil || pause(ctx, 200*time.Millisecond) != nil {
			break
		}
	}
	return err
}

func (s *soak) find(name string) *process {
	return s.processes[slices.IndexFunc(s.processes, func(p *process) bool { return p.name == name })]
}

func (s *soak) killOne(name string) error {
	s.note(name)
	return s.find(name).Kill()
}

// killDump kills a pg_dump of the worker's, where one runs within a while.
func (s *soak) killDump(ctx context.Context) error {
	for range 40 {
		for _, pid := range stack.ChildrenOf(s.find("worker").PID()) {
			if strings.Contains(stack.CommandOf(pid), "/pg_dump ") {
				s.note("pg_dump")
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by now
				return nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// tend starts again what has ended, killed or by itself.
func (s *soak) tend() error {
	for _, p := range s.processes {
		select {
		case <-p.Done():
			next, err := s.Spawn(p.name, atOnce)
			if err != nil {
				return err
			}
			p.Process = next
		default:
		}
	}
	return nil
}

// ask clicks, whether anybody answers or not, and lets no time pass between a backup's attempts but a moment: how long they
// wait is tried elsewhere.
func (s *soak) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, _ = s.visitor.Post(ctx, "/dashboard/databases/"+string(s.database)+"/backups", nil)
	_ = stack.Exec(ctx, s.Own.SuperuserURL("remora"), "UPDATE backups SET retry_at = now() WHERE state = 'queued' AND retry_at > now()",
		"UPDATE river.river_job SET scheduled_at = now() WHERE kind = 'run_backup' AND state IN ('scheduled', 'retryable') AND scheduled_at > now() + interval '2 seconds'")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
