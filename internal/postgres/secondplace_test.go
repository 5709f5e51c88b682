package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// copying is a resource of a plan that has a second place, and the bucket that takes its copies.
func (b *bundle) copying(t *testing.T) (remora.ResourceID, remora.Bucket) {
	t.Helper()
	id := b.resource(t, "db")
	if _, err := b.ChangePlan(t.Context(), id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	return id, b.useSecond(t, id, "second")
}

// useSecond has a customer's bucket take copies, and returns it.
func (b *bundle) useSecond(t *testing.T, id remora.ResourceID, name string) remora.Bucket {
	t.Helper()
	p, keys := theirs(name)
	keys.SecretKey = redact.New("secret-of-" + name)
	if err := b.SetSecondPlace(t.Context(), id, p, keys, remora.BucketLock{}, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	all, err := b.Buckets(t.Context(), id)
	if err != nil || len(all) == 0 || all[0].InUse || !all[0].TakesCopies || all[0].Bucket != name {
		t.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

// only is a backup's one copy; the zero value where there is none.
func (b *bundle) only(t *testing.T, id remora.ResourceID, backup remora.BackupID) remora.Copy {
	t.Helper()
	v, err := b.BackupView(t.Context(), id, backup)
	if err != nil || len(v.Copies) > 1 {
		t.Fatalf("%+v %v", v.Copies, err)
	}
	all, err := b.Copies(t.Context(), id, backup)
	if err != nil || !slices.Equal(all, v.Copies) {
		t.Fatalf("%+v %v", all, err)
	}
	if len(all) == 0 {
		return remora.Copy{}
	}
	return all[0]
}

func (b *bundle) claimCopy(t *testing.T, backup remora.BackupID, bucket remora.BucketID) postgres.CopyClaim {
	t.Helper()
	c, err := b.ClaimCopy(t.Context(), backup, bucket)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A backup that is kept in ours, on a plan with a second place, is to be copied from the moment in which it is kept; no other is.
func TestABackupIsCopiedWhereThePlanHasASecondPlace(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	p, keys := theirs("second")
	keys.SecretKey = redact.New("secret")
	err := b.SetSecondPlace(ctx, id, p, keys, remora.BucketLock{}, "p")
	if remora.KindOf(err) != remora.KindPlanLimit || !strings.Contains(remora.Public(err, ""), "remora-backup:hammerhead") {
		t.Errorf("plan mako: %v", err)
	}
	_, before := b.sealedTo(t, id)
	if _, err := b.ChangePlan(ctx, id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	if err := b.AskCopy(ctx, id, before.ID, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("copied to nowhere: %v", err)
	}
	second := b.useSecond(t, id, "second")
	_, copied := b.sealedTo(t, id)
	if c := b.only(t, id, copied.ID); copied.Bucket != "" || c.State != remora.CopyQueued || c.Bucket != second.ID || c.Place != second.Place || c.Running {
		t.Errorf("%+v %+v", copied, c)
	}
	if c := b.only(t, id, before.ID); c.State != "" || b.jobs(t, "copy_backup") != 1 {
		t.Errorf("%+v, %d jobs", c, b.jobs(t, "copy_backup"))
	}
	// One that was made before is copied where somebody asks for it, and asking again changes nothing.
	for range 2 {
		if err := b.AskCopy(ctx, id, before.ID, "p"); err != nil {
			t.Error(err)
		}
	}
	if c := b.only(t, id, before.ID); c.State != remora.CopyQueued || b.jobs(t, "copy_backup") != 2 {
		t.Errorf("%+v, %d jobs", c, b.jobs(t, "copy_backup"))
	}
	// What lies in a bucket of theirs is not copied.
	b.useBucket(t, id, "first")
	if c := b.only(t, id, before.ID); c.State != remora.CopyStopped {
		t.Errorf("%+v", c)
	}
	_, theirs := b.sealedTo(t, id)
	if err := b.AskCopy(ctx, id, theirs.ID, "p"); remora.KindOf(err) != remora.KindConflict || b.only(t, id, theirs.ID).State != "" {
		t.Errorf("%+v %v", b.only(t, id, theirs.ID), err)
	}
	// The smaller plan has its effect after its grace.
	b.useSecond(t, id, "second")
	if _, err := b.ChangePlan(ctx, id, "mako"); err != nil {
		t.Fatal(err)
	}
	if told := b.told(t, id, remora.EventPlanShrinks); len(told) != 1 || !strings.Contains(told[0], "second place") {
		t.Errorf("%q", told)
	}
	if _, kept := b.sealedTo(t, id); b.only(t, id, kept.ID).State != remora.CopyQueued {
		t.Error("the grace does not hold for copies")
	}
	b.ahead += remora.PlanGrace + time.Hour
	_, kept := b.sealedTo(t, id)
	if err := b.AskCopy(ctx, id, kept.ID, "p"); remora.KindOf(err) != remora.KindPlanLimit || b.only(t, id, kept.ID).State != "" {
		t.Errorf("%+v %v", b.only(t, id, kept.ID), err)
	}
}

// Of the three choices one holds. Each change is told and written down; what was to be copied is not once copying has ended.
func TestOurBucketTheirsOrBoth(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, second := b.copying(t)
	_, kept := b.sealedTo(t, id)
	use := func() (inUse, copies string) {
		t.Helper()
		all, err := b.Buckets(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if x.InUse {
				inUse += x.Bucket
			}
			if x.TakesCopies {
				copies += x.Bucket
			}
		}
		return inUse, copies
	}
	p, keys := theirs("second")
	keys.SecretKey = redact.New("changed")
	if err := b.SetSecondPlace(ctx, id, p, keys, remora.BucketLock{}, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	if c := b.only(t, id, kept.ID); c.State != remora.CopyQueued { // other keys are no other place
		t.Errorf("%+v", c)
	}
	if err := b.RemoveBucket(ctx, id, second.ID, "p"); remora.KindOf(err) != remora.KindConflict || !strings.Contains(remora.Public(err, ""), "Copies of new backups") {
		t.Error(err)
	}
	b.useSecond(t, id, "third")
	if in, copies := use(); in != "" || copies != "third" || b.only(t, id, kept.ID).State != remora.CopyStopped {
		t.Error(in, copies)
	}
	b.useBucket(t, id, "second")
	if in, copies := use(); in != "second" || copies != "" {
		t.Error(in, copies)
	}
	b.useSecond(t, id, "second")
	if in, copies := use(); in != "" || copies != "second" {
		t.Error(in, copies)
	}
	if err := errors.Join(b.LeaveBucket(ctx, id, "p"), b.LeaveBucket(ctx, id, "p")); err != nil {
		t.Fatal(err)
	}
	if in, copies := use(); in+copies != "" {
		t.Error(in, copies)
	}
	if got := strings.Count(b.happened(t, id), string(remora.EventStoreChanged)); got != 6 {
		t.Errorf("told %d times: %s", got, b.happened(t, id))
	}
	said := ""
	for _, l := range b.lines(t, id) {
		said += l.Action + ": " + l.Subject + "\n"
	}
	for _, want := range []string{"set bucket for copies: second/remora at s3.eu-west-1.amazonaws.com, by the key AKIAWRITES", "leave bucket: ours"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not written down:\n%s", want, said)
		}
	}
	// A release that does not know of copies puts the bucket to use that takes them: in use it is.
	b.useSecond(t, id, "second")
	b.exec(t, "UPDATE buckets SET in_use = true WHERE bucket = 'second'")
	if in, copies := use(); in != "second" || copies != "" {
		t.Error(in, copies)
	}
	if _, x := b.sealedTo(t, id); x.Bucket != second.ID || b.only(t, id, x.ID).State != "" {
		t.Errorf("%+v", x)
	}
}

// From the claim to the end: one holds it at a time, and of one resource one is made at a time; a silent store is tried again for a
// while, one that refuses is told of at once, and what has failed can be asked for again.
func TestTheStatesOfACopy(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, second := b.copying(t)
	_, one := b.sealedTo(t, id)
	_, two := b.sealedTo(t, id)
	c := b.claimCopy(t, one.ID, second.ID)
	if c.Resource != id || c.Archive != 1 || c.Attempt != 1 || c.Place != second.Place || !b.only(t, id, one.ID).Running {
		t.Errorf("%+v", c)
	}
	if _, err := b.ClaimCopy(ctx, one.ID, second.ID); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Error("claimed twice:", err)
	}
	if _, err := b.ClaimCopy(ctx, two.ID, second.ID); !errors.Is(err, postgres.ErrBusy) {
		t.Error("two of one resource at a time:", err)
	}
	if err := errors.Join(b.BeatCopy(ctx, c), b.EndCopy(ctx, c, 47)); err != nil {
		t.Fatal(err)
	}
	if got := b.only(t, id, one.ID); got.State != remora.CopyMade || got.Bytes != 47 || got.EndedAt.IsZero() || got.Running {
		t.Errorf("%+v", got)
	}
	if err := b.AskCopy(ctx, id, one.ID, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	for _, err := range []error{b.BeatCopy(ctx, c), b.EndCopy(ctx, c, 48), b.ReleaseCopy(ctx, c)} {
		if remora.KindOf(err) != remora.KindStale {
			t.Error(err)
		}
	}
	// Given back, it costs no attempt.
	c = b.claimCopy(t, two.ID, second.ID)
	if err := b.ReleaseCopy(ctx, c); err != nil {
		t.Fatal(err)
	}
	silent := remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "The store did not answer."}
	last, silentFor := len(b.CopyAfter)+1, time.Duration(0)
	for attempt := 1; attempt <= last; attempt++ {
		c = b.claimCopy(t, two.ID, second.ID)
		again, err := b.FailCopy(ctx, c, silent)
		if err != nil || again != (attempt < last) || c.Attempt != attempt {
			t.Fatal(attempt, c.Attempt, again, err)
		}
		if _, err := b.ClaimCopy(ctx, two.ID, second.ID); attempt < last && !errors.Is(err, postgres.ErrBusy) {
			t.Error(err)
		}
		if told := b.told(t, id, remora.EventCopyFailed); (len(told) == 1) != (attempt == last) {
			t.Errorf("attempt %d: %q", attempt, told)
		}
		if again {
			silentFor += b.CopyAfter[attempt-1]
			b.ahead += b.CopyAfter[attempt-1]
		}
	}
	if silentFor < 23*time.Hour || silentFor > 25*time.Hour {
		t.Errorf("it is tried for %v", silentFor)
	}
	if got := b.only(t, id, two.ID); got.State != remora.CopyFailed || got.Reason != silent.Reason || got.Detail != silent.Detail || !strings.Contains(got.Says(), "ask your provider") {
		t.Errorf("%+v", got)
	}
	if told := b.told(t, id, remora.EventCopyFailed)[0]; !strings.Contains(told, "second/remora at s3.eu-west-1.amazonaws.com. The store did not answer. Your bucket's store") {
		t.Error(told)
	}
	if err := b.AskCopy(ctx, id, two.ID, "p"); err != nil {
		t.Fatal(err)
	}
	c = b.claimCopy(t, two.ID, second.ID)
	if again, err := b.FailCopy(ctx, c, remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "No."}); err != nil || again || c.Attempt != 1 {
		t.Error(again, c.Attempt, err)
	}
	if got := b.only(t, id, two.ID); got.State != remora.CopyFailed || !strings.Contains(got.Says(), "ask for the copy again") {
		t.Errorf("%+v", got)
	}
	if said := ""; len(b.lines(t, id)) > 0 {
		for _, l := range b.lines(t, id) {
			said += l.Action + "\n"
		}
		if strings.Count(said, "ask for copy") != 1 {
			t.Error(said)
		}
	}
	if all, err := b.Buckets(ctx, id); err != nil || all[0].Copies != 1 || all[0].Backups != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

// What has lost its job is found, and what a killed worker held once its lease has ended. The job lies in the resource's pool.
func TestAStrandedCopyIsFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.Lease = time.Second })
	ctx := t.Context()
	id, second := b.copying(t)
	_, kept := b.sealedTo(t, id)
	b.exec(t, "DELETE FROM river.river_job; UPDATE resources SET region = '"+europe+"'")
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 0 {
		t.Error(n, err)
	}
	b.ahead += time.Minute
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 1 {
		t.Error(n, err)
	}
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 0 {
		t.Error("found twice:", n, err)
	}
	if q := b.took(t, "a stranded copy", jobargs.CopyBackup{}); q != "copies_eu" {
		t.Error(q)
	}
	lost := b.claimCopy(t, kept.ID, second.ID)
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 0 {
		t.Error("somebody is at it:", n, err)
	}
	b.exec(t, "UPDATE copies SET lease_until = now() - interval '1 second'")
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 1 {
		t.Error(n, err)
	}
	next := b.claimCopy(t, kept.ID, second.ID)
	if err := b.BeatCopy(ctx, lost); remora.KindOf(err) != remora.KindStale {
		t.Error(err)
	}
	if err := b.EndCopy(ctx, lost, 1); remora.KindOf(err) != remora.KindStale {
		t.Error(err)
	}
	if err := errors.Join(b.LetGoOfCopy(ctx, lost), b.BeatCopy(ctx, next), b.EndCopy(ctx, next, 2)); err != nil {
		t.Error(err)
	}
}

// A copy whose workers are killed, each time, is given up after a few more attempts than fail, and its owner is told; asked for again
// it begins anew.
func TestACopyThatKillsItsWorkersEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.CopyAfter = []time.Duration{time.Nanosecond, time.Nanosecond} })
	ctx := t.Context()
	id, second := b.copying(t)
	_, kept := b.sealedTo(t, id)
	for attempt := 1; attempt <= 2+1+3; attempt++ {
		c := b.claimCopy(t, kept.ID, second.ID)
		if told := b.told(t, id, remora.EventCopyFailed); c.Attempt != attempt || len(told) != 0 {
			t.Fatalf("attempt %d as %d: %q", attempt, c.Attempt, told)
		}
		b.exec(t, "UPDATE copies SET lease_until = now() - interval '1 second'; DELETE FROM river.river_job WHERE kind = 'copy_backup'")
		b.ahead += time.Hour
		if n, err := b.EnqueueStranded(ctx); err != nil || n != 1 {
			t.Fatal(attempt, n, err)
		}
	}
	if _, err := b.ClaimCopy(ctx, kept.ID, second.ID); !errors.Is(err, postgres.ErrCopyLost) {
		t.Error(err)
	}
	told := b.told(t, id, remora.EventCopyFailed)
	if c := b.only(t, id, kept.ID); c.State != remora.CopyFailed || c.Reason != remora.ReasonInternal || c.EndedAt.IsZero() || len(told) != 1 || !strings.Contains(told[0], "on our side") {
		t.Errorf("%+v %q", c, told)
	}
	b.exec(t, "DELETE FROM river.river_job WHERE kind = 'copy_backup'")
	b.ahead += time.Hour
	if n, err := b.EnqueueStranded(ctx); err != nil || n != 0 {
		t.Error(n, err)
	}
	if _, err := b.ClaimCopy(ctx, kept.ID, second.ID); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Error(err)
	}
	if err := b.AskCopy(ctx, id, kept.ID, "p"); err != nil {
		t.Fatal(err)
	}
	if c := b.claimCopy(t, kept.ID, second.ID); c.Attempt != 1 {
		t.Errorf("%+v", c)
	}
}

// What a copy finds damaged in ours is read again, once however often it is found, and not copied meanwhile.
func TestACopyThatFindsDamageHasItReadAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, second := b.copying(t)
	_, kept := b.sealedTo(t, id)
	f := remora.Failure{Reason: remora.ReasonObjectDamaged, Detail: "An object is missing."}
	for range 2 {
		if again, err := b.FailCopy(ctx, b.claimCopy(t, kept.ID, second.ID), f); err != nil || again {
			t.Fatal(again, err)
		}
		proofs, err := b.Proofs(ctx, id, kept.ID)
		if err != nil || len(proofs) != 1 || proofs[0].Kind != remora.ProofReread || proofs[0].State != remora.ProofQueued || proofs[0].Database != kept.Database || b.jobs(t, "reread_backup") != 1 {
			t.Errorf("%+v, %d jobs: %v", proofs, b.jobs(t, "reread_backup"), err)
		}
		if c := b.only(t, id, kept.ID); c.State != remora.CopyFailed || c.Reason != f.Reason {
			t.Errorf("%+v", c)
		}
		if err := b.AskCopy(ctx, id, kept.ID, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := b.FailCopy(ctx, b.claimCopy(t, kept.ID, second.ID), remora.Failure{Reason: remora.ReasonOwnBucketRefused}); err != nil || again || b.jobs(t, "reread_backup") != 1 {
		t.Error(again, err)
	}
}

// Whichever way a copy comes to its job, that lies in the queue of the resource's pool.
func TestEveryCopyGoesToItsPool(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{america: "copies", europe: "copies_eu"} {
		b := newBundle(t)
		ctx := t.Context()
		id := b.resourceIn(t, region, "db")
		if _, err := b.ChangePlan(ctx, id, "hammerhead"); err != nil {
			t.Fatal(err)
		}
		second := b.useSecond(t, id, "second")
		_, kept := b.sealedTo(t, id)
		check := func(what string, err error) {
			t.Helper()
			b.exec(t, "DELETE FROM river.river_job WHERE kind <> 'copy_backup'")
			if got := b.took(t, what, jobargs.CopyBackup{}); err != nil || got != want {
				t.Errorf("%s, %s: in %s: %v", region, what, got, err)
			}
		}
		check("kept", nil)
		check("given back", b.ReleaseCopy(ctx, b.claimCopy(t, kept.ID, second.ID)))
		_, err := b.FailCopy(ctx, b.claimCopy(t, kept.ID, second.ID), remora.Failure{Reason: remora.ReasonOwnBucketFailed})
		check("tried again", err)
		b.ahead += time.Hour
		if again, err := b.FailCopy(ctx, b.claimCopy(t, kept.ID, second.ID), remora.Failure{Reason: remora.ReasonOwnBucketRefused}); err != nil || again {
			t.Fatal(again, err)
		}
		check("asked for again", b.AskCopy(ctx, id, kept.ID, "p"))
	}
}

// A bucket that was removed takes no copies, though a release that does not know of them removed it; another can be chosen.
func TestARemovedBucketTakesNoCopies(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, second := b.copying(t)
	b.exec(t, "UPDATE buckets SET removed_at = now(), access_key = '', sealed_secret = NULL")
	_, kept := b.sealedTo(t, id)
	v, err := b.BackupView(ctx, id, kept.ID)
	if err != nil || len(v.Copies) != 0 || v.CanCopy || b.jobs(t, "copy_backup") != 0 {
		t.Errorf("%+v, can be copied: %t, %v", v.Copies, v.CanCopy, err)
	}
	if err := b.AskCopy(ctx, id, kept.ID, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	again := b.useSecond(t, id, "second")
	if err := b.AskCopy(ctx, id, kept.ID, "p"); err != nil || again.ID == second.ID || b.only(t, id, kept.ID).Bucket != again.ID {
		t.Error(err, b.only(t, id, kept.ID), again)
	}
}

// A copy goes with its backup: what is under way is stopped, the deletion waits for it, and whoever comes back later than that is tidied up after.
func TestACopyGoesWithItsBackup(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, db, all := b.aged(t, 9)
	if _, err := b.ChangePlan(ctx, id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	second := b.useSecond(t, id, "second")
	if _, err := b.SetRetention(ctx, id, db, remora.Retention{Last: 1, Zone: "UTC"}, 99, "p"); err != nil {
		t.Fatal(err)
	}
	b.ahead += remora.RetentionGrace + time.Hour
	oldest := all[0]
	if err := b.AskCopy(ctx, id, oldest, "p"); err != nil {
		t.Fatal(err)
	}
	c := b.claimCopy(t, oldest, second.ID)
	gone := b.expire(t, id, db)
	if !slices.Contains(gone, oldest) {
		t.Fatal(gone)
	}
	if err := b.BeatCopy(ctx, c); remora.KindOf(err) != remora.KindStale || b.only(t, id, oldest).State != remora.CopyStopped {
		t.Errorf("it goes on: %v", err)
	}
	if err := b.AskCopy(ctx, id, oldest, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	b.ahead += 2 * time.Hour
	if _, err := b.ClaimDeletion(ctx, oldest); !errors.Is(err, postgres.ErrBusy) {
		t.Error("it is deleted while somebody may write:", err)
	}
	b.exec(t, "UPDATE copies SET lease_until = now() - interval '1 second'") // he was killed, or is suspended
	if _, err := b.ClaimDeletion(ctx, oldest); err != nil {
		t.Error(err)
	}
	if in, err := b.BucketsOf(ctx, id, oldest); err != nil || len(in) != 2 || !slices.Contains(in, second.ID) || !slices.Contains(in, "") {
		t.Error(in, err)
	}
	// What is in theirs and cannot be deleted is nobody's here to be alarmed about.
	if n, err := b.OverdueDeletions(ctx, time.Minute); err != nil || n != len(gone) {
		t.Error(n, err)
	}
	if err := b.TheirsLeft(ctx, id, oldest); err != nil {
		t.Error(err)
	}
	if n, err := b.OverdueDeletions(ctx, time.Minute); err != nil || n != len(gone)-1 {
		t.Error(n, err)
	}
	if err := b.EndDeletion(ctx, id, oldest); err != nil {
		t.Fatal(err)
	}
	left := func(want int) []postgres.CopyLeftover {
		t.Helper()
		out, err := b.CopyLeftovers(ctx, 9)
		if err != nil || len(out) != want || want == 1 && out[0] != (postgres.CopyLeftover{Resource: id, Backup: oldest, Bucket: second.ID}) {
			t.Error(out, err)
		}
		return out
	}
	left(0)
	if err := b.LetGoOfCopy(ctx, c); err != nil { // he comes back
		t.Fatal(err)
	}
	left(1)
	left(0) // once an hour
	b.ahead += 2 * time.Hour
	if err := b.CopyTidied(ctx, left(1)[0]); err != nil {
		t.Error(err)
	}
	b.ahead += 48 * time.Hour
	left(0)
	// One of whom nobody has heard again is looked after once.
	b.exec(t, "UPDATE backups SET state = 'expired' WHERE id = '"+string(oldest)+"'; UPDATE copies SET lease_until = now() - interval '1 second'")
	if err := b.EndDeletion(ctx, id, oldest); err != nil {
		t.Fatal(err)
	}
	left(0)
	b.ahead += 25 * time.Hour
	left(1)
}

// A release that does not know of copies deletes a backup without them, and a database that was set back, or made anew, has forgotten
// them: they are found all the same.
func TestACopyThatWasForgottenIsFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id, second := b.copying(t)
	copied := func() remora.BackupID {
		t.Helper()
		_, x := b.sealedTo(t, id)
		if err := b.EndCopy(ctx, b.claimCopy(t, x.ID, second.ID), 1); err != nil {
			t.Fatal(err)
		}
		return x.ID
	}
	in := func(x remora.BackupID, want ...remora.BucketID) {
		t.Helper()
		if got, err := b.BucketsOf(ctx, id, x); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v and not %v: %v", got, want, err)
		}
	}
	found := func(want ...postgres.CopyLeftover) {
		t.Helper()
		if got, err := b.CopyLeftovers(ctx, 9); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v and not %v: %v", got, want, err)
		}
	}
	older, ours, listed := copied(), copied(), copied()
	found()
	b.exec(t, "UPDATE backups SET state = 'deleted', deleted_at = now(), expired_at = now(), delete_at = now() WHERE id = '"+string(older)+"'")
	b.exec(t, "UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now() WHERE id = '"+string(ours)+"'")
	if err := b.EndDeletion(ctx, id, ours); err != nil {
		t.Fatal(err)
	}
	left := postgres.CopyLeftover{Resource: id, Backup: older, Bucket: second.ID}
	found(left)
	b.ahead += 2 * time.Hour
	found(left)
	if err := b.CopyTidied(ctx, left); err != nil {
		t.Fatal(err)
	}
	b.ahead += 48 * time.Hour
	found()

	b.exec(t, "DELETE FROM copies WHERE backup_id = '"+string(listed)+"'")
	in(listed, "", second.ID) // it takes copies
	third := b.useSecond(t, id, "third")
	in(listed, "", remora.BucketID(min(string(second.ID), string(third.ID))), remora.BucketID(max(string(second.ID), string(third.ID)))) // and the other took some
	first := b.useBucket(t, id, "first")
	_, theirs := b.sealedTo(t, id)
	in(theirs.ID, first.ID)
	in(listed, "", second.ID)
	if err := b.RemoveBucket(ctx, id, second.ID, "p"); err != nil {
		t.Fatal(err)
	}
	in(listed, "")
}

// What a release that does not know of copies forgets of an add-on takes them along.
func TestACopyIsForgottenWithItsBackup(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, _ := b.copying(t)
	b.exec(t, "INSERT INTO copies (backup_id, bucket_id, resource_id, state, asked_at, due_at) SELECT b.id, x.id, x.resource_id, 'copied', now(), now() FROM backups b JOIN buckets x USING (resource_id) WHERE b.state = 'queued'")
	if c := b.only(t, id, b.first(t, id).ID); c.State != remora.CopyMade {
		t.Fatalf("%+v", c)
	}
	b.exec(t, "DELETE FROM occurrences; DELETE FROM events; DELETE FROM backups; DELETE FROM buckets")
	if left := query[int](t, b, "SELECT count(*)::int FROM copies"); left[0] != 0 {
		t.Errorf("%d are left", left[0])
	}
}

// A bucket stays while copies of what is listed lie in it, and a removed add-on's copies are not made.
func TestABucketStaysForItsCopies(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.GiveWay = time.Nanosecond }) // the neighbour's waits for nobody
	ctx := t.Context()
	id, second := b.copying(t)
	neighbour, _ := b.copying(t)
	_, kept := b.sealedTo(t, id)
	if err := b.EndCopy(ctx, b.claimCopy(t, kept.ID, second.ID), 1); err != nil {
		t.Fatal(err)
	}
	_, queued := b.sealedTo(t, id)
	if err := b.LeaveBucket(ctx, id, "p"); err != nil {
		t.Fatal(err)
	}
	if c := b.only(t, id, kept.ID); c.State != remora.CopyMade || b.only(t, id, queued.ID).State != remora.CopyStopped {
		t.Errorf("%+v", c)
	}
	if err := b.RemoveBucket(ctx, id, second.ID, "p"); remora.KindOf(err) != remora.KindConflict || !strings.Contains(remora.Public(err, ""), "copies of them") {
		t.Error(err)
	}
	b.exec(t, "UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now() WHERE id = '"+string(kept.ID)+"'")
	if err := b.RemoveBucket(ctx, id, second.ID, "p"); err != nil {
		t.Error(err)
	}
	if c := b.only(t, id, kept.ID); !c.Removed || len(remora.CopiesToRead([]remora.Copy{c})) > 0 {
		t.Errorf("%+v", c)
	}
	if err := b.AskCopy(ctx, neighbour, kept.ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour asks for a copy: %v", err)
	}
	if all, err := b.Copies(ctx, neighbour, kept.ID); err != nil || len(all) != 0 {
		t.Errorf("a neighbour sees it: %v %v", all, err)
	}
	third := b.useSecond(t, id, "third")
	if err := b.AskCopy(ctx, id, queued.ID, "p"); err != nil {
		t.Fatal(err)
	}
	held := b.claimCopy(t, queued.ID, third.ID)
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.BeatCopy(ctx, held); remora.KindOf(err) != remora.KindStale {
		t.Error(err)
	}
	if _, err := b.ClaimCopy(ctx, queued.ID, third.ID); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Error(err)
	}
}
