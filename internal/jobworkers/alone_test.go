package jobworkers

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// A run after its owner has left our key out makes an archive that no key of ours opens. It is verified, read again by its
// digests, and never restored by us; its owner's key opens it.
func TestARunForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	v, _ := b.verifier(t)
	owner, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b.connect(t)
	if err := b.Store.SetSealing(t.Context(), b.id, remora.Sealing{Recipients: []string{owner.Recipient()}, Alone: true}, "p"); err != nil {
		t.Fatal(err)
	}
	got := b.attempt(t)
	if got.State != remora.BackupVerified || !got.Alone || !slices.Equal(got.OpenedBy, []string{seal.Fingerprint(owner.Recipient())}) {
		t.Fatalf("%+v", got)
	}
	ref := archivestore.Ref{Resource: b.id, Backup: got.ID, Epoch: got.Epoch}
	if _, err := archivestore.Open(t.Context(), b.Bucket, ref, b.key, b.Keys); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("the resource's key opens it: %v", err)
	}
	if _, err := archivestore.Contents(t.Context(), b.Bucket, ref, b.key, b.Keys); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("the resource's key opens what it contains: %v", err)
	}
	var stored [][]byte
	err = b.Bucket.List(t.Context(), "", func(o objectstore.Object) error {
		body, err := b.Bucket.Get(t.Context(), o.Key, 64<<20)
		stored = append(stored, body)
		return err
	})
	if err != nil || len(stored) < 4 || bytes.Contains(bytes.Join(stored, nil), []byte("large")) { // the table's name
		t.Error("the bucket says what is in it: ", err)
	}
	if err := work(t, t.Context(), &tick{Workers: b.Workers}, jobargs.Tick{}); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Store.Proofs(t.Context(), b.id, got.ID); err != nil || len(all) != 0 {
		t.Errorf("it is to be restored: %+v %v", all, err)
	}
	if err := b.Store.RequestProof(t.Context(), b.id, got.ID, remora.ProofReread, "p"); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), &rereadBackup{Verifier: v}, jobargs.RereadBackup{Proof: b.newestProof(t, got.ID).ID, Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if p := b.newestProof(t, got.ID); p.State != remora.ProofPassed {
		t.Errorf("%+v", p)
	}
	b.key = owner
	b.restores(t, got)
	if r, err := archivestore.Open(t.Context(), b.Bucket, ref, owner, b.Keys); err != nil || r.Size() != got.PlainSize {
		t.Error(err)
	} else if _, err := io.CopyN(io.Discard, io.NewSectionReader(r, 0, r.Size()), r.Size()); err != nil {
		t.Error(err)
	}
}
