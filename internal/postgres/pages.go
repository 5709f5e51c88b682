package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// trendLength is how many good backups the pictures of sizes and durations show at most.
const trendLength = 90

// Database returns what the page of one database shows. Errors: KindNotFound, for another resource's too, KindGone.
func (s *Store) Database(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, look remora.Look) (remora.DatabaseView, error) {
	var out remora.DatabaseView
	err := s.seeResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out.Now, out.Resource = t.now, resourceOf(r)
		dbs, err := t.q.ListDatabases(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		out.Databases = slices.DeleteFunc(databasesOf(dbs), func(d remora.Database) bool { return d.ID != db })
		if len(out.Databases) == 0 {
			return remora.NotFound("database")
		}
		if err := t.proofsOf(ctx, id, out.Databases); err != nil {
			return err
		}
		if err := t.freshnessOf(ctx, id, out.Databases); err != nil {
			return err
		}
		if out.Backups, err = t.looked(ctx, id, db, remora.Look{States: look.States, Before: look.Before, Most: look.Most + 1}); err != nil {
			return err
		}
		if out.More = len(out.Backups) > look.Most; out.More {
			out.Backups = out.Backups[:look.Most]
		}
		good := []remora.BackupState{remora.BackupVerified, remora.BackupProven}
		if out.Trend, err = t.looked(ctx, id, db, remora.Look{States: good, Most: trendLength}); err != nil {
			return err
		}
		if out.Counts, err = t.counts(ctx, id, db); err != nil {
			return err
		}
		if err := t.holdings(ctx, &out.Overview); err != nil {
			return err
		}
		return t.audits(ctx, &out.Overview)
	})
	return out, err
}

// looked lists the backups that are looked at, newest first.
func (t *tx) looked(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, look remora.Look) ([]remora.Backup, error) {
	rows, err := t.q.BackupsOfDatabase(ctx, pgsql.BackupsOfDatabaseParams{
		ResourceID: string(id), DatabaseID: string(db), States: words(look.States), Before: orNil(look.Before), Most: int32(look.Most),
	})
	if err != nil {
		return nil, fmt.Errorf("list the database's backups: %w", err)
	}
	var out []remora.Backup
	for _, b := range rows {
		backup := backupOf(b.Backup, b.Addon, b.OwnerApp)
		if b.RunState != nil {
			backup.Progress = progressOf(*b.RunState, *b.RunBytes, *b.RunBytesOut, *b.TablesDone, *b.TablesTotal, *b.Current, *b.RunStartedAt)
		}
		out = append(out, backup)
	}
	return out, nil
}

func (t *tx) counts(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (map[remora.BackupState]int, error) {
	rows, err := t.q.CountBackups(ctx, pgsql.CountBackupsParams{ResourceID: string(id), DatabaseID: string(db)})
	if err != nil {
		return nil, fmt.Errorf("count the database's backups: %w", err)
	}
	out := map[remora.BackupState]int{}
	for _, row := range rows {
		out[remora.BackupState(row.State)] = int(row.N)
	}
	return out, nil
}

// holdings adds each database's last good backup and what of it is stored.
func (t *tx) holdings(ctx context.Context, o *remora.Overview) error {
	o.LastGood, o.Stored = map[remora.DatabaseID]remora.Backup{}, map[remora.DatabaseID]remora.Holding{}
	goods, err := t.q.LastGoods(ctx, string(o.Resource.ID))
	if err != nil {
		return fmt.Errorf("list last good backups: %w", err)
	}
	for _, row := range goods {
		b := backupOf(row.Backup, row.Addon, row.OwnerApp)
		o.LastGood[b.Database] = b
	}
	stored, err := t.q.StoredOf(ctx, string(o.Resource.ID))
	if err != nil {
		return fmt.Errorf("sum what is stored: %w", err)
	}
	for _, row := range stored {
		o.Stored[remora.DatabaseID(row.DatabaseID)] = remora.Holding{Backups: int(row.N), Bytes: row.Bytes}
	}
	return nil
}

// progress tells how far a backup is; nil where no worker holds it.
func (t *tx) progress(ctx context.Context, id remora.ResourceID, b remora.BackupID) (*remora.Progress, error) {
	r, err := t.q.LiveRun(ctx, pgsql.LiveRunParams{BackupID: string(b), ResourceID: string(id)})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read live run: %w", err)
	}
	return progressOf(r.State, r.Bytes, r.BytesOut, r.TablesDone, r.TablesTotal, r.Current, r.StartedAt), nil
}

func progressOf(state string, read, given int64, done, total int32, current string, started time.Time) *remora.Progress {
	return &remora.Progress{
		State: remora.RunState(state), Bytes: read, BytesOut: given, TablesDone: int(done), TablesTotal: int(total), Current: current, StartedAt: started,
	}
}

func databasesOf(rows []pgsql.ListDatabasesRow) []remora.Database {
	var out []remora.Database
	for _, d := range rows {
		db := databaseOf(pgsql.Database{
			ID: d.ID, AddonID: d.AddonID, Addon: d.Addon, OwnerApp: d.OwnerApp, Attachment: d.Attachment, Beside: d.Beside, Also: d.Also, Credential: d.Credential,
			State: d.State, Problem: d.Problem, ServerVersion: d.ServerVersion, SizeBytes: d.SizeBytes,
			FoundAt: d.FoundAt, SeenAt: d.SeenAt, ProveAt: d.ProveAt, Plan: d.Plan, CheckAskedAt: d.CheckAskedAt,
			ForgetAt: d.ForgetAt, ForgetBy: d.ForgetBy,
		})
		if d.Kind != nil {
			db.Rule = ruleOf(pgsql.Schedule{Kind: *d.Kind, Hours: *d.Hours, Minute: *d.Minute, Weekday: *d.Weekday, Day: *d.Day, Cron: *d.Cron, Zone: *d.Zone})
			db.Pause = pauseOf(d.PausedAt, orEmpty[string](d.PausedBy), orEmpty[string](d.PauseReason))
		}
		if db.State == remora.DatabaseActive && db.Pause == nil {
			db.NextRunAt = orZero(d.NextRunAt)
		}
		out = append(out, db)
	}
	return out
}
