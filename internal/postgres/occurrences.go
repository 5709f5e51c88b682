package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

const (
	// dueBatch is how many schedules one transaction of the tick takes on: some 200 ms of work.
	dueBatch = 1000
	// madeUp is how many occurrences of one schedule a transaction writes down. What a longer time without us has left is
	// done by the next ones.
	madeUp = 100
)

// EnqueueDue brings every schedule that is due up to now: for its newest occurrence a backup is queued, with its job,
// and those before it are written down as missed. An occurrence of a schedule that is paused, or of a database that is
// detached or refused or whose backup still runs, is written down as skipped. Any number may call it at once, in one process
// or in several: a schedule is claimed by one. It returns how many schedules were due; call again while that is not 0.
//
// What is due goes by the schedule's own next occurrence, never by when it was looked at. So a clock that is put back
// makes nothing due twice, and one that is put forward leaves nothing out.
func (s *Store) EnqueueDue(ctx context.Context) (int, error) {
	n, err := s.enqueueBatch(ctx)
	if err != nil || n < dueBatch {
		return n, err
	}
	// More is due than one transaction takes on. Two go on side by side: each claims what the other has not, and while one
	// reckons, the other's statements run. Each batch is a whole by itself, so a round that is broken off loses nothing.
	var wg sync.WaitGroup
	var ns [2]int
	var errs [2]error
	for i := range ns {
		wg.Go(func() {
			for full := true; full && errs[i] == nil; {
				var n int
				n, errs[i] = s.enqueueBatch(ctx)
				ns[i], full = ns[i]+n, n == dueBatch
			}
		})
	}
	wg.Wait()
	return n + ns[0] + ns[1], errors.Join(errs[0], errs[1])
}

func (s *Store) enqueueBatch(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) (err error) {
		n, err = t.bringUp(ctx, nil, false)
		return err
	})
	return n, err
}

// bringUpAll brings up all schedules that the transaction sees, or one database's.
func (t *tx) bringUpAll(ctx context.Context, database *string, removed bool) error {
	for {
		if n, err := t.bringUp(ctx, database, removed); err != nil || n == 0 {
			return err
		}
	}
}

func (t *tx) bringUp(ctx context.Context, database *string, removed bool) (int, error) {
	due, err := t.q.LockDueSchedules(ctx, pgsql.LockDueSchedulesParams{Now: &t.now, DatabaseID: database, Most: dueBatch})
	if err != nil {
		return 0, fmt.Errorf("find due schedules: %w", err)
	}
	if len(due) == 0 {
		return 0, nil
	}
	b := &bringing{now: t.now, removed: removed, times: map[remora.Rule]*schedule.Times{}, pools: map[string]remora.Pool{}}
	for _, d := range due {
		b.add(d)
	}
	return len(due), b.write(ctx, t)
}

// bringing is what is due, and where each schedule goes next, for statements that work on all of it at once.
type bringing struct {
	now     time.Time
	removed bool
	times   map[remora.Rule]*schedule.Times // many schedules go by one rule, and to read one costs more than all else here
	pools   map[string]remora.Pool          // of the backups

	backups     pgsql.InsertDueBackupsParams
	occurrences pgsql.InsertOccurrencesParams
	moves       pgsql.MoveSchedulesParams
}

// add takes on what one schedule has due.
func (b *bringing) add(row pgsql.LockDueSchedulesRow) {
	s := row.Schedule
	times := b.times[ruleOf(s)]
	if times == nil {
		times = timesOf(s)
		b.times[ruleOf(s)] = times
	}
	ran := orZero(s.RanAt)
	at := s.NextRunAt
	for range madeUp {
		next := times.Next(at)
		newest := next.IsZero() || next.After(b.now)
		skip := remora.Due{
			Database: remora.DatabaseState(row.DatabaseState), Paused: s.PausedAt != nil, Removed: b.removed, Newest: newest,
		}.Skip()
		if skip == remora.ReasonNone && tooSoon(times, row.Plan, at.Sub(ran)) {
			skip = remora.ReasonPlanInterval
		}
		b.occur(row, at, skip)
		if skip == remora.ReasonNone {
			ran = at
		}
		if next.IsZero() {
			next = at.AddDate(100, 0, 0) // nothing is due for longer than anybody looks ahead
		}
		if at = next; newest {
			break
		}
	}
	b.moves.Ids, b.moves.Nexts, b.moves.Rans = append(b.moves.Ids, s.ID), append(b.moves.Nexts, at), append(b.moves.Rans, ran)
}

// tooSoon tells whether a plan allows no backup yet: the schedule was made under a larger one. A schedule that fits the plan is
// never too soon, in a night that summer time shortens either.
func tooSoon(times *schedule.Times, slug string, since time.Duration) bool {
	plan, err := remora.PlanOf(slug)
	return err == nil && since < plan.MinInterval && times.Gap() < plan.MinInterval
}

func (b *bringing) occur(row pgsql.LockDueSchedulesRow, at time.Time, skip remora.Reason) {
	s, backup := row.Schedule, ""
	if skip == remora.ReasonNone {
		backup = string(remora.NewID[remora.BackupID]())
		b.pools[backup] = remora.PoolOf(row.Region)
		x := &b.backups
		x.Ids, x.Resources, x.Databases = append(x.Ids, backup), append(x.Resources, s.ResourceID), append(x.Databases, s.DatabaseID)
		x.Schedules, x.Occurrences = append(x.Schedules, s.ID), append(x.Occurrences, at)
	}
	o := &b.occurrences
	o.Schedules, o.Ats, o.Backups = append(o.Schedules, s.ID), append(o.Ats, at), append(o.Backups, backup)
	o.Resources, o.Databases = append(o.Resources, s.ResourceID), append(o.Databases, s.DatabaseID)
	o.Reasons = append(o.Reasons, string(skip))
}

// write queues the backups and their jobs, writes the occurrences down and moves the schedules on.
func (b *bringing) write(ctx context.Context, t *tx) error {
	b.backups.Now, b.occurrences.Now, b.moves.Now = b.now, b.now, &b.now
	queued, err := t.q.InsertDueBackups(ctx, b.backups)
	if err != nil {
		return fmt.Errorf("insert due backups: %w", err)
	}
	b.stillRunning(queued)
	if err := t.q.InsertOccurrences(ctx, b.occurrences); err != nil {
		return fmt.Errorf("insert occurrences: %w", err)
	}
	if err := t.q.MoveSchedules(ctx, b.moves); err != nil {
		return fmt.Errorf("move schedules: %w", err)
	}
	jobs := make([]river.InsertManyParams, len(queued))
	for i, id := range queued {
		jobs[i].Args = jobargs.RunBackup{Backup: remora.BackupID(id), Attempt: 1, Pool: b.pools[id]}
	}
	if len(jobs) == 0 {
		return nil
	}
	if _, err := t.s.queue.InsertManyFastTx(ctx, t.Tx, jobs); err != nil {
		return fmt.Errorf("enqueue due backups: %w", err)
	}
	return nil
}

// jumped is how far ahead of our clock a schedule must have been brought for the clock to have been set back.
const jumped = 10 * time.Minute

// BringBack makes schedules due again that were brought up to a time that has not come yet: our clock was set forward, and back. What
// was written down of times to come is forgotten, since they will come; but for one that got a backup, which is its outcome. Add-ons
// whose attachments were listed at such a time, or that were served then, were not. It returns how many schedules there were; call
// again while that is not 0.
func (s *Store) BringBack(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		later := t.now.Add(jumped)
		if err := t.q.ResourcesBack(ctx, &later); err != nil {
			return fmt.Errorf("bring add-ons back: %w", err)
		}
		ahead, err := t.q.LockAheadSchedules(ctx, pgsql.LockAheadSchedulesParams{After: t.now.Add(jumped), Most: dueBatch})
		if err != nil {
			return fmt.Errorf("find schedules that are ahead: %w", err)
		}
		if n = len(ahead); n == 0 {
			return nil
		}
		moves := pgsql.MoveSchedulesParams{Now: &t.now}
		for _, row := range ahead {
			next, ran := row.NextRunAt, orZero(row.RanAt)
			if at := timesOf(row).Next(t.now); !at.IsZero() && at.Before(next) {
				next = at
			}
			if ran.After(t.now) {
				ran = time.Time{}
			}
			moves.Ids, moves.Nexts, moves.Rans = append(moves.Ids, row.ID), append(moves.Nexts, next), append(moves.Rans, ran)
		}
		if err := t.q.ForgetAhead(ctx, pgsql.ForgetAheadParams{Schedules: moves.Ids, Now: t.now}); err != nil {
			return fmt.Errorf("forget what has not come: %w", err)
		}
		if err := t.q.MoveSchedules(ctx, moves); err != nil {
			return fmt.Errorf("bring schedules back: %w", err)
		}
		if err := t.q.PromiseBack(ctx, pgsql.PromiseBackParams{Schedules: moves.Ids, Now: &t.now}); err != nil {
			return fmt.Errorf("bring back what was promised: %w", err)
		}
		return nil
	})
	return n, err
}

// stillRunning turns the occurrences whose backup was not queued, since their database has a live one, into skipped ones.
func (b *bringing) stillRunning(queued []string) {
	is := make(map[string]bool, len(queued))
	for _, id := range queued {
		is[id] = true
	}
	for i, backup := range b.occurrences.Backups {
		if backup != "" && !is[backup] {
			b.occurrences.Backups[i], b.occurrences.Reasons[i] = "", string(remora.ReasonStillRunning)
		}
	}
}

// ended gives the occurrences of backups that have just ended their outcome.
func (t *tx) ended(ctx context.Context, state remora.BackupState, why remora.Reason, backups ...string) error {
	err := t.q.EndOccurrences(ctx, pgsql.EndOccurrencesParams{Backups: backups, Outcome: string(remora.OutcomeOf(state)), Reason: string(why), Now: &t.now})
	if err != nil {
		return fmt.Errorf("end occurrences: %w", err)
	}
	return nil
}

// EndOccurrences gives an outcome to occurrences whose backup has ended without that: it was ended by a process of an older
// release, while this one was being put in its place. It returns how many; call again while that is not 0.
func (s *Store) EndOccurrences(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		left, err := t.q.LockLeftOccurrences(ctx, dueBatch)
		if err != nil {
			return fmt.Errorf("find occurrences left behind: %w", err)
		}
		type end struct{ state, reason string }
		backups := map[end][]string{}
		for _, o := range left {
			e := end{o.State, o.Reason}
			backups[e] = append(backups[e], o.BackupID)
		}
		for e, ids := range backups {
			if err := t.ended(ctx, remora.BackupState(e.state), remora.Reason(e.reason), ids...); err != nil {
				return err
			}
		}
		n = len(left)
		return nil
	})
	return n, err
}

// occurrencesKept is how long an occurrence is kept at least. A schedule's newest are kept whatever their age, since its page shows them.
const occurrencesKept = 90 * day

// PurgeOccurrences forgets occurrences that ended long ago. Their backups are another matter. It returns how many; call again while that is
// not 0.
func (s *Store) PurgeOccurrences(ctx context.Context) (int, error) {
	n := int64(0)
	err := s.forService(ctx, func(t *tx) (err error) {
		before := t.now.Add(-occurrencesKept)
		n, err = t.q.PurgeOccurrences(ctx, pgsql.PurgeOccurrencesParams{Before: before, Newest: shownOccurrences, Most: dueBatch})
		if err != nil {
			return fmt.Errorf("purge occurrences: %w", err)
		}
		return nil
	})
	return int(n), err
}
