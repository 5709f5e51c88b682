package jobworkers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// pulse renews a lease as long as the work lasts. When the lease is no longer ours, or our database has not taken a
// beat for a whole lease, it ends the work.
type pulse struct {
	every time.Duration
	lease time.Duration
	beat  func(context.Context) error // which knows a deadline of its own
	lost  context.CancelCauseFunc

	quit chan struct{}
	wg   sync.WaitGroup
}

func (p *pulse) start(ctx context.Context) {
	p.quit = make(chan struct{})
	p.wg.Go(func() {
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		heard := time.Now()
		for {
			select {
			case <-p.quit:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := p.beat(ctx)
			switch {
			case err == nil:
				heard = time.Now()
			case remora.KindOf(err) == remora.KindStale:
				p.lost(err)
				return
			case time.Since(heard) > p.lease: // nobody else may hold it yet, but we can no longer say so
				p.lost(&remora.Failure{Reason: remora.ReasonInternal, Cause: err})
				return
			}
		}
	})
}

func (p *pulse) stop() {
	close(p.quit)
	p.wg.Wait()
}

// heart is a run's pulse, and writes its progress down in the same statement.
type heart struct {
	claim postgres.Claim
	store *postgres.Store
	every time.Duration
	lost  context.CancelCauseFunc
	most  int64 // bytes that the run may store; 0 is no limit

	pulse pulse
	mu    sync.Mutex
	now   remora.Progress
}

func (h *heart) start(ctx context.Context) {
	h.now.State = remora.RunDumping
	h.pulse.every, h.pulse.lease, h.pulse.beat, h.pulse.lost = h.every, h.store.Lease, h.beat, h.lost
	h.pulse.start(ctx)
}

func (h *heart) stop() { h.pulse.stop() }

func (h *heart) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h.mu.Lock()
	p := h.now
	h.mu.Unlock()
	return h.store.Beat(ctx, h.claim, p)
}

// mostStored is how much of a database of the largest size that a plan backs up can be stored, with room: a server that
// claims less and sends for ever is left there.
func mostStored(p remora.Plan) int64 { return 2 * p.LargestDatabase }

// progress is told by the pipeline, often; the next beat carries what was heard last. It ends the run where there is more than
// any database within the plan comes to, whatever the server said of its size.
func (h *heart) progress(p pipeline.Progress) {
	if h.most > 0 && p.Out > h.most {
		h.lost(&remora.Failure{Reason: remora.ReasonTooLarge, Detail: fmt.Sprintf("The server sent what takes more than %s in the store, which no database of this plan comes to.", remora.Bytes(h.most))})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.Bytes, h.now.BytesOut, h.now.TablesDone, h.now.TablesTotal, h.now.Current = p.Bytes, p.Out, p.Done, p.Total, p.Current
}

// confirming says so at once, and fails where the run is no longer ours.
func (h *heart) confirming(ctx context.Context) error {
	h.mu.Lock()
	h.now.State = remora.RunConfirming
	h.mu.Unlock()
	return again(ctx, time.Second, func() error { return h.beat(ctx) })
}

// again does what decides over hours of work, and what our own database may refuse for a moment, as when it fails over: three times at
// most, with pauses. What another has overtaken is over.
func again(ctx context.Context, pause time.Duration, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == 3 || remora.KindOf(err) == remora.KindStale {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
