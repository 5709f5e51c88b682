package jobworkers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// What a run takes of a worker's memory, in bytes, its two children included: measured, and rounded up. It cannot take
// more than it was admitted with, so what is too little costs the run another attempt and nobody else anything. A large
// one holds three parts of 5 MiB; one whose archive is smaller than that holds no more than the archive. What the catalog
// costs pg_dump, pg_restore and us grows with the tables, and pg_dump holds each row twice.
const (
	runBase     = 25 << 19 // of a database with nothing in it (measured 8), and rows of 2 MB
	runParts    = 15 << 20
	runTable    = 40 << 10
	runColumn   = 750     // by the server's statistics, in which system columns and indexes count too
	runComment  = 1500    // likewise
	runRoom     = 2 << 20 // beside what was measured, and a quarter of that
	unknownRun  = runBase + runParts + 500*runTable
	workerFixed = 80 << 20 // the process itself
)

// enough is what a run is given that needed more than was known, in bytes, where a worker has it: no value of PostgreSQL's
// is longer than 1 GiB, so the largest row that pg_dump can read takes 2. What is more than that is left to others.
const enough = 9 << 28

// patience is how long a run that would take more than half of a worker keeps the others waiting. After that it goes to
// the end of the line: else a customer could hold up a worker, on which one long run is enough, with what his database
// says of itself.
const patience = 2 * time.Minute

// errNoRoom says that there is no memory for the run now. Its place in the line is kept: ask again soon.
var errNoRoom = errors.New("no memory for this run now")

// budget admits runs while there is memory for them, in the order in which they first asked, so that a large one is not
// passed by small ones for ever. One that would take more than half of the worker has patience of them, and no more.
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
	first  time.Time     // when it was first in the line; zero until then
}

func newBudget(memory int64, wait time.Duration, held prometheus.Gauge) *budget {
	size := max(memory-workerFixed, 1)
	return &budget{size: size, free: size, wait: wait, held: held}
}

// parts is what a run's upload takes.
func parts(h postgres.History) int64 {
	if !h.Known {
		return runParts
	}
	return min(h.StoredSize, runParts)
}

// weight is what a run of a database is expected to take, by its last good one.
func weight(h postgres.History) int64 {
	switch {
	case !h.Known:
		return unknownRun
	case h.PeakMemory > 0:
		return parts(h) + max(pipeline.Overhead+h.PeakMemory+h.PeakMemory/4+runRoom, runBase)
	}
	return parts(h) + runBase + int64(h.Tables)*runTable
}

// catalogWeight is what a run that nothing is known of is expected to take, by what the server says.
func catalogWeight(s customerdb.Server) int64 {
	const most = 1 << 30 // a server may say what it likes
	return unknownRun + min(s.Columns, most)*runColumn + min(s.Comments, most)*runComment
}

// most is the most that a run of that weight is ever given here. One that needs more than that fails.
func (b *budget) most(weight int64) int64 { return min(b.size, max(enough, 2*weight)) }

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
	if i == 0 && !b.bears(p) {
		b.line = append(b.line[1:], p)
		i = len(b.line) - 1
	}
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

// bears tells whether the others wait on for the first in the line. The caller has the lock.
func (b *budget) bears(p *place) bool {
	now := time.Now()
	if p.first.IsZero() {
		p.first = now
	}
	if len(b.line) == 1 || p.weight <= b.size/2 || p.weight <= b.free || now.Sub(p.first) < patience {
		return true
	}
	p.first = time.Time{}
	return false
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
