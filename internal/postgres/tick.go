package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// batch bounds what one transaction of the tick takes on; the tick calls again while there is more.
const batch = 200

// EnqueueChecks asks for the attachments of every resource that were not listed for CheckEvery, those that were not for
// longest first, and of so many in a minute as ChecksPerMinute says: with more resources, each comes less often. It
// returns how many resources that were; call again while that is not 0.
func (s *Store) EnqueueChecks(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		before := t.now.Add(-s.CheckEvery)
		minute := t.now.Add(-time.Minute)
		recent, err := t.q.CountChecks(ctx, &minute)
		if err != nil {
			return fmt.Errorf("count checks: %w", err)
		}
		most := min(batch, int64(s.ChecksPerMinute)-recent)
		if most <= 0 {
			return nil
		}
		ids, err := t.q.ClaimChecks(ctx, pgsql.ClaimChecksParams{Now: &t.now, Before: &before, Most: int32(most)}) //nolint:gosec // at most batch
		if err != nil {
			return fmt.Errorf("claim checks: %w", err)
		}
		n = len(ids)
		for _, id := range ids {
			if err := t.enqueue(ctx, jobargs.FindDatabases{Resource: remora.ResourceID(id)}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// EnqueueStranded gives a job to every queued backup, proof and copy and every resource not yet ready that has none: the job
// was discarded after its last attempt, or its worker was killed before it wrote anything down, which River
// finds out only once the job's own timeout has passed. One job too many does no harm, since it is rows that
// are claimed. It returns how many it found; call again while that is not 0.
func (s *Store) EnqueueStranded(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		before := t.now.Add(-s.Lease)
		backups, err := t.q.LockStrandedBackups(ctx, pgsql.LockStrandedBackupsParams{Before: &before, Lease: s.Lease, Most: batch})
		if err != nil {
			return fmt.Errorf("find stranded backups: %w", err)
		}
		for _, b := range backups {
			if err := t.enqueue(ctx, jobargs.RunBackup{Backup: remora.BackupID(b.ID), Attempt: int(b.Attempts) + 1, Pool: remora.PoolOf(b.Region)}); err != nil {
				return err
			}
		}
		resources, err := t.q.LockStrandedResources(ctx, pgsql.LockStrandedResourcesParams{Before: before, Lease: s.Lease, Most: batch})
		if err != nil {
			return fmt.Errorf("find stranded resources: %w", err)
		}
		for _, id := range resources {
			if err := t.enqueue(ctx, jobargs.MakeReady{Resource: remora.ResourceID(id)}); err != nil {
				return err
			}
		}
		proofs, err := t.strandedProofs(ctx)
		if err != nil {
			return err
		}
		copies, err := t.strandedCopies(ctx)
		n = len(backups) + len(resources) + proofs + copies
		return err
	})
	return n, err
}
