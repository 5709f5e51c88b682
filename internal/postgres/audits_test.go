package postgres_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

func report() remora.Audit {
	return remora.Audit{
		Role: "remora_ro", More: true, Witness: remora.Witness{Before: 17}, Findings: []remora.Finding{
			{Code: "security_definer", Severity: remora.SeverityReview, Object: "public.f()", Detail: "runs with others' rights"},
			{Code: "foreign_server", Severity: remora.SeverityReview, Object: "far", Detail: "a way out", Fix: "REVOKE USAGE ON FOREIGN SERVER far FROM remora_ro;"},
		},
	}
}

// A run's report is kept with its backup, the newest run's in place of an older one's; and what is known at the end.
func TestReportsAreKeptWithTheBackup(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	backup := b.first(t, id)
	if _, err := b.Audit(ctx, id, backup.ID); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	c, err := b.ClaimBackup(ctx, backup.ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SaveAudit(ctx, c, remora.Audit{Role: "older", Witness: remora.Witness{Before: 3}}, remora.Server{Version: "15.18", Size: 4711}); err != nil {
		t.Fatal(err)
	}
	if err := b.ReleaseRun(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveAudit(ctx, c, report(), remora.Server{Version: "15.18", Size: 1}); remora.KindOf(err) != remora.KindStale {
		t.Errorf("a run that has ended wrote its report: %v", err)
	}
	if c, err = b.ClaimBackup(ctx, backup.ID, "w"); err != nil {
		t.Fatal(err)
	}
	want := report()
	if err := b.SaveAudit(ctx, c, want, remora.Server{Version: "15.18", Size: 4712}); err != nil {
		t.Fatal(err)
	}
	want.Witness.After = 17
	want.Inventory = remora.Inventory{{Kind: "table", Count: 3, SHA256: "00"}}
	if err := b.KeepBackup(ctx, c, remora.Kept{Witness: want.Witness, Inventory: want.Inventory, LeftOut: "sub: not in it", Unexplained: "pg_dump: warning: x"}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Audit(ctx, id, backup.ID)
	want.At = got.At
	if err != nil || !reflect.DeepEqual(got, want) || got.At.IsZero() || got.Witness.Testimony() != remora.TestimonyNothing {
		t.Errorf("%+v %v", got, err)
	}
	kept := b.first(t, id)
	if kept.State != remora.BackupIncomplete || kept.Reason != remora.ReasonLeftOut || kept.Detail != "sub: not in it\n\npg_dump: warning: x" {
		t.Errorf("%+v", kept)
	}
	other := b.resource(t, "db-2")
	if _, err := b.Audit(ctx, other, backup.ID); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's report: %v", err)
	}
	view, err := b.Overview(ctx, id)
	if err != nil || view.Databases[0].SizeBytes != 4712 || view.Audits[c.Database.ID].Role != "remora_ro" {
		t.Errorf("%+v %v", view, err)
	}
	if err := b.SaveCheck(ctx, id, c.Database.ID, remora.Audit{Role: "remora_ro"}, remora.Server{Version: "15.18"}); err != nil {
		t.Fatal(err)
	}
	if view, err = b.Overview(ctx, id); err != nil || view.Databases[0].SizeBytes != 4712 {
		t.Errorf("a size that nobody knows is written down: %+v %v", view, err)
	}
}

// A finding to review asks until a person has answered; what nobody has found cannot be answered for.
func TestAnswers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	c, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SaveAudit(ctx, c, report(), remora.Server{Version: "15.18", Size: 1}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more is no error
		if err := b.Acknowledge(ctx, id, c.Database.ID, "security_definer", "public.f()", "owner@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	for _, wrong := range [][2]string{{"security_definer", "public.g()"}, {"table_write", "public.f()"}, {"", ""}} {
		if err := b.Acknowledge(ctx, id, c.Database.ID, wrong[0], wrong[1], "p"); remora.KindOf(err) != remora.KindNotFound {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if err := b.Acknowledge(ctx, b.resource(t, "db-2"), c.Database.ID, "foreign_server", "far", "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's database: %v", err)
	}
	view, err := b.Overview(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	a, known := view.Audits[c.Database.ID], view.Known[c.Database.ID]
	if left := a.Unanswered(known); len(left) != 1 || left[0].Code != "foreign_server" || len(known) != 1 || known[0].By != "owner@example.com" || a.Verdict(known) != remora.VerdictAsks {
		t.Errorf("%+v %+v", left, known)
	}
}

// A look without a backup is one job however often it is asked for, and one row however often it is made.
func TestChecksOfACredential(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	for range 3 {
		if err := b.RequestAudit(ctx, id, db, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.jobs(t, "audit_database"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if err := b.RequestAudit(ctx, b.resource(t, "db-2"), db, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's database: %v", err)
	}
	if d, app, err := b.ToAudit(ctx, id, db); err != nil || d.ID != db || app != "app-id" || d.CheckAskedAt.IsZero() {
		t.Errorf("%+v %s %v", d, app, err)
	}
	failed := remora.Audit{Failed: remora.ReasonUnreachable, Words: "no route"}
	for _, a := range []remora.Audit{failed, report(), failed} {
		if err := b.SaveCheck(ctx, id, db, a, remora.Server{}); err != nil {
			t.Fatal(err)
		}
		view, err := b.Overview(ctx, id)
		if got := view.Audits[db]; err != nil || got.Failed != a.Failed || len(got.Findings) != len(a.Findings) || !view.Databases[0].CheckAskedAt.IsZero() {
			t.Errorf("%+v %v", got, err)
		}
	}
	if err := b.RequestAudit(ctx, id, db, "p"); err != nil || b.jobs(t, "audit_database") != 2 {
		t.Error(err)
	}
	b.ahead = time.Hour // it never came
	if err := b.RequestAudit(ctx, id, db, "p"); err != nil || b.jobs(t, "audit_database") != 3 {
		t.Error(err)
	}
	if err := b.SaveFound(ctx, id, "helper", nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.ToAudit(ctx, id, db); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Errorf("of a detached one: %v", err)
	}
}

// A server is known by its key: another one at the same address is asked about and told, once, until a person has answered;
// at another address it is another server, for which nobody is needed.
func TestAServerIsKnownByItsKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	key := func(at, sum string) remora.ServerKey { return remora.ServerKey{At: at, SHA256: []byte(sum)} }
	told := 0
	for _, step := range []struct {
		name  string
		key   remora.ServerKey
		asked bool
		news  bool
	}{
		{"the first look", key("h1:5432", "a"), false, false},
		{"the same again", key("h1:5432", "a"), false, false},
		{"another key", key("h1:5432", "b"), true, true},
		{"another key again", key("h1:5432", "b"), true, false},
		{"the known one", key("h1:5432", "a"), false, false},
		{"another key once more", key("h1:5432", "b"), true, true},
		{"answered", key("h1:5432", "b"), false, false},
		{"the one before", key("h1:5432", "a"), true, true},
		{"another address", key("h2:5432", "c"), false, false},
		{"one that an authority vouches for", key("h2:5432", ""), false, false},
		{"the address's own again", key("h2:5432", "c"), false, false},
		{"another port", key("h2:5433", "d"), false, false},
		{"another key at that port", key("h2:5433", "c"), true, true},
	} {
		if step.name == "answered" {
			if err := b.Acknowledge(ctx, id, db, remora.CodeServerKey, step.key.String(), "owner@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.SaveCheck(ctx, id, db, remora.Audit{Role: "remora_ro"}, remora.Server{Version: "15.20", Size: 1, Key: step.key}); err != nil {
			t.Fatal(err)
		}
		o, err := b.Overview(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		found := o.Audits[db].Having(remora.SeverityReview)
		if asked := len(found) == 1 && found[0].Object == step.key.String() && found[0].Code == remora.CodeServerKey; asked != step.asked || !asked && len(found) > 0 {
			t.Errorf("%s: asked %v: %+v", step.name, asked, found)
		}
		if len(found) == 1 && !strings.HasSuffix(found[0].Detail, ".") {
			t.Errorf("%s: the words are cut: %q", step.name, found[0].Detail)
		}
		if step.news {
			told++
		}
		events, err := b.Events(ctx, id, remora.EventLook{Most: 100})
		events = slices.DeleteFunc(events, func(e remora.Event) bool { return e.Kind != remora.EventServerKey })
		if err != nil || len(events) != told || told > 0 && (events[0].Database != db || !strings.Contains(events[0].Detail, "another key")) {
			t.Errorf("%s: told %+v, %d times wanted (%v)", step.name, events, told, err)
		}
	}
}
