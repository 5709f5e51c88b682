package jobworkers

import (
	"context"
	"errors"
	"sync"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/remora"
)

// lookout is our own session on the customer's server beside pg_dump's: it writes the report down and takes the inventory
// of the snapshot while pg_dump begins, lets go of the snapshot when pg_dump has it, and looks at the end whether anything was written.
//
// A backup does not fail because our session has: then nobody can tell, and the report says so. It fails where rows
// that pg_dump was to see all of may have been hidden from it.
type lookout struct {
	session   *customerdb.Session
	save      func(context.Context) error // writes the report down; its error ends the run
	inventory remora.Inventory            // nil where it could not be taken
	witness   remora.Witness
	failed    error // what kept us from looking; nobody's fault

	has     chan struct{} // closed when pg_dump has the snapshot
	once    sync.Once
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	looking error // of what was asked beside pg_dump
	saving  error
}

func (l *lookout) start(ctx context.Context) {
	saving := ctx
	l.wg.Go(func() { l.saving = l.save(saving) }) // also where the run soon fails
	ctx, l.cancel = context.WithCancel(ctx)
	l.has = make(chan struct{})
	l.witness = l.session.Audit().Witness
	l.wg.Go(func() {
		var err error
		if l.inventory, err = l.session.Inventory(ctx); err != nil {
			l.looking = err
			return
		}
		select {
		case <-l.has:
			l.looking = l.session.Release(ctx)
		case <-ctx.Done():
		}
	})
}

// begun says that pg_dump has the snapshot. It does not wait.
func (l *lookout) begun() { l.once.Do(func() { close(l.has) }) }

// end is for when pg_dump has ended well. Its error says that the archive must not be kept.
func (l *lookout) end(ctx context.Context) error {
	l.begun() // where the archive was passed unread
	l.wg.Wait()
	if l.saving != nil {
		return l.saving
	}
	if l.looking == nil {
		l.witness, l.looking = l.session.Witness(ctx)
	}
	open := l.session.Audit().OpenRows()
	var f *remora.Failure
	switch {
	case l.looking == nil:
		return nil
	case open && errors.As(l.looking, &f) && f.Reason == remora.ReasonRowSecurity:
		return f
	case open: // it cannot be told whether every row was shown
		return &remora.Failure{Reason: remora.ReasonConnectionLost, Cause: l.looking}
	}
	l.failed = l.looking
	return nil
}

// stop ends what was started. It may come at any time.
func (l *lookout) stop() {
	if l.cancel != nil {
		l.cancel()
		l.wg.Wait()
	}
}
