package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// sealedReceipt is what the token of a receipt's address is for, bound into it with the resource's id.
const sealedReceipt = "removals.sealed_token"

// OperatorActor is who the audit log names for what the operator does.
const OperatorActor = "operator"

// beginRemoval writes down what is held of a resource that has just been removed, and makes the address of its receipt.
func (t *tx) beginRemoval(ctx context.Context, id remora.ResourceID) error {
	token := remora.NewToken()
	err := t.q.InsertRemoval(ctx, pgsql.InsertRemovalParams{
		ResourceID: string(id), TokenHash: hash(token), SealedToken: t.s.seal(redact.New(token), sealedReceipt, id),
		AskedAt: t.now, UndoUntil: t.now.Add(t.s.UndoWithin),
	})
	if err != nil {
		return fmt.Errorf("write down the removal: %w", err)
	}
	return nil
}

// receipt is what the address of a removed resource's receipt ends with, while somebody may still be told of it.
func (t *tx) receipt(ctx context.Context, id remora.ResourceID) (redact.Secret, error) {
	row, err := t.q.GetRemoval(ctx, string(id))
	if errors.Is(err, pgx.ErrNoRows) { // it was undone
		return redact.Secret{}, nil
	}
	if err != nil {
		return redact.Secret{}, fmt.Errorf("read removal: %w", err)
	}
	return t.s.open(row.SealedToken, sealedReceipt, id)
}

// AdoptRemovals takes on what a process of an older release has removed. It returns how many; call again while that is not
// 0.
func (s *Store) AdoptRemovals(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RemovedWithoutRemoval(ctx, batch)
		if err != nil {
			return fmt.Errorf("find removed add-ons: %w", err)
		}
		n = len(rows)
		for _, r := range rows {
			err := t.q.InsertRemoval(ctx, pgsql.InsertRemovalParams{ResourceID: r.ID, AskedAt: r.At, UndoUntil: r.At.Add(s.UndoWithin)})
			if err != nil {
				return fmt.Errorf("adopt removal: %w", err)
			}
		}
		return nil
	})
	return n, err
}

// KeysToDestroy lists the removed resources that can be undone no longer and whose key is still there, at most 200 from behind
// after on, or from the start where that is empty.
func (s *Store) KeysToDestroy(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.KeysToDestroy(ctx, pgsql.KeysToDestroyParams{Now: t.now, After: behind(after), Most: batch})
		out = ids(rows)
		return err
	})
	return out, err
}

// DestroyKey destroys the key of a removed resource, whose copies in the bucket are gone already: what is stored of it is noise
// from then on. done is false where its removal was undone at that moment.
func (s *Store) DestroyKey(ctx context.Context, id remora.ResourceID) (done bool, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		n, err := t.q.DestroyKey(ctx, pgsql.DestroyKeyParams{ResourceID: string(id), Now: &t.now})
		done = n > 0
		return err
	})
	return done, err
}

// RemovalsToDelete lists the removed resources of which something may be stored, and no run goes on, at most 200 from behind
// after on, or from the start where that is empty.
func (s *Store) RemovalsToDelete(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RemovalsToDelete(ctx, pgsql.RemovalsToDeleteParams{Before: t.now.Add(-s.Lease), After: behind(after), Most: batch})
		out = ids(rows)
		return err
	})
	return out, err
}

// Deleted is what an attempt at deleting everything of a resource came to.
type Deleted struct {
	Objects, Bytes, Uploads int64
	Problem                 string // for the operator; empty where nothing is stored any more
}

// SaveDeleted writes down what an attempt came to.
func (s *Store) SaveDeleted(ctx context.Context, id remora.ResourceID, d Deleted) error {
	return s.forResource(ctx, id, func(t *tx) error {
		return t.q.NoteDeleted(ctx, pgsql.NoteDeletedParams{
			ResourceID: string(id), Objects: d.Objects, Bytes: d.Bytes, Uploads: d.Uploads, Problem: foreign(d.Problem, maxWord), Now: t.now,
		})
	})
}

// RemovalsToForget lists the removed resources that nothing is stored of, and nobody is to be told of, as RemovalsToDelete
// does.
func (s *Store) RemovalsToForget(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RemovalsToForget(ctx, pgsql.RemovalsToForgetParams{ToldBefore: t.now.Add(-lastWord), After: behind(after), Most: batch})
		out = ids(rows)
		return err
	})
	return out, err
}

// ForgetResource deletes every row of a removed resource, and every job that names one, but for the tombstone and the
// receipt. A second time it does nothing. Errors: ErrBusy while a job that names it runs, KindConflict before everything
// stored is gone.
func (s *Store) ForgetResource(ctx context.Context, id remora.ResourceID) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.q.LockResource(ctx, string(id)); err != nil {
			return or404(err, "add-on")
		}
		m, err := t.q.LockRemoval(ctx, string(id))
		switch {
		case err != nil:
			return or404(err, "removal")
		case m.ForgottenAt != nil:
			return nil
		case m.ObjectsDeletedAt == nil:
			return &remora.Error{Kind: remora.KindConflict, Public: "Something is still stored of this add-on."}
		}
		running, err := t.q.ForgetJobs(ctx, string(id))
		if err != nil {
			return fmt.Errorf("forget jobs: %w", err)
		}
		if running > 0 {
			return ErrBusy
		}
		log, err := t.chain(ctx, id)
		if err != nil {
			return err
		}
		if err := t.q.ForgetRows(ctx, string(id)); err != nil {
			return fmt.Errorf("forget rows: %w", err)
		}
		if err := t.q.LeaveTombstone(ctx, string(id)); err != nil {
			return fmt.Errorf("leave a tombstone: %w", err)
		}
		return t.q.EndRemoval(ctx, pgsql.EndRemovalParams{ResourceID: string(id), Now: &t.now, AuditLines: log.Length, AuditHash: log.Hash})
	})
}

// LateRemovals counts the removed resources whose key or archives should have gone longer ago than grace, for the operator.
func (s *Store) LateRemovals(ctx context.Context, grace time.Duration) (n int, err error) {
	err = s.forService(ctx, func(t *tx) error {
		late, err := t.q.CountLateRemovals(ctx, t.now.Add(-grace))
		n = int(late)
		return err
	})
	return n, err
}

// Receipt returns what became of a removed add-on, for whoever knows the receipt's address. Errors: KindNotFound.
func (s *Store) Receipt(ctx context.Context, token string) (out remora.Removal, err error) {
	err = s.forService(ctx, func(t *tx) error {
		row, err := t.q.FindRemoval(ctx, hash(token))
		out = t.removalOf(row)
		return or404(err, "receipt")
	})
	return out, err
}

// Removal returns what became of a removed add-on, for the operator. Errors: KindNotFound.
func (s *Store) Removal(ctx context.Context, id remora.ResourceID) (out remora.Removal, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		row, err := t.q.GetRemoval(ctx, string(id))
		out = t.removalOf(row)
		return or404(err, "removal")
	})
	return out, err
}

// UndoRemoval gives a removed add-on back to its customer, as far as we can: its archives and its key are there, and its
// schedules go on. What Heroku gave us, links, visits and tokens of the API stay gone, so somebody must act before all works
// again. Errors: KindNotFound, KindConflict once the key is destroyed.
func (s *Store) UndoRemoval(ctx context.Context, id remora.ResourceID) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.q.LockResource(ctx, string(id)); err != nil {
			return or404(err, "add-on")
		}
		m, err := t.q.LockRemoval(ctx, string(id))
		if err != nil {
			return or404(err, "removal")
		}
		if m.KeyDestroyedAt != nil {
			return &remora.Error{Kind: remora.KindConflict, Public: "The key of this add-on's archives was destroyed at " + m.KeyDestroyedAt.Format(time.RFC3339) + ". Nobody can undo the removal any more."}
		}
		if err := t.q.Undeprovision(ctx, string(id)); err != nil {
			return fmt.Errorf("undo removal: %w", err)
		}
		if err := t.q.DeleteRemoval(ctx, string(id)); err != nil {
			return fmt.Errorf("undo removal: %w", err)
		}
		if _, err := t.q.DeleteSessions(ctx, string(id)); err != nil {
			return fmt.Errorf("end visits: %w", err)
		}
		ended, err := t.q.EndedSchedules(ctx, string(id))
		if err != nil {
			return fmt.Errorf("list schedules: %w", err)
		}
		var moves pgsql.MoveSchedulesParams
		for _, row := range ended {
			moves.Ids, moves.Nexts, moves.Rans = append(moves.Ids, row.ID), append(moves.Nexts, timesOf(row).Next(t.now)), append(moves.Rans, orZero(row.RanAt))
		}
		if err := t.q.MoveSchedules(ctx, moves); err != nil {
			return fmt.Errorf("start schedules again: %w", err)
		}
		return t.audit(ctx, id, OperatorActor, "undo removal", "")
	})
}

func (t *tx) removalOf(m pgsql.Removal) remora.Removal {
	return remora.Removal{
		Resource: remora.ResourceID(m.ResourceID), AskedAt: m.AskedAt, UndoUntil: m.UndoUntil, Databases: m.Databases, Backups: m.Backups,
		Objects: m.Objects, Bytes: m.Bytes, KeyDestroyedAt: orZero(m.KeyDestroyedAt), ObjectsDeletedAt: orZero(m.ObjectsDeletedAt),
		DeletedObjects: m.DeletedObjects, DeletedBytes: m.DeletedBytes, AbortedUploads: m.AbortedUploads, ForgottenAt: orZero(m.ForgottenAt), Now: t.now,
		Audit: remora.AuditChain{Length: m.AuditLines, Hash: m.AuditHash},
	}
}

// behind is where a list by identifiers goes on.
func behind(after remora.ResourceID) string {
	if after == "" {
		return firstID
	}
	return string(after)
}

func ids(rows []string) []remora.ResourceID {
	out := make([]remora.ResourceID, len(rows))
	for i, id := range rows {
		out[i] = remora.ResourceID(id)
	}
	return out
}
