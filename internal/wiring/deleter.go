package wiring

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/jobworkers"
	"github.com/remora-backup/remora/internal/postgres"
)

// deletions is how many backups one deleter deletes at a time.
const deletions = 4

func (p process) deleter(ctx context.Context) error {
	pool, err := p.pool(ctx, deletions+6)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys, Lease: p.Delete.Lease, UndoWithin: p.undoWithin()})
	if err != nil {
		return err
	}
	if p.Delete.AccessKey != "" {
		p.Store.AccessKey, p.Store.SecretKey = p.Delete.AccessKey, p.Delete.SecretKey
	} else {
		p.log.WarnContext(ctx, "the deleter has no key of its own and takes the common one, so every process could delete backups: set DELETER_S3_ACCESS_KEY and DELETER_S3_SECRET_KEY to a key that may delete, and take that right from the other")
	}
	bucket, err := p.bucket()
	if err != nil {
		return err
	}
	stores, err := p.stores(bucket, store, true)
	if err != nil {
		return err
	}
	defer stores.Close()
	// In the wrong bucket there would be nothing to delete, and all would be called deleted.
	if err := bucket.Reach(ctx, archivestore.Prefix); err != nil {
		return fmt.Errorf("the bucket cannot be read: check S3_ENDPOINT, S3_BUCKET and the deleter's key: %w", err)
	}
	deleter, err := jobworkers.NewDeleter(jobworkers.DeleterConfig{
		Store: store, Stores: stores, Log: p.log, Metrics: p.metrics, Delay: p.Delete.DeleteAfter, SweepAfter: p.Delete.SweepAfter,
	})
	if err != nil {
		return err
	}
	list := river.NewWorkers()
	deleter.Register(list)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: p.queueLog, ID: hostname(),
		Queues:     map[string]river.QueueConfig{jobargs.QueueDeleter: {MaxWorkers: deletions}},
		JobTimeout: time.Minute, SoftStopTimeout: softStop,
		FetchOnlyKnownKinds: true, LeaderElectionDisabled: true, // a leader must know every kind of job, and this process knows three
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	p.log.InfoContext(ctx, "deleting", "delay", p.Delete.DeleteAfter, "own_key", p.Delete.AccessKey != "")
	return p.run(ctx, client, "DELETER_METRICS", p.Delete.DeleterMetrics)
}
