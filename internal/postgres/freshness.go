package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// firstID is before every identifier.
const firstID = "00000000-0000-0000-0000-000000000000"

// Watched is what one look at every database's freshness found.
type Watched struct {
	Databases map[remora.FreshnessState]int // in each state; every state is there
	Oldest    time.Duration                 // age of the oldest of the databases' newest verified backups, but for those that are paused
	Told      int                           // events that were written down
}

// WatchFreshness looks at every database that has a schedule, and writes down what has become of it since the last look,
// with the events that say so. It needs no job to have run: whoever calls it, often enough, knows who is late. Several may look
// at once: what has happened is written down once, under a lock on the database's own row. The error of one database does
// not keep it from the others: the first is returned, with how many there were.
func (s *Store) WatchFreshness(ctx context.Context) (Watched, error) {
	out := Watched{Databases: map[remora.FreshnessState]int{}}
	for _, state := range remora.FreshnessStates() {
		out.Databases[state] = 0
	}
	var errs failures
	for after, more := firstID, true; more; {
		rows, now, err := s.standings(ctx, after)
		if err != nil {
			return out, err
		}
		for _, row := range rows {
			f := row.standing().Freshness(now)
			out.Databases[f.State]++
			if f.State != remora.Paused {
				out.Oldest = max(out.Oldest, f.Age(now))
			}
			if next, events := row.watched().Turn(f); next == row.watched() && len(events) == 0 {
				continue
			}
			n, err := s.turn(ctx, row)
			out.Told += n
			errs.add(err)
		}
		if more = len(rows) == batch; more {
			after = rows[len(rows)-1].Schedule.DatabaseID
		}
	}
	return out, errs.err()
}

func (s *Store) standings(ctx context.Context, after string) (rows []standing, now time.Time, err error) {
	err = s.forService(ctx, func(t *tx) error {
		now = t.now
		rows, err = t.standings(ctx, pgsql.ListStandingsParams{After: after, Most: batch})
		return err
	})
	return rows, now, err
}

func (t *tx) standings(ctx context.Context, which pgsql.ListStandingsParams) ([]standing, error) {
	which.Now = t.now
	rows, err := t.q.ListStandings(ctx, which)
	if err != nil {
		return nil, fmt.Errorf("list how databases stand: %w", err)
	}
	out := make([]standing, len(rows))
	for i, row := range rows {
		out[i] = standing{row, t.now}
	}
	return out, nil
}

// turn writes down what has become of one database, as it is once its row is locked.
func (s *Store) turn(ctx context.Context, row standing) (told int, err error) {
	id, db := row.Schedule.ResourceID, row.Schedule.DatabaseID
	err = s.forResource(ctx, remora.ResourceID(id), func(t *tx) error {
		if err := t.q.AddFreshness(ctx, pgsql.AddFreshnessParams{DatabaseID: db, ResourceID: id, Now: t.now}); err != nil {
			return fmt.Errorf("add freshness: %w", err)
		}
		if _, err := t.q.LockFreshness(ctx, pgsql.LockFreshnessParams{DatabaseID: db, ResourceID: id}); err != nil {
			return fmt.Errorf("lock freshness: %w", err)
		}
		rows, err := t.standings(ctx, pgsql.ListStandingsParams{After: firstID, ResourceID: &id, DatabaseID: &db, Most: 1})
		if err != nil || len(rows) == 0 { // its add-on was removed meanwhile
			return err
		}
		row := rows[0]
		f := row.standing().Freshness(t.now)
		next, events := row.watched().Turn(f)
		counts := row.CountsFrom
		if row.Was == string(remora.Paused) && f.State != remora.Paused { // what is promised begins again
			counts = t.now
		}
		err = t.q.SetFreshness(ctx, pgsql.SetFreshnessParams{
			DatabaseID: db, ResourceID: id, State: string(next.State), Told: string(next.Told), Overdue: next.Overdue, CountsFrom: counts, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("set freshness: %w", err)
		}
		for _, kind := range events {
			if err := t.happened(ctx, remora.ResourceID(id), remora.Event{Kind: kind, Database: remora.DatabaseID(db), Detail: row.detail(kind, f)}); err != nil {
				return err
			}
		}
		told = len(events)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("database %s: %w", db, err)
	}
	return told, nil
}

// standing is one database's row, at an instant.
type standing struct {
	pgsql.ListStandingsRow
	now time.Time
}

func (r standing) standing() remora.Standing {
	times := timesOf(r.Schedule)
	s := remora.Standing{
		Verified: sinceYearOne(r.Verified), Usual: time.Duration(r.Usual * float64(time.Second)),
		Paused: r.Schedule.PausedAt != nil || r.DatabaseState == string(remora.DatabaseDetached), Overdue: r.database().ProofOverdue(r.now) || r.database().RereadOverdue(r.now),
	}
	s.Due, s.Counts = r.FoundAt, r.FoundAt // the first backup is asked for when a database is found
	if !s.Verified.IsZero() {
		s.Due = times.Next(s.Verified)
	}
	s.Next = times.Next(s.Due)
	if r.CountsFrom.After(r.FoundAt) {
		s.Counts = times.Next(r.CountsFrom)
	}
	if changed := orZero(r.Schedule.ChangedAt); changed.After(r.FoundAt) {
		promised := orZero(r.Schedule.PromisedAt)
		if promised.IsZero() { // by an older release
			promised = times.Next(changed)
		}
		s.Counts = latest(s.Counts, promised)
	}
	return s
}

func (r standing) watched() remora.Watched {
	return remora.Watched{State: remora.FreshnessState(r.Was), Told: remora.FreshnessState(r.Told), Overdue: r.WasOverdue}
}

func (r standing) database() remora.Database {
	return remora.Database{State: remora.DatabaseState(r.DatabaseState), ProveAt: orZero(r.ProveAt), RereadAt: sinceYearOne(r.RereadAt)}
}

// detail is what the words of an event need beside its kind.
func (r standing) detail(kind remora.EventKind, f remora.Freshness) string {
	switch kind {
	case remora.EventProofOverdue, remora.EventProofCaughtUp:
		return r.database().OverdueSays(r.now)
	default:
		return f.Says()
	}
}

// freshnessOf adds how fresh each database is, as it is now and not as a watcher last saw it.
func (t *tx) freshnessOf(ctx context.Context, id remora.ResourceID, dbs []remora.Database) error {
	resource := string(id)
	for after, more := firstID, true; more; {
		rows, err := t.standings(ctx, pgsql.ListStandingsParams{After: after, ResourceID: &resource, Most: batch})
		if err != nil {
			return err
		}
		for _, row := range rows {
			for i := range dbs {
				if string(dbs[i].ID) == row.Schedule.DatabaseID {
					f := row.standing().Freshness(t.now)
					dbs[i].Freshness = &f
				}
			}
		}
		if more = len(rows) == batch; more {
			after = rows[len(rows)-1].Schedule.DatabaseID
		}
	}
	return nil
}

// sinceYearOne is a time of a statement that gives year 1 where there is none.
func sinceYearOne(at time.Time) time.Time {
	if at.Year() <= 1 {
		return time.Time{}
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// failures are errors of many things alike: the first few, and how many there were.
type failures struct {
	first error
	n     int
}

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	if f.n++; f.first == nil {
		f.first = err
	}
}

func (f *failures) err() error {
	if f.n > 1 {
		return fmt.Errorf("%d databases, the first: %w", f.n, f.first)
	}
	return f.first
}
