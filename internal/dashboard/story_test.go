package dashboard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// A newcomer's page goes from nothing to a first verified backup without being loaded again, and what they have unfolded
// stays so.
func TestFirstBackupBeforeTheirEyes(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t)
	b := n.tab(t, true)
	b.Look(1280, 900, "light")
	b.Open("/dashboard")
	b.Await("1 of 7 done")
	browsertest.Eval[chromedp.Void](b, `window.untouched = document.querySelector("#live")`)
	if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{shop()}); err != nil {
		t.Fatal(err)
	}
	b.Await("3 of 7 done")
	c := n.claim(t)
	if err := n.SaveAudit(t.Context(), c, remora.Audit{Role: "remora_ro"}, remora.Server{Version: "15.18", Size: 1}); err != nil {
		t.Fatal(err)
	}
	b.Await("5 of 7 done")
	top := `Math.round(document.querySelector(".steps").getBoundingClientRect().height)`
	for _, p := range []remora.Progress{
		{State: remora.RunDumping, Bytes: 1_000_000, TablesDone: 1, TablesTotal: 9, Current: "public.a"},
		{State: remora.RunDumping, Bytes: 9_900_000, TablesDone: 8, TablesTotal: 9, Current: "public.b"},
	} {
		before := browsertest.Eval[int](b, top)
		if err := n.Beat(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
		b.Await(p.Current)
		if after := browsertest.Eval[int](b, top); p.TablesDone > 1 && after != before {
			t.Errorf("what is below moved by %d pixels", after-before)
		}
	}
	if err := n.KeepBackup(t.Context(), c, remora.Kept{Rows: 1, PlainSize: 1}); err != nil {
		t.Fatal(err)
	}
	b.Await("Your first backup is verified")
	b.Await("Your database is backed up")
	if !browsertest.Eval[bool](b, `window.untouched === document.querySelector("#live")`) {
		t.Error("the page was loaded again")
	}
	b.Clean("the finished list")
}

// Values that arrive while somebody looks move nothing on the page, on a telephone, where there is least room.
func TestLiveValuesMoveNothing(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t, shop())
	n.years(t, 3)
	c := n.claim(t)
	at := time.Now().Add(time.Minute)
	n.Now = func(time.Time) time.Time { return at } // each second that passes moves what follows it by a digit
	name := "public.a"
	beat := func(p remora.Progress) {
		t.Helper()
		p.State = remora.RunDumping
		if err := n.Beat(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range []string{"/dashboard", databaseOf(n, t), "/dashboard/backups/" + string(c.Backup)} {
		beat(remora.Progress{Bytes: 1000, TablesDone: 1, TablesTotal: 1234, Current: name})
		b := n.tab(t, true)
		b.Look(360, 740, "light")
		b.Open(path)
		b.Await(name)
		browsertest.Eval[chromedp.Void](b, `window.moved = 0; new PerformanceObserver(l => l.getEntries().forEach(e => window.moved += e.value)).observe({type: "layout-shift"})`)
		name = fmt.Sprintf("public.a_table_whose_name_is_rather_long_as_some_are_%d", i)
		beat(remora.Progress{Bytes: 987_654_321_000, BytesOut: 87_654_321_000, TablesDone: 1233, TablesTotal: 1234, Current: name})
		b.Await(name)
		b.Await("1233 of 1234")
		if moved := browsertest.Eval[float64](b, `new Promise(done => requestAnimationFrame(() => setTimeout(() => done(window.moved))))`, chromedp.EvalAwaitPromise); moved > 0.001 { // which is less than a digit more
			t.Errorf("%s: what is there moved by %g", path, moved)
		}
	}
}

// Everything but what goes on before their eyes works without JavaScript, with the keyboard's own forms and links.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	good := n.keep(t)
	b := n.tab(t, false)
	b.Look(1280, 900, "light")
	text := func() string { return b.Text("body") }
	b.Open("/dashboard")
	b.Press(`article .actions a.button`)
	b.Press(`input[value="heroku"] ~ *, form[action$="/links"] button`)
	says(t, text(), "heroku pg:backups:restore '"+n.http.URL+"/d/", "DATABASE_URL -a shop")
	b.Press(`#links form button`)
	says(t, text(), "revoked", "Make the command")
	b.Open("/dashboard/databases/" + string(good.Database))
	b.Press(`form[action$="/backups"] button`)
	says(t, text(), "It waits for a worker", "Refresh")
	b.Press(`form[action$="/cancel"] button`)
	says(t, text(), "canceled", "not", "It waits for a worker")
	b.Press(`.crumbs a:last-child`)
	b.Press(`.tabs a[href*="show=canceled"]`)
	says(t, text(), "canceled", "not", "verified by")
	b.Open("/dashboard/settings")
	b.Press(`.bar form button`)
	says(t, text(), "Signed off")
	b.Open("/dashboard")
	if !strings.Contains(text(), "You are not signed on") {
		t.Error(text())
	}
	b.Fits("signed off")
}
