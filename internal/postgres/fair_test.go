package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// slots is a fake dumper: it takes one slot a backup, and notes whose each was.
type slots struct {
	river.WorkerDefaults[jobargs.RunBackup]
	store *postgres.Store
	large remora.ResourceID
	done  chan struct{}

	mu    sync.Mutex
	order []remora.ResourceID
	left  int
}

func (s *slots) Work(ctx context.Context, job *river.Job[jobargs.RunBackup]) error {
	c, err := s.store.ClaimBackup(ctx, job.Args.Backup, "w")
	switch {
	case errors.Is(err, postgres.ErrNothingToDo):
		return nil
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(postgres.BusyPause(err))
	case err != nil:
		return err
	}
	s.mu.Lock()
	s.order = append(s.order, c.Resource.ID)
	if c.Resource.ID != s.large {
		if s.left--; s.left == 0 {
			close(s.done)
		}
	}
	s.mu.Unlock()
	return s.store.KeepBackup(ctx, c, remora.Kept{Tables: 1})
}

// One resource with a thousand backups that were asked for first, beside a hundred with one each, on one worker's slot:
// each of the hundred waits one slot longer than without the thousand, at most. Waits are counted in slots.
func TestAThousandDelayNobodyByMoreThanOneSlot(t *testing.T) {
	t.Parallel()
	const others = 100
	alone, beside := waits(t, 0, others), waits(t, 1000, others)
	p99 := func(w []int) int { slices.Sort(w); return w[len(w)*99/100] }
	t.Logf("p99 wait of %d resources with one backup each, in slots: %d alone, %d behind a resource with 1000", others, p99(alone), p99(beside))
	if p99(beside) > p99(alone)+1 || beside[others-1] > alone[others-1]+1 {
		t.Errorf("they wait for %d slots instead of %d", p99(beside), p99(alone))
	}
}

// waits runs everything through River on one slot until the others are served, and returns how many slots each waited.
func waits(t *testing.T, thousand, others int) []int {
	t.Helper()
	b := newBundle(t, func(c *postgres.Config) { c.MaxAsked = 2000 })
	s := &slots{store: b.Store, left: others, done: make(chan struct{})}
	if thousand > 0 {
		s.large = b.resource(t)
		b.ask(t, s.large, thousand)
	}
	for range others {
		b.ask(t, b.resource(t), 1)
	}
	list := river.NewWorkers()
	river.AddWorker(list, s)
	river.AddWorker(list, river.WorkFunc(func(context.Context, *river.Job[jobargs.MakeReady]) error { return nil }))
	river.AddWorker(list, river.WorkFunc(func(context.Context, *river.Job[jobargs.FindDatabases]) error { return nil }))
	client, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Queues: map[string]river.QueueConfig{jobargs.QueueBackups: {MaxWorkers: 1, FetchCooldown: 1e6, FetchPollInterval: 2e6}},
	})
	if err == nil {
		err = client.Start(context.WithoutCancel(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-t.Context().Done():
	}
	if err := client.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	var out []int
	for i, id := range s.order {
		if id != s.large {
			out = append(out, i)
		}
	}
	return out[:others]
}

// ask makes databases and asks for a backup of each.
func (b *bundle) ask(t *testing.T, id remora.ResourceID, n int) {
	t.Helper()
	var dbs []string
	err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(t.Context(), `WITH s AS (SELECT set_config('remora.service', 'on', true))
			INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, state, found_at, seen_at)
			SELECT gen_random_uuid(), $1, 'a' || g, 'a', 'shop', 'A', 'ro', 'active', now(), now() FROM s, generate_series(1, $2) g RETURNING id::text`, string(id), n)
		if err == nil {
			dbs, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range dbs {
		if _, err := b.RequestBackup(t.Context(), id, remora.DatabaseID(db), "p"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClicksHaveALimit(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.MaxAsked = 3 })
	id := b.resource(t, "db-1") // whose first backup nobody has asked for
	b.ask(t, id, 3)
	var again, other remora.DatabaseID
	view, err := b.Overview(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range view.Backups {
		if x.RequestedBy == "" {
			other = x.Database
			if err := b.CancelBackup(t.Context(), id, x.ID, "p"); err != nil {
				t.Fatal(err)
			}
		} else {
			again = x.Database
		}
	}
	if _, err := b.RequestBackup(t.Context(), id, again, "p"); err != nil {
		t.Error("a click on what waits already:", err)
	}
	if _, err := b.RequestBackup(t.Context(), id, other, "p"); remora.KindOf(err) != remora.KindBusy || !contains(err.Error(), "3 backups") {
		t.Error(err)
	}
}

// Two resources on one server: as many runs read from it as may, and who may not is given back and comes again.
func TestAServerIsReadByFew(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.PerServer = 2 })
	ctx := t.Context()
	var claims []postgres.Claim
	for i := range 3 {
		c, err := b.ClaimBackup(ctx, b.first(t, b.resource(t, fmt.Sprint("db-", i))).ID, "w")
		if err != nil {
			t.Fatal(err)
		}
		err = b.EnterServer(ctx, c, "192.0.2.1:5432")
		if (err != nil) != (i == 2) || i == 2 && !errors.Is(err, postgres.ErrBusy) {
			t.Fatal(i, err)
		}
		claims = append(claims, c)
	}
	if err := b.EnterServer(ctx, claims[2], "192.0.2.1:5433"); err != nil {
		t.Error("another port is another server:", err)
	}
	if err := b.WaitForServer(ctx, claims[2]); err != nil {
		t.Fatal(err)
	}
	if x := b.first(t, claims[2].Resource.ID); x.State != remora.BackupQueued || x.Reason != remora.ReasonServerBusy || x.Attempts != 0 {
		t.Errorf("%+v", x)
	}
	if _, err := b.FailRun(ctx, claims[0], &remora.Failure{Reason: remora.ReasonPermission}, ""); err != nil {
		t.Fatal(err)
	}
	c, err := b.ClaimBackup(ctx, b.first(t, b.resource(t, "db-4")).ID, "w")
	if err == nil {
		err = b.EnterServer(ctx, c, "192.0.2.1:5432")
	}
	if err != nil {
		t.Error("a run has ended:", err)
	}
}

// Two that wait with two backups each have one turn each, and then do not wait for one another.
func TestTwoThatWereServedDoNotGiveWayToEachOther(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	of := map[remora.ResourceID][]remora.BackupID{}
	ids := []remora.ResourceID{b.resource(t), b.resource(t)}
	for _, id := range ids {
		b.ask(t, id, 2)
		o, err := b.Overview(t.Context(), id)
		if err != nil || len(o.Backups) != 2 {
			t.Fatalf("%+v %v", o.Backups, err)
		}
		for _, x := range o.Backups {
			of[id] = append(of[id], x.ID)
		}
	}
	for turn := range 2 {
		for _, id := range ids {
			c, err := b.ClaimBackup(t.Context(), of[id][turn], "w")
			if err == nil {
				err = b.KeepBackup(t.Context(), c, remora.Kept{Tables: 1})
			}
			if err != nil {
				t.Errorf("turn %d: %v", turn+1, err)
			}
		}
	}
}

// Whoever asks who has waited for longer does not look through what waits of those that were served: that they were is written down with
// the turn, and forgotten where a backup is given back.
func TestATurnPassesWhatElseWaits(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, other := b.resource(t), b.resource(t)
	b.ask(t, id, 3)
	b.ask(t, other, 1)
	passed := func(id remora.ResourceID) []string {
		return query[string](t, b, "SELECT state FROM backups WHERE passed AND resource_id = '"+string(id)+"'")
	}
	c, err := b.ClaimBackup(t.Context(), b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if got := passed(id); len(got) != 2 || got[0] != "queued" || got[1] != "queued" {
		t.Error(got)
	}
	if err := b.ReleaseRun(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := len(passed(id)); n != 2 || b.first(t, id).State != remora.BackupQueued {
		t.Error(n, "are passed after one was given back")
	}
	if got := passed(other); len(got) != 0 {
		t.Error("somebody else's:", got)
	}
}
