package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// memory is one run's share of a worker's. It is for one goroutine.
type memory struct {
	budget  *budget
	backup  remora.BackupID
	history postgres.History
	weight  int64 // what was admitted; 0 where nothing is held
	back    func()
}

// share waits for room for a run, by what is known of its database. Errors are admit's.
func (b *budget) share(ctx context.Context, id remora.BackupID, h postgres.History) (*memory, error) {
	m := &memory{budget: b, backup: id, history: h}
	need := weight(h)
	if h.NeedsMore {
		need = b.most(need)
	}
	return m, m.take(ctx, need)
}

func (m *memory) take(ctx context.Context, weight int64) error {
	back, err := m.budget.admit(ctx, m.backup, weight)
	if err == nil {
		m.back, m.weight = back, min(weight, m.budget.size)
	}
	return err
}

// release gives back what is held. It may be called again.
func (m *memory) release() {
	if m.weight > 0 {
		m.back()
		m.weight = 0
	}
}

// open asks the server, and makes room for what it says of itself, where nothing else is known of it; then the server is
// asked anew, since while a run waits nothing may stand open on a customer's server.
func (m *memory) open(ctx context.Context, t customerdb.Target) (*customerdb.Session, error) {
	s, err := customerdb.Open(ctx, t)
	if err != nil || m.history.Known {
		return s, err
	}
	if err := s.Measure(ctx); err != nil {
		s.Close()
		return nil, err
	}
	need := catalogWeight(s.Server())
	if m.has(need) {
		return s, nil
	}
	s.Close()
	if err := m.grow(ctx, need); err != nil {
		return nil, err
	}
	return customerdb.Open(ctx, t)
}

// has tells whether the share is as large as that, or as large as it can be.
func (m *memory) has(weight int64) bool { return min(weight, m.budget.size) <= m.weight }

// grow gives the share back and waits for a larger one, since two runs that waited with theirs in hand could wait for each
// other. The run is claimed by then, so its wait has no end but the context's, whose error it returns; then nothing is held.
func (m *memory) grow(ctx context.Context, weight int64) error {
	m.release()
	pause := time.NewTicker(roomPause)
	defer pause.Stop()
	for {
		if err := m.take(ctx, weight); !errors.Is(err, errNoRoom) {
			return err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run is what the archive may take, besides its upload.
func (m *memory) run() int64 { return max(m.weight-parts(m.history), runBase) }

// judge tells a run that may have more in another attempt from one that had all there is.
func (m *memory) judge(err error) error {
	f := failureOf(err)
	if f.Reason != remora.ReasonMoreMemory || m.weight < m.budget.most(weight(m.history)) {
		return err
	}
	return &remora.Failure{
		Reason: remora.ReasonTooMuchMemory, Cause: err,
		Detail: fmt.Sprintf("%s\nIt could take %d MiB.", f.Detail, m.run()>>20),
	}
}
