package jobworkers

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// auditDatabase looks at what a credential may do, when a person asks: after grants were given, say.
type auditDatabase struct {
	river.WorkerDefaults[jobargs.AuditDatabase]
	*Workers
}

// Timeout implements river.Worker: Heroku is asked twice, the server for at most 75 s.
func (*auditDatabase) Timeout(*river.Job[jobargs.AuditDatabase]) time.Duration {
	return 100 * time.Second
}

// Work implements river.Worker.
func (w *auditDatabase) Work(ctx context.Context, job *river.Job[jobargs.AuditDatabase]) error {
	id, db := job.Args.Resource, job.Args.Database
	row, helperApp, err := w.Store.ToAudit(ctx, id, db)
	if errors.Is(err, postgres.ErrNothingToDo) {
		return nil
	}
	if err != nil {
		return err
	}
	audit, server, err := w.look(ctx, row, helperApp)
	if err != nil {
		if ctx.Err() != nil { // this process stops
			return ctx.Err()
		}
		f := failureOf(err)
		audit = remora.Audit{Failed: f.Reason, Words: f.Detail}
		w.Log.InfoContext(ctx, "credential could not be checked", "resource_id", id, "database_id", db, "reason", f.Reason, "error", f)
	} else {
		w.Log.InfoContext(ctx, "credential checked", "resource_id", id, "database_id", db, "verdict", audit.Verdict(nil))
	}
	done, cancel := cleanup(ctx)
	defer cancel()
	return w.Store.SaveCheck(done, id, db, audit, remora.Server{Version: server.Version, Size: server.Size, Key: server.Key})
}

func (w *auditDatabase) look(ctx context.Context, db remora.Database, helperApp string) (remora.Audit, customerdb.Server, error) {
	target, err := w.locate(ctx, db, helperApp, &stages{now: w.Now})
	if err != nil {
		return remora.Audit{}, customerdb.Server{}, err
	}
	s, err := customerdb.Open(ctx, target)
	if err != nil {
		return remora.Audit{}, customerdb.Server{}, err
	}
	defer s.Close()
	audit, err := s.Ask(ctx)
	return audit, s.Server(), err
}
