package jobworkers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
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

// errNoRoom says that there is no memory for the run now. Its place in the line is kept: ask again soon.
var errNoRoom = errors.New("no memory for this run now")

// budget admits runs while there is memory for them, in the order in which they first asked, so that a large one is not
// passed by small ones for ever.
//
// A wait is short, for a job that runs and has claimed nothing looks like one whose worker was killed. Who goes away
// without having been admitted keeps a place in the line, for as long as a wait lasts.
type budget struct {
	size int64
	wait time.Duration
	held prometheus.Gauge

	mu   sync.Mutex
	free int64
	line []*place
}

// place is a backup's in the line.
type place struct {
	backup remora.BackupID
	weight int64
	enter  chan struct{} // closed when it is admitted; nil while its job is away
	lapse  *time.Timer   // gives the place up, while its job is away
}

func newBudget(memory int64, wait time.Duration, held prometheus.Gauge) *budget {
	size := max(memory-workerFixed, 1)
	return &budget{size: size, free: size, wait: wait, held: held}
}

// weight is what a run of a database is expected to take, by its last good one.
func weight(h postgres.History) int64 {
	if !h.Known {
		return unknownRun
	}
	return runBase + min(h.StoredSize, runParts) + int64(h.Tables)*runTable
}

// admit waits for room and returns how to give it back. A run that is larger than the whole budget runs alone. Errors:
// errNoRoom, the context's.
func (b *budget) admit(ctx context.Context, id remora.BackupID, weight int64) (release func(), err error) {
	p, err := b.ask(id, min(weight, b.size))
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case <-p.enter:
	case <-timer.C:
		err = errNoRoom
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && b.leave(p, errors.Is(err, errNoRoom)) {
		return nil, err
	}
	return func() { b.giveBack(p.weight) }, nil
}

// ask takes a backup's place, a new one at the end where it has none. While the first in the line is away nobody waits
// behind it: their jobs make way for its own.
func (b *budget) ask(id remora.BackupID, weight int64) (*place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.line, func(p *place) bool { return p.backup == id })
	if i < 0 {
		i = len(b.line)
		b.line = append(b.line, &place{backup: id, weight: weight})
	}
	p := b.line[i]
	switch {
	case p.enter != nil: // another job of the same backup waits here
		return nil, errNoRoom
	case i > 0 && b.line[0].enter == nil:
		b.keep(p)
		return nil, errNoRoom
	}
	p.enter = make(chan struct{})
	b.serve()
	return p, nil
}

// keep holds a place whose job goes away. The caller has the lock.
func (b *budget) keep(p *place) {
	p.enter = nil
	if p.lapse != nil {
		p.lapse.Stop()
	}
	p.lapse = time.AfterFunc(b.wait, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if p.enter == nil { // it has not come back at this very moment
			b.drop(p)
		}
	})
}

// drop gives a place up. The caller has the lock.
func (b *budget) drop(p *place) {
	b.line = slices.DeleteFunc(b.line, func(x *place) bool { return x == p })
	b.serve()
}

// leave ends a wait. It is false where the place was admitted at this very moment.
func (b *budget) leave(p *place, back bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.line, p) {
		return false
	}
	if back {
		b.keep(p)
	} else {
		b.drop(p)
	}
	return true
}

// serve admits the first in the line, as many as there is room for. The caller has the lock.
func (b *budget) serve() {
	for len(b.line) > 0 && b.line[0].enter != nil && b.line[0].weight <= b.free {
		p := b.line[0]
		b.line = b.line[1:]
		b.free -= p.weight
		b.held.Add(float64(p.weight))
		close(p.enter)
	}
}

func (b *budget) giveBack(weight int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += weight
	b.held.Sub(float64(weight))
	b.serve()
}
