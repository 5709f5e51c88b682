package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// SaveImpact writes down what a run has cost the customer's database of which no backup was kept; KeepBackup does so of one that was.
func (s *Store) SaveImpact(ctx context.Context, c Claim, i remora.Impact) error {
	if i.Held == 0 {
		return nil
	}
	p := pgsql.SaveImpactParams{ID: string(c.Run), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch)} //nolint:gosec // one a run
	p.Held, p.Blocked, p.Waited = columnsOf(i)
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error { return t.q.SaveImpact(ctx, p) })
}

// columnsOf is what runs have of an impact: null is what nobody knows.
func columnsOf(i remora.Impact) (held *time.Duration, blocked *int32, waited *time.Duration) {
	if i.Held > 0 {
		held = &i.Held
	}
	if i.Watched {
		n := int32(min(i.Blocked, 1<<30)) //nolint:gosec // bounded
		blocked, waited = &n, &i.Waited
	}
	return held, blocked, waited
}

// impactOf is what the newest run of a backup that had a snapshot has cost, or nil.
func (t *tx) impactOf(ctx context.Context, id remora.ResourceID, b remora.BackupID) (*remora.Impact, error) {
	row, err := t.q.ImpactOf(ctx, pgsql.ImpactOfParams{BackupID: string(b), ResourceID: string(id)})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // none was noted
	}
	if err != nil {
		return nil, fmt.Errorf("read impact: %w", err)
	}
	i := &remora.Impact{Held: *row.Held, Watched: row.Blocked != nil}
	if i.Watched {
		i.Blocked, i.Waited = int(*row.Blocked), *row.Waited
	}
	return i, nil
}

// gaveWay tells the customer that an attempt was broken off for a session of his, and when the next one is made.
func (t *tx) gaveWay(ctx context.Context, c Claim, f *remora.Failure, pause time.Duration) error {
	if f.Reason != remora.ReasonLockGaveWay {
		return nil
	}
	return t.happened(ctx, c.Resource.ID, remora.Event{
		Kind: remora.EventLockGaveWay, Backup: c.Backup, Reason: f.Reason,
		Detail: f.Detail + " We try again at " + t.now.Add(pause).UTC().Format("15:04 UTC") + ".",
	})
}
