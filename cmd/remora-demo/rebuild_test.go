package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// Our own disaster: our database is destroyed and put back to yesterday's state, and then lost altogether. Each time remora rebuild
// makes the rows again from the bucket, every archive opens through a link and restores equal, who was removed is not revived, and
// nothing is deleted before the operator says so.
func TestOurDatabaseIsLost(t *testing.T) {
	t.Parallel()
	b := start(t, 2_000)
	ctx := t.Context()
	v := b.connect(t)
	first := b.verified(t, "")
	id := remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp))
	b.Sim.CreateApp("other")
	b.heroku(t, "addons:create", "remora-backup:test", "-a", "other")
	left := remora.ResourceID(b.Sim.AddonID("remora-backup", "other"))
	keyOf := archivestore.KeysPrefix + string(left) + "/key/"
	b.until(t, "the new add-on's key is copied", func() bool { return b.lies(t, keyOf) == 1 })

	// Yesterday: a backup waits, and no worker has come to it.
	if err := b.worker.Stop(); err != nil {
		t.Fatal(err)
	}
	ask := func() { b.post(t, v, "/dashboard/databases/"+string(first.Database)+"/backups") }
	ask()
	yesterday := filepath.Join(t.TempDir(), "yesterday.dump")
	b.tool(t, "pg_dump", "-Fc", "-f", yesterday, b.Own.SuperuserURL("remora"))
	b.again(t, "worker")
	second := b.verified(t, first.ID)
	ask()
	third := b.verified(t, second.ID)
	b.heroku(t, "addons:destroy", "remora-backup", "-a", "other", "--confirm", "other")
	mark := archivestore.KeysPrefix + string(left) + "/removed"
	b.until(t, "the bucket is told of the removal", func() bool { return b.lies(t, mark) == 1 })

	b.lose(t)
	b.tool(t, "pg_restore", "--exit-on-error", "-d", b.Own.SuperuserURL("remora"), yesterday)
	b.says(t, []string{"rebuild", "-n"}, "0 add-ons, 0 databases and 1 backup would be added", "1 of the backups that our database took for queued or running have ended", "1 of the add-ons were removed")
	b.says(t, []string{"deletions", "show"}, "Deletions are not held.")
	b.says(t, []string{"rebuild"}, "0 add-ons, 0 databases and 1 backup were added", "1 of the backups that our database took for queued or running have ended", "1 of the add-ons were removed", "remora deletions resume")
	b.says(t, []string{"rebuild"}, "0 add-ons, 0 databases and 0 backups were added")
	if _, err := b.Store.Resource(ctx, left); remora.KindOf(err) != remora.KindGone {
		t.Error("a removed add-on is revived:", err)
	}

	// What our database says is due stays until the operator has said so.
	own := b.own(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := own.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("UPDATE backups SET state = 'expired', expired_at = now() - interval '2 days', delete_at = now() - interval '1 day' WHERE id = $1", first.ID)
	exec("UPDATE removals SET asked_at = asked_at - interval '1 day', undo_until = undo_until - interval '1 day'")
	for _, name := range []string{"web", "worker", "deleter"} {
		b.again(t, name)
	}
	b.until(t, "the deleter says that it is held", func() bool {
		return strings.Contains(b.logs.String(), "nothing is deleted until an operator says so")
	})
	if b.lies(t, keyOf) != 1 || b.lies(t, "/b/"+string(first.ID)+"/1/head") != 1 {
		t.Error("something was deleted")
	}
	exec("UPDATE backups SET state = 'verified', expired_at = NULL, delete_at = NULL WHERE id = $1", first.ID)
	for i, x := range []remora.Backup{first, second, third} {
		b.equal(t, v, x.ID, "yesterday_"+string(rune('1'+i)))
	}
	b.says(t, []string{"deletions", "resume"}, "Deletions go on")
	b.until(t, "the removed add-on's key is destroyed", func() bool {
		r, err := b.Store.Removal(ctx, left)
		return err == nil && !r.KeyDestroyedAt.IsZero()
	})
	if b.lies(t, keyOf) != 0 || b.lies(t, mark) != 1 {
		t.Error("a copy of the key is left, or the mark is not")
	}

	b.lose(t)
	b.says(t, []string{"migrate"})
	b.says(t, []string{"rebuild"}, "1 add-on, 1 database and 3 backups were added", "1 of the add-ons were removed")
	b.says(t, []string{"deletions", "show"}, "Nothing is deleted since", "our database was rebuilt from the bucket")
	b.says(t, []string{"rebuild"}, "0 add-ons, 0 databases and 0 backups were added")
	if _, err := b.Store.Resource(ctx, left); remora.KindOf(err) != remora.KindGone {
		t.Error("a removed add-on is revived:", err)
	}
	b.again(t, "web")
	if v, err := b.SignOn(ctx); err != nil {
		t.Error(err)
	} else {
		for i, x := range []remora.Backup{first, second, third} {
			b.equal(t, v, x.ID, "nothing_"+string(rune('1'+i)))
		}
	}
	// Backups go on, without what Heroku had given us.
	b.again(t, "worker")
	b.until(t, "the database is found again", func() bool {
		o, err := b.Store.Overview(ctx, id)
		return err == nil && len(o.Databases) == 1 && o.Databases[0].ID == first.Database && o.Databases[0].State == remora.DatabaseActive && o.Databases[0].Credential == stack.Credential
	})
	if _, err := b.Store.RequestBackup(ctx, id, first.Database, "owner"); err != nil {
		t.Fatal(err)
	}
	b.verified(t, third.ID)
}

// lose ends our processes and leaves an empty database.
func (b *bundle) lose(t *testing.T) {
	t.Helper()
	for _, p := range b.running {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	b.running = nil
	for _, p := range []*stack.Process{b.web, b.worker} {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stack.Exec(t.Context(), b.Own.SuperuserURL("postgres"), "DROP DATABASE remora WITH (FORCE)", "CREATE DATABASE remora OWNER remora"); err != nil {
		t.Fatal(err)
	}
	b.Store.Pool.Reset()
}

// again starts a process that was stopped.
func (b *bundle) again(t *testing.T, name string) {
	t.Helper()
	p, err := b.Spawn(name)
	if err != nil {
		t.Fatal(err)
	}
	b.running = append(b.running, p)
	if name == "web" {
		if err := b.AwaitWeb(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

// says runs a command of the operator's, which works and prints those words.
func (b *bundle) says(t *testing.T, args []string, words ...string) {
	t.Helper()
	out, err := b.Command(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("remora %s does not say %q:\n%s", strings.Join(args, " "), w, out)
		}
	}
}

// tool runs a program of PostgreSQL's.
func (b *bundle) tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), filepath.Join(b.Own.BinDir(), name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// lies counts the keys of the bucket that have a word in them.
func (b *bundle) lies(t *testing.T, word string) (n int) {
	t.Helper()
	err := b.Bucket.List(t.Context(), "", func(o objectstore.Object) error {
		if strings.Contains(o.Key, word) {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// until waits for something that a process is to do.
func (b *bundle) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+b.longer)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-poll.C:
		}
	}
}
