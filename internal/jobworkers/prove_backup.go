package jobworkers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// proveBackup makes one attempt at restoring a backup and comparing the copy.
type proveBackup struct {
	river.WorkerDefaults[jobargs.ProveBackup]
	*Verifier
}

// Timeout implements river.Worker. What remora.ProofLimit allows ends well before it.
func (*proveBackup) Timeout(*river.Job[jobargs.ProveBackup]) time.Duration { return 10 * time.Hour }

// Work implements river.Worker.
func (w *proveBackup) Work(ctx context.Context, job *river.Job[jobargs.ProveBackup]) error {
	return w.work(ctx, job.Args.Proof)
}

func (v *Verifier) prove(ctx context.Context, c postgres.ProofClaim, told func(int64, string)) (remora.ProofOutcome, error) {
	a, err := v.archive(ctx, c)
	if err != nil {
		return remora.ProofOutcome{}, v.unread(ctx, c, told, err)
	}
	a.Progress = told
	r, err := v.Prover.Prove(ctx, a)
	if errors.Is(err, proof.ErrUnreadable) {
		err = v.unread(ctx, c, told, err)
	}
	if err != nil {
		return remora.ProofOutcome{}, err
	}
	return outcomeOf(r), nil
}

// archive opens what is to be proven.
func (v *Verifier) archive(ctx context.Context, c postgres.ProofClaim) (a proof.Archive, err error) {
	secret, err := v.Store.ResourceKey(ctx, c.Resource.ID)
	if err != nil {
		return a, err
	}
	key, err := seal.ParseKey(secret)
	if err != nil {
		return a, fmt.Errorf("read the resource's key: %w", err)
	}
	ref := archivestore.Ref{Resource: c.Resource.ID, Backup: c.Backup.ID, Epoch: c.Backup.Epoch}
	bucket, err := v.Stores.At(ctx, c.Resource.ID, c.Backup.Bucket)
	if err != nil {
		return a, err
	}
	plain, err := archivestore.Open(ctx, bucket, ref, key, v.Keys)
	if err != nil {
		return a, err
	}
	a = proof.Archive{Plain: plain, Size: plain.Size(), Major: c.Backup.ClientMajor, Limit: remora.ProofLimit(plain.Size())}
	report, err := v.Store.Audit(ctx, c.Resource.ID, c.Backup.ID)
	if err != nil && remora.KindOf(err) != remora.KindNotFound {
		return a, err
	}
	a.Inventory = report.Inventory
	stored, err := archivestore.Contents(ctx, bucket, ref, key, v.Keys)
	if err != nil || stored == nil {
		return a, err
	}
	a.Contents = &pgarchive.Contents{}
	if err := json.Unmarshal(stored, a.Contents); err != nil {
		return a, fmt.Errorf("read contents: %w", err)
	}
	return a, nil
}

// unread tells why an archive could not be read. What does not open was changed, or could not be fetched: the digests of
// what is stored tell which.
func (v *Verifier) unread(ctx context.Context, c postgres.ProofClaim, told func(int64, string), err error) error {
	if ctx.Err() != nil || damaged(err) {
		return err
	}
	if _, rerr := v.reread(ctx, c, told); damaged(rerr) {
		return rerr
	}
	return err
}

func outcomeOf(r proof.Result) remora.ProofOutcome {
	if len(r.Missing) > 0 { // the log says it to whoever runs the verifier; this, to whom the archive belongs
		r.LeftOut = append(r.LeftOut, "the verifier's machine did not allow all of the sandbox: while it was restored, the archive was not kept from "+strings.Join(r.Missing, ", nor from "))
	}
	o := remora.ProofOutcome{
		State: remora.ProofPassed, Detail: strings.Join(r.Why, "\n"), LeftOut: strings.Join(r.LeftOut, "\n"), ServerVersion: r.ServerVersion,
		Tables: r.Tables, Rows: r.Rows, Bytes: r.Bytes, Objects: r.Objects,
	}
	switch r.Verdict {
	case proof.Differs:
		o.State, o.Reason = remora.ProofFailed, remora.ReasonRestoreDiffers
	case proof.Impossible:
		o.State = remora.ProofImpossible
	}
	return o
}
