package jobworkers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func (a *ageing) remove(t *testing.T) error {
	t.Helper()
	return work(t, t.Context(), &removeResources{Deleter: a.Deleter}, jobargs.RemoveResources{})
}

// lies are the keys in the bucket, and the uploads that are under way, that have a word in them.
func (a *ageing) lies(t *testing.T, word string) (out []string) {
	t.Helper()
	err := a.real.List(t.Context(), "", func(o objectstore.Object) error {
		if strings.Contains(o.Key, word) {
			out = append(out, o.Key)
		}
		return nil
	})
	open, err2 := a.real.OpenUploads(t.Context(), "")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, u := range open {
		if strings.Contains(u.Key, word) {
			out = append(out, u.Key)
		}
	}
	return out
}

// rows are the tables, the queue's included, in which any column of a row has a word in it, and how often.
func (a *ageing) rows(t *testing.T, word string) string {
	t.Helper()
	var out []string
	err := pgx.BeginFunc(t.Context(), a.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err != nil {
			return err
		}
		rows, _ := tx.Query(t.Context(), `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) ORDER BY 1`)
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, table := range tables {
			var n int
			sql := fmt.Sprintf("SELECT count(*) FROM %s x WHERE strpos(lower(x::text), $1) > 0 OR strpos(x::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0", table)
			if err := tx.QueryRow(t.Context(), sql, word).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				out = append(out, fmt.Sprintf("%s %d", table, n))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

// From the removal to the receipt: what was held is searched for in every table, the queue's included, and under every key of
// the bucket, for the identifier, the names and the secrets that it had.
func TestARemovedAddonGoesAltogether(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAgeing(t, 3)
	id := string(a.id)
	to, err := remora.ParseChannel(remora.ChannelWebhook, "https://hooks.example.com/planted-hook")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Store.AddChannel(ctx, a.id, to, "planted@example.com")
	_, _, err2 := a.Store.MakeLink(ctx, a.id, a.backups[0], "planted@example.com", time.Hour)
	running, err3 := a.Store.RequestBackup(ctx, a.id, a.db, "planted@example.com")
	claim, err4 := a.Store.ClaimBackup(ctx, running, "w")
	err5 := a.Store.SetPing(ctx, a.id, a.db, redact.New("https://hc.example.com/planted-ping"), true, "planted@example.com")
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	a.store(t, archivestore.Ref{Resource: a.id, Backup: remora.NewID[remora.BackupID](), Epoch: 1}) // that no row knows of
	u := a.real.Create(ctx, "r/"+id+"/b/"+string(running)+"/1/body-001")
	if _, err := u.Write(make([]byte, 20<<20)); err != nil {
		t.Fatal(err)
	}
	if err := u.Finish(); err != nil { // and its process dies here
		t.Fatal(err)
	}
	neighbour := remora.NewID[remora.ResourceID]()
	a.store(t, archivestore.Ref{Resource: neighbour, Backup: remora.NewID[remora.BackupID](), Epoch: 1})
	kept := len(a.lies(t, string(neighbour)))

	if a.rows(t, id) == "" || a.rows(t, "planted") == "" || a.rows(t, "remora-backup-1") == "" || len(a.lies(t, id)) < 4 || kept == 0 {
		t.Fatal("the search finds nothing")
	}
	by, err := archivestore.PutKey(ctx, a.real, a.keys, archivestore.KeyCopy{Resource: a.id, Key: redact.New("key"), Addon: remora.OriginAddon{Name: "remora-backup-1"}})
	if err := errors.Join(err, a.Store.KeyCopied(ctx, a.id, by), a.Store.DeprovisionResource(ctx, a.id)); err != nil {
		t.Fatal(err)
	}
	if err := a.Store.DeprovisionResource(ctx, a.id); remora.KindOf(err) != remora.KindGone {
		t.Error("removed again:", err)
	}
	if err := a.Store.Beat(ctx, claim, remora.Progress{State: remora.RunDumping}); remora.KindOf(err) != remora.KindStale {
		t.Error("a backup of a removed add-on goes on:", err)
	}

	held := len(a.lies(t, id))
	if err := a.remove(t); err != nil {
		t.Fatal(err)
	}
	if n := len(a.lies(t, id)); n != held {
		t.Errorf("%d of %d are left while it can be undone", n, held)
	}
	a.ahead += remora.DefaultUndo
	// Neither is destroyed while the operator holds deletions, nor before its copy is.
	if _, err := a.Store.HoldDeletions(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	refused := func(failed bool) {
		t.Helper()
		if err := a.remove(t); (err != nil) != failed {
			t.Error(err)
		}
		if r, err := a.Store.Removal(ctx, a.id); err != nil || !r.KeyDestroyedAt.IsZero() || len(a.lies(t, id)) != held {
			t.Errorf("%+v %v", r, err)
		}
	}
	refused(false)
	if was, err := a.Store.ResumeDeletions(ctx); err != nil || !was {
		t.Fatal(was, err)
	}
	a.faults.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/"+archivestore.KeysPrefix)
		},
		Do: faultproxy.Answer(http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>"),
	})
	refused(true)
	a.faults.Clear()
	broken := a.lies(t, "r/"+id)[0]
	a.faults.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, broken)
		},
		Do: faultproxy.Answer(http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>"),
	})
	if err := a.remove(t); err == nil || strings.Contains(err.Error(), id) {
		t.Error("the queue is told what it must not keep, or that all went well:", err)
	}
	if n := len(a.lies(t, id)); n == 0 || n >= held {
		t.Errorf("%d of %d are left where one cannot be deleted", n, held)
	}
	if _, err := a.Store.ResourceKey(ctx, a.id); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if copies := a.lies(t, "k/"+id); len(copies) != 0 {
		t.Errorf("%v are left", copies)
	}
	if r, err := a.Store.Removal(ctx, a.id); err != nil || r.KeyDestroyedAt.IsZero() || !r.ObjectsDeletedAt.IsZero() || r.DeletedObjects == 0 {
		t.Errorf("%+v %v", r, err)
	}
	a.ahead += 2 * time.Hour
	if err := a.remove(t); err == nil {
		t.Error("nothing is amiss")
	}
	if n := testutil.ToFloat64(a.late); n != 1 {
		t.Errorf("the operator is told of %v", n)
	}
	a.faults.Clear()
	if err := a.remove(t); err != nil {
		t.Fatal(err)
	}
	if left := a.lies(t, id); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
	a.ahead += 72 * time.Hour
	for range 2 {
		if err := a.remove(t); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.rows(t, id); got != "removals 1, resources 1" {
		t.Errorf("its identifier is left in: %s", got)
	}
	for _, word := range []string{"planted", "remora-backup-1", "postgresql-1", "helper", string(a.db), string(a.backups[0]), string(running)} {
		if got := a.rows(t, word); got != "" {
			t.Errorf("%s is left in: %s", word, got)
		}
	}
	if n := len(a.lies(t, string(neighbour))); n != kept {
		t.Errorf("%d of a neighbour's %d objects are left", n, kept)
	}
	r, err := a.Store.Removal(ctx, a.id)
	if err != nil || !r.Done() || r.Backups != 3 || r.Objects != 3 || r.DeletedObjects+r.AbortedUploads != int64(held)-1 || r.AbortedUploads != 1 {
		t.Errorf("%d were held: %+v %v", held, r, err)
	}
	if n := testutil.ToFloat64(a.late); n != 0 {
		t.Errorf("the operator is still told of %v", n)
	}

	// A worker that slept through all of it, and woke, leaves nothing for long.
	a.store(t, archivestore.Ref{Resource: a.id, Backup: running, Epoch: 1})
	a.SweepAfter, a.Now = time.Minute, func() time.Time { return time.Now().Add(time.Hour) }
	if err := work(t, ctx, &sweepArchives{Deleter: a.Deleter}, jobargs.SweepArchives{}); err != nil {
		t.Fatal(err)
	}
	if left := a.lies(t, id); len(left) != 0 {
		t.Errorf("%v came late and are left", left)
	}
	// The same add-on, created anew, is another one.
	if _, err := a.Store.ProvisionResource(ctx, remora.Provision{ID: a.id, Name: "remora-backup-1", Plan: "mako", Region: "us"}, redact.New("key"), "age1"); remora.KindOf(err) != remora.KindGone {
		t.Error("the removed one is revived:", err)
	}
	if _, err := a.Store.ProvisionResource(ctx, remora.Provision{ID: remora.NewID[remora.ResourceID](), Name: "remora-backup-1", Plan: "mako", Region: "us"}, redact.New("key"), "age1"); err != nil {
		t.Error(err)
	}
}
