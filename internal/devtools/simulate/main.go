// Command simulate shows that schedules miss nothing and run nothing twice, and that ten thousand of them at one instant are no
// trouble, and what a round of retention takes: through package postgres on a real server, with schedulers that are processes of their own and are killed
// again and again. Only the time is made up, and so is what a worker dumps. make simulate runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if child, err := asChild(ctx); child {
		return err
	}
	full := flag.Bool("full", false, "400 days of 10,000 schedules instead of 50 days of 1,000")
	only := flag.String("only", "", "years, herd or keep: one of the three")
	flag.Parse()
	y := years{schedules: 1_000, days: 50, step: 30 * time.Minute, calm: 1000, seed: uint64(time.Now().UnixNano()), kills: 40, out: os.Stdout} //nolint:gosec // any number will do
	if *full {
		y.schedules, y.days, y.kills, y.step = 10_000, 400, 200, time.Hour
	}
	h := herd{schedules: 10_000, rate: 100, out: os.Stdout}
	k := keep{databases: 50, hours: 200, out: os.Stdout}
	parts := []struct {
		name string
		url  *string
		run  func(context.Context) error
	}{{"years", &y.url, y.seeded}, {"herd", &h.url, func(ctx context.Context) error { _, err := h.run(ctx); return err }}, {"keep", &k.url, k.run}}
	return withServer(ctx, func(c *localpg.Cluster) (err error) {
		for _, p := range parts {
			if *only != "" && *only != p.name {
				continue
			}
			if *p.url, err = database(ctx, c, p.name); err != nil {
				return err
			}
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return nil
	})
}

// say writes a line of the report.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...) // to a terminal, or a test's log
}

func withServer(ctx context.Context, do func(*localpg.Cluster) error) (err error) {
	c, err := localpg.Start(ctx, localpg.Config{Settings: map[string]string{"shared_buffers": "512MB"}}) // a year's rows, as on any server of ours
	if err != nil {
		return err
	}
	defer func() {
		if e := c.Stop(); err == nil {
			err = e
		}
	}()
	return do(c)
}

// database makes one of ours, owned by a role that is no superuser, as on Heroku.
func database(ctx context.Context, c *localpg.Cluster, name string) (string, error) {
	admin, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer admin.Close(ctx) //nolint:errcheck // nothing is lost with it
	for _, sql := range []string{"CREATE ROLE " + name + " LOGIN PASSWORD '" + name + "'", "CREATE DATABASE " + name + " OWNER " + name} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("set up: %w", err)
		}
	}
	url := c.URL(name, name, name)
	pool, err := postgres.NewPool(ctx, url, 4)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	return url, postgres.Migrate(ctx, pool, slog.New(slog.NewTextHandler(io.Discard, nil)))
}
