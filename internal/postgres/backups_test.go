package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

// first returns the one backup that finding a database has asked for.
func (b *bundle) first(t *testing.T, id remora.ResourceID) remora.Backup {
	t.Helper()
	view, err := b.Overview(t.Context(), id)
	if err != nil || len(view.Backups) == 0 {
		t.Fatal(view, err)
	}
	return view.Backups[0]
}

func TestFindingADatabaseBacksItUpAndSchedulesIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	view, err := b.Overview(ctx, id)
	if err != nil || len(view.Databases) != 1 || len(view.Backups) != 1 || view.Backups[0].State != remora.BackupQueued || b.jobs(t, "run_backup") != 1 {
		t.Fatalf("%+v %v", view, err)
	}
	if next := view.Databases[0].NextRunAt; !next.After(view.Now) || next.Sub(view.Now) > 24*time.Hour {
		t.Errorf("next run %v", next)
	}
	// Seeing it again changes nothing; not seeing it marks it and keeps its backups; seeing it once more revives it.
	found := []postgres.Found{{AddonID: "id-db-1", Addon: "db-1", Attachment: "X", Credential: "remora_ro"}}
	for _, step := range []struct {
		found []postgres.Found
		state remora.DatabaseState
	}{{found, remora.DatabaseActive}, {nil, remora.DatabaseDetached}, {found, remora.DatabaseActive}} {
		if err := b.SaveFound(ctx, id, "helper", step.found); err != nil {
			t.Fatal(err)
		}
		view, err := b.Overview(ctx, id)
		if err != nil || len(view.Databases) != 1 || view.Databases[0].State != step.state || len(view.Backups) != 1 {
			t.Errorf("%+v %v", view, err)
		}
	}
}

func TestDatabasesBeyondThePlanAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1", "db-2", "db-3")
	view, err := b.Overview(t.Context(), id)
	if err != nil || len(view.Databases) != 3 {
		t.Fatal(view, err)
	}
	if d := view.Databases[2]; d.State != remora.DatabaseRefused || !contains(d.Problem, "larger plan") {
		t.Errorf("%+v", d)
	}
	if _, err := b.RequestBackup(t.Context(), id, view.Databases[2].ID, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
}

// What is attached later, under whatever name, never takes the place of a database that is protected; a place that
// comes free goes to the one that has waited longest.
func TestANewDatabaseTakesNobodysPlace(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-m", "db-n") // as many as the plan protects
	steps := []struct {
		attached string
		want     string
	}{
		{"z m n", "m active, n active, z refused"},
		{"a z m n", "m active, n active, z refused, a refused"},
		{"a z n", "m detached, n active, z active, a refused"},
		{"a m n z", "m refused, n active, z active, a refused"},
		{"a m n", "m active, n active, z detached, a refused"},
	}
	for i, step := range steps {
		b.ahead += time.Minute
		var found []postgres.Found
		for _, a := range strings.Fields(step.attached) {
			found = append(found, postgres.Found{AddonID: "id-db-" + a, Addon: "db-" + a, OwnerApp: "shop", Attachment: strings.ToUpper(a), Credential: "remora_ro"})
		}
		if err := b.SaveFound(t.Context(), id, "helper", found); err != nil {
			t.Fatal(err)
		}
		view, err := b.Overview(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range view.Databases {
			got = append(got, strings.TrimPrefix(d.Addon, "db-")+" "+string(d.State))
		}
		if got := strings.Join(got, ", "); got != step.want {
			t.Errorf("step %d: %s instead of %s", i, got, step.want)
		}
	}
}

// between calls a function before the statement whose text holds a word, once.
type between struct {
	word string
	once sync.Once
	do   func()
}

func (b *between) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.Contains(q.SQL, b.word) {
		b.once.Do(b.do)
	}
	return ctx
}

func (*between) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The live backup ends between our insert, which it made conflict, and our look at it.
func TestABackupThatEndsMeanwhileIsFollowedByANewOne(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	old := b.first(t, id)
	cfg := b.pool.Config()
	cfg.ConnConfig.Tracer = &between{word: "name: LiveBackup", do: func() {
		if err := b.CancelBackup(t.Context(), id, old.ID, "p"); err != nil {
			t.Error(err)
		}
	}}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	traced, err := postgres.New(postgres.Config{Pool: pool, Keys: b.Keys})
	if err != nil {
		t.Fatal(err)
	}
	got, err := traced.RequestBackup(t.Context(), id, old.Database, "p")
	if err != nil || got == old.ID {
		t.Fatal(got, err)
	}
	if view, err := b.Overview(t.Context(), id); err != nil || view.Backups[0].ID != got || view.Backups[0].State != remora.BackupQueued || b.jobs(t, "run_backup") != 2 {
		t.Errorf("%+v %v", view.Backups, err)
	}
}

func TestRunEndsWell(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	first := b.first(t, id)
	c, err := b.ClaimBackup(ctx, first.ID, "w1")
	if err != nil || c.Epoch != 1 || c.Attempt != 1 || c.Resource.ID != id || c.Database.Addon != "db-1" || c.HelperAppID() != "app-id" {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := b.ClaimBackup(ctx, first.ID, "w2"); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Errorf("claimed twice: %v", err)
	}
	if again, err := b.RequestBackup(ctx, id, c.Database.ID, "p"); err != nil || again != first.ID {
		t.Errorf("a request beside a live backup: %s %v", again, err)
	}
	if err := b.Beat(ctx, c, remora.Progress{State: remora.RunDumping, Bytes: 7, BytesOut: 3, TablesDone: 1, TablesTotal: 2, Current: "t"}); err != nil {
		t.Fatal(err)
	}
	if p := b.first(t, id).Progress; p == nil || p.Bytes != 7 || p.BytesOut != 3 || p.TablesTotal != 2 {
		t.Errorf("%+v", p)
	}
	kept := remora.Kept{ServerVersion: "15.18", ClientMajor: 15, PlainSize: 10, Objects: []remora.Object{{Name: "head", Size: 12, SHA256: []byte{1}}}}
	if err := b.KeepBackup(ctx, c, kept); err != nil {
		t.Fatal(err)
	}
	if got := b.first(t, id); got.State != remora.BackupVerified || got.StoredSize != 12 || got.Progress != nil {
		t.Errorf("%+v", got)
	}
	if err := b.KeepBackup(ctx, c, kept); remora.KindOf(err) != remora.KindStale {
		t.Errorf("kept twice: %v", err)
	}
}

// What a worker does after it was overtaken changes nothing.
func TestStaleRunFinishesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.Lease = time.Microsecond })
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id).ID
	old, err := b.ClaimBackup(ctx, backup, "w1")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := b.TakeBackLost(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := b.first(t, id); got.State != remora.BackupQueued || b.jobs(t, "run_backup") != 2 {
		t.Fatalf("%+v", got)
	}
	fresh, err := b.ClaimBackup(ctx, backup, "w2")
	if err != nil || fresh.Epoch != 2 || fresh.Attempt != 2 {
		t.Fatalf("%+v %v", fresh, err)
	}
	_, failed := b.FailRun(ctx, old, &remora.Failure{Reason: remora.ReasonInternal}, "")
	for name, err := range map[string]error{
		"beat": b.Beat(ctx, old, remora.Progress{State: remora.RunDumping}), "keep": b.KeepBackup(ctx, old, remora.Kept{}),
		"fail": failed, "release": b.ReleaseRun(ctx, old),
	} {
		if remora.KindOf(err) != remora.KindStale {
			t.Errorf("%s by a stale run: %v", name, err)
		}
	}
	if got := b.first(t, id); got.State != remora.BackupRunning || got.Epoch != 2 {
		t.Errorf("%+v", got)
	}
	if live, err := b.IsLive(ctx, backup, 1); live || err != nil {
		t.Error("the old run is live", err)
	}
	if live, err := b.IsLive(ctx, backup, 2); !live || err != nil {
		t.Error("the new run is not", err)
	}
}

// Done a second after the lease has ended, and nobody has taken the run back: the good backup is kept.
func TestALateEndIsKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.Lease = time.Microsecond })
	ctx := t.Context()
	id := b.resource(t, "db-1")
	c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Beat(ctx, c, remora.Progress{State: remora.RunConfirming}); remora.KindOf(err) != remora.KindStale {
		t.Errorf("a beat renewed a lease that had ended: %v", err)
	}
	if err := b.KeepBackup(ctx, c, remora.Kept{}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.TakeBackLost(ctx); n != 0 || err != nil {
		t.Error(n, err)
	}
	if got := b.first(t, id); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.RetryAfter = []time.Duration{time.Hour} })
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id).ID
	claim := func() postgres.Claim {
		t.Helper()
		c, err := b.ClaimBackup(ctx, backup, "w")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if retried, err := b.FailRun(ctx, claim(), &remora.Failure{Reason: remora.ReasonUnreachable, Detail: "no answer"}, ""); !retried || err != nil {
		t.Fatal(retried, err)
	}
	if got := b.first(t, id); got.State != remora.BackupQueued || got.RetryAt.IsZero() || got.Detail != "no answer" {
		t.Errorf("%+v", got)
	}
	if _, err := b.ClaimBackup(ctx, backup, "w"); !errors.Is(err, postgres.ErrBusy) {
		t.Errorf("claimed before its time: %v", err)
	}
	b.ahead = 2 * time.Hour
	if retried, err := b.FailRun(ctx, claim(), &remora.Failure{Reason: remora.ReasonUnreachable}, ""); retried || err != nil {
		t.Errorf("after the last attempt: %v %v", retried, err)
	}
	if got := b.first(t, id); got.State != remora.BackupFailed || got.Attempts != 2 {
		t.Errorf("%+v", got)
	}
	again, err := b.RequestBackup(ctx, id, b.first(t, id).Database, "p")
	if err != nil || again == backup {
		t.Fatal(again, err)
	}
	backup = again
	if err := b.ReleaseRun(ctx, claim()); err != nil {
		t.Fatal(err)
	}
	if got := b.first(t, id); got.State != remora.BackupQueued || got.Attempts != 0 {
		t.Errorf("a released run was counted: %+v", got)
	}
	if retried, err := b.FailRun(ctx, claim(), &remora.Failure{Reason: remora.ReasonPermission}, "GRANT …"); retried || err != nil {
		t.Errorf("what the customer must mend is not tried again: %v %v", retried, err)
	}
	if got := b.first(t, id); got.State != remora.BackupFailed || got.Fix != "GRANT …" {
		t.Errorf("%+v", got)
	}
}

func TestCancelAndDeprovisionEndTheRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1", "db-2")
	view, err := b.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.ClaimBackup(ctx, view.Backups[0].ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ClaimBackup(ctx, view.Backups[1].ID, "w"); !errors.Is(err, postgres.ErrBusy) {
		t.Errorf("mako runs one at a time: %v", err)
	}
	if err := b.CancelBackup(ctx, id, one.Backup, "p"); err != nil {
		t.Fatal(err)
	}
	if err := b.Beat(ctx, one, remora.Progress{State: remora.RunDumping}); remora.KindOf(err) != remora.KindStale {
		t.Errorf("the worker of a canceled backup goes on: %v", err)
	}
	if err := b.CancelBackup(ctx, id, one.Backup, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	two, err := b.ClaimBackup(ctx, view.Backups[1].ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.KeepBackup(ctx, two, remora.Kept{}); remora.KindOf(err) != remora.KindStale {
		t.Errorf("a run outlived its resource: %v", err)
	}
}

// Whoever waits for a backup's row holds nothing that its holder may want next: neither the run nor the resource.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for name, write := range map[string]func(context.Context, postgres.Claim) error{
		"keep":    func(ctx context.Context, c postgres.Claim) error { return b.KeepBackup(ctx, c, remora.Kept{}) },
		"release": b.ReleaseRun,
		"fail": func(ctx context.Context, c postgres.Claim) error {
			_, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonInternal}, "")
			return err
		},
		"cancel": func(ctx context.Context, c postgres.Claim) error {
			return b.CancelBackup(ctx, c.Resource.ID, c.Backup, "p")
		},
		"deprovision": func(ctx context.Context, c postgres.Claim) error { return b.DeprovisionResource(ctx, c.Resource.ID) },
		"claim": func(ctx context.Context, c postgres.Claim) error {
			if _, err := b.ClaimBackup(ctx, c.Backup, "w2"); !errors.Is(err, postgres.ErrNothingToDo) {
				return err
			}
			return nil
		},
	} {
		ctx := t.Context()
		id := b.resource(t, "db-1")
		c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
		if err != nil {
			t.Fatal(err)
		}
		holder := b.hold(t, "SELECT FROM backups WHERE id = $1 FOR UPDATE", c.Backup)
		ended := make(chan error, 1)
		go func() { ended <- write(ctx, c) }()
		b.waits(t, 1)
		_, run := holder.Exec(ctx, "SELECT FROM runs WHERE id = $1 FOR UPDATE NOWAIT", c.Run)
		if run == nil { // a row beside the resource's, as the audit log's is
			_, run = holder.Exec(ctx, "SELECT FROM resources WHERE id = $1 FOR KEY SHARE NOWAIT", id)
		}
		if run != nil {
			t.Errorf("%s waits for the backup and holds what comes after it: %v", name, run)
		}
		if err := errors.Join(holder.Rollback(ctx), <-ended); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The round that takes lost runs back waits for nobody: what is locked has somebody at work on it.
func TestTakingBackWaitsForNobody(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.Lease = time.Microsecond })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	id := b.resource(t, "db-1")
	c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ sql, id string }{
		{"SELECT FROM backups WHERE id = $1 FOR UPDATE", string(c.Backup)}, {"SELECT FROM runs WHERE id = $1 FOR UPDATE", string(c.Run)},
	} {
		holder := b.hold(t, row.sql, row.id)
		if n, err := b.TakeBackLost(ctx); n != 0 || err != nil {
			t.Errorf("%s: %d, %v", row.sql, n, err)
		}
		if err := holder.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.TakeBackLost(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// hold locks what the statement says until the transaction ends.
func (b *bundle) hold(t *testing.T, sql string, ids ...any) pgx.Tx {
	t.Helper()
	holder, err := b.pool.Begin(t.Context())
	if err == nil {
		_, err = holder.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)")
	}
	if err == nil {
		_, err = holder.Exec(t.Context(), sql, ids...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Rollback(context.Background()) }) // it may have ended
	return holder
}

// waits returns once so many wait for a lock, or one that might wait has ended.
func (b *bundle) waits(t *testing.T, n int, orEnded ...<-chan struct{}) {
	t.Helper()
	orEnded = append(orEnded, nil) // which nothing ever comes from
	for waiting := 0; waiting < n; {
		select {
		case <-orEnded[0]:
			return
		default:
		}
		err := b.pool.QueryRow(t.Context(), "SELECT count(*), pg_sleep(0.01)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting, new(string))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The end of a run beside what ends it from outside, as it comes.
func TestEndsThatMeetDoNotDeadlock(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	for i := range 30 {
		id := b.resource(t, "db-1")
		c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var errs [3]error
		wg.Go(func() {
			errs[0] = b.KeepBackup(ctx, c, remora.Kept{Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}})
		})
		wg.Go(func() { errs[1] = b.DeprovisionResource(ctx, id) })
		wg.Go(func() { errs[2] = b.CancelBackup(ctx, id, c.Backup, "p") })
		wg.Wait()
		for _, err := range errs {
			if err != nil && remora.KindOf(err) == remora.KindInternal {
				t.Fatalf("round %d: %v", i, err)
			}
		}
	}
}

// What is stored by a run that has ended and kept nothing is unwanted; what lives, is kept or is not known is not.
func TestUnwantedArchives(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) {
		c.RetryAfter = []time.Duration{time.Nanosecond, time.Nanosecond, time.Nanosecond}
	})
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id)
	claim := func() postgres.Claim {
		t.Helper()
		c, err := b.ClaimBackup(ctx, backup.ID, "w")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := remora.NewID[remora.ResourceID]()
	unwanted := func(when string, want ...int) {
		t.Helper()
		all := []postgres.Archive{{id, remora.NewID[remora.BackupID](), 1}, {other, backup.ID, 1}}
		for epoch := range 6 {
			all = append(all, postgres.Archive{Resource: id, Backup: backup.ID, Epoch: epoch})
		}
		found, err := b.Unwanted(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, a := range found {
			if a.Resource != id || a.Backup != backup.ID {
				t.Errorf("%s: %v", when, a)
			}
			got = append(got, a.Epoch)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v are unwanted, not %v", when, got, want)
		}
	}
	unwanted("before the first run")
	one := claim()
	unwanted("while it lasts")
	if _, err := b.FailRun(ctx, one, &remora.Failure{Reason: remora.ReasonUnreachable}, ""); err != nil {
		t.Fatal(err)
	}
	unwanted("after it has failed", 1)
	b.ahead = time.Minute
	two := claim()
	unwanted("beside the next", 1)
	if _, err := b.pool.Exec(ctx, "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE runs SET lease_until = now() - interval '1 s'; COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n, err := b.TakeBackLost(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	unwanted("after that was lost", 1, 2)
	three := claim()
	if err := b.KeepBackup(ctx, two, remora.Kept{}); remora.KindOf(err) != remora.KindStale {
		t.Error(err)
	}
	if err := b.KeepBackup(ctx, three, remora.Kept{Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
	unwanted("after one was kept", 1, 2)
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	unwanted("after the add-on was removed", 1, 2)
}

func TestScheduleComesOncePerDay(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	finish := func() {
		t.Helper()
		c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.KeepBackup(ctx, c, remora.Kept{}); err != nil {
			t.Fatal(err)
		}
	}
	finish()
	if n, err := b.EnqueueDue(ctx); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	for day := 1; day <= 3; day++ {
		b.ahead = time.Duration(day) * 24 * time.Hour
		if n, err := b.EnqueueDue(ctx); n != 1 || err != nil {
			t.Fatal(day, n, err)
		}
		if n, err := b.EnqueueDue(ctx); n != 0 || err != nil {
			t.Fatal(day, n, err)
		}
		finish()
	}
	if view, err := b.Overview(ctx, id); err != nil || len(view.Backups) != 4 {
		t.Error(len(view.Backups), err)
	}
}

func TestChecksComeRound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	b.resource(t, "db-1")
	if n, err := b.EnqueueChecks(ctx); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	b.ahead = 6 * time.Minute
	if n, err := b.EnqueueChecks(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// Clicks cost calls of a quota that all customers share: at most one check in 30 s, and none of the clicks is in vain.
func TestClicksAreOneCheckAWhile(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t) // SetReady has asked for one, and SaveFound has answered it
	other := b.resource(t)
	clicks := func(n int, after time.Duration, jobs int, when string) {
		t.Helper()
		b.ahead += after
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if err := b.RequestCheck(ctx, id, "anna"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var got int
		var last time.Time
		err := b.pool.QueryRow(ctx, "SELECT count(*), max(scheduled_at) FROM river.river_job WHERE kind = 'find_databases' AND args->>'asked' = 'true' AND args->>'resource_id' = $1", id).Scan(&got, &last)
		view, verr := b.Overview(ctx, id)
		if err != nil || verr != nil || got != jobs {
			t.Errorf("%s: %d jobs instead of %d, %v %v", when, got, jobs, err, verr)
		}
		if late := last.Sub(view.Now); late > 30*time.Second || view.Resource.CheckedAt.After(view.Now.Add(30*time.Second)) {
			t.Errorf("%s: only in %v", when, late)
		}
	}
	clicks(50, 0, 1, "right after a listing")
	clicks(50, 10*time.Second, 1, "while that check waits")
	clicks(50, 25*time.Second, 2, "after it has run")
	if err := b.SaveFound(ctx, id, "helper", nil); err != nil { // what the first of them has listed, with another waiting
		t.Fatal(err)
	}
	clicks(50, time.Second, 2, "with one done and one waiting")
	clicks(50, time.Hour, 4, "an hour later: one now, and one that waits")
	if err := b.RequestCheck(ctx, other, "anna"); err != nil {
		t.Error(err)
	}
	if n := b.jobs(t, "find_databases"); n != 2+4+1 {
		t.Errorf("%d jobs: another resource's check waits for ours", n)
	}
	if n, err := b.EnqueueChecks(ctx); n != 0 || err != nil {
		t.Errorf("%d checks of a round right after clicks, %v", n, err)
	}
}

// A round takes on what the quota carries, longest unlisted first; with more resources each comes less often.
func TestChecksAreSpread(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.ChecksPerMinute = 3 })
	ctx := t.Context()
	var ids []remora.ResourceID
	for range 7 {
		b.ahead += time.Second
		ids = append(ids, b.resource(t))
	}
	b.ahead += time.Hour
	seen := map[string]int{}
	for minute, want := range []int{3, 3, 1, 0, 0} { // of the sixth minute on they come round again
		n := 0
		for {
			more, err := b.EnqueueChecks(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if more == 0 {
				break
			}
			n += more
		}
		if n != want {
			t.Errorf("minute %d: %d checks instead of %d", minute, n, want)
		}
		b.ahead += time.Minute + time.Millisecond
	}
	rows, err := b.pool.Query(ctx, "SELECT args->>'resource_id' FROM river.river_job WHERE kind = 'find_databases' ORDER BY id OFFSET 7")
	if err != nil {
		t.Fatal(err)
	}
	order, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(order) != 7 {
		t.Fatal(order, err)
	}
	for i, id := range order {
		seen[id]++
		if i/3 != indexOf(ids, id)/3 || seen[id] != 1 {
			t.Errorf("%d: resource %d", i, indexOf(ids, id))
		}
	}
}

func indexOf(ids []remora.ResourceID, id string) int { return slices.Index(ids, remora.ResourceID(id)) }

func TestLinks(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id).ID
	if _, _, err := b.MakeLink(ctx, id, backup, "p", time.Hour); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("a link to a queued backup: %v", err)
	}
	c, err := b.ClaimBackup(ctx, backup, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.KeepBackup(ctx, c, remora.Kept{}); err != nil {
		t.Fatal(err)
	}
	link, token, err := b.MakeLink(ctx, id, backup, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if whose, got, err := b.UseLink(ctx, token, "ip"); err != nil || whose != id || got.ID != backup {
		t.Error(whose, got, err)
	}
	if _, _, err := b.UseLink(ctx, "x", "ip"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if err := b.RevokeLink(ctx, id, link.Backup, link.ID, "p"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.UseLink(ctx, token, "ip"); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	_, second, err := b.MakeLink(ctx, id, backup, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b.ahead = 61 * time.Minute
	if _, _, err := b.UseLink(ctx, second, "ip"); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if links, err := b.Links(ctx, id, backup); err != nil || len(links) != 2 {
		t.Error(links, err)
	}
}

// What a run took of memory is known to the next one, and that one needed more than it had to the next attempt.
func TestMemoryIsRemembered(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id).ID
	c, err := b.ClaimBackup(ctx, backup, "w")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonMoreMemory}, ""); !again || err != nil {
		t.Fatal(again, err)
	}
	if h, err := b.History(ctx, backup); err != nil || h != (postgres.History{NeedsMore: true}) {
		t.Errorf("%+v %v", h, err)
	}
	b.ahead = time.Hour
	if c, err = b.ClaimBackup(ctx, backup, "w"); err != nil {
		t.Fatal(err)
	}
	if err := b.KeepBackup(ctx, c, remora.Kept{Tables: 3, PeakMemory: 7 << 30}); err != nil {
		t.Fatal(err)
	}
	next, err := b.RequestBackup(ctx, id, c.Database.ID, "p")
	if err != nil {
		t.Fatal(err)
	}
	if h, err := b.History(ctx, next); err != nil || h != (postgres.History{Known: true, Tables: 3, PeakMemory: 7 << 30}) {
		t.Errorf("%+v %v", h, err)
	}
}

func TestSignOnIsGoodOnceAndSessionsEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	s := remora.Session{Resource: b.resource(t), UserID: "u", Email: "o@example.com"}
	if err := b.OpenSession(ctx, s, "t1", "sso"); err != nil {
		t.Fatal(err)
	}
	if err := b.OpenSession(ctx, s, "t2", "sso"); remora.KindOf(err) != remora.KindForbidden {
		t.Errorf("used twice: %v", err)
	}
	if got, err := b.Session(ctx, "t1"); err != nil || got.Resource != s.Resource || got.Email != s.Email {
		t.Error(got, err)
	}
	b.ahead = 29 * time.Minute
	if _, err := b.Session(ctx, "t1"); err != nil {
		t.Error(err)
	}
	b.ahead = 58 * time.Minute
	if _, err := b.Session(ctx, "t1"); err != nil {
		t.Error("a session in use ended:", err)
	}
	b.ahead = 100 * time.Minute
	if _, err := b.Session(ctx, "t1"); remora.KindOf(err) != remora.KindUnauthorized {
		t.Error("an idle session goes on:", err)
	}
	if err := b.PurgeSessions(ctx); err != nil {
		t.Error(err)
	}
}

// A queued backup whose job is gone would keep its database from every later backup, and a resource without
// its job would never be ready.
func TestLostJobsAreMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	backup := b.first(t, b.resource(t, "db-1")).ID
	unready := remora.NewID[remora.ResourceID]()
	if _, err := b.ProvisionResource(ctx, provision(unready), redact.New("key"), "age1recipient"); err != nil {
		t.Fatal(err)
	}
	stranded := func(want int, when string) {
		t.Helper()
		if n, err := b.EnqueueStranded(ctx); n != want || err != nil {
			t.Errorf("%s: %d stranded, %v", when, n, err)
		}
	}
	set := func(set string) {
		t.Helper()
		if _, err := b.pool.Exec(ctx, "UPDATE river.river_job SET "+set+" WHERE args->>'backup_id' = $1 OR args->>'resource_id' = $2", backup, unready); err != nil {
			t.Fatal(err)
		}
	}
	b.ahead = time.Hour
	stranded(0, "with their jobs waiting")
	set("state = 'running', attempted_at = now()")
	stranded(0, "with a worker on them")
	set("attempted_at = now() - interval '1 hour'")
	stranded(2, "after the worker was killed")
	stranded(0, "with their new jobs")
	set("state = 'discarded', finalized_at = now()")
	b.ahead = 0
	stranded(0, "right after they were asked for")
	b.ahead = time.Hour
	stranded(2, "after the jobs were discarded")
	if _, err := b.ClaimBackup(ctx, backup, "w"); err != nil {
		t.Fatal(err)
	}
	if err := b.SetAttention(ctx, unready, remora.ReasonTokenRevoked); err != nil {
		t.Fatal(err)
	}
	set("state = 'discarded', finalized_at = now()")
	stranded(0, "once one runs and somebody must act on the other")
}

// What a customer's server says and names is in the server's encoding, and may hold anything: none of it may keep
// a run from beating or ending.
func TestForeignTextIsWrittenDownSomehow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id)
	bad := "caf\xe9\x00\x1b[2J\n" + strings.Repeat("é", 200_000)
	c, err := b.ClaimBackup(ctx, backup.ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Beat(ctx, c, remora.Progress{State: remora.RunDumping, Current: bad}); err != nil {
		t.Error(err)
	}
	if p := b.first(t, id).Progress; p == nil || !strings.HasPrefix(p.Current, "caf?") || len(p.Current) > 1024 {
		t.Errorf("%+v", p)
	}
	report := remora.Audit{Role: bad, Findings: []remora.Finding{{Code: "x", Severity: remora.SeverityDeny, Object: bad, Detail: bad, Fix: bad}}}
	if err := b.SaveAudit(ctx, c, report, remora.Server{Version: bad, Size: 1}); err != nil {
		t.Error(err)
	}
	if a, err := b.Audit(ctx, id, backup.ID); err != nil || len(a.Findings) != 1 || !strings.HasPrefix(a.Findings[0].Object, "caf?") || len(a.Findings[0].Fix) > 9000 {
		t.Errorf("%.200v %v", a, err)
	}
	if _, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonConnectionLost, Detail: bad}, bad); err != nil {
		t.Error(err)
	}
	if got := b.first(t, id); !strings.HasPrefix(got.Detail, "caf?") || strings.ContainsAny(got.Detail, "\x00\x1b") || len(got.Detail) > 70_000 {
		t.Errorf("%.80q", got.Detail)
	}
	b.ahead = time.Hour
	if c, err = b.ClaimBackup(ctx, backup.ID, "w"); err != nil {
		t.Fatal(err)
	}
	if err := b.KeepBackup(ctx, c, remora.Kept{ServerVersion: bad, ClientVersion: bad, ArchiveVersion: bad, Unexplained: bad}); err != nil {
		t.Error(err)
	}
}

// A page shows one moment: who writes between its statements would else leave it with what does not fit together.
func TestOverviewIsOfOneMoment(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	holder := b.hold(t, "LOCK TABLE proofs")
	var seen remora.Overview
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		seen, failed = b.Overview(t.Context(), id)
	}()
	b.waits(t, 1, done)
	var found []postgres.Found
	for _, a := range []string{"db-1", "db-2"} {
		found = append(found, postgres.Found{AddonID: "id-" + a, Addon: a, OwnerApp: "shop", Attachment: "REMORA_" + a, Credential: "remora_ro"})
	}
	err := b.SaveFound(t.Context(), id, "helper", found)
	if err == nil {
		err = holder.Rollback(t.Context())
	}
	if <-done; errors.Join(err, failed) != nil {
		t.Fatal(err, failed)
	}
	if len(seen.Databases) != 1 || len(seen.Backups) != 1 {
		t.Errorf("%d databases and %d backups", len(seen.Databases), len(seen.Backups))
	}
}
