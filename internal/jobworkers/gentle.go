package jobworkers

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/remora"
)

// gentle watches, beside a dump, whether sessions of the customer wait for what the dump holds. pg_dump locks every table
// against ALTER, DROP and TRUNCATE until it has ended; who waits to do one of these keeps everybody waiting who comes after
// him. All waits of one run together are counted, so that a migration which gives up early and tries again is let through too.
type gentle struct {
	session *customerdb.Session
	app     string        // pg_dump's name on the server, which no other session has
	every   time.Duration // how often to look
	most    time.Duration // how long anybody may wait
	giveWay context.CancelCauseFunc

	impact  remora.Impact
	unseen  error         // why it could not look, at least once; nobody's fault
	last    time.Time     // when it looked
	seen    time.Time     // when it could
	pause   time.Duration // until it looks again
	waiting bool          // whether it saw anybody
}

// watch looks every now and then, until over is closed or it cannot look again.
func (g *gentle) watch(ctx context.Context, over <-chan struct{}) {
	for {
		timer := time.NewTimer(time.Until(g.last.Add(g.pause)))
		select {
		case <-timer.C:
		case <-over:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if !g.look(ctx) {
			return
		}
	}
}

// look looks once, and tells whether it can look again: not where the dump has had to give way, or the session is gone.
func (g *gentle) look(ctx context.Context) bool {
	w, err := g.session.Waiting(ctx, g.app)
	now := time.Now()
	g.pause = g.every
	switch {
	case err != nil && ctx.Err() == nil: // else it was cut off
		g.unseen = err
	case w.Sessions > 0:
		g.count(w, now)
		if g.impact.Waited >= g.most {
			g.leave(ctx, w)
			return false
		}
		g.pause = min(g.pause, g.most-g.impact.Waited)
	}
	g.impact.Watched = g.impact.Watched || err == nil
	g.last, g.waiting = now, w.Sessions > 0
	if err == nil {
		g.seen = now
	}
	return err == nil || g.session.Alive()
}

// count adds a wait that was seen: all of the time since the last look where somebody waited then too, else what the server says, which
// before PostgreSQL 14 is nothing, but for what was counted before a look that failed.
func (g *gentle) count(w customerdb.Waiting, now time.Time) {
	since := w.Longest
	switch {
	case g.waiting:
		since = now.Sub(g.last)
	case !g.seen.IsZero():
		since = min(since, now.Sub(g.seen))
	}
	g.impact.Waited = max(g.impact.Waited+since, w.Longest)
	g.impact.Blocked = max(g.impact.Blocked, w.Sessions)
}

// leave ends the run, and at the server itself pg_dump's session, which would keep its locks where pg_dump is held up elsewhere, and our
// snapshot.
func (g *gentle) leave(ctx context.Context, w customerdb.Waiting) {
	what := "for the backup's snapshot to end"
	if w.Object != "" {
		what = "for a lock on " + w.Object
	}
	g.giveWay(&remora.Failure{Reason: remora.ReasonLockGaveWay, Detail: fmt.Sprintf(
		"A session of yours waited %s (%s) that reading the database was in the way of; %s waited in all. Sessions have waited %.0f s in this attempt, so we broke it off.",
		what, w.Mode, remora.Count(w.Sessions, "session"), g.impact.Waited.Seconds())})
	ctx, cancel := cleanup(ctx)
	defer cancel()
	_ = g.session.Leave(ctx, g.app) // else both end with their connections
}
