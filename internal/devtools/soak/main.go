// Command soak kills processes of the whole service at random moments while it makes backups, and looks whether what it
// promises still holds: with SIGKILL, and nobody who could clean up. make soak SECONDS=N runs it; it ends with another
// status than 0 at the first promise that is broken, and says with which seed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	seconds := flag.Int("seconds", 60, "how long to kill")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "where chance begins; the moments of an earlier run, but for what the machine adds") //nolint:gosec // any number will do
	root := flag.String("root", ".", "the checkout")
	flag.Parse()
	logs, err := os.CreateTemp("", "remora-soak-*.log")
	if err != nil {
		return err
	}
	defer logs.Close() //nolint:errcheck // a log
	s := &soak{seconds: *seconds, seed: *seed, root: *root, program: []string{filepath.Join(*root, "bin", "remora-demo")}, logs: logs, out: os.Stdout, round: 25 * time.Second}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("seed %d: %w (the processes' log is in %s)", *seed, err, logs.Name())
	}
	return os.Remove(logs.Name())
}
