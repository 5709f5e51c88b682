package dashboard_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// await waits until the page has the words.
func (b *tab) await(words string) {
	b.t.Helper()
	script := `document.body.innerText.includes(` + "`" + words + "`" + `)`
	if _, err := chromedp.Run(b, chromedp.Poll[bool](script)); err != nil {
		b.t.Fatalf("%q does not come: %v\n%s", words, err, eval[string](b, `document.body.innerText`))
	}
}

// press clicks what the selector finds, and waits for the page that follows.
func (b *tab) press(selector string) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("%s: %v", selector, err)
	}
}

// A newcomer's page goes from nothing to a first verified backup without being loaded again, and what they have unfolded
// stays so.
func TestFirstBackupBeforeTheirEyes(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t)
	b := n.tab(t, true)
	b.look(1280, 900, "light")
	b.open("/dashboard")
	b.await("1 of 7 done")
	eval[chromedp.Void](b, `window.untouched = document.querySelector("#live")`)
	if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{shop()}); err != nil {
		t.Fatal(err)
	}
	b.await("3 of 7 done")
	c := n.claim(t)
	if err := n.SaveAudit(t.Context(), c, remora.Audit{Role: "remora_ro"}, "15.18", 1); err != nil {
		t.Fatal(err)
	}
	b.await("5 of 7 done")
	top := `Math.round(document.querySelector(".steps").getBoundingClientRect().height)`
	for _, p := range []remora.Progress{
		{State: remora.RunDumping, Bytes: 1_000_000, TablesDone: 1, TablesTotal: 9, Current: "public.a"},
		{State: remora.RunDumping, Bytes: 9_900_000, TablesDone: 8, TablesTotal: 9, Current: "public.b"},
	} {
		before := eval[int](b, top)
		if err := n.Beat(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
		b.await(p.Current)
		if after := eval[int](b, top); p.TablesDone > 1 && after != before {
			t.Errorf("what is below moved by %d pixels", after-before)
		}
	}
	if err := n.KeepBackup(t.Context(), c, remora.Kept{Rows: 1, PlainSize: 1}); err != nil {
		t.Fatal(err)
	}
	b.await("Your first backup is verified")
	b.await("Your database is backed up")
	if !eval[bool](b, `window.untouched === document.querySelector("#live")`) {
		t.Error("the page was loaded again")
	}
	b.clean("the finished list")
}

// Everything but what goes on before their eyes works without JavaScript, with the keyboard's own forms and links.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	good := n.keep(t)
	b := n.tab(t, false)
	b.look(1280, 900, "light")
	text := func() string {
		t.Helper()
		s, err := chromedp.Run(b, chromedp.Text(chromedp.CSS("body")))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	b.open("/dashboard")
	b.press(`article .actions a.button`)
	b.press(`input[value="heroku"] ~ *, form[action$="/links"] button`)
	says(t, text(), "heroku pg:backups:restore '"+n.http.URL+"/d/", "DATABASE_URL -a shop")
	b.press(`#links form button`)
	says(t, text(), "revoked", "Make the command")
	b.open("/dashboard/databases/" + string(good.Database))
	b.press(`form[action$="/backups"] button`)
	says(t, text(), "It waits for a worker", "Refresh")
	b.press(`form[action$="/cancel"] button`)
	says(t, text(), "canceled", "not", "It waits for a worker")
	b.press(`.crumbs a:last-child`)
	b.press(`.tabs a[href*="show=canceled"]`)
	says(t, text(), "canceled", "not", "verified by")
	b.open("/dashboard/settings")
	b.press(`.bar form button`)
	says(t, text(), "Signed off")
	b.open("/dashboard")
	if !strings.Contains(text(), "You are not signed on") {
		t.Error(text())
	}
	b.fits("signed off")
}
