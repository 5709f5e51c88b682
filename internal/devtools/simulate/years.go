package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// years lets time pass over schedules: two schedulers at once, which are killed and started again, whose clocks differ and jump,
// and which are both away for up to a day and a half at times; and people who pause and resume.
type years struct {
	url       string
	schedules int
	days      int
	kills     int           // about
	step      time.Duration // between two ticks, but for downtimes; in production it is a minute
	calm      int           // of so many steps, two are followed by a downtime, eight have a clock that jumps, six a pause or its end
	seed      uint64
	out       io.Writer

	random    *rand.Rand
	store     *postgres.Store // of the people
	now       time.Time
	children  [2]*process
	steps     int
	due       int // rows that ticks took on
	killed    int
	jumps     int
	downtimes int
	pauses    int
	jobs      int64
}

// begin is before the nights in which New York, Berlin and Lord Howe change their clocks, in this order.
var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const (
	day      = 24 * time.Hour
	progress = 20 * day // between two lines about it
)

func (y *years) run(ctx context.Context) (err error) {
	started := time.Now()
	y.random = rand.New(rand.NewPCG(y.seed, 1)) //nolint:gosec // it plays accidents
	y.now = begin
	if y.store, err = open(ctx, y.url, 2, func() time.Time { return y.now }); err != nil {
		return err
	}
	defer y.store.Pool.Close()
	if err := fill(ctx, y.store.Pool, y.schedules, begin, ruleOf); err != nil {
		return err
	}
	for i := range y.children {
		y.children[i] = &process{role: scheduler, url: y.url}
		if err := y.children[i].start(ctx); err != nil {
			return err
		}
	}
	defer func() {
		for _, c := range y.children {
			if e := c.stop(); err == nil {
				err = e
			}
		}
	}()
	end := y.end()
	chance := float64(y.kills) / float64(end.Sub(begin)/y.step)
	for said := begin; y.now.Before(end); {
		if err := y.pass(ctx, chance); err != nil {
			return err
		}
		if y.now.Sub(said) >= progress {
			said = y.now
			say(y.out, "  day %d of %d after %s: %d were due, %d killed, %d jumps, %d away", y.now.Sub(begin)/day, y.days, time.Since(started).Round(time.Second), y.due, y.killed, y.jumps, y.downtimes)
		}
	}
	if err := y.rest(ctx, end); err != nil {
		return err
	}
	if err := y.sweep(ctx); err != nil {
		return err
	}
	return y.report(ctx, time.Since(started))
}

// seeded is run, with the accidents' seed in its error.
func (y *years) seeded(ctx context.Context) error {
	if err := y.run(ctx); err != nil {
		return fmt.Errorf("%d days of %d schedules, seed %d: %w", y.days, y.schedules, y.seed, err)
	}
	return nil
}

func (y *years) end() time.Time { return begin.AddDate(0, 0, y.days) }

// rest lets what runs at the end come to an end of its own, and what was killed be found once its lease is over.
func (y *years) rest(ctx context.Context, end time.Time) error {
	for begun := time.Now(); time.Since(begun) < 30*lease; {
		if err := y.tick(ctx, -1, end, end); err != nil {
			return err
		}
		left, err := y.count(ctx, "SELECT count(*) FROM occurrences WHERE outcome = 'pending'")
		if err != nil || left == 0 {
			return err
		}
	}
	return nil
}

// pass is one step: an accident now and then, and a tick of both schedulers.
func (y *years) pass(ctx context.Context, chance float64) error {
	y.steps++
	ahead := y.step
	other := y.now.Add(time.Duration(y.random.IntN(181)-90) * time.Second) // two clocks are never the same
	switch x := y.random.IntN(y.calm); {
	case x < 2:
		y.downtimes++
		ahead = time.Duration(6+y.random.IntN(30)) * time.Hour
	case x < 10 && (y.now.Before(begin.Add(day)) || y.now.Add(day).After(y.end())): // no clock leaves the days that are compared
	case x < 6: // a clock is set hours forward, and back again before the next tick
		y.jumps++
		other = y.now.Add(time.Duration(1+y.random.IntN(12)) * time.Hour)
	case x < 10: // and the other way
		y.jumps++
		other = y.now.Add(-time.Duration(1+y.random.IntN(12)) * time.Hour)
	case x < 16:
		if err := y.pause(ctx); err != nil {
			return err
		}
	}
	victim := -1
	if y.random.Float64() < chance {
		victim = y.random.IntN(2)
	}
	if err := y.tick(ctx, victim, y.now, other); err != nil {
		return err
	}
	if y.steps%2000 == 0 {
		if err := y.sweep(ctx); err != nil {
			return err
		}
	}
	y.now = y.now.Add(ahead)
	return nil
}

// tick lets both schedulers work at once, one of them perhaps for a moment only.
func (y *years) tick(ctx context.Context, victim int, at ...time.Time) error {
	for i, c := range y.children {
		if err := c.ask(at[i], "dump"); err != nil {
			return err
		}
	}
	for i, c := range y.children {
		if i == victim {
			time.Sleep(time.Duration(y.random.IntN(8)) * time.Millisecond)
			y.killed++
			c.kill()
			if err := c.start(ctx); err != nil {
				return err
			}
			continue
		}
		due, _, err := c.answer()
		if err != nil {
			return err
		}
		y.due += due
	}
	return nil
}

// pause lets a person pause a schedule that goes on, or resume one that is paused.
func (y *years) pause(ctx context.Context) error {
	y.pauses++
	var id, db string
	var paused bool
	err := asService(ctx, y.store.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT resource_id::text, database_id::text, paused_at IS NOT NULL FROM schedules ORDER BY paused_at IS NULL, id OFFSET $1 LIMIT 1",
			[]int{0, y.random.IntN(y.schedules)}[y.random.IntN(2)]).Scan(&id, &db, &paused)
	})
	switch {
	case err != nil:
		return err
	case paused:
		return y.store.ResumeSchedule(ctx, remora.ResourceID(id), remora.DatabaseID(db), "a person")
	}
	return y.store.PauseSchedule(ctx, remora.ResourceID(id), remora.DatabaseID(db), "", "a person")
}

// sweep counts the jobs there are and takes them away, as River does with those that are done.
func (y *years) sweep(ctx context.Context) error {
	return asService(ctx, y.store.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM river.river_job WHERE kind = 'run_backup' AND (args->>'attempt')::int = 1")
		y.jobs += tag.RowsAffected()
		return err
	})
}

func (y *years) count(ctx context.Context, sql string) (n int64, err error) {
	err = asService(ctx, y.store.Pool, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&n) })
	return n, err
}

// report holds every schedule's occurrences against its rule, and prints what there was.
func (y *years) report(ctx context.Context, took time.Duration) error {
	wrong, all, err := y.compare(ctx)
	if err != nil {
		return err
	}
	say(y.out, "%d days, %d schedules in %d zones (%s), 2 scheduler processes: %d ticks of each, %s apart, in %s", y.days, y.schedules, len(zones), strings.Join(zones, ", "), y.steps, y.step, took.Round(time.Second))
	say(y.out, "  killed with SIGKILL and started again: %d; clocks that jumped 1 to 12 hours: %d; both away for 6 to 35 hours: %d; pauses and resumes: %d; seed %d", y.killed, y.jumps, y.downtimes, y.pauses, y.seed)
	say(y.out, "  %d occurrences, each once and with one outcome:", all)
	err = asService(ctx, y.store.Pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, "SELECT outcome || ' ' || reason, count(*) FROM occurrences GROUP BY 1 ORDER BY 2 DESC")
		var what string
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&what, &n}, func() error { say(y.out, "  %10d %s", n, what); return nil })
		return err
	})
	if err != nil {
		return err
	}
	errs := wrong
	for what, sql := range map[string]string{
		"occurrences without an outcome":             "SELECT count(*) FROM occurrences WHERE outcome = 'pending'",
		"backups without their occurrence":           "SELECT count(*) FROM backups b WHERE NOT EXISTS (SELECT FROM occurrences o WHERE o.backup_id = b.id AND o.schedule_id = b.schedule_id AND o.at = b.occurrence)",
		"occurrences that differ from their backups": "SELECT count(*) FROM occurrences o JOIN backups b ON b.id = o.backup_id WHERE (o.outcome = 'succeeded') <> (b.state IN ('verified', 'proven'))",
	} {
		n, err := y.count(ctx, sql)
		if err != nil {
			return err
		}
		say(y.out, "  %10d %s", n, what)
		if n != 0 {
			errs = append(errs, fmt.Errorf("%d %s", n, what))
		}
	}
	backups, err := y.count(ctx, "SELECT count(*) FROM backups")
	if err != nil {
		return err
	}
	say(y.out, "  %10d backups, and %d jobs that start them", backups, y.jobs)
	if backups != y.jobs {
		errs = append(errs, errors.New("not every backup had one job"))
	}
	return errors.Join(errs...)
}
