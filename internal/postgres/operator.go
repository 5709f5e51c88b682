package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// operatorLists bounds what a list of the operator's pages has.
const operatorLists = 50

// deletionGrace is how late a deletion may be before an operator is shown it.
const deletionGrace = time.Hour

// ServiceView returns how the service stands, for its operator. It reads each table by an index or once.
func (s *Store) ServiceView(ctx context.Context) (out remora.ServiceView, err error) {
	err = s.forService(ctx, func(t *tx) error {
		out.Now = t.now
		var err error
		if out.Hold, err = t.hold(ctx); err != nil {
			return err
		}
		resources, err := t.q.CountResources(ctx)
		if err != nil {
			return fmt.Errorf("count resources: %w", err)
		}
		for _, r := range resources {
			out.Resources = append(out.Resources, remora.Counted{What: r.Plan, State: r.State, N: r.N})
		}
		fresh, err := t.q.CountFreshness(ctx)
		if err != nil {
			return fmt.Errorf("count databases: %w", err)
		}
		for _, r := range fresh {
			out.Databases = append(out.Databases, remora.Counted{What: "databases", State: r.State, N: r.N})
		}
		jobs, err := t.q.CountJobs(ctx)
		if err != nil {
			return fmt.Errorf("count jobs: %w", err)
		}
		for _, r := range jobs {
			out.Jobs = append(out.Jobs, remora.Counted{What: r.Kind, State: r.State, N: r.N})
		}
		backups, err := t.q.CountRecentBackups(ctx, t.now.AddDate(0, 0, -1))
		if err != nil {
			return fmt.Errorf("count backups: %w", err)
		}
		for _, r := range backups {
			out.Backups = append(out.Backups, remora.Counted{What: r.Reason, State: r.State, N: r.N})
		}
		runs, err := t.q.StuckRuns(ctx, pgsql.StuckRunsParams{Now: t.now, Most: operatorLists})
		if err != nil {
			return fmt.Errorf("find stuck runs: %w", err)
		}
		for _, r := range runs {
			out.Stuck = append(out.Stuck, remora.StuckRun{
				Resource: remora.ResourceID(r.ResourceID), Backup: remora.BackupID(r.BackupID), Worker: r.Worker, State: remora.RunState(r.State),
				StartedAt: r.StartedAt, LeaseUntil: r.LeaseUntil, Usual: r.Usual,
			})
		}
		failing, err := t.q.FailingDeletions(ctx, pgsql.FailingDeletionsParams{Now: t.now, Before: t.now.Add(-deletionGrace), Most: operatorLists})
		if err != nil {
			return fmt.Errorf("find failing deletions: %w", err)
		}
		for _, r := range failing {
			out.Undeleted = append(out.Undeleted, remora.Undeleted{
				Resource: remora.ResourceID(r.ResourceID), Backup: remora.BackupID(r.ID), DueAt: r.DeleteAt, Attempts: int(r.DeleteAttempts),
			})
		}
		return nil
	})
	return out, err
}

// FindResources finds add-ons by their identifier or their name at Heroku, whole, removed ones too; at most 20.
func (s *Store) FindResources(ctx context.Context, words string) (out []remora.Resource, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.FindResources(ctx, words)
		for _, r := range rows {
			out = append(out, remora.Resource{ID: remora.ResourceID(r.ID), Name: r.Name, Plan: r.Plan, State: remora.ResourceState(r.State)})
		}
		return err
	})
	return out, err
}

// TenantView returns what an operator may see of an add-on: states, sizes and times, and nothing that its databases or
// people are called. That somebody looked is written into its audit log. Errors: KindNotFound.
func (s *Store) TenantView(ctx context.Context, id remora.ResourceID, from string) (out remora.TenantView, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		r, err := t.q.GetResource(ctx, string(id))
		if err != nil {
			return or404(err, "add-on")
		}
		out.Now, out.Resource = t.now, resourceOf(r)
		dbs, err := t.q.OperatorDatabases(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		for _, d := range dbs {
			out.Databases = append(out.Databases, remora.TenantDatabase{
				ID: remora.DatabaseID(d.ID), State: remora.DatabaseState(d.State), Fresh: d.Fresh, ServerVersion: d.ServerVersion, SizeBytes: d.SizeBytes,
				SeenAt: d.SeenAt, Held: remora.Holding{Backups: int(d.Backups), Bytes: d.Stored},
			})
		}
		backups, err := t.q.OperatorBackups(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list backups: %w", err)
		}
		for _, b := range backups {
			out.Backups = append(out.Backups, remora.Backup{
				ID: remora.BackupID(b.ID), Database: remora.DatabaseID(b.DatabaseID), State: remora.BackupState(b.State), Reason: remora.Reason(b.Reason),
				Attempts: int(b.Attempts), Tables: int(b.Tables), PlainSize: b.PlainSize, StoredSize: b.StoredSize, QueuedAt: b.QueuedAt,
				StartedAt: orZero(b.StartedAt), EndedAt: orZero(b.EndedAt),
			})
		}
		if r.Name == "" { // nothing is left of it: a line would begin a log anew that the receipt calls ended
			return nil
		}
		return t.audit(ctx, id, OperatorActor, "look at the add-on", foreign(from, maxWord))
	})
	return out, err
}
