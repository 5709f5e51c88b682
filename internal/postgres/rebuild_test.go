package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// manifest is an archive of a database as the bucket tells of it; without a name it is of before manifests said theirs.
func manifest(name, plan string, at time.Time) postgres.FromManifest {
	m := postgres.FromManifest{
		Backup: remora.NewID[remora.BackupID](), Epoch: 1, MadeAt: at.UTC().Truncate(time.Microsecond),
		Kept: remora.Kept{ServerVersion: "15.18", ClientVersion: "15.18", ArchiveVersion: "1.14", Tables: 2, PlainSize: 9, Objects: []remora.Object{{Name: "head", Size: 4, SHA256: []byte{1}}}},
	}
	if name != "" {
		m.Origin = &remora.Origin{
			Addon:    remora.OriginAddon{Name: "remora-backup-1", Plan: plan, Region: "us", HelperAppID: "app", HelperApp: "helper", CreatedAt: at},
			Database: remora.OriginDatabase{ID: remora.NewID[remora.DatabaseID](), AddonID: "id-" + name, Addon: name, OwnerApp: "shop", Attachment: "DB", Credential: "ro", FoundAt: at},
			Backup:   remora.OriginBackup{State: remora.BackupVerified, QueuedAt: at, Rows: 7},
		}
	}
	return m
}

// All of an add-on is made again from the bucket, once. Its databases are proven soon and its backups read again as far apart as
// they were. Of what nobody can say whose it is nothing expires.
func TestRowsAreMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	now := time.Now()
	from := postgres.FromBucket{
		Resource: remora.NewID[remora.ResourceID](), Key: redact.New("key"), Recipient: "age1recipient", Addon: remora.OriginAddon{Name: "remora-backup-1", Plan: "mako", Region: "us", CreatedAt: now},
		Archives: []postgres.FromManifest{manifest("db", "mako", now.Add(-200*24*time.Hour)), manifest("db", "mako", now.Add(-97*24*time.Hour)), manifest("", "", now.Add(-301*24*time.Hour))},
	}
	want := postgres.Rebuilt{Addons: 1, Databases: 2, Backups: 3, Nameless: 1}
	for _, dry := range []bool{true, false} {
		if got, err := b.Rebuild(ctx, from, dry); err != nil || got != want {
			t.Fatalf("dry %t: %+v %v", dry, got, err)
		}
	}
	if got, err := b.Rebuild(ctx, from, false); err != nil || got != (postgres.Rebuilt{}) {
		t.Errorf("again: %+v %v", got, err)
	}
	states, err := b.BackupStates(ctx, []remora.BackupID{from.Archives[0].Backup, remora.NewID[remora.BackupID]()})
	if err != nil || len(states) != 1 || states[from.Archives[0].Backup] != remora.BackupVerified {
		t.Error(states, err)
	}
	refs, err := b.DatabasesWithArchives(ctx, "")
	if err != nil || len(refs) != 1 {
		t.Errorf("%+v %v", refs, err)
	}
	if n := query[int](t, b, "SELECT count(*)::int FROM databases WHERE prove_at <= now()"); n[0] != 2 {
		t.Errorf("%d databases are proven soon", n[0])
	}
	due := query[time.Time](t, b, "SELECT DISTINCT reread_at FROM backups ORDER BY reread_at")
	if len(due) != 3 || due[0].Before(now) || due[2].After(now.Add(31*24*time.Hour)) {
		t.Errorf("read again at %v", due)
	}
}

// The plan is what an archive says that our database does not know; what it knows as well is older than it.
func TestAPlanIsTheNewestArchives(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	from := postgres.FromBucket{Resource: id, Key: redact.New("key"), Recipient: "age1recipient", Addon: remora.OriginAddon{Plan: "great-white"}}
	if got, err := b.Rebuild(ctx, from, false); err != nil || got.Plans != 0 {
		t.Errorf("by the key's copy: %+v %v", got, err)
	}
	from.Archives = []postgres.FromManifest{manifest("", "", time.Now())}
	if got, err := b.Rebuild(ctx, from, false); err != nil || got.Plans != 0 || got.Backups != 1 {
		t.Errorf("by the key's copy, beside an archive that says nothing: %+v %v", got, err)
	}
	from.Archives = []postgres.FromManifest{manifest("db", "hammerhead", time.Now()), manifest("db", "test", time.Now().Add(-time.Hour))}
	got, err := b.Rebuild(ctx, from, false)
	r, rerr := b.Resource(ctx, id)
	if err := errors.Join(err, rerr); err != nil || got.Plans != 1 || r.Plan != "hammerhead" || got.Addons != 0 {
		t.Errorf("%+v %s %v", got, r.Plan, err)
	}
	from.Recipient = "age1other"
	if _, err := b.Rebuild(ctx, from, false); !errors.Is(err, postgres.ErrOtherKey) {
		t.Error(err)
	}
}

// What the bucket says was removed is removed, known or not, but for what was given back to its customer.
func TestARemovalThatTheBucketTellsOf(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	gone := postgres.Removed{AskedAt: time.Now().Add(-time.Hour), UndoUntil: time.Now().Add(time.Hour)}
	state := func(id remora.ResourceID) string {
		return query[string](t, b, fmt.Sprintf("SELECT state FROM resources WHERE id = '%s'", id))[0]
	}
	known, unknown := b.resource(t, "db"), remora.NewID[remora.ResourceID]()
	for _, from := range []postgres.FromBucket{{Resource: known}, {Resource: unknown, Key: redact.New("key"), Recipient: "age1", Addon: remora.OriginAddon{Plan: "mako"}}} {
		for n := range 2 {
			if changed, err := b.RebuildRemoved(ctx, from, gone, false); err != nil || changed != (n == 0) {
				t.Errorf("time %d: %t %v", n+1, changed, err)
			}
		}
		if s := state(from.Resource); s != "deprovisioned" {
			t.Error(s)
		}
	}
	if err := b.UndoRemoval(ctx, known); err != nil {
		t.Fatal(err)
	}
	if changed, err := b.RebuildRemoved(ctx, postgres.FromBucket{Resource: known}, gone, false); !errors.Is(err, postgres.ErrUndone) || changed || state(known) == "deprovisioned" {
		t.Errorf("%t %v, %s", changed, err, state(known))
	}
}

// A key is not destroyed while its removal can be undone, whoever has listed it before; a copy that an older release left is.
func TestCopiesOfKeysGoWithThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	if err := errors.Join(b.KeyCopied(ctx, id, "k1"), b.DeprovisionResource(ctx, id)); err != nil {
		t.Fatal(err)
	}
	if done, err := b.DestroyKey(ctx, id); err != nil || done {
		t.Error("destroyed while it can be undone:", err)
	}
	b.exec(t, "UPDATE resources SET key_copies = '{k1}'") // which that look has taken for gone
	b.ahead += remora.DefaultUndo
	b.exec(t, "UPDATE removals SET key_destroyed_at = now()") // as a release that knows no copies
	if all, err := b.KeysToDestroy(ctx, ""); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
	if _, err := b.DestroyKey(ctx, id); err != nil {
		t.Error(err)
	}
	if all, err := b.KeysToDestroy(ctx, ""); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}
