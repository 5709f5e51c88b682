package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// ProofClaim is a verifier's hold on one proof. Every write of it goes through it.
type ProofClaim struct {
	Proof       remora.ProofID
	Kind        remora.ProofKind
	Resource    remora.Resource
	Backup      remora.Backup
	Epoch       int
	Attempt     int // counted from 1
	RequestedBy string
}

// RequestProof asks for a proof of that kind of a backup now. Where that is asked for already, nothing is added.
// Errors: KindNotFound, KindGone, KindConflict where there is no archive, or none that we can open.
func (s *Store) RequestProof(ctx context.Context, id remora.ResourceID, b remora.BackupID, kind remora.ProofKind, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		row, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		if !remora.BackupState(row.State).Restorable() {
			return &remora.Error{Kind: remora.KindConflict, Public: "This backup has no archive that could be looked at."}
		}
		if kind == remora.ProofRestore && row.Alone {
			return remora.ErrAlone
		}
		made, err := t.requestProof(ctx, proofOrder{kind, row.ResourceID, r.Region, row.DatabaseID, row.ID, person})
		if err != nil || !made {
			return err
		}
		return t.audit(ctx, id, person, "request proof", row.ID)
	})
}

// proofOrder is what is asked for: of which backup, and by whom; "" is by nobody.
type proofOrder struct {
	kind                                       remora.ProofKind
	resource, region, database, backup, person string
}

// requestProof inserts a queued proof and its job, unless there is a live one; made tells.
func (t *tx) requestProof(ctx context.Context, o proofOrder) (made bool, err error) {
	id := remora.NewID[remora.ProofID]()
	n, err := t.q.InsertProof(ctx, pgsql.InsertProofParams{
		ID: string(id), ResourceID: o.resource, DatabaseID: o.database, BackupID: o.backup, Kind: string(o.kind), RequestedBy: o.person, Now: t.now,
	})
	if err != nil {
		return false, fmt.Errorf("insert proof: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	return true, t.enqueueProof(ctx, o.kind, jobargs.ProveBackup{Proof: id, Attempt: 1, Pool: remora.PoolOf(o.region)})
}

func (t *tx) enqueueProof(ctx context.Context, kind remora.ProofKind, args jobargs.ProveBackup, at ...time.Time) error {
	if kind == remora.ProofRestore {
		return t.enqueue(ctx, args, at...)
	}
	return t.enqueue(ctx, jobargs.RereadBackup(args), at...)
}

// EnqueueProofs asks for what is due to be restored or read again. It returns how many that were; call again while that
// is not 0.
func (s *Store) EnqueueProofs(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		lost := t.now.Add(-s.ProveAgain)
		restores, err := t.q.LockDueRestores(ctx, pgsql.LockDueRestoresParams{Now: &t.now, LostSince: &lost, Most: batch})
		if err != nil {
			return fmt.Errorf("find due restores: %w", err)
		}
		for _, d := range restores {
			if _, err := t.requestProof(ctx, proofOrder{remora.ProofRestore, d.ResourceID, d.Region, d.ID, d.BackupID, ""}); err != nil {
				return err
			}
		}
		rereads, err := t.q.LockDueRereads(ctx, pgsql.LockDueRereadsParams{Now: &t.now, LostSince: &lost, Most: batch})
		if err != nil {
			return fmt.Errorf("find due rereads: %w", err)
		}
		for _, b := range rereads {
			if _, err := t.requestProof(ctx, proofOrder{remora.ProofReread, b.ResourceID, b.Region, b.DatabaseID, b.ID, ""}); err != nil {
				return err
			}
		}
		n = len(restores) + len(rereads)
		return nil
	})
	return n, err
}

// ClaimProof starts an attempt at a queued proof. Errors: ErrNothingToDo, ErrBusy, KindNotFound.
func (s *Store) ClaimProof(ctx context.Context, p remora.ProofID, verifier string) (ProofClaim, error) {
	var id string
	err := s.forService(ctx, func(t *tx) (err error) {
		id, err = t.q.FindProof(ctx, string(p))
		return or404(err, "proof")
	})
	if err != nil {
		return ProofClaim{}, err
	}
	var out ProofClaim
	nothing := false
	err = s.forResource(ctx, remora.ResourceID(id), func(t *tx) error {
		r, err := t.lockLive(ctx, remora.ResourceID(id))
		if remora.KindOf(err) == remora.KindGone {
			return ErrNothingToDo
		}
		if err != nil {
			return err
		}
		row, err := t.q.LockProof(ctx, pgsql.LockProofParams{ID: string(p), ResourceID: id})
		if err != nil {
			return or404(err, "proof")
		}
		if row.State != string(remora.ProofQueued) {
			return ErrNothingToDo
		}
		if row.RetryAt != nil && row.RetryAt.After(t.now) {
			return ErrBusy // River's clock and the database's are not the same
		}
		b, err := t.q.GetBackup(ctx, pgsql.GetBackupParams{ID: row.BackupID, ResourceID: id})
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		backup := backupOf(b.Backup, b.Addon, b.OwnerApp)
		if !backup.State.Restorable() { // since it was asked for
			nothing = true
			return t.q.CancelProofs(ctx, pgsql.CancelProofsParams{ResourceID: id, ID: &row.ID, Reason: string(remora.ReasonCanceled), Now: &t.now})
		}
		out = ProofClaim{
			Proof: p, Kind: remora.ProofKind(row.Kind), Resource: resourceOf(r), Backup: backup,
			Epoch: int(row.Epoch) + 1, Attempt: int(row.Attempts) + 1, RequestedBy: row.RequestedBy,
		}
		err = t.q.StartProof(ctx, pgsql.StartProofParams{
			ID: string(p), ResourceID: id, Epoch: int32(out.Epoch), Worker: verifier, Lease: s.Lease, Now: &t.now, //nolint:gosec // one an attempt
		})
		if err != nil {
			return fmt.Errorf("start proof: %w", err)
		}
		return nil
	})
	if err == nil && nothing {
		err = ErrNothingToDo
	}
	return out, err
}

// BeatProof renews the lease and writes down how far the proof is. Errors: KindStale where the lease has ended, a later
// attempt has taken over, or the add-on was removed: stop at once.
func (s *Store) BeatProof(ctx context.Context, c ProofClaim, done int64, current string) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		return changed(t.q.BeatProof(ctx, pgsql.BeatProofParams{
			ID: string(c.Proof), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Lease: s.Lease, //nolint:gosec // one an attempt
			Current: foreign(current, maxWord), Done: done,
		}))
	})
}

// EndProof writes down what a proof has found, and what that means for the backup: see remora.Consequence. Errors:
// KindStale.
func (s *Store) EndProof(ctx context.Context, c ProofClaim, o remora.ProofOutcome) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		row, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(c.Backup.ID), ResourceID: string(c.Resource.ID)})
		if err != nil {
			return fmt.Errorf("lock backup: %w", err)
		}
		if err := t.endProof(ctx, c, o); err != nil {
			return err
		}
		plan, err := remora.PlanOf(c.Resource.Plan)
		if err != nil {
			return err
		}
		if err := t.movedOn(ctx, c, plan); err != nil {
			return err
		}
		if err := t.judge(ctx, c, row, o); err != nil {
			return err
		}
		return t.audit(ctx, c.Resource.ID, "remora", string(c.Kind)+" "+string(o.State), string(c.Backup.ID))
	})
}

func (t *tx) endProof(ctx context.Context, c ProofClaim, o remora.ProofOutcome) error {
	return changed(t.q.EndProof(ctx, pgsql.EndProofParams{
		ID: string(c.Proof), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Now: &t.now, //nolint:gosec // one an attempt
		State: string(o.State), Reason: string(o.Reason), Detail: foreign(o.Detail, maxWords), LeftOut: foreign(o.LeftOut, maxWords),
		ServerVersion: foreign(o.ServerVersion, maxWord), Tables: int32(o.Tables), Rows: o.Rows, Bytes: o.Bytes, Objects: o.Objects, //nolint:gosec // bounded by the archive's head
	}))
}

// movedOn writes down when it is due again.
func (t *tx) movedOn(ctx context.Context, c ProofClaim, plan remora.Plan) error {
	if c.Kind == remora.ProofReread {
		next := plan.NextReread(t.now)
		return t.q.SetRereadAt(ctx, pgsql.SetRereadAtParams{ID: string(c.Backup.ID), ResourceID: string(c.Resource.ID), RereadAt: &next})
	}
	next := plan.NextProof(t.now)
	if c.RequestedBy != "" { // perhaps of an old backup, which says nothing of what is due
		return t.q.MoveProveAt(ctx, pgsql.MoveProveAtParams{
			ID: string(c.Backup.Database), ResourceID: string(c.Resource.ID), BackupID: string(c.Backup.ID), ProveAt: &next,
		})
	}
	return t.q.SetProveAt(ctx, pgsql.SetProveAtParams{ID: string(c.Backup.Database), ResourceID: string(c.Resource.ID), ProveAt: &next})
}

// judge gives the backup, which is locked, the state that follows.
func (t *tx) judge(ctx context.Context, c ProofClaim, row pgsql.Backup, o remora.ProofOutcome) error {
	next, changes := o.Consequence(c.Kind, remora.BackupState(row.State))
	if !changes {
		return nil
	}
	var damagedAt *time.Time
	if next.Reason == remora.ReasonObjectDamaged {
		damagedAt = &t.now
	}
	err := changed(t.q.JudgeBackup(ctx, pgsql.JudgeBackupParams{
		ID: row.ID, ResourceID: row.ResourceID, Was: row.State, State: string(next.State), Reason: string(next.Reason), Detail: foreign(o.Detail, maxWords),
		DamagedAt: damagedAt,
	}))
	if err != nil {
		return err
	}
	if next.Reason != remora.ReasonNone {
		e := remora.Event{Kind: remora.EventProofFailed, Backup: c.Backup.ID, Reason: next.Reason}
		if err := t.happened(ctx, c.Resource.ID, e); err != nil {
			return err
		}
	}
	if next.Untested {
		if err := t.q.SetProveAt(ctx, pgsql.SetProveAtParams{ID: row.DatabaseID, ResourceID: row.ResourceID}); err != nil {
			return fmt.Errorf("wait for the next backup: %w", err)
		}
	}
	if !next.Anew {
		return nil
	}
	d, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: row.DatabaseID, ResourceID: row.ResourceID})
	if err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	if d.State != string(remora.DatabaseActive) {
		return nil
	}
	_, _, err = t.request(ctx, c.Resource.ID, remora.DatabaseID(row.DatabaseID), backupOrigin{})
	return err
}

// RetryProof ends an attempt that could say nothing. Where attempts are left, the proof is queued again with a job;
// otherwise it is lost, stays due, and is asked for anew after ProveAgain. It tells which. Errors: KindStale.
func (s *Store) RetryProof(ctx context.Context, c ProofClaim, f *remora.Failure) (retried bool, err error) {
	retried = c.Attempt <= len(s.RetryAfter)
	err = s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		if !retried {
			return t.endProof(ctx, c, remora.ProofOutcome{State: remora.ProofLost, Reason: f.Reason, Detail: f.Detail})
		}
		return t.requeueProof(ctx, c, f, s.RetryAfter[c.Attempt-1], 0)
	})
	return retried, err
}

// ReleaseProof gives a proof back that the verifier's own stop cut short. The attempt is not counted.
func (s *Store) ReleaseProof(ctx context.Context, c ProofClaim) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		return t.requeueProof(ctx, c, &remora.Failure{Reason: remora.ReasonWorkerLost}, 0, 1)
	})
}

func (t *tx) requeueProof(ctx context.Context, c ProofClaim, f *remora.Failure, wait time.Duration, uncounted int) error {
	at := t.now.Add(wait)
	err := changed(t.q.RequeueProof(ctx, pgsql.RequeueProofParams{
		ID: string(c.Proof), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), //nolint:gosec // one an attempt
		Reason: string(f.Reason), Detail: foreign(f.Detail, maxWords), RetryAt: &at, Uncounted: int32(uncounted), //nolint:gosec // 0 or 1
	}))
	if err != nil {
		return err
	}
	return t.enqueueProof(ctx, c.Kind, jobargs.ProveBackup{Proof: c.Proof, Attempt: c.Attempt + 1 - uncounted, Pool: remora.PoolOf(c.Resource.Region)}, at)
}

// TakeBackLostProofs ends attempts whose lease has ended without a word, as TakeBackLost does runs. It returns how many
// it found.
func (s *Store) TakeBackLostProofs(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		lost, err := t.q.LockLostProofs(ctx, batch)
		if err != nil {
			return fmt.Errorf("find lost proofs: %w", err)
		}
		n = len(lost)
		f := &remora.Failure{Reason: remora.ReasonWorkerLost}
		for _, l := range lost {
			p := l.Proof
			c := ProofClaim{
				Proof: remora.ProofID(p.ID), Kind: remora.ProofKind(p.Kind), Epoch: int(p.Epoch), Attempt: int(p.Attempts),
				Resource: remora.Resource{ID: remora.ResourceID(p.ResourceID), Region: l.Region},
			}
			if c.Attempt > len(s.RetryAfter) {
				err = t.endProof(ctx, c, remora.ProofOutcome{State: remora.ProofLost, Reason: f.Reason})
			} else {
				err = t.requeueProof(ctx, c, f, 0, 0)
			}
			if err != nil {
				return fmt.Errorf("take back proof %s: %w", p.ID, err)
			}
		}
		return nil
	})
	return n, err
}

// OverdueProofs counts what was due to be looked at and was not within its grace.
func (s *Store) OverdueProofs(ctx context.Context) (restores, rereads int, err error) {
	err = s.forService(ctx, func(t *tx) error {
		proved, reread := t.now.Add(-remora.ProveGrace), t.now.Add(-remora.RereadGrace)
		row, err := t.q.CountOverdue(ctx, pgsql.CountOverdueParams{ProvedBefore: &proved, RereadBefore: &reread})
		restores, rereads = int(row.Restores), int(row.Rereads)
		return err
	})
	return restores, rereads, err
}

// strandedProofs gives a job to queued proofs that have none.
func (t *tx) strandedProofs(ctx context.Context) (int, error) {
	before := t.now.Add(-t.s.Lease)
	all, err := t.q.LockStrandedProofs(ctx, pgsql.LockStrandedProofsParams{Before: &before, Lease: t.s.Lease, Most: batch})
	if err != nil {
		return 0, fmt.Errorf("find stranded proofs: %w", err)
	}
	for _, p := range all {
		if err := t.enqueueProof(ctx, remora.ProofKind(p.Kind), jobargs.ProveBackup{Proof: remora.ProofID(p.ID), Attempt: int(p.Attempts) + 1, Pool: remora.PoolOf(p.Region)}); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// toBeProven says of a backup that is being kept when it is to be read again, and that it is to be restored.
func (t *tx) toBeProven(ctx context.Context, c Claim, state remora.BackupState, alone bool) (reread time.Time, err error) {
	plan, err := remora.PlanOf(c.Resource.Plan)
	if err != nil {
		return reread, err
	}
	reread = plan.NextReread(t.now)
	if !state.Good() {
		return reread, nil
	}
	if alone { // nothing waits to be restored until there is one again that we can open
		err := t.q.SetProveAt(ctx, pgsql.SetProveAtParams{ID: string(c.Database.ID), ResourceID: string(c.Resource.ID)})
		return reread, err
	}
	if err := t.q.ProveSoon(ctx, pgsql.ProveSoonParams{ID: string(c.Database.ID), ResourceID: string(c.Resource.ID), Now: &t.now}); err != nil {
		return reread, fmt.Errorf("set when to restore: %w", err)
	}
	return reread, nil
}

// shownProofs is how many proofs a backup's page lists.
const shownProofs = 20

// Proofs lists a backup's proofs, newest first.
func (s *Store) Proofs(ctx context.Context, id remora.ResourceID, b remora.BackupID) ([]remora.Proof, error) {
	var out []remora.Proof
	err := s.seeResource(ctx, id, func(t *tx) (err error) {
		out, err = t.proofsOfBackup(ctx, id, b)
		return err
	})
	return out, err
}

func (t *tx) proofsOfBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID) ([]remora.Proof, error) {
	rows, err := t.q.ListProofs(ctx, pgsql.ListProofsParams{BackupID: string(b), ResourceID: string(id), Most: shownProofs})
	var out []remora.Proof
	for _, p := range rows {
		out = append(out, proofOf(p))
	}
	return out, err
}

// proofsOf adds to databases what is known of their proofs.
func (t *tx) proofsOf(ctx context.Context, id remora.ResourceID, dbs []remora.Database) error {
	newest, err := t.q.NewestRestores(ctx, string(id))
	if err != nil {
		return fmt.Errorf("list proofs: %w", err)
	}
	first, err := t.q.FirstRereads(ctx, string(id))
	if err != nil {
		return fmt.Errorf("list rereads: %w", err)
	}
	for i := range dbs {
		for _, p := range newest {
			if p.DatabaseID == string(dbs[i].ID) {
				last := proofOf(p)
				dbs[i].LastProof = &last
			}
		}
		for _, f := range first {
			if f.DatabaseID == string(dbs[i].ID) {
				dbs[i].RereadAt = f.RereadAt
			}
		}
	}
	return nil
}

func proofOf(p pgsql.Proof) remora.Proof {
	return remora.Proof{
		ID: remora.ProofID(p.ID), Backup: remora.BackupID(p.BackupID), Database: remora.DatabaseID(p.DatabaseID), Kind: remora.ProofKind(p.Kind),
		RequestedBy: p.RequestedBy, Attempts: int(p.Attempts), QueuedAt: p.QueuedAt, StartedAt: orZero(p.StartedAt), EndedAt: orZero(p.EndedAt),
		Current: p.Current, Done: p.Done,
		ProofOutcome: remora.ProofOutcome{
			State: remora.ProofState(p.State), Reason: remora.Reason(p.Reason), Detail: p.Detail, LeftOut: p.LeftOut, ServerVersion: p.ServerVersion,
			Tables: int(p.Tables), Rows: p.Rows, Bytes: p.Bytes, Objects: p.Objects,
		},
	}
}
