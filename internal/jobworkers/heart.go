package jobworkers

import (
	"context"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// heart renews a run's lease and writes its progress down, in one statement, as long as the run lasts. When
// the run is no longer ours, or our database has not taken a beat for a whole lease, it ends the run.
type heart struct {
	claim postgres.Claim
	store *postgres.Store
	every time.Duration
	lost  context.CancelCauseFunc

	mu   sync.Mutex
	now  remora.Progress
	quit chan struct{}
	wg   sync.WaitGroup
}

func (h *heart) start(ctx context.Context) {
	h.now.State = remora.RunDumping
	h.quit = make(chan struct{})
	h.wg.Go(func() {
		tick := time.NewTicker(h.every)
		defer tick.Stop()
		heard := time.Now()
		for {
			select {
			case <-h.quit:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := h.beat(ctx)
			switch {
			case err == nil:
				heard = time.Now()
			case remora.KindOf(err) == remora.KindStale:
				h.lost(err)
				return
			case time.Since(heard) > h.store.Lease: // nobody else may hold it yet, but we can no longer say so
				h.lost(&remora.Failure{Reason: remora.ReasonInternal, Cause: err})
				return
			}
		}
	})
}

func (h *heart) stop() {
	close(h.quit)
	h.wg.Wait()
}

func (h *heart) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h.mu.Lock()
	p := h.now
	h.mu.Unlock()
	return h.store.Beat(ctx, h.claim, p)
}

// progress is told by the walker; the next beat carries it.
func (h *heart) progress(p pgarchive.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.Bytes, h.now.TablesDone, h.now.TablesTotal, h.now.Current = p.Bytes, p.Done, p.Total, p.Current
}

// confirming says so at once, and fails where the run is no longer ours.
func (h *heart) confirming(ctx context.Context) error {
	h.mu.Lock()
	h.now.State = remora.RunConfirming
	h.mu.Unlock()
	return h.beat(ctx)
}
