package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// zones are six: two with summer time from different nights on, a gap at midnight, none, half an hour of it, half an hour off.
var zones = []string{"America/New_York", "Europe/Berlin", "America/Santiago", "UTC", "Australia/Lord_Howe", "Asia/Kolkata"}

// ruleOf is the rule of the i-th schedule, the times of which come from all over the day and its night. Of a thousand, 2 are hourly, 5 come
// every six hours, 60 are cron expressions, 483 monthly, 390 weekly, 60 daily: of each kind as many as matter, and of those that come
// often no more, since it is they that take the time.
func ruleOf(i int) remora.Rule {
	r := remora.Rule{Kind: remora.RuleDaily, Minute: i * 7 % 1440, Zone: zones[i%len(zones)]}
	switch n := i * 611 % 1000; {
	case n < 2:
		r.Kind, r.Minute = remora.RuleHourly, r.Minute%60
	case n < 7:
		r.Kind, r.Hours = remora.RuleEveryHours, 6
	case n < 67:
		r.Kind, r.Cron, r.Minute = remora.RuleCron, []string{"30 2 * * *", "15 1,13 * * MON-FRI", "0 0 * * SUN", "*/30 2 1,15 * *", "45 23 31 * *"}[i%5], 0
	case n < 550:
		r.Kind, r.Day = remora.RuleMonthly, i%31+1
	case n < 940:
		r.Kind, r.Weekday = remora.RuleWeekly, time.Weekday(i%7)
	}
	return r
}

// lease is how long a killed process keeps its backup, which goes by the real clock. In production it is 90 s.
const lease = time.Second

// open opens our database as a process of ours does, on a clock that the caller sets.
func open(ctx context.Context, url string, conns int32, now func() time.Time) (*postgres.Store, error) {
	pool, err := postgres.NewPool(ctx, url, conns)
	if err != nil {
		return nil, err
	}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		return nil, err
	}
	return postgres.New(postgres.Config{Pool: pool, Keys: keys, Lease: lease, Now: func(time.Time) time.Time { return now() }})
}

// asService runs statements on everybody's rows.
func asService(ctx context.Context, pool *pgxpool.Pool, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('remora.service', 'on', true)"); err != nil {
			return err
		}
		return do(tx)
	})
}

// fill writes n schedules down, four databases to a resource, each due next by its rule after from.
func fill(ctx context.Context, pool *pgxpool.Pool, n int, from time.Time, rule func(int) remora.Rule) error {
	var kinds, crons, zones, resources, databases, schedules []string
	var minutes, hours, weekdays, days []int32
	var nexts []time.Time
	resource := ""
	for i := range n {
		if i%4 == 0 {
			resource = string(remora.NewID[remora.ResourceID]())
		}
		r := rule(i)
		times, err := schedule.New(r)
		if err != nil {
			return err
		}
		resources, databases = append(resources, resource), append(databases, string(remora.NewID[remora.DatabaseID]()))
		schedules, nexts = append(schedules, string(remora.NewID[remora.ScheduleID]())), append(nexts, times.Next(from))
		kinds, crons, zones = append(kinds, string(r.Kind)), append(crons, r.Cron), append(zones, r.Zone)
		minutes, hours = append(minutes, int32(r.Minute)), append(hours, int32(r.Hours)) //nolint:gosec // small
		weekdays, days = append(weekdays, int32(r.Weekday)), append(days, int32(r.Day))  //nolint:gosec // small
	}
	return asService(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO resources (id, name, plan, region, state, created_at, ready_at, checked_at)
			SELECT DISTINCT x, 'remora-backup-x', 'great-white', 'us', 'active', now(), now(), now() FROM unnest($1::uuid[]) x`, resources)
		_, err2 := tx.Exec(ctx, `INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, state, found_at, seen_at)
			SELECT d, r, d::text, 'postgresql-x', 'shop', 'REMORA_DB', 'remora_ro', 'active', now(), now() FROM unnest($1::uuid[], $2::uuid[]) u (d, r)`, databases, resources)
		_, err3 := tx.Exec(ctx, `INSERT INTO schedules (id, resource_id, database_id, next_run_at, kind, cron, zone, minute, hours, weekday, day)
			SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::integer[], $10::integer[], $11::integer[])`,
			schedules, resources, databases, nexts, kinds, crons, zones, minutes, hours, weekdays, days)
		return errors.Join(err, err2, err3)
	})
}

// vacuum lets the planner know what there is now.
func vacuum(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	return nil
}
