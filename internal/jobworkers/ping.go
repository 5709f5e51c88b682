package jobworkers

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// ping calls a customer's own watch.
type ping struct {
	river.WorkerDefaults[jobargs.Ping]
	*Courier
}

// NextRetry implements river.Worker.
func (*ping) NextRetry(job *river.Job[jobargs.Ping]) time.Time {
	return nextTry(job.Attempt)
}

// Work implements river.Worker. That a backup has begun is said once: later it would not be true.
func (w *ping) Work(ctx context.Context, job *river.Job[jobargs.Ping]) error {
	to, err := w.Store.ToPing(ctx, job.Args)
	if errors.Is(err, postgres.ErrNothingToDo) {
		return nil
	}
	if err != nil {
		w.Log.ErrorContext(ctx, "ping cannot be read", "database_id", job.Args.Database, "attempt", job.Attempt, "error", err)
		return err
	}
	var said string
	if !w.seats.hold(job.Args.Resource, func() { said, err = w.Sender.Ping(ctx, to) }) {
		return river.JobSnooze(seatAgain)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // this process stops; another goes on
	}
	f := &notify.Failure{}
	again := errors.As(err, &f) && f.Heals && job.Attempt < job.MaxAttempts && job.Args.About != remora.PingStart
	if err != nil {
		if said = f.Sentence; again {
			said += " We try again."
		}
	}
	w.Log.InfoContext(ctx, "ping", "resource_id", job.Args.Resource, "database_id", job.Args.Database, "kind", job.Args.About, "attempt", job.Attempt, "error", err)
	done, cancel := cleanup(ctx)
	defer cancel()
	if failed := w.Store.SavePinged(done, job.Args, err == nil, said); failed != nil {
		w.Log.ErrorContext(ctx, "what became of a ping was not written down", "database_id", job.Args.Database, "error", failed)
	}
	if again {
		return errAgain
	}
	return nil
}
