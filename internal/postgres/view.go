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

// BackupView returns what the pages of one backup show. Errors: KindNotFound, for another resource's too, KindGone.
func (s *Store) BackupView(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.BackupView, error) {
	var out remora.BackupView
	err := s.seeResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out.Now, out.Resource = t.now, resourceOf(r)
		row, err := t.q.GetBackup(ctx, pgsql.GetBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		out.Backup = backupOf(row.Backup, row.Addon, row.OwnerApp)
		if out.Backup.Bucket != "" {
			bucket, err := t.q.GetBucket(ctx, pgsql.GetBucketParams{ID: string(out.Backup.Bucket), ResourceID: string(id)})
			if err != nil {
				return fmt.Errorf("read where it lies: %w", err)
			}
			out.Place = bucketOf(bucket).Place
		}
		if err := t.copiesIn(ctx, &out); err != nil {
			return err
		}
		if out.Backup.Impact, err = t.impactOf(ctx, id, b); err != nil {
			return err
		}
		db, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(out.Backup.Database), ResourceID: string(id)})
		if err != nil {
			return fmt.Errorf("read database: %w", err)
		}
		out.Reads, out.Size = db.Credential, db.SizeBytes
		if out.Backup.Progress, err = t.progress(ctx, id, b); err != nil {
			return err
		}
		good := []remora.BackupState{remora.BackupVerified, remora.BackupProven}
		before, err := t.looked(ctx, id, out.Backup.Database, remora.Look{States: good, Before: out.Backup.QueuedAt, Most: 1})
		if err != nil {
			return err
		}
		if len(before) > 0 {
			out.Before = &before[0]
		}
		if out.ProveAt, err = t.restoreDueAt(ctx, id, out.Backup, s.ProveAgain); err != nil {
			return err
		}
		return t.aboutBackup(ctx, id, &out)
	})
	return out, err
}

// restoreDueAt is when a backup is to be restored by itself; zero where it is not, or is being.
func (t *tx) restoreDueAt(ctx context.Context, id remora.ResourceID, b remora.Backup, again time.Duration) (time.Time, error) {
	if !b.State.Good() || b.Alone {
		return time.Time{}, nil
	}
	at, err := t.q.RestoreDueAt(ctx, pgsql.RestoreDueAtParams{Again: again, BackupID: string(b.ID), DatabaseID: string(b.Database), ResourceID: string(id)})
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read when it is to be restored: %w", err)
	}
	return at, nil
}

// aboutBackup adds the report, the proofs, the links and what is stored.
func (t *tx) aboutBackup(ctx context.Context, id remora.ResourceID, v *remora.BackupView) (err error) {
	b := string(v.Backup.ID)
	report, err := t.q.GetAudit(ctx, pgsql.GetAuditParams{BackupID: &b, ResourceID: string(id)})
	if err == nil {
		a, err := auditOf(report)
		if err != nil {
			return err
		}
		v.Audit = &a
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read report: %w", err)
	}
	if v.Proofs, err = t.proofsOfBackup(ctx, id, v.Backup.ID); err != nil {
		return err
	}
	links, err := t.q.ListLinks(ctx, pgsql.ListLinksParams{ResourceID: string(id), BackupID: b})
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		v.Links = append(v.Links, linkOf(l))
	}
	v.Objects, err = t.objects(ctx, id, v.Backup.ID)
	return err
}

// OwnLink returns the link that a token opens, where it is of that backup. Errors: KindNotFound.
func (s *Store) OwnLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, token string) (remora.Link, error) {
	var out remora.Link
	err := s.forResource(ctx, id, func(t *tx) error {
		row, err := t.q.FindOwnLink(ctx, pgsql.FindOwnLinkParams{ResourceID: string(id), BackupID: string(b), TokenHash: hash(token)})
		out = linkOf(row)
		return or404(err, "link")
	})
	return out, err
}

func linkOf(l pgsql.Link) remora.Link {
	return remora.Link{
		ID: remora.LinkID(l.ID), Backup: remora.BackupID(l.BackupID), MadeBy: l.MadeBy, CreatedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt,
		RevokedAt: orZero(l.RevokedAt), UsedAt: orZero(l.UsedAt), UsedBy: l.UsedFrom,
	}
}
