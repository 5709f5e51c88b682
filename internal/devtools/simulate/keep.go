package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// keep lets a deleter's round go over databases that have been backed up every hour, twice: the first lets most of it go, the second
// is what it costs where there is nothing to do, as it is most of the time.
type keep struct {
	url              string
	databases, hours int // of each database so many hourly backups
	out              io.Writer
}

func (k *keep) run(ctx context.Context) error {
	store, err := open(ctx, k.url, 2, time.Now)
	if err != nil {
		return err
	}
	defer store.Pool.Close()
	err = fill(ctx, store.Pool, k.databases, time.Now(), func(int) remora.Rule { return remora.Rule{Kind: remora.RuleHourly, Zone: "UTC"} })
	if err != nil {
		return err
	}
	err = asService(ctx, store.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO backups (id, resource_id, database_id, state, queued_at, started_at, ended_at, stored_size)
			SELECT gen_random_uuid(), d.resource_id, d.id, 'verified', at, at, at + interval '1 minute', 1000000
			  FROM databases d, generate_series(now() - make_interval(hours => $1), now() - interval '1 hour', interval '1 hour') at`, k.hours)
		return err
	})
	if err == nil {
		err = vacuum(ctx, store.Pool)
	}
	if err != nil {
		return err
	}
	say(k.out, "retention of %d backups, %d hourly ones of each of %d databases:", k.databases*k.hours, k.hours, k.databases)
	for _, round := range []string{"the first", "another"} {
		begun := time.Now()
		gone, err := k.round(ctx, store)
		if err != nil {
			return fmt.Errorf("%s round: %w", round, err)
		}
		took := time.Since(begun)
		say(k.out, "  %s round over all took %s, %s a database, and let %d go", round, ms(took), ms(took/time.Duration(k.databases)), gone)
	}
	return nil
}

// round is what the deleter does with our database; what it asks the bucket is not in it.
func (k *keep) round(ctx context.Context, store *postgres.Store) (gone int, err error) {
	for after := remora.DatabaseID(""); ; {
		refs, err := store.DatabasesWithArchives(ctx, after)
		if err != nil || len(refs) == 0 {
			return gone, err
		}
		for _, ref := range refs {
			went, err := store.Expire(ctx, ref.Resource, ref.Database, time.Hour)
			if err != nil {
				return gone, err
			}
			gone, after = gone+len(went), ref.Database
		}
	}
}
