package wiring

import (
	"context"

	"github.com/remora-backup/remora/internal/freshness"
	"github.com/remora-backup/remora/internal/postgres"
)

// watcher is what knows of late backups. Its connection is its own: pages and messages cannot use it up. stop closes that.
func (p process) watcher(ctx context.Context) (w *freshness.Watcher, stop func(), err error) {
	pool, err := p.pool(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: p.Keys})
	if err == nil {
		w, err = freshness.New(freshness.Config{Store: store, Every: p.Watch.WatchEvery, Log: p.log, Metrics: p.metrics})
	}
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return w, pool.Close, nil
}
