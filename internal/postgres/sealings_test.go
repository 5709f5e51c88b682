package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// sealedTo makes a run of a new backup of the resource's one database, and keeps what it was sealed to.
func (b *bundle) sealedTo(t *testing.T, id remora.ResourceID) (recipients []string, kept remora.Backup) {
	t.Helper()
	o, err := b.Overview(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := b.RequestBackup(t.Context(), id, o.Databases[0].ID, "p")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.ClaimBackup(t.Context(), backup, "w")
	if err != nil {
		t.Fatal(err)
	}
	k := remora.Kept{Tables: 1, Rows: 1, Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}, Alone: c.Sealing.Alone}
	for _, r := range c.Sealing.Recipients {
		k.OpenedBy = append(k.OpenedBy, "print of "+r)
	}
	if err := b.KeepBackup(t.Context(), c, k); err != nil {
		t.Fatal(err)
	}
	return c.Recipients(), b.backup(t, id, backup)
}

// Whose keys open an archive is what was set when its run began; what was made before stays as it was. What only its owner
// opens is verified and never waits to be restored, and nobody's restore is overdue because of it.
func TestWhoseKeysOpenIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.GiveWay = time.Nanosecond }) // the neighbour's waits for nobody
	ctx := t.Context()
	id, neighbour := b.resource(t, "db"), b.resource(t, "db")
	set := func(s remora.Sealing) {
		t.Helper()
		if err := b.SetSealing(ctx, id, s, "owner@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	to, first := b.sealedTo(t, id)
	if len(to) != 1 || first.Alone || len(first.OpenedBy) != 0 {
		t.Error(to, first)
	}
	ours := to[0]
	p := b.due(t, id, first.ID)

	set(remora.Sealing{Recipients: []string{"age1theirs", "age1second"}})
	if to, got := b.sealedTo(t, id); !slices.Equal(to, []string{ours, "age1theirs", "age1second"}) || got.Alone || len(got.OpenedBy) != 2 {
		t.Error(to, got)
	}
	set(remora.Sealing{Recipients: []string{"age1theirs"}, Alone: true, Shown: true})
	to, alone := b.sealedTo(t, id)
	if !slices.Equal(to, []string{"age1theirs"}) || !alone.Alone || !slices.Equal(alone.OpenedBy, []string{"print of age1theirs"}) || alone.State != remora.BackupVerified {
		t.Error(to, alone)
	}
	if to, _ := b.sealedTo(t, neighbour); len(to) != 1 {
		t.Error("a neighbour's setting counts: ", to)
	}
	if got := b.backup(t, id, first.ID); got.Alone || len(got.OpenedBy) != 0 {
		t.Error("an earlier backup has changed: ", got)
	}

	// The restore of the first, which was asked for before, ends after the one that nobody of us can restore.
	b.prove(t, p, passed)
	if err := b.RequestProof(ctx, id, alone.ID, remora.ProofRestore, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	b.ahead = 40 * 24 * time.Hour
	if p := b.due(t, id, alone.ID); p == nil || p.Kind != remora.ProofReread {
		t.Errorf("what is due of it: %+v", p)
	}
	o, err := b.Overview(ctx, id)
	if err != nil || !o.Databases[0].ProveAt.IsZero() || o.Databases[0].ProofOverdue(o.Now) {
		t.Error("a restore is overdue that nobody can make: ", o.Databases[0].ProveAt, err)
	}

	set(remora.Sealing{})
	to, last := b.sealedTo(t, id)
	if !slices.Equal(to, []string{ours}) {
		t.Error(to)
	}
	if p := b.due(t, id, last.ID); p == nil || p.Kind != remora.ProofRestore {
		t.Errorf("the first one that can be restored again is not due: %+v", p)
	}
	if err := b.SetSealing(ctx, id, remora.Sealing{Alone: true}, "p"); remora.KindOf(err) != remora.KindInvalid {
		t.Error("nobody could open it: ", err)
	}
	if s, err := b.Sealing(ctx, id); err != nil || s.Alone || s.SetBy != "owner@example.com" || s.SetAt.IsZero() {
		t.Error(s, err)
	}
}

// A resource's own key is given to whoever asks for it on its pages, and to nobody without a line in the audit log.
func TestTheKeyIsTaken(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db")
	key, recipient, err := b.TakeKey(t.Context(), id, "owner@example.com")
	if err != nil || key.IsZero() || recipient == "" {
		t.Fatal(recipient, err)
	}
	n := 0
	err = pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SELECT set_config('remora.resource', $1, true)", string(id))
		return errors.Join(err, tx.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = 'download key' AND actor = 'owner@example.com'").Scan(&n))
	})
	if err != nil || n != 1 {
		t.Error(n, "lines in the audit log", err)
	}
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.TakeKey(t.Context(), id, "p"); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
}

// A change of who can open archives is told, and its line says to whom; what changes nothing says nothing.
func TestWhoCanOpenArchivesIsTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	for _, s := range []remora.Sealing{
		{Recipients: []string{"age1first"}, Alone: true, Shown: true}, {Recipients: []string{"age1first"}, Alone: true}, {Recipients: []string{"age1second"}, Alone: true}, {}, {},
	} {
		b.ahead -= time.Minute // nor does a clock that is put back bring an earlier one into force
		if err := b.SetSealing(ctx, id, s, "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		if now, err := b.Sealing(ctx, id); err != nil || !now.Same(s) {
			t.Errorf("set was %+v, in force is %+v, %v", s, now, err)
		}
	}
	if _, _, err := b.TakeKey(ctx, id, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.happened(t, id), string(remora.EventKeysChanged)); got != 4 {
		t.Errorf("three changes and a copy of the key were told of %d times", got)
	}
	b.ahead = 0
	page, err := b.AuditLog(ctx, id, remora.AuditLook{Action: "set keys", Most: 10})
	var said []string
	for _, l := range page.Lines {
		said = append(said, l.Subject)
	}
	want := []string{"ours alone", "1 key of the customer’s alone: age1second", "1 key of the customer’s alone: age1first"}
	if err != nil || !slices.Equal(said, want) {
		t.Errorf("%q %v", said, err)
	}
	for _, odd := range []string{"\x00", "\xff"} {
		if page, err := b.AuditLog(ctx, id, remora.AuditLook{Actor: odd + "nobody", Action: odd, Most: 1}); err != nil || len(page.Lines) != 0 {
			t.Errorf("%q: %v", odd, err)
		}
	}
	for range 30 {
		if _, _, err = b.TakeKey(ctx, id, "owner@example.com"); err != nil {
			break
		}
	}
	if remora.KindOf(err) != remora.KindBusy {
		t.Error("there is no end of news:", err)
	}
	if err := b.SetSealing(ctx, id, remora.Sealing{}, "p"); err != nil {
		t.Error("what was set cannot be taken back:", err)
	}
}
