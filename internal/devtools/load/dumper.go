package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// roleEnv makes this program a fake dumper, on the database that it names.
const roleEnv = "REMORA_LOAD_DUMPER"

// dumper starts this program once more, as a fake dumper.
func (l *load) dumper(ctx context.Context) (*sandbox.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self) //nolint:gosec // this program itself
	cmd.Env = append(os.Environ(), roleEnv+"="+l.Store.Pool.Config().ConnString())
	cmd.Stdout, cmd.Stderr = l.Logs, l.Logs
	return sandbox.Start(cmd, syscall.SIGKILL)
}

// dumperMain works the queue of the pool that real workers leave alone, with as many slots and connections as a worker has.
func dumperMain(ctx context.Context, url string) error {
	slots := 8 * runtime.GOMAXPROCS(0)
	pool, err := postgres.NewPool(ctx, url, int32(slots)+12) //nolint:gosec // a few
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		return err
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		return err
	}
	list := river.NewWorkers()
	river.AddWorker(list, &fakeDump{store: store})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: slog.New(slog.DiscardHandler), LeaderElectionDisabled: true, ID: fmt.Sprint("fake/", os.Getpid()),
		Queues: map[string]river.QueueConfig{jobargs.Backups(remora.PoolEU): {MaxWorkers: slots}},
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	return client.Stop(context.WithoutCancel(ctx))
}

// fakeDump asks of our database what a run asks (jobworkers/run_backup.go), in that order. What it leaves out is what is not
// ours: Heroku, the customer's server, pg_dump and the bucket.
type fakeDump struct {
	river.WorkerDefaults[jobargs.RunBackup]
	store *postgres.Store
}

// Work implements river.Worker.
func (w *fakeDump) Work(ctx context.Context, job *river.Job[jobargs.RunBackup]) error {
	b := job.Args.Backup
	if err := w.store.MayRun(ctx, b); errors.Is(err, postgres.ErrBusy) {
		return river.JobSnooze(postgres.BusyPause(err))
	}
	if _, err := w.store.History(ctx, b); err != nil {
		return err
	}
	c, err := w.store.ClaimBackup(ctx, b, "fake")
	switch {
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(postgres.BusyPause(err))
	case errors.Is(err, postgres.ErrNothingToDo):
		return nil
	case err != nil:
		return err
	}
	if err := w.store.EnterServer(ctx, c, string(c.Database.ID)+":5432"); err != nil {
		return err
	}
	key := remora.ServerKey{At: "db.example.com:5432", SHA256: bytes.Repeat([]byte{1}, 32)}
	if err := w.store.SaveAudit(ctx, c, audit, remora.Server{Version: "15.19", Size: 8 << 20, Key: key}); err != nil {
		return err
	}
	if err := w.store.Beat(ctx, c, remora.Progress{State: remora.RunConfirming, Bytes: 4 << 20, TablesDone: 20, TablesTotal: 20}); err != nil {
		return err
	}
	return w.store.KeepBackup(ctx, c, kept)
}

// What a run of a small database writes down.
var (
	audit = remora.Audit{Role: "remora_ro", Findings: []remora.Finding{
		{Code: "read_only", Severity: remora.SeverityInherent, Object: "remora_ro", Detail: "The credential cannot change anything that we looked at."},
		{Code: "reads_all", Severity: remora.SeverityInherent, Object: "public", Detail: "The credential can read every table of the database."},
	}}
	kept = remora.Kept{
		ServerVersion: "15.19", ClientVersion: "15.19", ClientMajor: 15, ArchiveVersion: "1.14", Tables: 20, Rows: 1000, PlainSize: 4 << 20, PeakMemory: 12 << 20,
		Objects: []remora.Object{object("body-000"), object("head"), object("contents")}, Witness: remora.Witness{Before: 1000, After: 1000}, Inventory: inventory(),
		Impact: remora.Impact{Held: time.Second, Watched: true},
	}
)

func object(name string) remora.Object {
	return remora.Object{Name: name, Size: 1 << 20, PlainSize: 1 << 20, SHA256: bytes.Repeat([]byte{7}, 32)}
}

func inventory() (all remora.Inventory) {
	for _, kind := range []string{"constraint", "function", "index", "sequence", "table", "trigger", "type", "view"} {
		all = append(all, remora.InventoryKind{Kind: kind, Count: 20, SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"})
	}
	return all
}
