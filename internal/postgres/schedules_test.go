package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// at sets the store's clock to an instant; it goes on from there.
func (b *bundle) at(t *testing.T, now time.Time) {
	t.Helper()
	b.ahead = time.Until(now)
}

// exec changes rows beside the store.
func (b *bundle) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); "+sql+"; COMMIT"); err != nil {
		t.Fatal(err)
	}
}

// query reads one column of everybody's rows.
func query[T any](t *testing.T, b *bundle, sql string) []T {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	if err == nil {
		defer tx.Rollback(t.Context()) //nolint:errcheck // it only reads
		_, err = tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)")
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := tx.Query(t.Context(), sql)
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tick brings all schedules up, as a tick does.
func (b *bundle) tick(t *testing.T) {
	t.Helper()
	for {
		if n, err := b.EnqueueDue(t.Context()); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			return
		}
	}
}

// end brings the newest backup to an end.
func (b *bundle) end(t *testing.T, id remora.ResourceID, end func(context.Context, postgres.Claim) error) {
	t.Helper()
	c, err := b.ClaimBackup(t.Context(), b.first(t, id).ID, "w")
	if err == nil {
		err = end(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) good(ctx context.Context, c postgres.Claim) error {
	return b.KeepBackup(ctx, c, remora.Kept{})
}

// outcomes are those of a database's schedule, oldest first, each with its time of the day and its reason.
func (b *bundle) outcomes(t *testing.T, id remora.ResourceID, db remora.DatabaseID) string {
	t.Helper()
	s, err := b.Schedule(t.Context(), id, db)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range slices.Backward(s.Last) {
		x := o.At.Format("02 15:04 ") + string(o.Outcome)
		if o.Reason != "" {
			x += " " + string(o.Reason)
		}
		if o.Backup == "" && o.Outcome != remora.OutcomeSkipped || o.EndedAt.IsZero() != (o.Outcome == remora.OutcomePending) {
			t.Errorf("%+v", o)
		}
		out = append(out, x)
	}
	return strings.Join(out, ", ")
}

// scheduled is a resource on a plan, whose one database has had its first backup, and has a rule from an instant on.
func (b *bundle) scheduled(t *testing.T, plan string, from time.Time, rule remora.Rule) (remora.ResourceID, remora.DatabaseID) {
	t.Helper()
	id := b.resource(t, "db-1")
	if _, err := b.ChangePlan(t.Context(), id, plan); err != nil {
		t.Fatal(err)
	}
	b.end(t, id, b.good)
	db := b.first(t, id).Database
	b.at(t, from)
	if err := b.SetSchedule(t.Context(), id, db, rule, "anna@example.com"); err != nil {
		t.Fatal(err)
	}
	b.exec(t, "DELETE FROM occurrences; UPDATE schedules SET ran_at = NULL") // of the default rule, between now and from
	b.exec(t, "UPDATE backups SET state = 'canceled' WHERE state = 'queued'")
	return id, db
}

// may is a time of a May long after the tests.
func may(day, hour, minute int) time.Time {
	return time.Date(2040, 5, day, hour, minute, 0, 0, time.UTC)
}

var everySix = remora.Rule{Kind: remora.RuleEveryHours, Hours: 6, Minute: 60, Zone: "UTC"} // 01:00, 07:00, 13:00, 19:00

func TestEachOccurrenceHasOneOutcome(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.RetryAfter = []time.Duration{} })
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	for _, end := range []func(context.Context, postgres.Claim) error{
		b.good,
		func(ctx context.Context, c postgres.Claim) error { // the next one is due while this one runs
			b.at(t, may(1, 13, 1))
			b.tick(t)
			return b.KeepBackup(ctx, c, remora.Kept{LeftOut: "a view"})
		},
		func(ctx context.Context, c postgres.Claim) error {
			_, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonPermission}, "")
			return err
		},
		func(ctx context.Context, c postgres.Claim) error { return b.CancelBackup(ctx, id, c.Backup, "anna") },
	} {
		s, err := b.Schedule(t.Context(), id, db)
		if err != nil {
			t.Fatal(err)
		}
		b.at(t, s.NextRunAt.Add(time.Minute))
		b.tick(t)
		b.tick(t)
		if got := b.outcomes(t, id, db); !strings.HasSuffix(got, "pending") {
			t.Error(got)
		}
		b.end(t, id, end)
	}
	want := "01 01:00 succeeded, 01 07:00 failed left_out, 01 13:00 skipped still_running, 01 19:00 failed permission_denied, 02 01:00 skipped canceled"
	if got := b.outcomes(t, id, db); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if n, err := b.EndOccurrences(t.Context()); n != 0 || err != nil {
		t.Error("an occurrence was left without its outcome", n, err)
	}
}

// After a day without us, the newest occurrence runs and the others are written down.
func TestADayOfDowntimeIsMadeUpForOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	b.at(t, may(2, 2, 0))
	b.tick(t)
	b.end(t, id, b.good)
	b.at(t, may(2, 7, 0).Add(time.Second))
	b.tick(t)
	want := "01 01:00 skipped missed, 01 07:00 skipped missed, 01 13:00 skipped missed, 01 19:00 skipped missed, 02 01:00 succeeded, 02 07:00 pending"
	if got := b.outcomes(t, id, db); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// A longer time than one transaction makes up for is no other case.
func TestAMonthOfDowntime(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "great-white", may(1, 0, 0), remora.Rule{Kind: remora.RuleHourly, Minute: 30, Zone: "Asia/Kolkata"})
	b.at(t, may(31, 0, 1))
	b.tick(t)
	got := query[string](t, b, "SELECT outcome || ' ' || reason || ' ' || count(*) FROM occurrences GROUP BY outcome, reason ORDER BY 1")
	if want := []string{"pending  1", "skipped missed 719"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := b.outcomes(t, id, db); !strings.HasSuffix(got, "30 23:00 skipped missed, 31 00:00 pending") {
		t.Error(got)
	}
}

// Occurrences do not pile up for ever: old ones go, but for what a page shows and what has no outcome yet.
func TestOldOccurrencesAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "great-white", may(1, 0, 0), remora.Rule{Kind: remora.RuleHourly, Zone: "UTC"})
	b.at(t, may(31, 0, 1))
	b.tick(t) // 720 were due
	b.exec(t, "UPDATE occurrences SET outcome = 'pending', ended_at = NULL, backup_id = (SELECT id FROM backups WHERE schedule_id IS NULL) WHERE at = '2040-05-02 00:00Z'")
	shown := b.outcomes(t, id, db)
	for _, x := range []struct {
		days time.Duration
		want []int
	}{{89, []int{0}}, {91, []int{699, 0}}} {
		b.at(t, may(31, 0, 0).Add(x.days*24*time.Hour))
		for _, want := range x.want {
			if n, err := b.PurgeOccurrences(t.Context()); n != want || err != nil {
				t.Error(x.days, n, err)
			}
		}
	}
	got := query[string](t, b, "SELECT outcome || ' ' || count(*) FROM occurrences GROUP BY outcome ORDER BY 1")
	if want := []string{"pending 2", "skipped 19"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := b.outcomes(t, id, db); got != shown {
		t.Errorf("got\n%s, want\n%s", got, shown)
	}
}

// Clocks that jump make nothing due twice and leave nothing out.
func TestClocksJump(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	for _, now := range []time.Time{may(1, 1, 1), may(1, 0, 0), may(1, 1, 2), may(1, 20, 0), may(1, 7, 1), may(1, 13, 1), may(1, 19, 1), may(2, 1, 1)} {
		b.at(t, now)
		b.tick(t)
		if first := b.first(t, id); first.State == remora.BackupQueued {
			b.end(t, id, b.good)
		}
	}
	want := "01 01:00 succeeded, 01 07:00 skipped missed, 01 13:00 skipped missed, 01 19:00 succeeded, 02 01:00 succeeded"
	if got := b.outcomes(t, id, db); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	b.at(t, may(1, 12, 0)) // back once more, and a rule that would come earlier today
	if err := b.SetSchedule(t.Context(), id, db, remora.Rule{Kind: remora.RuleDaily, Minute: 13 * 60, Zone: "UTC"}, "anna"); err != nil {
		t.Fatal(err)
	}
	if s, err := b.Schedule(t.Context(), id, db); err != nil || !s.NextRunAt.Equal(may(2, 13, 0)) {
		t.Error("an occurrence was due before one that has been", s.NextRunAt, err)
	}
}

func TestNothingIsDueForNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	ctx := t.Context()
	found := []postgres.Found{{AddonID: "id-db-1", Addon: "db-1", Attachment: "X", Credential: "remora_ro"}}
	save := func(f []postgres.Found) error { return b.SaveFound(ctx, id, "helper", f) }
	refused := slices.Clone(found)
	refused[0].Problem = "The owner's credential."
	for _, step := range []struct {
		at time.Time
		do func() error
	}{
		{may(1, 0, 30), func() error { return b.PauseSchedule(ctx, id, db, " moving house ", "anna") }},
		{may(1, 7, 1), func() error { b.tick(t); return nil }},
		{may(1, 13, 1), func() error { return b.ResumeSchedule(ctx, id, db, "bert") }}, // which settles 13:00 first
		{may(1, 18, 0), func() error { return save(nil) }},
		{may(1, 19, 1), func() error { b.tick(t); return nil }},
		{may(2, 0, 0), func() error { return save(refused) }},
		{may(2, 1, 1), func() error { b.tick(t); return nil }},
		{may(2, 2, 0), func() error { return save(found) }},
		{may(2, 7, 1), func() error { b.tick(t); b.end(t, id, b.good); return nil }},
		{may(2, 13, 1), func() error { b.tick(t); return nil }},
		{may(2, 19, 1), func() error { return b.DeprovisionResource(ctx, id) }},
		{may(3, 19, 1), func() error { b.tick(t); return nil }},
	} {
		b.at(t, step.at)
		if err := step.do(); err != nil {
			t.Fatal(step.at, err)
		}
	}
	got := query[string](t, b, "SELECT to_char(at, 'DD HH24:MI') || ' ' || outcome || ' ' || reason FROM occurrences ORDER BY at")
	want := []string{
		"01 01:00 skipped paused", "01 07:00 skipped paused", "01 13:00 skipped paused", "01 19:00 skipped credential_detached",
		"02 01:00 skipped database_refused", "02 07:00 succeeded ", "02 13:00 skipped deprovisioned", "02 19:00 skipped deprovisioned",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPausesAreShownAndTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	shown := func() remora.Database {
		view, err := b.Overview(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return view.Databases[0]
	}
	for range 2 { // a second click changes nothing
		if err := b.PauseSchedule(ctx, id, db, "moving house", "anna"); err != nil {
			t.Fatal(err)
		}
	}
	if d := shown(); d.Pause == nil || d.Pause.By != "anna" || d.Pause.Why != "moving house" || !d.NextRunAt.IsZero() || d.Rule != everySix {
		t.Errorf("%+v", d)
	}
	if got, err := b.RequestBackup(ctx, id, db, "anna"); err != nil || got == "" {
		t.Error("a person may still ask:", err)
	}
	for range 2 {
		if err := b.ResumeSchedule(ctx, id, db, "bert"); err != nil {
			t.Fatal(err)
		}
	}
	if d := shown(); d.Pause != nil || !d.NextRunAt.Equal(may(1, 1, 0)) {
		t.Errorf("%+v", d)
	}
	events, err := b.Events(ctx, id, remora.EventLook{Most: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		if e.Kind == remora.EventPaused || e.Kind == remora.EventResumed {
			got = append(got, fmt.Sprint(e.Kind, " ", e.Database == db, " ", e.Detail))
		}
	}
	if want := []string{"resumed true bert", "paused true anna. Why: moving house"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestPlansHoldWhenSavedAndAfterwards(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	err := b.SetSchedule(ctx, id, db, remora.Rule{Kind: remora.RuleCron, Cron: "0 0,23 * * *", Zone: "Europe/Berlin"}, "anna")
	if remora.KindOf(err) != remora.KindPlanLimit || !contains(remora.Public(err, ""), "60 minutes apart") {
		t.Error(err)
	}
	if err := b.SetSchedule(ctx, id, db, remora.Rule{Kind: remora.RuleDaily, Minute: 1440, Zone: "UTC"}, "anna"); remora.KindOf(err) != remora.KindInvalid {
		t.Error(err)
	}
	if s, err := b.Schedule(ctx, id, db); err != nil || s.Rule != everySix || s.ChangedBy != "anna@example.com" || s.Plan.Slug != "mako" {
		t.Errorf("%+v %v", s, err)
	}
	b.exec(t, "UPDATE resources SET plan = 'test'") // one a day
	for h := 1; h < 36; h += 6 {
		b.at(t, may(1, h, 1))
		b.tick(t)
		if first := b.first(t, id); first.State == remora.BackupQueued {
			b.end(t, id, b.good)
		}
	}
	want := "01 01:00 succeeded, 01 07:00 skipped plan_interval, 01 13:00 skipped plan_interval, 01 19:00 skipped plan_interval, 02 01:00 succeeded, 02 07:00 skipped plan_interval"
	if got := b.outcomes(t, id, db); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// A schedule is nobody else's.
func TestSchedulesOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	_, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	other := b.resource(t)
	_, err := b.Schedule(ctx, other, db)
	for what, err := range map[string]error{
		"read": err, "set": b.SetSchedule(ctx, other, db, everySix, "x"), "pause": b.PauseSchedule(ctx, other, db, "", "x"), "resume": b.ResumeSchedule(ctx, other, db, "x"),
	} {
		if remora.KindOf(err) != remora.KindNotFound {
			t.Error(what, err)
		}
	}
}

// Two schedulers at once, on schedules that people change and pause meanwhile: every occurrence is one.
func TestSchedulersAndPeopleAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1", "db-2")
	if _, err := b.ChangePlan(ctx, id, "great-white"); err != nil {
		t.Fatal(err)
	}
	view, err := b.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	hourly := remora.Rule{Kind: remora.RuleHourly, Minute: 0, Zone: "UTC"}
	for _, d := range view.Databases {
		if err := b.SetSchedule(ctx, id, d.ID, hourly, "p"); err != nil {
			t.Fatal(err)
		}
	}
	for hour := 1; hour <= 5; hour++ {
		b.ahead = time.Duration(hour) * time.Hour
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 3 {
					if _, err := b.EnqueueDue(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, d := range view.Databases {
			wg.Go(func() {
				err := b.PauseSchedule(ctx, id, d.ID, "", "p")
				if err == nil {
					err = b.ResumeSchedule(ctx, id, d.ID, "p")
				}
				if err == nil {
					err = b.SetSchedule(ctx, id, d.ID, hourly, "p")
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	for _, d := range view.Databases {
		s, err := b.Schedule(ctx, id, d.ID)
		if err != nil || len(s.Last) != 5 {
			t.Errorf("%+v %v", s.Last, err)
		}
		for i, o := range s.Last {
			if want := s.NextRunAt.Add(-time.Duration(i+1) * time.Hour); !o.At.Equal(want) {
				t.Error(o.At, want)
			}
		}
	}
}

// A backup's end and the tick that finds its schedule due again meet: the tick holds the schedule and waits for the backup, so who
// ends the backup must not wait for the schedule, even as a row that others point at.
func TestTheTickMeetsTheEndOfABackup(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, _ := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	b.at(t, may(1, 1, 1))
	b.tick(t)
	c, err := b.ClaimBackup(t.Context(), b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	b.exec(t, "UPDATE databases SET prove_at = NULL")
	holder := b.hold(t, "SELECT FROM databases WHERE id = $1 FOR NO KEY UPDATE", c.Database.ID) // in the middle of the end
	ended, ticked := make(chan error, 1), make(chan struct{})
	go func() { ended <- b.good(t.Context(), c) }()
	b.waits(t, 1)
	b.at(t, may(1, 7, 1))
	var tick error
	go func() {
		_, tick = b.EnqueueDue(t.Context())
		close(ticked)
	}()
	b.waits(t, 2, ticked)
	err = errors.Join(holder.Rollback(t.Context()), <-ended)
	<-ticked
	if err := errors.Join(err, tick); err != nil {
		t.Error(err)
	}
}

// Rows are locked against those who change them, never against those that point at them.
func TestNoStatementLocksWhatIsPointedAt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		sql, err := os.ReadFile(f) //nolint:gosec // our own
		if err != nil || regexp.MustCompile(`FOR (UPDATE|SHARE)`).Match(sql) {
			t.Error(f, err)
		}
	}
}

// What a process of the release before has ended gets its outcome all the same.
func TestOccurrencesOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	b.at(t, may(1, 1, 1))
	b.tick(t)
	b.exec(t, "UPDATE backups SET state = 'failed', reason = 'unreachable', ended_at = now() WHERE state = 'queued'")
	for _, want := range []int{1, 0} {
		if n, err := b.EndOccurrences(t.Context()); n != want || err != nil {
			t.Error(n, err)
		}
	}
	if got := b.outcomes(t, id, db); got != "01 01:00 failed unreachable" {
		t.Error(got)
	}
}

// The tick asks for a backup at the moment in which the add-on is removed.
func TestABackupOfARemovedAddonEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, _ := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	b.at(t, may(1, 1, 1))
	b.tick(t)
	c := b.first(t, id)
	b.exec(t, "UPDATE resources SET state = 'deprovisioned', deprovisioned_at = now()")
	if _, err := b.ClaimBackup(t.Context(), c.ID, "w"); err != postgres.ErrNothingToDo { //nolint:errorlint // it is not wrapped
		t.Error(err)
	}
	got := query[string](t, b, "SELECT state || ' ' || outcome || ' ' || o.reason FROM backups b JOIN occurrences o ON o.backup_id = b.id")
	if !slices.Equal(got, []string{"canceled skipped deprovisioned"}) {
		t.Error(got)
	}
}

// What was removed is not looked at by every tick for ever.
func TestSchedulesOfARemovedAddonEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, _ := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.at(t, may(30, 0, 0))
	b.tick(t)
	if got := query[int](t, b, "SELECT count(*) FROM schedules WHERE next_run_at < '3000-01-01'"); got[0] != 0 {
		t.Error("a schedule of nobody is still due")
	}
	if got := query[int](t, b, "SELECT count(*) FROM occurrences"); got[0] != 0 {
		t.Error("it had occurrences after the removal", got)
	}
}

// More are due than one transaction takes on, and two bring them up side by side.
func TestThousandsAtOneInstantAreBroughtUpOnceEach(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const n = 3500
	b.exec(t, fmt.Sprintf(`INSERT INTO resources (id, name, plan, region, state, created_at) SELECT gen_random_uuid(), 'a', 'mako', 'us', 'active', now() FROM generate_series(1, %d);
		INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, state, found_at, seen_at)
			SELECT id, id, 'a', 'a', 'shop', 'A', 'ro', 'active', now(), now() FROM resources;
		INSERT INTO schedules (id, resource_id, database_id, minute, next_run_at) SELECT id, id, id, 60, '%s' FROM databases`, n, may(3, 1, 0).Format(time.RFC3339)))
	b.at(t, may(3, 1, 1))
	due, err := b.EnqueueDue(t.Context())
	if err != nil || due != n {
		t.Error(due, err)
	}
	if got := query[int](t, b, "SELECT count(DISTINCT backup_id) FROM occurrences")[0]; got != n || b.jobs(t, "run_backup") != n {
		t.Errorf("%d occurrences with a backup, %d jobs", got, b.jobs(t, "run_backup"))
	}
	if next := query[time.Time](t, b, "SELECT DISTINCT next_run_at FROM schedules"); len(next) != 1 || !next[0].Equal(may(4, 1, 0)) {
		t.Error(next)
	}
}

// The keys say whose a database is, so that nothing of one customer's can point at what is another's.
func TestARowCannotNameANeighboursDatabase(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.resource(t, "db-1")
	other := b.resource(t)
	for _, sql := range []string{
		"INSERT INTO backups (id, resource_id, database_id, state, queued_at) SELECT gen_random_uuid(), '" + string(other) + "', id, 'failed', now() FROM databases",
		"INSERT INTO occurrences (schedule_id, at, resource_id, database_id, outcome) SELECT id, now(), '" + string(other) + "', database_id, 'skipped' FROM schedules",
	} {
		_, err := b.pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); "+sql+"; COMMIT")
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "23503" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// Our clock is set a month forward, and back: schedules go on as if it had not been, and each time still has one outcome.
func TestAClockThatIsSetForwardAndBackStopsNoSchedule(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(1, 0, 0), everySix)
	b.at(t, may(1, 1, 1))
	b.tick(t)
	b.end(t, id, b.good)
	b.at(t, may(1, 13, 5)) // twelve hours are skipped
	b.at(t, may(2, 1, 5))
	b.tick(t)
	b.end(t, id, b.good)
	other := remora.Rule{Kind: remora.RuleDaily, Minute: 90, Zone: "UTC"}
	if err := b.SetSchedule(t.Context(), id, db, other, "p"); err != nil { // whoever changes it then
		t.Fatal(err)
	}
	if err := b.SetSchedule(t.Context(), id, db, everySix, "p"); err != nil {
		t.Fatal(err)
	}
	if n, err := b.EnqueueChecks(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.at(t, may(1, 1, 20)) // and come again
	for range 2 {
		if _, err := b.BringBack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := b.Schedule(t.Context(), id, db); err != nil || !s.NextRunAt.Equal(may(1, 7, 0)) {
		t.Error(s.NextRunAt, err)
	}
	for _, at := range []time.Time{may(1, 7, 0), may(1, 13, 0), may(1, 19, 0), may(2, 1, 0), may(2, 7, 0)} {
		b.at(t, at.Add(time.Second))
		b.tick(t)
		queued := query[string](t, b, "SELECT id::text FROM backups WHERE state = 'queued'")
		if (len(queued) == 1) != (at != may(2, 1, 0)) { // which had its backup before it came
			t.Errorf("%v: %d backups are queued", at, len(queued))
		}
		for _, x := range queued {
			c, err := b.ClaimBackup(t.Context(), remora.BackupID(x), "w")
			if err == nil {
				err = b.good(t.Context(), c)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	want := "01 01:00 succeeded, 01 07:00 succeeded, 01 13:00 succeeded, 01 19:00 succeeded, 02 01:00 succeeded, 02 07:00 succeeded"
	if got := b.outcomes(t, id, db); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if n, err := b.BringBack(t.Context()); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// Whoever saves other schedules again and again gets no more backups than the plan makes, and puts off nothing that was promised.
func TestSavingAgainAndAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	daily := func(hour, minute int) remora.Rule {
		return remora.Rule{Kind: remora.RuleDaily, Minute: hour*60 + minute, Zone: "UTC"}
	}
	id, db := b.scheduled(t, "mako", may(1, 0, 0), daily(1, 0))
	next := func() time.Time {
		t.Helper()
		s, err := b.Schedule(ctx, id, db)
		if err != nil {
			t.Fatal(err)
		}
		return s.NextRunAt
	}
	b.at(t, may(1, 1, 0).Add(time.Second))
	b.tick(t)
	b.end(t, id, b.good)
	for _, c := range []struct {
		rule remora.Rule
		want time.Time
	}{
		{daily(2, 0), may(2, 2, 0)}, // within six hours of the last
		{daily(7, 0), may(1, 7, 0)}, // just not
		{daily(1, 0), may(2, 1, 0)},
	} {
		if err := b.SetSchedule(ctx, id, db, c.rule, "anna"); err != nil || !next().Equal(c.want) {
			t.Errorf("%+v: next at %v, %v", c.rule, next(), err)
		}
	}
	changes := func() int {
		return query[int](t, b, "SELECT count(*) FROM audit_log WHERE action = 'change schedule'")[0]
	}
	was := changes()
	if err := b.SetSchedule(ctx, id, db, daily(1, 0), "anna"); err != nil || changes() != was {
		t.Error("the same rule is no change", err)
	}
	// It is due at 01:00 and not made; each hour somebody saves a time of the next day.
	b.at(t, may(2, 1, 1))
	b.tick(t)
	b.watch(t)
	for hour := 2; hour < 23; hour++ {
		b.at(t, may(2, hour, 0))
		if err := b.SetSchedule(ctx, id, db, daily(hour-1, 45), "anna"); err != nil {
			t.Fatal(err)
		}
		b.watch(t)
	}
	b.at(t, may(3, 4, 0))
	b.watch(t)
	if got := b.newsOf(t, id); !strings.Contains(got, "late") {
		t.Error("nobody heard of it:", got)
	}
}
