package jobworkers

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/remora-backup/remora/internal/postgres"
)

// What a run takes of a worker's memory, in bytes, its two children included: measured, and rounded up. A large one
// holds three parts of 5 MiB; one whose archive is smaller than that holds no more than the archive. What the catalog
// costs pg_dump, pg_restore and us grows with the tables.
const (
	runBase     = 8 << 20
	runParts    = 15 << 20
	runTable    = 40 << 10
	unknownRun  = runBase + runParts + 500*runTable
	workerFixed = 80 << 20 // the process itself
)

// budget admits runs while there is memory for them, in the order in which they ask, so that a large one is not
// passed by small ones for ever.
type budget struct {
	size int64
	sem  *semaphore.Weighted
	held prometheus.Gauge
}

func newBudget(memory int64, held prometheus.Gauge) *budget {
	size := max(memory-workerFixed, 1)
	return &budget{size: size, sem: semaphore.NewWeighted(size), held: held}
}

// weight is what a run of a database is expected to take, by its last good one.
func weight(h postgres.History) int64 {
	if !h.Known {
		return unknownRun
	}
	return runBase + min(h.StoredSize, runParts) + int64(h.Tables)*runTable
}

// admit waits for room and returns how to give it back. A run that is larger than the whole budget runs alone.
func (b *budget) admit(ctx context.Context, weight int64) (release func(), err error) {
	weight = min(weight, b.size)
	if err := b.sem.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	b.held.Add(float64(weight))
	return func() {
		b.held.Sub(float64(weight))
		b.sem.Release(weight)
	}, nil
}
