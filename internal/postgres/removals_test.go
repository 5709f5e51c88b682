package postgres_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// found tells in which tables of our database, the queue's included, a row has a word in any column, as it is or in bytes.
func (b *bundle) found(t *testing.T, word string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, table := range query[string](t, b, `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace)`) {
		sql := fmt.Sprintf(`SELECT count(*)::int FROM %s x WHERE strpos(lower(x::text), lower('%s')) > 0 OR strpos(x::text, '%s') > 0`, table, word, hex.EncodeToString([]byte(word)))
		if n := query[int](t, b, sql)[0]; n > 0 {
			out[table] = n
		}
	}
	return out
}

// Whatever table holds something of a removed resource is found here, and in every column.
func TestWhatIsForgottenIsNowhere(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	other := b.everything(t, "bystander")
	id := b.everything(t, "goldfinch")
	b.exec(t, fmt.Sprintf(`UPDATE river.river_job SET errors = ARRAY['{"error": "delete r/%s/b/x: denied"}'::jsonb] WHERE kind = 'find_databases'`, id))
	before, named := b.found(t, string(id)), b.found(t, "goldfinch")
	for table := range tenants(t, b) {
		if before[table] == 0 && table != "removals" {
			t.Errorf("%s: give everything() a row of it", table)
		}
	}
	if before["river.river_job"] == 0 || len(named) < 10 {
		t.Fatalf("the search finds too little: %v %v", before, named)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	b.ahead += remora.DefaultUndo
	if all, err := b.destroyKeys(ctx); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := b.SaveDeleted(ctx, id, postgres.Deleted{}); err != nil {
		t.Fatal(err)
	}
	neighbours := b.found(t, string(other))
	for range 2 {
		if err := b.ForgetResource(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.found(t, string(id)); !maps.Equal(left, map[string]int{"resources": 1, "removals": 1}) {
		t.Errorf("its id is left in %v; a table that is new there goes with ForgetRows in queries/removals.sql", left)
	}
	if left := b.found(t, "goldfinch"); len(left) != 0 {
		t.Errorf("what it named is left in %v", left)
	}
	if row := query[string](t, b, fmt.Sprintf("SELECT (to_jsonb(r) - 'id' - 'state' - 'created_at' - 'deprovisioned_at')::text FROM resources r WHERE id = '%s'", id))[0]; strings.ContainsAny(strings.ReplaceAll(row, `""`, ""), "0123456789") {
		t.Errorf("the tombstone says more than that it is one: %s", row)
	}
	delete(neighbours, "river.river_job") // of which one was about both
	after := b.found(t, string(other))
	delete(after, "river.river_job")
	if !maps.Equal(neighbours, after) {
		t.Errorf("a neighbour had %v and has %v", neighbours, after)
	}
	if err := b.DeprovisionResource(ctx, id); remora.KindOf(err) != remora.KindGone {
		t.Error("removed again:", err)
	}
	if _, err := b.ProvisionResource(ctx, provision(id), redact.New("key"), "age1"); remora.KindOf(err) != remora.KindGone {
		t.Error("a late provision:", err)
	}
	if err := b.OpenSession(ctx, remora.Session{Resource: id, Email: "o@example.com"}, "t", "late sso"); remora.KindOf(err) != remora.KindForbidden {
		t.Error("a late visit:", err)
	}
	if v, err := b.TenantView(ctx, id, "an operator"); err != nil || v.Resource.Name != "" {
		t.Error("a look at what is left:", v, err)
	}
	if left := b.found(t, string(id)); len(left) != 2 {
		t.Errorf("a late request was written down in %v", left)
	}
}

// What a row points at is looked for when it goes, by an index or in the whole table.
func TestWhatPointsAtWhatGoesHasAnIndex(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, key := range query[string](t, b, `
		SELECT k.conrelid::regclass || ' (' || a.attname || ')' FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
		 WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND k.confrelid <> 'resources'::regclass
		   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1]
		                      AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = '(' || a.attname || ' IS NOT NULL)'))`) {
		t.Errorf("%s needs an index of its own: without one each row that a removed add-on leaves costs a walk through the table", key)
	}
}

func TestNothingIsForgottenTooEarly(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	toForget := func() int {
		t.Helper()
		all, err := b.RemovalsToForget(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	toDelete := func() int {
		t.Helper()
		all, err := b.RemovalsToDelete(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	keys := func() int {
		t.Helper()
		all, err := b.destroyKeys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	id := b.everything(t, "goldfinch")
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ResourceKey(ctx, id); remora.KindOf(err) != remora.KindGone {
		t.Error("the key of a removed add-on is given out:", err)
	}
	b.ahead += remora.DefaultUndo - time.Minute
	if keys() != 0 || toDelete() != 0 || toForget() != 0 {
		t.Error("it could still be undone")
	}
	if err := b.ForgetResource(ctx, id); remora.KindOf(err) != remora.KindConflict {
		t.Error("forgotten while its archives lie there:", err)
	}
	b.ahead += 2 * time.Minute
	if late, err := b.LateRemovals(ctx, 0); late != 1 || err != nil {
		t.Error(late, err)
	}
	if keys() != 1 || keys() != 0 || toDelete() != 1 || toForget() != 0 {
		t.Error("its key goes first, once")
	}
	if n := query[int](t, b, "SELECT count(*)::int FROM resources WHERE sealed_key IS NOT NULL OR recipient <> ''")[0]; n != 0 {
		t.Error("the key is there")
	}
	if err := b.SaveDeleted(ctx, id, postgres.Deleted{Objects: 1, Bytes: 7, Problem: "denied"}); err != nil {
		t.Fatal(err)
	}
	if toDelete() != 1 || toForget() != 0 {
		t.Error("not all of it is deleted")
	}
	if err := b.SaveDeleted(ctx, id, postgres.Deleted{Objects: 1, Bytes: 70}); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveDeleted(ctx, id, postgres.Deleted{Uploads: 1, Problem: "another attempt was at it"}); err != nil {
		t.Fatal(err)
	}
	if late, err := b.LateRemovals(ctx, 0); late != 0 || err != nil || toDelete() != 0 || toForget() != 0 {
		t.Error("its channels have not heard the last word yet", late, err)
	}
	// The last word has the receipt's address.
	b.plan(t, id)
	var token string
	for _, m := range b.queued(t, id) {
		for _, n := range m.News {
			if n.Event.Kind == remora.EventDeprovisioned {
				token = n.Receipt.Reveal()
			} else if !n.Receipt.IsZero() {
				t.Errorf("%s has a receipt", n.Event.Kind)
			}
		}
	}
	if _, err := b.Receipt(ctx, "another"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	b.exec(t, "UPDATE river.river_job SET state = 'running', finalized_at = NULL WHERE kind = 'plan_news'")
	b.ahead += 72 * time.Hour
	if toForget() != 1 {
		t.Error("it is not to be forgotten after three days")
	}
	if err := b.ForgetResource(ctx, id); !errors.Is(err, postgres.ErrBusy) {
		t.Error("forgotten under a job that runs:", err)
	}
	b.exec(t, "UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE kind = 'plan_news'")
	log, err := b.AuditChain(ctx, id)
	if err != nil || log.Length == 0 {
		t.Fatal(log, err)
	}
	if err := b.ForgetResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	r, err := b.Receipt(ctx, token)
	if r.Audit.Length != log.Length || !bytes.Equal(r.Audit.Hash, log.Hash) {
		t.Errorf("the audit log ended at %+v, and the receipt says %+v", log, r.Audit)
	}
	if err != nil || r.Resource != id || r.Databases != 1 || r.Backups != 1 || r.Objects != 2 || r.Bytes != 77 || r.DeletedObjects != 2 || r.DeletedBytes != 77 || r.AbortedUploads != 1 || !r.Done() {
		t.Errorf("%+v %v", r, err)
	}
	if own, err := b.Removal(ctx, id); err != nil || own.AskedAt != r.AskedAt {
		t.Errorf("%+v %v", own, err)
	}
	for _, s := range r.Steps() {
		if s.At.IsZero() || s.Late(r.Now) || s.At.After(s.By) {
			t.Errorf("%+v", s)
		}
	}
	if toForget() != 0 || toDelete() != 0 || keys() != 0 {
		t.Error("it does not end")
	}
}

// A removal that was a mistake is undone while the key is there: what is stored can be restored, and the schedule goes on.
func TestARemovalIsUndoneWhileTheKeyIsThere(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.everything(t, "goldfinch")
	good := query[remora.BackupID](t, b, "SELECT id::text FROM backups WHERE state = 'verified'")[0]
	if err := b.UndoRemoval(ctx, id); remora.KindOf(err) != remora.KindNotFound {
		t.Error("nothing was removed:", err)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	b.ahead += time.Hour
	visits := "SELECT count(*)::int FROM sessions"
	if n := query[int](t, b, visits)[0]; n == 0 {
		t.Fatal("nobody was signed on")
	}
	if err := b.UndoRemoval(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, b, visits)[0]; n != 0 {
		t.Errorf("%d visits of before come back, of nobody knows whom", n)
	}
	o, err := b.Overview(ctx, id)
	if err != nil || o.Resource.State != remora.ResourceNeedsAttention || len(o.Databases) != 1 || o.Databases[0].NextRunAt.Sub(o.Now) > 24*time.Hour {
		t.Errorf("%+v %v", o, err)
	}
	if key, err := b.ResourceKey(ctx, id); err != nil || key.Reveal() != "key-goldfinch" {
		t.Error(err)
	}
	if _, _, err := b.MakeLink(ctx, id, good, "anna", time.Hour); err != nil {
		t.Error(err)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal("removed again:", err)
	}
	b.ahead += remora.DefaultUndo
	if _, err := b.destroyKeys(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.UndoRemoval(ctx, id); remora.KindOf(err) != remora.KindConflict {
		t.Error("undone without a key:", err)
	}
}

// What a release before this one has removed is taken on, and an id that was never here is not.
func TestOldRemovalsAreAdopted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.everything(t, "goldfinch")
	for _, one := range []remora.ResourceID{id, remora.NewID[remora.ResourceID]()} {
		if err := b.DeprovisionResource(ctx, one); err != nil && remora.KindOf(err) != remora.KindGone {
			t.Fatal(err)
		}
	}
	b.exec(t, "DELETE FROM removals")
	for want := 1; want >= 0; want-- {
		if n, err := b.AdoptRemovals(ctx); err != nil || n != want {
			t.Error(n, err)
		}
	}
	r, err := b.Removal(ctx, id)
	if err != nil || r.Backups != 1 || r.UndoUntil.Sub(r.AskedAt) != remora.DefaultUndo {
		t.Errorf("%+v %v", r, err)
	}
}

// destroyKeys destroys all keys that are due, whose copies in the bucket nobody has made.
func (b *bundle) destroyKeys(ctx context.Context) (out []remora.ResourceID, err error) {
	all, err := b.KeysToDestroy(ctx, "")
	for _, id := range all {
		done, derr := b.DestroyKey(ctx, id)
		if err = errors.Join(err, derr); done {
			out = append(out, id)
		}
	}
	return out, err
}
