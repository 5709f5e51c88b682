// Command load measures what backups cost our Postgres, and how many of them one server bears: ten thousand resources whose
// backups are made by a fake dumper, and some hundred real tiny databases that real workers back up, by one, two and four
// processes of each. docs/scale.md reckons from its figures. make load runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// load is one run.
type load struct {
	resources, history int // resources with a database each, and days of backups behind each
	real               int // databases that are really dumped
	processes          []int
	window             time.Duration // of measuring, for each number of processes; 0 is until all is done
	out                io.Writer
	lines              *json.Encoder // nil where nobody asked for it

	*stack.Stack
	counts *counting
}

func run(ctx context.Context) (err error) {
	if os.Getenv(roleEnv) != "" {
		return dumperMain(ctx, os.Getenv(roleEnv))
	}
	l := load{out: os.Stdout}
	processes := flag.String("processes", "1,2,4", "how many processes work at a time, one after the other")
	flag.IntVar(&l.resources, "resources", 10_000, "how many resources the fake dumper serves")
	flag.IntVar(&l.history, "history", 7, "how many daily backups each of them has already")
	flag.IntVar(&l.real, "real", 200, "how many tiny databases are really dumped")
	flag.DurationVar(&l.window, "window", 25*time.Second, "how long each number of processes is looked at")
	full := flag.Bool("full", false, "look at each until everything is backed up, with 30 backups behind each database")
	out := flag.String("out", "", "write the figures as lines of JSON to this file, too")
	root := flag.String("root", ".", "the checkout")
	flag.Parse()
	if *full {
		l.window, l.history = 0, 30
	}
	for _, n := range strings.Split(*processes, ",") {
		number, err := strconv.Atoi(n)
		if err != nil || number < 1 {
			return errors.New("-processes are numbers, separated by commas")
		}
		l.processes = append(l.processes, number)
	}
	if *out != "" {
		f, err := os.Create(*out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		l.lines = json.NewEncoder(f)
	}
	logs, err := os.CreateTemp("", "remora-load-*.log")
	if err != nil {
		return err
	}
	defer logs.Close() //nolint:errcheck // a log
	if err := l.run(ctx, stack.Config{Root: *root, Program: []string{filepath.Join(*root, "bin", "remora-demo")}, Logs: logs, OwnSettings: asInProduction}); err != nil {
		return fmt.Errorf("%w (the processes' log is in %s)", err, logs.Name())
	}
	return os.Remove(logs.Name())
}

// asInProduction is what the demo leaves out for speed. Each page's first change after a checkpoint is written down whole.
var asInProduction = map[string]string{
	"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "512MB", "max_connections": "250",
	"track_io_timing": "on", "autovacuum": "on", "max_wal_size": "2GB",
}

func (l *load) run(ctx context.Context, cfg stack.Config) (err error) {
	if l.Stack, err = stack.Start(ctx, cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if l.counts, err = l.count(ctx); err != nil {
		return err
	}
	web, err := l.Spawn("web", "WATCH_EVERY=30s", "TICK_EVERY=1h", "SWEEP_EVERY=1h", "EXPIRE_EVERY=1h")
	if err == nil {
		err = l.AwaitWeb(ctx, web)
	}
	if err != nil {
		return err
	}
	if l.real > 0 {
		if err := l.dumps(ctx); err != nil {
			return err
		}
	}
	return l.crowd(ctx)
}

// say writes a line of the report.
func (l *load) say(format string, args ...any) {
	_, _ = fmt.Fprintf(l.out, format+"\n", args...) // to a terminal, or a test's log
}

// tell reports one measurement, in words and for programs.
func (l *load) tell(what string, processes int, f figures) error {
	l.say("%-22s %2d  %s", what, processes, f)
	if l.lines == nil {
		return nil
	}
	return l.lines.Encode(struct {
		What      string `json:"what"`
		Processes int    `json:"processes"`
		figures
	}{what, processes, f})
}
