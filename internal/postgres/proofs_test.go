package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// verified makes a verified backup of the resource's one database.
func (b *bundle) verified(t *testing.T, id remora.ResourceID) remora.Backup {
	t.Helper()
	ctx := t.Context()
	o, err := b.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := b.RequestBackup(ctx, id, o.Databases[0].ID, "p")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.ClaimBackup(ctx, backup, "w")
	if err == nil {
		err = b.KeepBackup(ctx, c, remora.Kept{Tables: 1, Rows: 1, Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.backup(t, id, backup)
}

func (b *bundle) backup(t *testing.T, id remora.ResourceID, backup remora.BackupID) remora.Backup {
	t.Helper()
	out, err := b.Backup(t.Context(), id, backup)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// due runs the tick's round and returns the live proof of a backup; nil where there is none.
func (b *bundle) due(t *testing.T, id remora.ResourceID, backup remora.BackupID) *remora.Proof {
	t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = b.EnqueueProofs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all, err := b.Proofs(t.Context(), id, backup)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if !all[i].State.Ended() {
			return &all[i]
		}
	}
	return nil
}

func (b *bundle) prove(t *testing.T, p *remora.Proof, o remora.ProofOutcome) {
	t.Helper()
	c, err := b.ClaimProof(t.Context(), p.ID, "v")
	if err == nil {
		err = b.EndProof(t.Context(), c, o)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A proof that ends locks its backup first, as a click that asks for another one does: neither waits for the other for ever.
func TestTheEndOfAProofLocksTheBackupFirst(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.verified(t, id)
	c, err := b.ClaimProof(ctx, b.due(t, id, backup.ID).ID, "v")
	if err != nil {
		t.Fatal(err)
	}
	holder := b.hold(t, "SELECT FROM backups WHERE id = $1 FOR UPDATE", backup.ID)
	ended := make(chan error, 1)
	go func() { ended <- b.EndProof(ctx, c, passed) }()
	b.waits(t, 1)
	if _, err := holder.Exec(ctx, "SELECT FROM proofs WHERE id = $1 FOR UPDATE NOWAIT", c.Proof); err != nil {
		t.Errorf("it waits for the backup and holds the proof: %v", err)
	}
	if err := errors.Join(holder.Rollback(ctx), <-ended); err != nil {
		t.Error(err)
	}
}

var passed = remora.ProofOutcome{State: remora.ProofPassed, Tables: 1, Rows: 1, ServerVersion: "15.18"}

// The first verified backup is due at once, the newest one each week after that; what is not done stays due, and is
// overdue a day later.
func TestRestoresAreDue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db")
	first := b.verified(t, id)
	p := b.due(t, id, first.ID)
	if p == nil || p.Kind != remora.ProofRestore || b.jobs(t, "prove_backup") != 1 {
		t.Fatalf("%+v", p)
	}
	if b.due(t, id, first.ID); b.jobs(t, "prove_backup") != 1 {
		t.Error("it was asked for twice")
	}
	b.prove(t, p, passed)
	if got := b.backup(t, id, first.ID); got.State != remora.BackupProven {
		t.Errorf("%+v", got)
	}
	b.ahead = 24 * time.Hour
	second := b.verified(t, id)
	if p := b.due(t, id, second.ID); p != nil {
		t.Errorf("the second day's is due: %+v", p)
	}
	b.ahead = 7*24*time.Hour + time.Minute
	third := b.verified(t, id)
	if p := b.due(t, id, third.ID); p == nil {
		t.Fatal("a week later the newest one is not due")
	}
	if p := b.due(t, id, second.ID); p != nil {
		t.Errorf("an older one is due too: %+v", p)
	}
	overdue := func() bool {
		o, err := b.Overview(t.Context(), id)
		if err != nil || o.Databases[0].LastProof == nil {
			t.Fatal(o, err)
		}
		return o.Databases[0].ProofOverdue(o.Now)
	}
	if overdue() {
		t.Error("overdue at once")
	}
	b.ahead += 25 * time.Hour
	if !overdue() {
		t.Error("not overdue a day later")
	}
	if restores, rereads, err := b.OverdueProofs(t.Context()); restores != 1 || rereads != 0 || err != nil {
		t.Error(restores, rereads, err)
	}
	b.prove(t, b.due(t, id, third.ID), remora.ProofOutcome{State: remora.ProofImpossible, Detail: "an extension"})
	if got := b.backup(t, id, third.ID); got.State != remora.BackupVerified || overdue() {
		t.Errorf("%+v", got)
	}
}

func TestAFailedRestore(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db")
	first := b.verified(t, id)
	b.prove(t, b.due(t, id, first.ID), remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonRestoreDiffers, Detail: "table t"})
	got := b.backup(t, id, first.ID)
	if got.State != remora.BackupIncomplete || got.Reason != remora.ReasonRestoreDiffers || got.Detail != "table t" {
		t.Errorf("%+v", got)
	}
	if p := b.due(t, id, first.ID); p != nil {
		t.Errorf("%+v", p)
	}
	if p := b.due(t, id, b.verified(t, id).ID); p == nil {
		t.Error("the next verified backup is not due at once")
	}
}

// Each is read again within 30 days. A damaged one has failed, opens no link, and is made good by another backup.
func TestRereads(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db")
	first := b.verified(t, id)
	b.prove(t, b.due(t, id, first.ID), passed)
	_, token, err := b.MakeLink(t.Context(), id, first.ID, "p", 60*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b.ahead = 26 * 24 * time.Hour
	var reread *remora.Proof
	b.due(t, id, first.ID)
	all, err := b.Proofs(t.Context(), id, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Kind == remora.ProofReread {
			reread = &all[i]
		}
	}
	if reread == nil || b.jobs(t, "reread_backup") != 1 {
		t.Fatalf("%+v", all)
	}
	overdue := func() bool {
		o, err := b.Overview(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return o.Databases[0].RereadOverdue(o.Now)
	}
	if overdue() {
		t.Error("overdue before 30 days")
	}
	b.ahead = 30*24*time.Hour + time.Minute
	if !overdue() {
		t.Error("not overdue after 30 days")
	}
	if _, rereads, err := b.OverdueProofs(t.Context()); rereads != 1 || err != nil {
		t.Error(rereads, err)
	}
	before := b.jobs(t, "run_backup")
	b.prove(t, reread, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged, Detail: "An object is missing."})
	if got := b.backup(t, id, first.ID); got.State != remora.BackupFailed || got.Reason != remora.ReasonObjectDamaged || b.jobs(t, "run_backup") != before+1 || overdue() {
		t.Errorf("%+v, %d jobs", got, b.jobs(t, "run_backup"))
	}
	if _, _, err := b.UseLink(t.Context(), token, "x"); remora.KindOf(err) != remora.KindGone {
		t.Errorf("the link opens: %v", err)
	}
	if err := b.RequestProof(t.Context(), id, first.ID, remora.ProofRestore, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
}

// A verifier that was overtaken can finish nothing; one that was lost is replaced, in the end by another proof.
func TestProofsAreFenced(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) {
		c.Lease, c.RetryAfter = time.Nanosecond, []time.Duration{time.Nanosecond}
	})
	id := b.resource(t, "db")
	first := b.verified(t, id)
	p := b.due(t, id, first.ID)
	old, err := b.ClaimProof(t.Context(), p.ID, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ClaimProof(t.Context(), p.ID, "v2"); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Errorf("claimed twice: %v", err)
	}
	if err := b.BeatProof(t.Context(), old, 1, "x"); remora.KindOf(err) != remora.KindStale {
		t.Errorf("a beat after the lease: %v", err)
	}
	if n, err := b.TakeBackLostProofs(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	again, err := b.ClaimProof(t.Context(), p.ID, "v2")
	if err != nil || again.Epoch != 2 {
		t.Fatal(again, err)
	}
	if err := b.EndProof(t.Context(), old, passed); remora.KindOf(err) != remora.KindStale {
		t.Errorf("an overtaken one finished: %v", err)
	}
	if got := b.backup(t, id, first.ID); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
	retried, err := b.RetryProof(t.Context(), again, &remora.Failure{Reason: remora.ReasonStoreFailed})
	if err != nil || retried { // that was its second and last attempt
		t.Error(retried, err)
	}
	if p := b.due(t, id, first.ID); p != nil {
		t.Errorf("a lost one was asked for at once: %+v", p)
	}
	b.ahead = 61 * time.Minute
	if p := b.due(t, id, first.ID); p == nil {
		t.Error("a lost one is not asked for again")
	}
}

// A person's proof of an old backup says nothing of what is due, and a neighbour's is not found.
func TestProofsOnDemand(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db")
	first := b.verified(t, id)
	second := b.verified(t, id)
	other := b.resource(t, "db2")
	for range 3 {
		if err := b.RequestProof(t.Context(), id, first.ID, remora.ProofRestore, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.jobs(t, "prove_backup"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if err := b.RequestProof(t.Context(), other, first.ID, remora.ProofRestore, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if all, err := b.Proofs(t.Context(), other, first.ID); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	all, err := b.Proofs(t.Context(), id, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.prove(t, &all[0], passed)
	if p := b.due(t, id, second.ID); p == nil {
		t.Error("the newest one is due no more")
	}
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	conn, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var live int
	_, err = conn.Exec(t.Context(), "SELECT set_config('remora.service', 'on', false)")
	if err == nil {
		err = conn.QueryRow(t.Context(), "SELECT count(*) FROM proofs WHERE state IN ('queued', 'running')").Scan(&live)
	}
	if err != nil || live != 0 {
		t.Errorf("%d live proofs of a removed add-on: %v", live, err)
	}
}
