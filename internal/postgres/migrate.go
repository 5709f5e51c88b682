package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/remora-backup/remora/migrations"
)

// Migrate brings our database up to this release: our own migrations, then River's. Several processes may
// call it at once; one applies, the others wait for it. It needs two connections of the pool.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close() //nolint:errcheck // gives connections back to the pool, which the caller closes
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	ours, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	results, err := ours.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// The lock of its own connection keeps a second process from River's migrations while this one is at
	// them: goose's is given back by now.
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate the queue: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtext('remora: queue migrations'))`); err != nil {
		return fmt.Errorf("lock the queue's migrations: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock_all()`) //nolint:errcheck // ends with the session too
	if _, err := conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+RiverSchema); err != nil {
		return fmt.Errorf("create the queue's schema: %w", err)
	}
	queue, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema, Logger: log})
	if err != nil {
		return fmt.Errorf("read the queue's migrations: %w", err)
	}
	steps, err := queue.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate the queue: %w", err)
	}
	log.InfoContext(ctx, "database is up to date", "applied", len(results), "queue_applied", len(steps.Versions))
	return nil
}

// Behind names the migrations of this release that our database lacks, River's among them. It changes nothing. A database that is
// ahead lacks none: a release runs on what the next one has made of it.
func Behind(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	files, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var known bool
	if err := pool.QueryRow(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&known); err != nil {
		return nil, fmt.Errorf("look for migrations: %w", err)
	}
	if !known {
		return files, nil
	}
	rows, _ := pool.Query(ctx, "SELECT DISTINCT version_id FROM goose_db_version WHERE is_applied")
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var missing []string
	for _, name := range files {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		if !slices.Contains(applied, version) {
			missing = append(missing, name)
		}
	}
	queue, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("read the queue's migrations: %w", err)
	}
	theirs, err := queue.Validate(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("look at the queue's migrations: %w", err)
	}
	for _, said := range theirs.Messages {
		missing = append(missing, "the queue's ("+said+")")
	}
	return missing, nil
}
