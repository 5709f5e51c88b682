package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// compare walks through all occurrences, schedule after schedule, beside what the rules say: the first after begin, and then
// each that follows, until the one that is due next. It returns what is wrong and how many there are.
func (y *years) compare(ctx context.Context) (wrong []error, all int, err error) {
	w := walk{}
	err = asService(ctx, y.store.Pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `SELECT s.id::text, s.kind, s.hours, s.minute, s.weekday, s.day, s.cron, s.zone, s.next_run_at, o.at
			FROM schedules s LEFT JOIN occurrences o ON o.schedule_id = s.id ORDER BY s.id, o.at`)
		var id, kind string
		var r remora.Rule
		var next time.Time
		var at *time.Time
		_, err := pgx.ForEachRow(rows, []any{&id, &kind, &r.Hours, &r.Minute, &r.Weekday, &r.Day, &r.Cron, &r.Zone, &next, &at}, func() error {
			r.Kind = remora.RuleKind(kind)
			return w.see(id, r, next, at)
		})
		w.done()
		return err
	})
	return w.wrong, w.all, err
}

// walk is where compare is.
type walk struct {
	id    string
	rule  remora.Rule
	times *schedule.Times
	want  time.Time // the next that must be there
	next  time.Time // the first that must not

	all   int
	wrong []error
}

func (w *walk) see(id string, r remora.Rule, next time.Time, at *time.Time) (err error) {
	if id != w.id {
		w.done()
		if w.times, err = schedule.New(r); err != nil {
			return err
		}
		w.id, w.rule, w.next, w.want = id, r, next, w.times.Next(begin)
	}
	if at == nil { // it has none
		return nil
	}
	w.all++
	if !at.Equal(w.want) {
		w.bad("%v where %v was due", at, w.want)
	}
	w.want = w.times.Next(*at)
	return nil
}

// done checks that a schedule's last occurrence is the one before its next.
func (w *walk) done() {
	if w.times != nil && !w.want.Equal(w.next) {
		w.bad("%v is due next, and not %v", w.next, w.want)
	}
}

func (w *walk) bad(format string, args ...any) {
	if len(w.wrong) < 20 { // which tell enough
		w.wrong = append(w.wrong, fmt.Errorf("schedule %s, %s: "+format, append([]any{w.id, schedule.Words(w.rule)}, args...)...))
	}
}
