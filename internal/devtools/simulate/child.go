package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// role is what a child process is; it is this program once more.
const (
	roleEnv = "REMORA_SIMULATE"
	urlEnv  = "REMORA_SIMULATE_DATABASE"

	scheduler = "scheduler"
	dumper    = "dumper"
)

// asChild is a child's whole life, and tells whether this process is one. It ends with its standard input, so with its parent.
func asChild(ctx context.Context) (bool, error) {
	switch os.Getenv(roleEnv) {
	case scheduler:
		return true, schedulerMain(ctx, os.Getenv(urlEnv), os.Stdin, os.Stdout)
	case dumper:
		return true, dumperMain(ctx, os.Getenv(urlEnv), os.Stdin)
	}
	return false, nil
}

// schedulerMain does, for each instant that it reads, what a tick does, and what workers do in the meantime.
func schedulerMain(ctx context.Context, url string, in io.Reader, out io.Writer) error {
	var now atomic.Int64
	store, err := open(ctx, url, 3, func() time.Time { return time.Unix(now.Load(), 0).UTC() })
	if err != nil {
		return err
	}
	defer store.Pool.Close()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		at, what, _ := strings.Cut(lines.Text(), " ")
		sec, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return err
		}
		now.Store(sec)
		begun := time.Now()
		n, err := tick(ctx, store)
		took := time.Since(begun)
		if err == nil && what == "dump" {
			err = errors.Join(one(ctx, store, time.Unix(sec, 0).UTC()), dump(ctx, store, time.Unix(sec, 0).UTC()))
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, n, took.Nanoseconds()); err != nil {
			return err
		}
	}
	return nil
}

// tick is what the minute's round does about schedules.
func tick(ctx context.Context, store *postgres.Store) (due int, err error) {
	for _, round := range []func(context.Context) (int, error){store.BringBack, store.EnqueueDue, store.TakeBackLost, store.EndOccurrences} {
		for {
			n, err := round(ctx)
			if err != nil {
				return due, err
			}
			if n == 0 {
				break
			}
			due += n
		}
	}
	return due, nil
}

// one lets one of the backups that are queued go the whole way through the store, in every fourth tick.
func one(ctx context.Context, store *postgres.Store, now time.Time) error {
	if now.Unix()/60%4 != 0 {
		return nil
	}
	var ids []string
	err := asService(ctx, store.Pool, func(tx pgx.Tx) (err error) {
		rows, _ := tx.Query(ctx, "SELECT id::text FROM backups WHERE state = 'queued' LIMIT 1")
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	return work(ctx, store, remora.BackupID(ids[0]))
}

// dump ends most of the backups that are queued, as workers would by now; the rest goes on into the next tick. They are millions in
// a year, and ended by one statement; the next tick gives their occurrences their outcome, as it does after a deploy.
func dump(ctx context.Context, store *postgres.Store, now time.Time) error {
	return asService(ctx, store.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE backups b SET ended_at = $1, started_at = $1, epoch = 1, attempts = 1, reason = p.reason,
			       state = CASE p.reason WHEN '' THEN 'verified' WHEN 'canceled' THEN 'canceled' WHEN 'left_out' THEN 'incomplete' ELSE 'failed' END
			  FROM (SELECT id, CASE abs(hashtext(id::text)) % 40 WHEN 0 THEN 'unreachable' WHEN 1 THEN 'canceled' WHEN 2 THEN 'left_out' ELSE '' END AS reason
			          FROM backups WHERE state = 'queued' AND abs(hashtext(id::text || $2::text)) % 25 > 0 LIMIT 5000 FOR UPDATE SKIP LOCKED) p
			 WHERE b.id = p.id`, now, strconv.FormatInt(now.Unix(), 10))
		return err
	})
}

// work is one backup's run, with a dump that takes no time.
func work(ctx context.Context, store *postgres.Store, b remora.BackupID) error {
	c, err := store.ClaimBackup(ctx, b, scheduler)
	if err != nil {
		return nil //nolint:nilerr // the other process was first
	}
	if c.Backup[0] < '4' {
		_, err = store.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonPermission}, "")
	} else {
		err = store.KeepBackup(ctx, c, remora.Kept{Tables: 1, PlainSize: 1, Objects: []remora.Object{{Name: "head", Size: 1, SHA256: []byte{1}}}})
	}
	if remora.KindOf(err) == remora.KindStale {
		return nil // the other process ended it meanwhile
	}
	return err
}

// process is a child.
type process struct {
	role, url string

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, self) //nolint:gosec // this program itself
	p.cmd.Env = append(os.Environ(), roleEnv+"="+p.role, urlEnv+"="+p.url)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewScanner(out)
	return p.cmd.Start()
}

// ask tells a child the time; answer waits until it is done.
func (p *process) ask(at time.Time, what string) error {
	_, err := fmt.Fprintln(p.in, at.Unix(), what)
	return err
}

func (p *process) answer() (due int, took time.Duration, err error) {
	if !p.out.Scan() {
		return 0, 0, fmt.Errorf("the %s ended: %w", p.role, p.cmd.Wait())
	}
	_, err = fmt.Sscan(p.out.Text(), &due, (*int64)(&took))
	return due, took, err
}

// kill is kill -9, in the middle of whatever the child does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.in.Close()
	_ = p.cmd.Wait() // which tells of the kill
}

// stop ends a child that waits for its parent.
func (p *process) stop() error {
	if err := p.in.Close(); err != nil {
		return err
	}
	return p.cmd.Wait()
}
