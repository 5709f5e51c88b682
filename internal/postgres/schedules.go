package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// shownOccurrences is how many occurrences of a schedule its page lists.
const shownOccurrences = 20

// Schedule returns when a database is backed up. Errors: KindNotFound, also for a database that never had one, KindGone.
func (s *Store) Schedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (remora.Schedule, error) {
	var out remora.Schedule
	err := s.forResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		row, err := t.q.GetSchedule(ctx, pgsql.GetScheduleParams{DatabaseID: string(db), ResourceID: string(id)})
		if err != nil {
			return or404(err, "schedule")
		}
		out = remora.Schedule{
			Now: t.now, Rule: ruleOf(row), NextRunAt: row.NextRunAt, Pause: pauseOf(row.PausedAt, row.PausedBy, row.PauseReason),
			ChangedAt: orZero(row.ChangedAt), ChangedBy: row.ChangedBy,
		}
		if out.Plan, err = resourceOf(r).Limits(t.now); err != nil {
			return err
		}
		last, err := t.q.ListOccurrences(ctx, pgsql.ListOccurrencesParams{ScheduleID: row.ID, ResourceID: string(id), Most: shownOccurrences})
		for _, o := range last {
			out.Last = append(out.Last, remora.Occurrence{
				At: o.At, Outcome: remora.Outcome(o.Outcome), Reason: remora.Reason(o.Reason), Backup: orEmpty[remora.BackupID](o.BackupID), EndedAt: orZero(o.EndedAt),
			})
		}
		return err
	})
	return out, err
}

// SetSchedule gives a database's schedule another rule. What was due before is settled by the old one; a backup that is
// queued or running goes on, and what comes of it stays the outcome of its occurrence. The first time of the new one is no sooner
// after the schedule's last backup than the plan allows, so that changing it again and again makes no more of them; and until there is
// a verified backup, another change puts off nothing of what was promised. The rule that it has already changes nothing. Errors: KindInvalid for a rule that
// is none, KindPlanLimit for one that comes too often, KindNotFound, KindGone.
func (s *Store) SetSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, rule remora.Rule, person string) error {
	times, err := schedule.New(rule)
	if err != nil {
		return err
	}
	return s.withSchedule(ctx, id, db, func(t *tx, plan remora.Plan, row pgsql.Schedule) error {
		if err := schedule.Fits(times, plan); err != nil {
			return err
		}
		rule.Cron = strings.Join(strings.Fields(rule.Cron), " ")
		if rule == ruleOf(row) {
			return nil
		}
		last, err := t.q.LastOccurrence(ctx, pgsql.LastOccurrenceParams{ScheduleID: row.ID, ResourceID: string(id)})
		if err != nil {
			return fmt.Errorf("find last occurrence: %w", err)
		}
		after := t.now
		if !last.After(t.now.Add(jumped)) { // a little ahead, the clock was put right; far ahead, what was written down then is nothing to wait for
			after = latest(after, last)
		}
		if ran := orZero(row.RanAt); !ran.IsZero() {
			after = latest(after, ran.Add(plan.MinInterval-time.Second))
		}
		next := times.Next(after)
		good, err := t.q.NewestGood(ctx, pgsql.NewestGoodParams{DatabaseID: row.DatabaseID, ResourceID: string(id), Now: t.now})
		if err != nil {
			return fmt.Errorf("find newest backup: %w", err)
		}
		promised := next
		if was := orZero(row.PromisedAt); orZero(row.ChangedAt).After(good) && was.Before(next) && !was.IsZero() {
			promised = was
		}
		err = t.q.SetSchedule(ctx, pgsql.SetScheduleParams{
			ID: row.ID, ResourceID: string(id), Kind: string(rule.Kind), Hours: int32(rule.Hours), Minute: int32(rule.Minute), //nolint:gosec // bounded by schedule.New
			Weekday: int32(rule.Weekday), Day: int32(rule.Day), Cron: rule.Cron, Zone: rule.Zone, //nolint:gosec // as above
			NextRunAt: next, PromisedAt: &promised, Now: &t.now, Person: person,
		})
		if err != nil {
			return fmt.Errorf("set schedule: %w", err)
		}
		return t.audit(ctx, id, person, "change schedule", subject(db, schedule.Words(rule)))
	})
}

// maxPauseReason bounds why a person paused a schedule, in bytes.
const maxPauseReason = 200

// PauseSchedule stops a schedule until somebody resumes it: its occurrences are skipped. A backup that is queued or
// running goes on, and a person can still ask for one. A schedule that is paused stays as it is. Errors: KindNotFound,
// KindGone, KindBusy where that was done too often.
func (s *Store) PauseSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, why, person string) error {
	why = foreign(strings.Join(strings.Fields(why), " "), maxPauseReason)
	return s.withSchedule(ctx, id, db, func(t *tx, _ remora.Plan, row pgsql.Schedule) error {
		if row.PausedAt != nil {
			return nil
		}
		if err := t.mayHappen(ctx, id, remora.EventPaused); err != nil {
			return err
		}
		err := t.q.SetPause(ctx, pgsql.SetPauseParams{ID: row.ID, ResourceID: string(id), PausedAt: &t.now, PausedBy: person, PauseReason: why})
		if err != nil {
			return fmt.Errorf("pause schedule: %w", err)
		}
		said := person
		if why != "" {
			said += ". Why: " + why
		}
		if err := t.happened(ctx, id, remora.Event{Kind: remora.EventPaused, Database: db, Detail: said}); err != nil {
			return err
		}
		return t.audit(ctx, id, person, "pause schedule", subject(db, why))
	})
}

// ResumeSchedule starts a paused schedule again: its next occurrence is the first after now. Errors: as PauseSchedule.
func (s *Store) ResumeSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.withSchedule(ctx, id, db, func(t *tx, _ remora.Plan, row pgsql.Schedule) error {
		if row.PausedAt == nil {
			return nil
		}
		if err := t.q.SetPause(ctx, pgsql.SetPauseParams{ID: row.ID, ResourceID: string(id)}); err != nil {
			return fmt.Errorf("resume schedule: %w", err)
		}
		if err := t.happened(ctx, id, remora.Event{Kind: remora.EventResumed, Database: db, Detail: person}); err != nil {
			return err
		}
		return t.audit(ctx, id, person, "resume schedule", string(db))
	})
}

// withSchedule changes a schedule that is locked, and brought up to now under what it was before.
func (s *Store) withSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, do func(*tx, remora.Plan, pgsql.Schedule) error) error {
	return s.forResource(ctx, id, func(t *tx) error {
		r, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		plan, err := remora.PlanOf(r.Plan)
		if err != nil {
			return err
		}
		key := pgsql.LockScheduleParams{DatabaseID: string(db), ResourceID: string(id)}
		row, err := t.q.LockSchedule(ctx, key)
		if err != nil {
			return or404(err, "schedule")
		}
		if err := t.bringUpAll(ctx, &row.DatabaseID, false); err != nil {
			return err
		}
		if row, err = t.q.LockSchedule(ctx, key); err != nil { // as it is now
			return fmt.Errorf("read schedule: %w", err)
		}
		return do(t, plan, row)
	})
}

// timesOf are a schedule's times. Every rule was looked at when it was saved; one whose zone this program no longer knows
// is gone by in UTC, since a backup at another hour is better than none.
func timesOf(s pgsql.Schedule) *schedule.Times {
	rule := ruleOf(s)
	for _, r := range []remora.Rule{rule, rule.In("UTC")} {
		if times, err := schedule.New(r); err == nil {
			return times
		}
	}
	times, _ := schedule.New(remora.DefaultRule(remora.DatabaseID(s.DatabaseID))) // which is one
	return times
}

func ruleOf(s pgsql.Schedule) remora.Rule {
	return remora.Rule{
		Kind: remora.RuleKind(s.Kind), Hours: int(s.Hours), Minute: int(s.Minute), Weekday: time.Weekday(s.Weekday), Day: int(s.Day),
		Cron: s.Cron, Zone: s.Zone,
	}
}

func pauseOf(at *time.Time, by, why string) *remora.Pause {
	if at == nil {
		return nil
	}
	return &remora.Pause{At: *at, By: by, Why: why}
}
