package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// aged is a resource with a database that was backed up on so many days, oldest first.
func (b *bundle) aged(t *testing.T, days int) (remora.ResourceID, remora.DatabaseID, []remora.BackupID) {
	t.Helper()
	ctx := t.Context()
	id := b.resource(t, "postgresql-1")
	o, err := b.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	db := o.Databases[0].ID
	var all []remora.BackupID
	for n := range days {
		if n > 0 {
			b.ahead += 24 * time.Hour
		}
		backup, err := b.RequestBackup(ctx, id, db, "ada")
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.ClaimBackup(ctx, backup, "w")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.KeepBackup(ctx, c, remora.Kept{}); err != nil {
			t.Fatal(err)
		}
		all = append(all, backup)
	}
	return id, db, all
}

func (b *bundle) expire(t *testing.T, id remora.ResourceID, db remora.DatabaseID) []remora.BackupID {
	t.Helper()
	gone, err := b.Expire(t.Context(), id, db, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var out []remora.BackupID
	for _, v := range gone {
		out = append(out, v.Backup.ID)
	}
	return out
}

func (b *bundle) pendingEvents(t *testing.T, id remora.ResourceID) (out []remora.Event) {
	t.Helper()
	all, err := b.Events(t.Context(), id, remora.EventLook{Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Kind == remora.EventRetentionPending {
			out = append(out, e)
		}
	}
	return out
}

// A changed setting removes nothing for a day, tells of it, and can be undone. While it waits, what either of the two
// keeps stays.
func TestAChangeRemovesNothingForADay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := newBundle(t)
	id, db, all := b.aged(t, 6)
	less := remora.Retention{Last: 4, Zone: "UTC"}
	if _, err := b.SetRetention(ctx, id, db, less, 1, "ada"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("more than were agreed to are removed: %v", err)
	}
	n, err := b.SetRetention(ctx, id, db, less, 2, "ada")
	if err != nil || n != 2 {
		t.Fatalf("%d are to go: %v", n, err)
	}
	if e := b.pendingEvents(t, id); len(e) != 1 || e[0].Database != db || !strings.Contains(e[0].Detail, "2 backups") {
		t.Errorf("told %+v", e)
	}
	b.ahead += 23*time.Hour + 50*time.Minute
	if gone := b.expire(t, id, db); len(gone) > 0 {
		t.Errorf("%v went before the day had passed", gone)
	}
	if err := b.UndoRetention(ctx, id, db, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := b.UndoRetention(ctx, id, db, "bob"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("nothing waits, and undoing it says %v", err)
	}
	b.ahead += time.Hour
	if gone := b.expire(t, id, db); len(gone) > 0 {
		t.Errorf("%v went by a change that was undone", gone)
	}
	if _, err := b.SetRetention(ctx, id, db, less, 2, "ada"); err != nil {
		t.Fatal(err)
	}
	b.ahead += 24*time.Hour + time.Minute
	s, err := b.Retention(ctx, id, db)
	if err != nil || s.Current != less || s.SetBy != "ada" || s.Pending != nil {
		t.Errorf("in force is %+v %v", s, err)
	}
	more := remora.Retention{Last: 5, Zone: "UTC"}
	if n, err := b.SetRetention(ctx, id, db, more, 0, "ada"); err != nil || n != 0 || len(b.pendingEvents(t, id)) != 2 {
		t.Errorf("more is kept, and %d are to go: %v", n, err)
	}
	if gone := b.expire(t, id, db); !slices.Equal(gone, all[:1]) {
		t.Errorf("gone are %v, and not the one that neither keeps, %v", gone, all[:1])
	}
	if got, err := b.Backup(ctx, id, all[0]); err != nil || got.State != remora.BackupExpired {
		t.Errorf("%+v %v", got, err)
	}
}

// A lock keeps a backup, as many as the plan says, and holds for a day after its release.
func TestLocks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := newBundle(t)
	id, db, all := b.aged(t, 16)
	if err := b.LockBackup(ctx, id, all[0], "before the migration", "ada"); err != nil {
		t.Fatal(err)
	}
	gone := b.expire(t, id, db)
	if len(gone) < 3 || slices.Contains(gone, all[0]) {
		t.Fatalf("gone are %v", gone)
	}
	if err := b.LockBackup(ctx, id, gone[0], "", "ada"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("one that has gone: %v", err)
	}
	s, err := b.Retention(ctx, id, db)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Lock(all[0]); l == nil || l.Note != "before the migration" || l.By != "ada" || s.LocksLeft() != s.Plan.Locks-1 {
		t.Errorf("%+v, %d left", l, s.LocksLeft())
	}
	pgExec(t, b, "UPDATE resources SET plan = 'test'") // which lets lock one
	if err := b.LockBackup(ctx, id, all[15], "", "ada"); remora.KindOf(err) != remora.KindPlanLimit {
		t.Errorf("more than the plan's: %v", err)
	}
	if err := b.LockBackup(ctx, id, all[0], "again", "ada"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	pgExec(t, b, "UPDATE resources SET plan = 'mako'")
	if err := b.UnlockBackup(ctx, id, all[0], "bob"); err != nil {
		t.Fatal(err)
	}
	if err := b.UnlockBackup(ctx, id, all[0], "bob"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("a second release: %v", err)
	}
	if gone := b.expire(t, id, db); len(gone) > 0 {
		t.Errorf("%v went at once", gone)
	}
	b.ahead += 24*time.Hour + time.Minute
	if gone := b.expire(t, id, db); !slices.Contains(gone, all[0]) {
		t.Errorf("gone are %v, a day later", gone)
	}
}

// What is a neighbour's is not found, and what cannot be meant is refused.
func TestRetentionOfNeighbours(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := newBundle(t)
	id, db, all := b.aged(t, 1)
	other := b.resource(t, "postgresql-2")
	good := remora.Retention{Daily: 3, Zone: "UTC"}
	_, read := b.Retention(ctx, other, db)
	_, set := b.SetRetention(ctx, other, db, good, 0, "eve")
	_, expired := b.Expire(ctx, other, db, time.Hour)
	for what, err := range map[string]error{
		"read": read, "set": set, "expire": expired, "undo": b.UndoRetention(ctx, other, db, "eve"),
		"lock": b.LockBackup(ctx, other, all[0], "", "eve"), "unlock": b.UnlockBackup(ctx, other, all[0], "eve"),
	} {
		if remora.KindOf(err) != remora.KindNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.SetRetention(ctx, id, db, remora.Retention{Zone: "UTC"}, 0, "ada"); remora.KindOf(err) != remora.KindInvalid {
		t.Errorf("keeping nothing: %v", err)
	}
	s, err := b.Retention(ctx, id, db)
	if err != nil || s.Current != remora.DefaultRetention(s.Plan) || s.SetBy != "" || len(s.Backups) != 1 || len(must(s.Going())) > 0 {
		t.Errorf("%+v %v", s, err)
	}
	unknown := remora.NewID[remora.BackupID]()
	if got, err := b.Unknown(ctx, []remora.BackupID{all[0], unknown}); err != nil || !slices.Equal(got, []remora.BackupID{unknown}) {
		t.Errorf("unknown are %v %v", got, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pgExec(t *testing.T, b *bundle, statement string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); "+statement+"; COMMIT"); err != nil {
		t.Fatal(err)
	}
}

// What was found damaged counts for nothing, and goes after a month; never while no newer good backup has its place, or it is locked.
func TestADamagedArchiveGoesWhenItIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db, all := b.aged(t, 3)
	if err := b.LockBackup(t.Context(), id, all[0], "", "ada"); err != nil {
		t.Fatal(err)
	}
	b.exec(t, "UPDATE backups SET state = 'failed', reason = 'stored_object_damaged' WHERE state IN ('verified', 'proven')")
	b.ahead += 40 * 24 * time.Hour
	if gone := b.expire(t, id, db); len(gone) != 0 {
		t.Error("the last there is:", gone)
	}
	b.backUp(t, id, db)
	if gone := b.expire(t, id, db); len(gone) != 2 || slices.Contains(gone, all[0]) {
		t.Error(gone)
	}
	if n := b.jobs(t, "delete_backup"); n != 2 {
		t.Error(n, "are deleted")
	}
	if err := b.UnlockBackup(t.Context(), id, all[0], "ada"); err != nil {
		t.Fatal(err)
	}
	b.exec(t, "UPDATE backups SET state = 'failed', reason = 'stored_object_damaged' WHERE state = 'verified'")
	b.backUp(t, id, db)
	b.ahead += 29 * 24 * time.Hour
	if gone := b.expire(t, id, db); len(gone) != 1 || gone[0] != all[0] {
		t.Error("another that was damaged has its month:", gone)
	}
}

// Whoever needs some of a damaged archive has a month from when it was found, however old it is, and may lock it.
func TestADamagedArchiveStaysForAMonthFromWhenItWasFound(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db, all := b.aged(t, 1)
	b.ahead += 40 * 24 * time.Hour
	if err := b.RequestProof(t.Context(), id, all[0], remora.ProofReread, "p"); err != nil {
		t.Fatal(err)
	}
	waits, err := b.Proofs(t.Context(), id, all[0])
	if err != nil {
		t.Fatal(err)
	}
	b.prove(t, &waits[0], remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged})
	b.backUp(t, id, db)
	for _, step := range []struct {
		days int
		do   func(context.Context, remora.ResourceID, remora.BackupID) error
		gone int
	}{
		{days: 29, do: func(ctx context.Context, id remora.ResourceID, x remora.BackupID) error {
			return b.LockBackup(ctx, id, x, "some of it", "ada")
		}},
		{days: 2, do: func(ctx context.Context, id remora.ResourceID, x remora.BackupID) error {
			return b.UnlockBackup(ctx, id, x, "ada")
		}},
		{days: 2, gone: 1},
	} {
		b.ahead += time.Duration(step.days) * 24 * time.Hour
		if gone := b.expire(t, id, db); len(gone) != step.gone {
			t.Fatal(step.days, gone)
		}
		if step.do != nil {
			if err := step.do(t.Context(), id, all[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Of a forgotten database nothing is left, what is damaged least: the round comes to it though nothing else is stored.
func TestAForgottenDatabaseLeavesNothingDamaged(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db, _ := b.aged(t, 1)
	b.exec(t, "UPDATE backups SET state = 'failed', reason = 'stored_object_damaged'; UPDATE databases SET state = 'detached'")
	if err := b.ForgetDatabase(t.Context(), id, db, "ada"); err != nil {
		t.Fatal(err)
	}
	if got := b.happened(t, id); !strings.Contains(got, string(remora.EventRetentionPending)) {
		t.Error("nobody is told that they go:", got)
	}
	b.exec(t, "UPDATE databases SET forget_at = now() - interval '1 hour'")
	forgotten := func() bool {
		t.Helper()
		if err := b.ForgetDatabases(t.Context()); err != nil {
			t.Fatal(err)
		}
		o, err := b.Overview(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return len(o.Databases) == 0
	}
	if refs, err := b.DatabasesWithArchives(t.Context(), ""); err != nil || len(refs) != 1 || forgotten() {
		t.Error(refs, err)
	}
	if gone := b.expire(t, id, db); len(gone) != 1 || !forgotten() {
		t.Error(gone)
	}
}
