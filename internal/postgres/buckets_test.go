package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// theirs is a customer's bucket of a name, and its keys.
func theirs(name string) (remora.Place, remora.BucketKeys) {
	return remora.Place{Endpoint: "https://s3.eu-west-1.amazonaws.com", Region: "eu-west-1", Bucket: name, Prefix: "remora"},
		remora.BucketKeys{AccessKey: "AKIAWRITES", SecretKey: redact.New("secret of " + name)}
}

// useBucket has a customer's bucket be in use, and returns it.
func (b *bundle) useBucket(t *testing.T, id remora.ResourceID, name string) remora.Bucket {
	t.Helper()
	p, keys := theirs(name)
	keys.SecretKey = redact.New("secret-of-" + name)
	if err := b.SetBucket(t.Context(), id, p, keys, remora.BucketLock{}, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	all, err := b.Buckets(t.Context(), id)
	if err != nil || len(all) == 0 || !all[0].InUse || all[0].Bucket != name {
		t.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

// Where a backup lies is what was set when its run began; what was made before stays where it is. Each change is told and written
// down, without a secret.
func TestWhereBackupsLie(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.GiveWay = time.Nanosecond }) // the neighbour's waits for nobody
	ctx := t.Context()
	id, neighbour := b.resource(t, "db"), b.resource(t, "db")
	_, first := b.sealedTo(t, id)
	one := b.useBucket(t, id, "bucket-one")
	if one.Prefix != "remora/" || one.Provider() != "Amazon S3" || one.Says() != "bucket-one/remora at s3.eu-west-1.amazonaws.com" {
		t.Errorf("%+v %s", one, one.Says())
	}
	_, second := b.sealedTo(t, id)
	two := b.useBucket(t, id, "bucket-two")
	_, third := b.sealedTo(t, id)
	if err := b.LeaveBucket(ctx, id, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	_, fourth := b.sealedTo(t, id)
	_, other := b.sealedTo(t, neighbour)
	for i, want := range []struct {
		of remora.Backup
		in remora.BucketID
	}{{first, ""}, {second, one.ID}, {third, two.ID}, {fourth, ""}, {other, ""}} {
		if got := want.of.Bucket; got != want.in {
			t.Errorf("%d lies in %q and not in %q", i, got, want.in)
		}
	}
	if got := b.backup(t, id, second.ID); got.Bucket != one.ID {
		t.Errorf("%+v", got)
	}
	got, keys, err := b.OpenBucket(ctx, id, one.ID)
	if err != nil || got.ID != one.ID || keys.SecretKey.Reveal() != "secret-of-bucket-one" || keys.AccessKey != "AKIAWRITES" {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := b.OpenBucket(ctx, neighbour, one.ID); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour opens it: %v", err)
	}
	if all, err := b.Buckets(ctx, neighbour); err != nil || len(all) != 0 {
		t.Errorf("a neighbour sees it: %v %v", all, err)
	}
	// The same place again, with other keys, is the same bucket, and what its store says of its lock now holds.
	p, more := theirs("bucket-one")
	more.SecretKey, more.DeleteAccessKey, more.DeleteSecretKey = redact.New("changed"), "AKIADELETES", redact.New("deletes")
	for _, lock := range []remora.BucketLock{{State: remora.BucketLockCompliance, Days: 7}, {State: remora.BucketLockOff}, {}} {
		if err := b.SetBucket(ctx, id, p, more, lock, "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		if all, err := b.Buckets(ctx, id); err != nil || all[0].ObjectLock != lock {
			t.Errorf("%+v %v", all, err)
		}
	}
	all, err := b.Buckets(ctx, id)
	if err != nil || len(all) != 2 || all[0].ID != one.ID || !all[0].InUse || all[0].DeleteAccessKey != "AKIADELETES" || all[0].Backups != 1 || all[1].InUse || all[1].Backups != 1 {
		t.Errorf("%+v %v", all, err)
	}
	if _, keys, err := b.OpenBucket(ctx, id, one.ID); err != nil || keys.SecretKey.Reveal() != "changed" || keys.DeleteSecretKey.Reveal() != "deletes" {
		t.Error(err)
	}
	if got := strings.Count(b.happened(t, id), string(remora.EventStoreChanged)); got != 6 {
		t.Errorf("told %d times: %s", got, b.happened(t, id))
	}
	said := ""
	for _, l := range b.lines(t, id) {
		said += l.Action + ": " + l.Subject + "\n"
	}
	for _, want := range []string{"set bucket: bucket-one/remora at s3.eu-west-1.amazonaws.com, by the key AKIAWRITES", "leave bucket: ours"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not written down:\n%s", want, said)
		}
	}
	if all := said + b.happened(t, id); strings.Contains(all, "secret-of") || strings.Contains(all, "changed\n") {
		t.Error("a secret is written down")
	}
}

// A bucket stays while it is needed; removed, its keys are gone and nothing opens it.
func TestABucketIsRemovedWhenNothingNeedsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, neighbour := b.resource(t, "db"), b.resource(t, "db")
	one := b.useBucket(t, id, "bucket-one")
	_, kept := b.sealedTo(t, id)
	refused := func(why string) {
		t.Helper()
		if err := b.RemoveBucket(ctx, id, one.ID, "p"); remora.KindOf(err) != remora.KindConflict || !strings.Contains(remora.Public(err, ""), why) {
			t.Error(err)
		}
	}
	refused("New backups lie in this bucket")
	b.useBucket(t, id, "bucket-two")
	refused("Backups that are listed lie in this bucket, or copies of them")
	if err := b.RemoveBucket(ctx, neighbour, one.ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour removes it: %v", err)
	}
	b.exec(t, "UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now() WHERE id = '"+string(kept.ID)+"'")
	if err := b.RemoveBucket(ctx, id, one.ID, "p"); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveBucket(ctx, id, one.ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if _, _, err := b.OpenBucket(ctx, id, one.ID); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if left := query[int](t, b, "SELECT count(*)::int FROM buckets WHERE removed_at IS NOT NULL AND (sealed_secret IS NOT NULL OR access_key <> '')"); left[0] != 0 {
		t.Error("its keys are left")
	}
	if all, err := b.BucketsOf(ctx, id, kept.ID); err != nil || len(all) != 1 || all[0] != one.ID {
		t.Error(all, err)
	}
	for range 20 {
		b.exec(t, "DELETE FROM events") // else it would have been changed too often
		p, keys := theirs("bucket-" + remora.NewToken()[:8])
		keys.SecretKey = redact.New("secret")
		if err := b.SetBucket(ctx, id, p, keys, remora.BucketLock{}, "p"); remora.KindOf(err) == remora.KindPlanLimit {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("there may be any number of them")
}

// What lies in a customer's own bucket takes no room of the plan's, is nobody's here to be alarmed about, and is not what a removal
// deletes; its keys go with the resource's.
func TestTheirBucketIsTheirs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	one := b.useBucket(t, id, "bucket-one")
	c := b.keep(t, id, 1<<40) // more than the plan includes
	if c.Bucket != one.ID || len(b.told(t, id, remora.EventLimitNear)) != 0 {
		t.Error(c.Bucket, b.told(t, id, remora.EventLimitNear))
	}
	if r, err := b.Resource(ctx, id); err != nil || !r.OverSince.IsZero() {
		t.Errorf("%+v %v", r, err)
	}
	b.exec(t, "UPDATE backups SET reread_at = now() - '60 days'::interval; UPDATE databases SET prove_at = now() - '60 days'::interval")
	if restores, rereads, err := b.OverdueProofs(ctx); err != nil || restores != 0 || rereads != 0 {
		t.Error(restores, rereads, err)
	}
	b.exec(t, "UPDATE backups SET bucket_id = NULL") // they would be, in ours
	if restores, rereads, err := b.OverdueProofs(ctx); err != nil || restores != 1 || rereads != 1 {
		t.Error(restores, rereads, err)
	}
	b.exec(t, "UPDATE backups SET bucket_id = '"+string(one.ID)+"', state = 'expired', delete_at = now() - '60 days'::interval")
	if n, err := b.OverdueDeletions(ctx, time.Hour); err != nil || n != 0 {
		t.Error(n, err)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Removal(ctx, id); err != nil || m.Backups != 0 || m.Bytes != 0 {
		t.Errorf("the receipt promises to delete it: %+v %v", m, err)
	}
	if _, _, err := b.OpenBucket(ctx, id, one.ID); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	b.ahead += remora.DefaultUndo
	if all, err := b.destroyKeys(ctx); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if left := query[int](t, b, "SELECT count(*)::int FROM buckets WHERE sealed_secret IS NOT NULL OR sealed_delete_secret IS NOT NULL OR access_key <> ''"); left[0] != 0 {
		t.Error("the bucket's keys are left")
	}
}

// What a failed run may have left is handed out until it is gone, at most once an hour.
func TestLeftoversAreHandedOut(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	one := b.useBucket(t, id, "bucket-one")
	backup := b.run(t, id, func(c postgres.Claim) error {
		_, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "x"}, "")
		return err
	})
	if got := b.backup(t, id, backup); got.State != remora.BackupFailed || got.Reason != remora.ReasonOwnBucketRefused || got.Bucket != one.ID {
		t.Errorf("%+v", got)
	}
	if left, err := b.Leftovers(ctx, time.Hour, 9); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	b.ahead += 2 * time.Hour
	left, err := b.Leftovers(ctx, time.Hour, 9)
	if err != nil || len(left) != 1 || left[0].Bucket != one.ID || left[0].Backup != backup || left[0].Resource != id || left[0].Epoch != 1 {
		t.Fatal(left, err)
	}
	if again, err := b.Leftovers(ctx, time.Hour, 9); err != nil || len(again) != 0 {
		t.Error(again, err)
	}
	b.ahead += 3 * time.Hour
	if again, err := b.Leftovers(ctx, time.Hour, 9); err != nil || len(again) != 1 {
		t.Error(again, err)
	}
	if err := b.Tidied(ctx, left[0]); err != nil {
		t.Fatal(err)
	}
	b.ahead += 3 * time.Hour
	if again, err := b.Leftovers(ctx, time.Hour, 9); err != nil || len(again) != 0 {
		t.Error(again, err)
	}
	if _, kept := b.sealedTo(t, id); kept.Bucket != one.ID { // one that kept its archive has left nothing
		t.Error(kept)
	}
	b.ahead += 3 * time.Hour
	if again, err := b.Leftovers(ctx, time.Hour, 9); err != nil || len(again) != 0 {
		t.Error(again, err)
	}
}
