package jobworkers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/remora"
)

// lookout is our own session on the customer's server beside pg_dump's: it asks what the credential may do, writes the
// report down and takes the inventory of the snapshot, lets go of the snapshot when pg_dump has it, and looks at the end
// whether anything was written. From the inventory on it watches whom the dump keeps waiting.
//
// A backup does not fail because our session has: then nobody can tell, and the report says so. It fails where rows
// that pg_dump was to see all of may have been hidden from it.
type lookout struct {
	session   *customerdb.Session
	save      func(context.Context, remora.Audit) error // writes the report down; its error ends the run
	audit     remora.Audit                              // once verdict has returned
	inventory remora.Inventory                          // nil where it could not be taken
	witness   remora.Witness
	gentle    gentle
	failed    error // what kept us from looking; nobody's fault
	uncounted error // what kept us from taking the inventory; nobody's fault

	judged  chan struct{} // closed when the credential has been asked about
	idle    chan struct{} // closed when all that is asked at once beside pg_dump has its answer; never where there is none, or the credential is refused
	asking  error         // of the credential
	began   time.Time     // when the session had its snapshot
	has     chan struct{} // closed when pg_dump has the snapshot
	once    sync.Once
	over    chan struct{} // closed when pg_dump has ended well
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	looking error // of what was asked beside pg_dump
	saving  error
}

func newLookout(s *customerdb.Session, g gentle, save func(context.Context, remora.Audit) error) *lookout {
	g.session = s
	return &lookout{
		session: s, began: time.Now(), gentle: g, save: save, witness: s.Before(),
		judged: make(chan struct{}), idle: make(chan struct{}), has: make(chan struct{}), over: make(chan struct{}),
	}
}

// start begins it, unless it has begun.
func (l *lookout) start(ctx context.Context) {
	if l.cancel != nil {
		return
	}
	saving := ctx
	ctx, l.cancel = context.WithCancel(ctx)
	l.wg.Go(func() {
		l.audit, l.asking = l.session.Ask(ctx)
		if l.asking == nil {
			l.wg.Go(func() { l.saving = l.save(saving, l.audit) }) // also where the run soon fails
		}
		close(l.judged)
		if l.asking == nil && l.audit.Refusal() == nil {
			l.looking = l.look(ctx)
		}
		if l.looking == nil && l.asking == nil && l.audit.Refusal() == nil {
			l.gentle.watch(ctx, l.over)
		}
	})
}

// look takes the inventory, watches, and lets go of the snapshot when pg_dump has it.
func (l *lookout) look(ctx context.Context) (err error) {
	most := l.gentle.most * 2 / 3 // with the third that the answer may take: for longer nobody is kept waiting unseen
	if l.inventory, err = l.session.Inventory(ctx, most); err != nil && !l.session.Alive() {
		return err
	}
	l.uncounted = err
	again := l.gentle.look(ctx)
	close(l.idle)
	if again {
		l.gentle.watch(ctx, l.has)
	}
	select {
	case <-l.has:
		began := time.Now()
		err = l.session.Release(ctx, most)
		l.gentle.last = l.gentle.last.Add(time.Since(began)) // nobody could look meanwhile
		if err != nil && l.audit.OpenRows() && ctx.Err() == nil {
			l.gentle.giveWay(l.hidden(err)) // at once: what is read on is thrown away, and nobody looks whom that keeps waiting
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answers waits until it is known what the credential may do, so long at most, and tells whether it is.
func (l *lookout) answers(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-l.judged:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return true // verdict says why there is no answer
	}
}

// verdict waits until it is known what the credential may do. Its error is why no backup is made with it.
func (l *lookout) verdict(ctx context.Context) error {
	select {
	case <-l.judged:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.asking != nil {
		return l.asking
	}
	if refused := l.audit.Refusal(); refused != nil {
		l.wg.Wait()
		if l.saving != nil {
			return l.saving
		}
		return refused
	}
	return nil
}

// begun says that pg_dump has the snapshot. It does not wait.
func (l *lookout) begun() { l.once.Do(func() { close(l.has) }) }

// end is for when pg_dump has ended well. Its error says that the archive must not be kept.
func (l *lookout) end(ctx context.Context) error {
	l.begun() // where the archive was passed unread
	close(l.over)
	l.wg.Wait()
	l.gentle.impact.Held = time.Since(l.began)
	if l.saving != nil {
		return l.saving
	}
	switch {
	case l.looking == nil: // every row was shown, whatever became of the session since
		l.witness, l.failed = l.session.Witness(ctx)
	case l.audit.OpenRows():
		return l.hidden(l.looking)
	default:
		l.failed = l.looking
	}
	return nil
}

// hidden is why an archive must not be kept of which it cannot be told whether every row was shown.
func (l *lookout) hidden(err error) *remora.Failure {
	var f *remora.Failure
	if errors.As(err, &f) && (f.Reason == remora.ReasonRowSecurity || l.session.Alive()) {
		return f
	}
	return &remora.Failure{Reason: remora.ReasonConnectionLost, Cause: err}
}

// stop ends what was started. It may come at any time.
func (l *lookout) stop() {
	if l.cancel != nil {
		l.cancel()
		l.wg.Wait()
	}
}

// impact is what the run has cost the customer's database, once it has ended.
func (l *lookout) impact() remora.Impact {
	i := l.gentle.impact
	if i.Held == 0 {
		i.Held = time.Since(l.began)
	}
	return i
}

// sealedReport is the permission doctor's report as it is stored with the archive, so that it is still there when our
// database is not; the manifest beside it says when. Numbers are text, since they may be larger than JSON's readers take.
type sealedReport struct {
	Role      string           `json:"role"`
	Findings  []remora.Finding `json:"findings"`
	More      bool             `json:"more,omitempty"` // than are listed
	Inventory remora.Inventory `json:"inventory"`
	Before    int64            `json:"next_xid_before,string"`
	After     int64            `json:"next_xid_after,string"`
	Witness   remora.Testimony `json:"witness"`
}

// report is what was found out, once end has returned.
func (l *lookout) report() sealedReport {
	return sealedReport{
		Role: l.audit.Role, Findings: l.audit.Findings, More: l.audit.More, Inventory: l.inventory,
		Before: l.witness.Before, After: l.witness.After, Witness: l.witness.Testimony(),
	}
}
