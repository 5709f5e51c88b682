package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/remora"
)

// europe is where the resources of the fake dumper are. The real ones are in America, so each kind of worker has a pool of its own.
const europe = "amazon-web-services::eu-west-1"

// crowd measures the fake dumper, then what looks at all databases again and again.
func (l *load) crowd(ctx context.Context) error {
	if err := l.fill(ctx); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	if _, err := l.Store.WatchFreshness(ctx); err != nil { // each database's first look writes a row
		return err
	}
	idle, err := l.partner(ctx)
	if err != nil {
		return err
	}
	l.say("\n%d resources of one database, %d backups behind each; nothing at work: %s", l.resources, l.history, idle)
	var last figures
	for _, n := range l.processes {
		if last, err = l.fake(ctx, n); err != nil {
			return fmt.Errorf("%d processes: %w", n, err)
		}
	}
	l.say("\nthe statements of one backup that are called most:")
	for _, line := range last.most(45) {
		l.say("  %s", line)
	}
	return l.rounds(ctx)
}

// fill writes the crowd down, with its past, in one transaction: web's watcher looks on.
func (l *load) fill(ctx context.Context) error {
	return stack.Exec(ctx, l.Own.SuperuserURL("remora"), "BEGIN", fmt.Sprintf(`CREATE TEMP TABLE crowd AS SELECT gen_random_uuid() AS r, gen_random_uuid() AS d, gen_random_uuid() AS s, g FROM generate_series(1, %d) g`, l.resources),
		`INSERT INTO resources (id, name, plan, region, state, recipient, created_at, ready_at, checked_at, helper_app_id, helper_app)
			SELECT r, 'remora-backup-' || g, 'hammerhead', '`+europe+`', 'active', 'age1' || md5(r::text) || md5(d::text), now() - interval '60 days', now(), now(), gen_random_uuid()::text, 'helper-' || g FROM crowd`,
		`INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, state, found_at, seen_at, prove_at)
			SELECT d, r, d::text, 'postgresql-curved-' || g, 'shop-' || g, 'REMORA_DB', 'remora_ro', 'active', now() - interval '60 days', now(), now() + interval '7 days' FROM crowd`,
		`INSERT INTO schedules (id, resource_id, database_id, minute, next_run_at, kind, zone) SELECT s, r, d, g % 1440, now() + interval '1 day', 'daily', 'UTC' FROM crowd`,
		fmt.Sprintf(`CREATE TEMP TABLE past AS SELECT gen_random_uuid() AS b, r, d, s, now() - interval '1 hour' - (i - 1) * interval '1 day' AS at FROM crowd, generate_series(1, %d) i`, l.history),
		`INSERT INTO backups (id, resource_id, database_id, schedule_id, occurrence, state, epoch, attempts, server_version, client_version, client_major, archive_version, tables, rows, plain_size, stored_size, peak_memory, queued_at, started_at, ended_at, reread_at)
			SELECT b, r, d, s, at, 'verified', 1, 1, '15.19', '15.19', 15, '1.14', 20, 1000, 4000000, 1000000, 12000000, at, at, at + interval '1 minute', at + interval '60 days' FROM past`,
		`INSERT INTO runs (id, resource_id, backup_id, epoch, worker, state, lease_until, started_at, ended_at, server) SELECT gen_random_uuid(), r, b, 1, 'fake', 'done', at, at, at + interval '1 minute', d || ':5432' FROM past`,
		`INSERT INTO objects (backup_id, resource_id, name, size, plain_size, sha256) SELECT b, r, n, 1, 1, decode(md5(b::text) || md5(b::text), 'hex') FROM past, unnest(ARRAY['body-000', 'contents', 'head']) n`,
		`INSERT INTO audits (id, resource_id, database_id, backup_id, at) SELECT gen_random_uuid(), r, d, b, at FROM past`,
		`INSERT INTO occurrences (schedule_id, at, resource_id, database_id, backup_id, outcome, ended_at) SELECT s, at, r, d, b, 'succeeded', at FROM past`,
		`INSERT INTO freshness (database_id, resource_id, state, since, counts_from) SELECT d, r, 'fresh', now(), now() - interval '60 days' FROM crowd`,
		"COMMIT", "VACUUM ANALYZE")
}

// fake lets a number of processes make backups that take no time.
func (l *load) fake(ctx context.Context, processes int) (f figures, err error) {
	if err := l.due(ctx, "enqueue", europe); err != nil {
		return f, err
	}
	before, err := l.counts.sizes(ctx)
	if err != nil {
		return f, err
	}
	start, err := l.counts.look(ctx)
	if err != nil {
		return f, err
	}
	for range processes {
		p, derr := l.dumper(ctx)
		if derr != nil {
			return f, derr
		}
		defer func() { err = errors.Join(err, p.End(syscall.SIGTERM)) }()
	}
	if err := l.warm(ctx, start.backups+100, time.Minute); err != nil { // they are all up, more or less
		return f, err
	}
	partner, err := l.partner(ctx)
	if err != nil {
		return f, err
	}
	from, err := l.counts.look(ctx)
	if err == nil {
		_, err = l.until(ctx, start.backups+int64(l.resources)*95/100, l.window)
	}
	if err != nil {
		return f, err
	}
	to, err := l.counts.look(ctx)
	if err != nil {
		return f, err
	}
	f = to.since(from, to.backups-from.backups)
	f.Partner = partner
	after, err := l.counts.sizes(ctx)
	if err != nil {
		return f, err
	}
	if err := l.tell("fake dumper", processes, f); err != nil {
		return f, err
	}
	return f, l.grown(before, after, to.backups-start.backups)
}

// grown tells what a backup leaves behind.
func (l *load) grown(before, after map[string]int64, backups int64) error {
	sum, words := 0.0, ""
	each := map[string]float64{}
	for _, name := range []string{"backups", "runs", "objects", "audits", "occurrences", "river_job"} {
		each[name] = float64(after[name]-before[name]) / float64(max(backups, 1))
		if name != "river_job" {
			sum += each[name]
		}
		words += fmt.Sprintf("  %s %.0f", name, each[name])
	}
	l.say("    bytes that a backup leaves, indexes and dead rows included: %.0f without River's;%s", sum, words)
	if l.lines == nil {
		return nil
	}
	return l.lines.Encode(map[string]any{"what": "growth", "backups": backups, "bytes": each})
}

// due makes every schedule of a region due, as at midnight, and has them enqueued. What was left before is canceled.
func (l *load) due(ctx context.Context, what, region string) error {
	err := stack.Exec(ctx, l.Own.SuperuserURL("remora"), "UPDATE backups SET state = 'canceled', ended_at = now() WHERE state IN ('queued', 'running')",
		"UPDATE runs SET state = 'failed', ended_at = now() WHERE state IN ('claimed', 'dumping', 'confirming')", "DELETE FROM river.river_job WHERE state <> 'completed'",
		"UPDATE schedules s SET next_run_at = date_trunc('second', now()) FROM resources r WHERE r.id = s.resource_id AND r.region = '"+region+"'", "CHECKPOINT")
	if err != nil {
		return err
	}
	from, err := l.counts.look(ctx)
	if err != nil {
		return err
	}
	all := 0
	for n := 1; n > 0; all += n {
		if n, err = l.Store.EnqueueDue(ctx); err != nil {
			return err
		}
	}
	to, err := l.counts.look(ctx)
	if err != nil {
		return err
	}
	return l.tell(what, 1, to.since(from, int64(all)))
}

// warm is until, for what nothing can be measured without.
func (l *load) warm(ctx context.Context, backups int64, most time.Duration) error {
	n, err := l.until(ctx, backups, most)
	if err == nil && n < backups {
		err = fmt.Errorf("of %d good backups there are %d after %s", backups, n, most)
	}
	return err
}

// until waits until there are so many good backups, or for so long; 0 is for ever. It returns how many there are.
func (l *load) until(ctx context.Context, backups int64, most time.Duration) (n int64, err error) {
	if most == 0 {
		most = 24 * time.Hour
	}
	deadline := time.After(most)
	poll := time.NewTicker(250 * time.Millisecond)
	defer poll.Stop()
	for {
		if err := l.counts.pool.QueryRow(ctx, goodBackups).Scan(&n); err != nil {
			return n, err
		}
		if n >= backups {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-deadline:
			return n, nil
		case <-poll.C:
		}
	}
}

// rounds are what looks at every database again and again, with nothing at work.
func (l *load) rounds(ctx context.Context) error {
	l.say("\nrounds over databases, for each:")
	for _, round := range []struct {
		what string
		do   func(context.Context) (int, error)
	}{
		{"the watcher's, after a night", l.watch}, {"the watcher's", l.watch}, {"the deleter's", l.expire},
	} {
		blocks, err := l.blocks(ctx)
		if err != nil {
			return err
		}
		from, err := l.counts.look(ctx)
		if err != nil {
			return err
		}
		databases, err := round.do(ctx)
		if err != nil {
			return fmt.Errorf("%s round: %w", round.what, err)
		}
		to, err := l.counts.look(ctx)
		if err != nil {
			return err
		}
		read, err := l.blocks(ctx)
		if err != nil {
			return err
		}
		f := to.since(from, int64(databases))
		l.say("  %-28s %d in %.2f s: %.3f ms, %.2f statements, %.1f blocks", round.what, databases, f.Seconds, 1000*f.Seconds/float64(databases), f.all(), float64(read-blocks)/float64(databases))
		if l.lines != nil {
			if err := l.lines.Encode(map[string]any{"what": round.what + " round", "databases": databases, "seconds": f.Seconds, "statements": f.all(), "blocks": float64(read-blocks) / float64(databases)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// blocks is how many our role's statements have read, from memory or disk.
func (l *load) blocks(ctx context.Context) (n int64, err error) {
	if !l.counts.statements {
		return 0, nil
	}
	err = l.counts.pool.QueryRow(ctx, "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = 'remora'").Scan(&n)
	return n, err
}

// watch is the watcher's look, and at how many databases.
func (l *load) watch(ctx context.Context) (n int, err error) {
	seen, err := l.Store.WatchFreshness(ctx)
	for _, of := range seen.Databases {
		n += of
	}
	return n, err
}

// enough databases tell what one costs, of those that each get a transaction of their own.
const enough = 1000

// expire is what the deleter's round does with our database; what it asks the bucket is not in it.
func (l *load) expire(ctx context.Context) (n int, err error) {
	for after := remora.DatabaseID(""); n < enough; {
		refs, err := l.Store.DatabasesWithArchives(ctx, after)
		if err != nil || len(refs) == 0 {
			return n, err
		}
		for _, ref := range refs {
			if _, err := l.Store.Expire(ctx, ref.Resource, ref.Database, time.Hour); err != nil {
				return n, err
			}
			after, n = ref.Database, n+1
		}
	}
	return n, nil
}
