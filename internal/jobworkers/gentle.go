package jobworkers

import (
	"cmp"
	"context"
	"errors"
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
	last    time.Time     // when it looked
	pause   time.Duration // until it looks again
	waiting bool          // whether it saw anybody
}

// watch looks every now and then, until over is closed or the dump has had to give way. Its error says that nobody looks any more.
func (g *gentle) watch(ctx context.Context, over <-chan struct{}) error {
	for {
		timer := time.NewTimer(time.Until(g.last.Add(g.pause)))
		select {
		case <-timer.C:
		case <-over:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		if err := g.look(ctx); err != nil {
			return err
		}
	}
}

// look looks once. Its error says that nobody can look again, or that the dump had to give way.
func (g *gentle) look(ctx context.Context) error {
	if g.last.IsZero() {
		g.last = time.Now()
	}
	w, err := g.session.Waiting(ctx, g.app)
	if err != nil {
		return err
	}
	now := time.Now()
	g.impact.Watched = true
	g.pause = g.every
	if w.Sessions > 0 {
		g.count(w, now.Sub(g.last), g.waiting)
		if g.impact.Waited >= g.most {
			return cmp.Or(g.leave(ctx, w), errGaveWay)
		}
		g.pause = min(g.pause, g.most-g.impact.Waited)
	}
	g.last, g.waiting = now, w.Sessions > 0
	return nil
}

var errGaveWay = errors.New("the dump gave way")

// count adds a wait that was seen: all of the time since the last look where somebody waited then too, or where the server
// does not say since when.
func (g *gentle) count(w customerdb.Waiting, since time.Duration, before bool) {
	if !before && w.Longest > 0 {
		since = w.Longest
	}
	g.impact.Waited = max(g.impact.Waited+since, w.Longest)
	g.impact.Blocked = max(g.impact.Blocked, w.Sessions)
}

// leave ends the run, and pg_dump's session at the server itself: a pg_dump that is held up elsewhere would keep its locks.
func (g *gentle) leave(ctx context.Context, w customerdb.Waiting) error {
	what := "for the backup's snapshot to end"
	if w.Object != "" {
		what = "for a lock on " + w.Object
	}
	g.giveWay(&remora.Failure{Reason: remora.ReasonLockGaveWay, Detail: fmt.Sprintf(
		"A session of yours waited %s (%s) that reading the database was in the way of; %s waited in all. Sessions have waited %.0f s in this attempt, so we broke it off.",
		what, w.Mode, remora.Count(w.Sessions, "session"), g.impact.Waited.Seconds())})
	ctx, cancel := cleanup(ctx)
	defer cancel()
	return g.session.Leave(ctx, g.app)
}
