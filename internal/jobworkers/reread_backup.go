package jobworkers

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// rereadBackup makes one attempt at reading again what is stored of a backup. It needs no key of the resource's, so it
// is the same for an archive that only the customer can open.
type rereadBackup struct {
	river.WorkerDefaults[jobargs.RereadBackup]
	*Verifier
}

// Timeout implements river.Worker. 5 TB at 100 MB/s take less, and what an attempt at a customer's own bucket may take is the longest.
func (*rereadBackup) Timeout(*river.Job[jobargs.RereadBackup]) time.Duration { return 17 * time.Hour }

// Work implements river.Worker.
func (w *rereadBackup) Work(ctx context.Context, job *river.Job[jobargs.RereadBackup]) error {
	return w.work(ctx, job.Args.Proof)
}

func (v *Verifier) reread(ctx context.Context, c postgres.ProofClaim, told func(int64, string)) (remora.ProofOutcome, error) {
	told(0, "reading what is stored")
	bucket, err := v.Stores.At(ctx, c.Resource.ID, c.Backup.Bucket)
	if err != nil {
		return remora.ProofOutcome{}, err
	}
	m, err := archivestore.ReadManifest(ctx, bucket, archivestore.Ref{Resource: c.Resource.ID, Backup: c.Backup.ID, Epoch: c.Backup.Epoch}, v.Keys)
	if err != nil {
		return remora.ProofOutcome{}, err
	}
	if err := v.asWritten(ctx, c, m); err != nil {
		return remora.ProofOutcome{}, err
	}
	if err := archivestore.Verify(ctx, bucket, m); err != nil {
		return remora.ProofOutcome{}, err
	}
	o := remora.ProofOutcome{State: remora.ProofPassed}
	for _, x := range m.Stored() {
		o.Bytes += x.Size
	}
	return o, nil
}

// asWritten holds the manifest against what our database says was written: each of the two would tell of a change to
// the other.
func (v *Verifier) asWritten(ctx context.Context, c postgres.ProofClaim, m archivestore.Manifest) error {
	rows, err := v.Store.Objects(ctx, c.Resource.ID, c.Backup.ID)
	if err != nil {
		return err
	}
	written := map[string]remora.Object{}
	for _, o := range rows {
		written[o.Name] = o
	}
	stored := m.Stored()
	if len(stored) != len(rows) {
		return fmt.Errorf("%w: the manifest names %d objects, our rows %d", objectstore.ErrMismatch, len(stored), len(rows))
	}
	for _, o := range stored {
		if w := written[o.Name]; w.Size != o.Size || hex.EncodeToString(w.SHA256) != o.SHA256 {
			return fmt.Errorf("%w: %s is not what our rows say", objectstore.ErrMismatch, o.Name)
		}
	}
	return nil
}
