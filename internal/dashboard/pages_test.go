package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

func TestFirstPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)

	t.Run("nothing attached", func(t *testing.T) {
		n := s.tenant(t)
		says(t, n.do(t, "GET", "/dashboard").body, "remora-backup-clean-1", "Plan Mako", "<strong>helper</strong>", "To a first verified backup", "1 of 7 done", `<li class="step late"><div class="step-head"><h3>The Helper App is shared with us`,
			"heroku access:add "+serviceAccount+" -a helper", "heroku pg:credentials:create", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO remora_ro",
			"--credential remora_ro -a helper", "data-live", "not", "Attachments listed", "Back up now", "All about")
	})
	t.Run("not shared", func(t *testing.T) {
		n := s.tenant(t)
		if err := n.SetAttention(t.Context(), n.id, remora.ReasonNotShared); err != nil {
			t.Fatal(err)
		}
		says(t, n.do(t, "GET", "/dashboard").body, `<span class="state failed">needs you</span>`, "Its attachments cannot be listed", "<pre>heroku access:add "+serviceAccount+" -a helper</pre>", "Check now")
	})
	t.Run("verified", func(t *testing.T) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		page := n.do(t, "GET", "/dashboard").body
		says(t, page, "postgresql-curved-1", "of app shop", "Your database is backed up", `<span class="state fresh">fresh</span>`, "Last verified backup", "1.1 MB", "Back up now",
			"/dashboard/backups/"+string(b.ID)+"/restore", "Restore…", "Next backup", "The only backup so far: 1 verified.", "4.2 MB", "200 GB",
			"Your first backup is verified", "not", "data-live", "disabled", "needs you")
		says(t, n.do(t, "GET", "/dashboard/databases/"+string(b.Database)).body, `<span class="state verified">verified</span>`, "automatically", "1.1 MB", "4\u202f711",
			"/dashboard/backups/"+string(b.ID)+"/restore", "not", "data-live")
	})
	t.Run("running", func(t *testing.T) {
		n := s.tenant(t, shop())
		c := n.claim(t)
		p := remora.Progress{State: remora.RunDumping, Bytes: 1_234_567, BytesOut: 345_678, TablesDone: 3, TablesTotal: 8, Current: `sales."odd <b>name"`}
		if err := n.Beat(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/dashboard", "/dashboard/live", "/dashboard/backups/" + string(c.Backup), "/dashboard/backups/" + string(c.Backup) + "/live"} {
			says(t, n.do(t, "GET", path).body, "running", "3 of 8 tables", "1.2 MB read, 346 kB stored", `value="37"`, "odd &lt;b&gt;name", "data-live", "Refresh", "not", "odd <b>")
		}
		says(t, n.do(t, "GET", "/dashboard").body, "3 of 7 done", `<li class="step later"><div class="step-head"><h3>It is verified`, "not", "Back up now", "needs you")
		says(t, n.do(t, "GET", "/dashboard/databases/"+string(c.Database.ID)).body, `<button class="plain" disabled>Back up now</button>`, "no verified backup yet", "none yet")
	})
	t.Run("owner's credential", func(t *testing.T) {
		f := shop()
		f.Credential, f.Problem = "", "It is the owner's."
		n := s.tenant(t, f)
		says(t, n.do(t, "GET", "/dashboard").body, "needs you", "2 of 7 done", "can change your data", "heroku pg:credentials:create postgresql-curved-1 --name remora_ro -a shop",
			"GRANT USAGE", "heroku addons:detach REMORA_DB -a helper", "heroku addons:attach postgresql-curved-1 --credential remora_ro -a helper",
			"not", "Back up now")
	})
	t.Run("owner's credential beside another", func(t *testing.T) {
		f := shop()
		f.Beside = "DATABASE"
		n := s.tenant(t, f)
		n.keep(t)
		says(t, n.do(t, "GET", "/dashboard").body, "attached to the Helper App too, as DATABASE", "heroku addons:detach DATABASE -a helper")
	})
	t.Run("two read-only credentials", func(t *testing.T) {
		f := shop()
		f.Also = []postgres.Attached{{Attachment: "REMORA_NEW", Credential: "remora_new"}, {Attachment: "OTHER_DB", Credential: "other"}}
		n := s.tenant(t, f)
		n.keep(t)
		for _, path := range []string{"/dashboard", databaseOf(n, t)} {
			says(t, n.do(t, "GET", path).body, "attached too, as OTHER_DB, REMORA_NEW.", "We read with REMORA_DB (remora_ro) alone", "<pre>heroku addons:detach OTHER_DB -a helper\nheroku addons:detach REMORA_NEW -a helper\n</pre>")
		}
		f.Also = f.Also[:1]
		if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{f}); err != nil {
			t.Fatal(err)
		}
		says(t, n.do(t, "GET", "/dashboard").body, "is attached too, as REMORA_NEW.", "not", "OTHER_DB")
		if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
			t.Fatal(err)
		}
		says(t, n.do(t, "GET", "/dashboard").body, "detached", "not", "attached too", "REMORA_NEW")
	})
	t.Run("beyond the plan", func(t *testing.T) {
		var found []postgres.Found
		for _, name := range []string{"db-1", "db-2", "db-3"} {
			found = append(found, postgres.Found{AddonID: name, Addon: name, Attachment: "A", Credential: "remora_ro"})
		}
		says(t, s.tenant(t, found...).do(t, "GET", "/dashboard").body, "db-1", "db-2", "db-3", "choose a larger plan")
	})
	t.Run("detached", func(t *testing.T) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
			t.Fatal(err)
		}
		says(t, n.do(t, "GET", "/dashboard").body, "detached", "no longer attached", "heroku addons:attach postgresql-curved-1 --credential remora_ro -a helper",
			string(b.ID), "not", "Back up now", "Next one")
	})
}

func TestFailedBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	id := n.fail(t, &remora.Failure{Reason: remora.ReasonPermission, Detail: "pg_dump: error: permission denied for table \u202esdrow"}, `GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "remora_ro";`)
	says(t, n.do(t, "GET", "/dashboard").body, "needs you", "may not read everything", "/dashboard/backups/"+string(id))
	page := n.do(t, "GET", "/dashboard/backups/"+string(id)).body
	says(t, page, "This needs you.", "may not read everything", "GRANT SELECT ON ALL TABLES IN SCHEMA &#34;public&#34;",
		"<bdi>pg_dump: error: permission denied", "not", "Restore…", "data-live", "Cancel this backup")
	if a := n.do(t, "POST", "/dashboard/backups/"+string(id)+"/links"); a.StatusCode != http.StatusConflict {
		t.Errorf("a link to nothing: %s", a.Status)
	}

	m := s.tenant(t, shop())
	id = m.fail(t, &remora.Failure{Reason: remora.ReasonPermission}, "")
	says(t, m.do(t, "GET", "/dashboard/backups/"+string(id)).body, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO remora_ro")

	m = s.tenant(t, shop())
	id = m.fail(t, &remora.Failure{Reason: remora.ReasonUnreachable}, "")
	says(t, m.do(t, "GET", "/dashboard").body, "did not answer", "It is tried again")
	says(t, m.do(t, "GET", "/dashboard/backups/"+string(id)).body, "Why the last attempt failed", "Next attempt at", "Cancel this backup", "data-live")
	if a := m.do(t, "POST", "/dashboard/backups/"+string(id)+"/cancel"); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
	says(t, m.do(t, "GET", "/dashboard/backups/"+string(id)).body, "canceled", "not", "data-live", "Next attempt")
}

// A database's page has room for a backup that failed, and for a long name, on screens that are no wide ones.
func TestTheBackupsFitTheirPage(t *testing.T) {
	t.Parallel()
	f := shop()
	f.Attachment = "HEROKU_POSTGRESQL_COBALT"
	n := newSite(t).tenant(t, f)
	first := n.keep(t)
	for i := range 2 {
		if _, err := n.RequestBackup(t.Context(), n.id, first.Database, "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			n.keep(t)
		} else {
			n.fail(t, &remora.Failure{Reason: remora.ReasonPermission}, "")
		}
	}
	_, err := n.Pool.Exec(t.Context(), `BEGIN; SELECT set_config('remora.service', 'on', true);
		UPDATE backups SET queued_at = '2026-01-02 03:04:00Z', ended_at = '2026-01-02 03:05:06Z' WHERE resource_id = '`+string(n.id)+`';
		UPDATE runs SET started_at = '2026-01-02 03:04:05Z' WHERE resource_id = '`+string(n.id)+`'; COMMIT`)
	if err != nil {
		t.Fatal(err)
	}
	b := n.tab(t, true)
	for _, width := range []int64{768, 1000, 1100, 1130, 1280} {
		b.Look(width, 900, "light")
		b.Open(databaseOf(n, t))
		if over := browsertest.Eval[float64](b, `(s => s.scrollWidth - s.clientWidth)(document.querySelector("#backups .scroll"))`); over > 1 { // a pixel is what is rounded
			t.Errorf("at %d the table is %g too wide", width, over)
		}
		if lines := browsertest.Eval[float64](b, `(w => w.getBoundingClientRect().height / parseFloat(getComputedStyle(w).lineHeight))(document.querySelector(".why"))`); lines > 2.1 {
			t.Errorf("at %d the reason has %g lines", width, lines)
		}
	}
	says(t, n.do(t, "GET", databaseOf(n, t)).body, "HEROKU_<wbr>POSTGRESQL_<wbr>COBALT", ">2 Jan 2026, 03:05 UTC<", ">03:05 UTC<")
	picture(b, "database-1280")
}

func TestGettingItBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	at := "/dashboard/backups/" + string(b.ID)
	says(t, n.do(t, "GET", at).body, "<h1>Backup of postgresql-curved-1, "+b.QueuedAt.UTC().Format("2006-01-02 15:04:05 UTC"), ", at "+b.EndedAt.UTC().Format("2006-01-02 15:04:05 UTC")+".", "7 tables with 4\u202f711 rows", "pg_dump 15.18", at+"/restore", "02</code>", "not", "/d/")
	says(t, n.do(t, "GET", at+"/restore").body, "Make the command", "PostgreSQL 15 or later", `value="shop"`, "more than the 1.1 MB of the archive", "not", "/d/")
	n.reported(t)
	says(t, n.do(t, "GET", at+"/restore").body, "the original took 1.2 GB when we last looked", "the archive, 1.1 MB, is compressed")
	made := n.do(t, "POST", at+"/links")
	if made.StatusCode != http.StatusSeeOther || made.Header.Get("Location") != at+"/restore?app=shop&to=heroku" {
		t.Fatal(made.Status, made.Header, made.body)
	}
	once, err := http.ParseSetCookie(made.Header.Get("Set-Cookie"))
	if err != nil || !once.HttpOnly || once.Path != at+"/restore" || once.MaxAge != 60 || strings.Contains(made.Header.Get("Location"), once.Value) {
		t.Fatal(once, err)
	}
	page := s.send(t, "GET", at+"/restore", "Cookie", "remora="+n.session+"; "+once.Name+"="+once.Value)
	_, after, _ := strings.Cut(page.body, `<pre class="link">`)
	link, _, ok := strings.Cut(after, "<")
	if !ok || !strings.HasPrefix(link, s.http.URL+"/d/") || len(link) != len(s.http.URL)+3+64 {
		t.Fatalf("%q", link)
	}
	says(t, page.body, "heroku pg:backups:restore '"+link+"' DATABASE_URL -a shop", "curl -fL '"+link+"' -o backup.dump", "pg_restore --no-owner --no-acl",
		"good for 60 min", "owner@example.com", "Revoke", ">never</td>")
	if !strings.Contains(page.Header.Get("Set-Cookie"), once.Name+"=; ") {
		t.Error("the link stays in the browser: ", page.Header)
	}
	says(t, n.do(t, "GET", at+"/restore").body, "Revoke", "not", "/d/")
	if a := s.send(t, "GET", link); a.body != string(content) {
		t.Error(a.Status, len(a.body))
	}
	says(t, n.do(t, "GET", at+"/restore").body, "link, from an address that nobody told us", "not", ">never</td>")
	links, err := n.Links(t.Context(), n.id, b.ID)
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	if a := n.do(t, "GET", at+"/links"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != at+"/restore" {
		t.Error(a.Status)
	}
	if a := n.do(t, "POST", at+"/links/"+string(links[0].ID)+"/revoke"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status, a.body)
	}
	says(t, n.do(t, "GET", at+"/restore").body, "revoked", "not", ">Revoke<")
	if a := s.send(t, "GET", link); a.StatusCode != http.StatusGone || !strings.Contains(a.body, "Make a new one") {
		t.Error(a.Status, a.body)
	}
	for _, stale := range []string{once.Value, strings.Repeat("0", 64), "<b>"} { // a revoked one, and what nobody made
		says(t, s.send(t, "GET", at+"/restore", "Cookie", "remora="+n.session+"; "+once.Name+"="+stale).body, "Make the command", "not", "/d/", "<b>")
	}
	if strings.Contains(s.log.String(), link[len(link)-64:]) {
		t.Error("a link's token is in the log")
	}
}

// Where to is asked before a link is made, and what cannot be is said with nothing lost.
func TestWhereTo(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *dashboard.Config) {
		c.Needs = func(context.Context, remora.ResourceID, remora.Backup) (remora.Needs, error) {
			return remora.Needs{Extensions: []string{"postgis", "hstore"}, Superuser: []string{"EVENT TRIGGER <b>"}, Schemas: []string{"public", `Odd "one"`}}, nil
		}
	})
	n := s.tenant(t, shop())
	b := n.keep(t)
	at := "/dashboard/backups/" + string(b.ID)
	says(t, n.do(t, "GET", at+"/restore").body, "<code>postgis</code>, <code>hstore</code>", "1 object", "EVENT TRIGGER &lt;b&gt;",
		"GRANT SELECT ON ALL TABLES IN SCHEMA &#34;public&#34; TO &#34;remora_ro&#34;;", "GRANT USAGE ON SCHEMA &#34;Odd &#34;&#34;one&#34;&#34;&#34; TO &#34;remora_ro&#34;;")
	wrong := n.post(t, at+"/links", url.Values{"to": {"heroku"}, "app": {"$(reboot)"}})
	if wrong.StatusCode != http.StatusUnprocessableEntity {
		t.Error(wrong.Status)
	}
	says(t, wrong.body, "has small letters", `value="$(reboot)"`, `aria-invalid="true"`, "not", "/d/")
	if links, err := n.Links(t.Context(), n.id, b.ID); err != nil || len(links) != 0 {
		t.Error(links, err)
	}
	for to, lines := range map[string][]string{
		"local": {"createdb restored", "| psql -X -f - restored</pre>"}, "postgres": {"postgres://USER@HOST/DATABASE", "| psql -X -f - &#39;postgres://USER@HOST/DATABASE&#39;</pre>"},
		"heroku": {"--as RESTORED --wait -a shop-two\nheroku pg:backups:restore", "RESTORED_URL -a shop-two", "DATABASE_URL -a shop-two", "| psql -X -f - &#34;$(heroku config:get RESTORED_URL -a shop-two)&#34;</pre>"},
	} {
		made := n.post(t, at+"/links", url.Values{"to": {to}, "app": {"shop-two"}})
		once, err := http.ParseSetCookie(made.Header.Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		page := s.send(t, "GET", made.Header.Get("Location"), "Cookie", "remora="+n.session+"; "+once.Name+"="+once.Value).body
		main, other, _ := strings.Cut(page, "Other ways")
		_, check, _ := strings.Cut(other, "Check the copy")
		says(t, main+check, append(lines, "not", "TARGET")...)
	}
}

// What is in an archive is listed table by table, in pages.
func TestTables(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var list strings.Builder
	for i := range 250 {
		fmt.Fprintf(&list, `{"schema":"sales","name":"t%03d<b>","columns":["a"],"rows":%d,"bytes":10,"sha256":"ab%d"},`, i, i*1000, i)
	}
	s.contents = func() (dashboard.Archive, error) {
		return strings.NewReader(`{"encoding":"UTF8","other":{"tables":[1]},"tables":[` + strings.TrimSuffix(list.String(), ",") + `],"sequences":[]}`), nil
	}
	n := s.tenant(t, shop())
	at := "/dashboard/backups/" + string(n.keep(t).ID) + "/tables"
	says(t, n.do(t, "GET", at).body, "1 to 100 of 250", "sales.t000&lt;b&gt;", "99\u202f000", "ab99<", "page=2", "not", "t100", "page=0", "<b>")
	says(t, n.do(t, "GET", at+"?page=3").body, "201 to 250 of 250", "t249", "page=2", "not", "t199", "page=4")
	says(t, n.do(t, "GET", at+"?find=SALES.t12").body, "1 to 10 of 10", "t120", "t129", "not", "t130")
	says(t, n.do(t, "GET", at+"?find=%3Cscript%3E&page=-1").body, "There is none", "&lt;script&gt;", "not", "<script>")
	for _, list := range []string{`{"tables":[]}`, `{}`, `{"tables":null}`} {
		s.contents = func() (dashboard.Archive, error) { return strings.NewReader(list), nil }
		says(t, n.do(t, "GET", at).body, "There is none")
	}
	s.contents = func() (dashboard.Archive, error) { return nil, nil }
	says(t, n.do(t, "GET", at).body, "There is none")
	s.contents = func() (dashboard.Archive, error) { return strings.NewReader(`{"tables":[{"schema":`), nil }
	if a := n.do(t, "GET", at); a.StatusCode != http.StatusInternalServerError {
		t.Error(a.Status)
	}
}

// How far a backup is, how fast, and how long it will take as the one before went.
func TestHowFar(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.years(t, 3) // each takes some 40 s for 310 MB
	at := "/dashboard/backups/" + string(n.busy(t))
	says(t, n.do(t, "GET", at).body, `<li class="step done"><div class="step-head"><h3>Connecting`, `<li class="step running"><div class="step-head"><h3>Reading`, "as the one before went", "4 of 7 tables")
	s.ahead = 5 * time.Second
	says(t, n.do(t, "GET", at+"/live").body, "MB/s", "about ", "not", "there is none to go by")
}

// An archive in a format newer than our reader is read whole by stock pg_restore and not walked by us: its page says so.
func TestWhatWasDoneForAnArchiveIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, x := range []struct {
		rows int64
		says []string
	}{
		{4711, []string{"Verified by", "pg_dump’s exit, a walk of the whole archive, a full read by stock pg_restore", "not", "not walked"}},
		{remora.RowsUnknown, []string{"Verified by", "pg_dump’s exit, a full read by stock pg_restore", "not walked by us", "not", "a walk of the whole archive"}},
	} {
		n := s.tenant(t, shop())
		c := n.claim(t)
		if err := n.KeepBackup(t.Context(), c, remora.Kept{ArchiveVersion: "1.99", Rows: x.rows}); err != nil {
			t.Fatal(err)
		}
		says(t, n.do(t, "GET", "/dashboard/backups/"+string(c.Backup)).body, x.says...)
	}
}

func TestBackUpNow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	first := n.keep(t)
	at := "/dashboard/databases/" + string(first.Database) + "/backups"
	for range 20 { // a click is cheap to repeat
		if a := n.do(t, "POST", at); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/dashboard/backups/") {
			t.Fatal(a.Status, a.body)
		}
	}
	if o := n.view(t); len(o.Backups) != 2 || o.Backups[0].RequestedBy != "owner@example.com" {
		t.Errorf("%+v", o.Backups)
	}
	says(t, n.do(t, "GET", "/dashboard/databases/"+string(first.Database)).body, "by owner@example.com", "automatically")
	for range 20 { // it was listed right before, so the next listing is half a minute away
		if a := n.do(t, "POST", "/dashboard/check"); a.StatusCode != http.StatusSeeOther {
			t.Error(a.Status)
		}
	}
	says(t, n.do(t, "GET", "/dashboard").body, "Its attachments are listed again <time")
	var jobs int
	if err := s.Pool.QueryRow(t.Context(), "SELECT count(*) FROM river.river_job WHERE kind = 'find_databases' AND args->>'asked' = 'true'").Scan(&jobs); err != nil || jobs != 1 {
		t.Errorf("20 clicks are %d checks, %v", jobs, err)
	}
}

// What others name is text on our pages, whatever it looks like.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const evil = `<img src=x onerror=alert(1)>"'&{{.}}` + "\u202e\u0007"
	s := newSite(t)
	f := shop()
	f.Addon, f.OwnerApp, f.Attachment, f.Credential = evil, evil, evil, evil
	n := s.tenant(t, f)
	b := n.keep(t)
	for _, a := range []answer{
		n.do(t, "GET", "/dashboard"), n.do(t, "GET", "/dashboard/databases/"+string(b.Database)), n.do(t, "GET", "/dashboard/backups/"+string(b.ID)), n.do(t, "GET", "/dashboard/backups/"+string(b.ID)+"/restore"),
	} {
		says(t, a.body, "&lt;img", "not", "<img src=x", "onerror=alert(1)>")
	}
	_, token, err := n.MakeLink(t.Context(), n.id, b.ID, "p", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if d := s.send(t, "HEAD", "/d/"+token).Header.Get("Content-Disposition"); !strings.HasPrefix(d, `attachment; filename="`) || strings.ContainsAny(d, "<>'&{") {
		t.Error(d)
	}
}

// An error that is none of ours to tell shows a stock sentence and the name to find it by.
func TestInnerWordsStayInside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	s.Pool.Close()
	a := n.do(t, "GET", "/dashboard")
	id := a.Header.Get("X-Request-ID")
	if a.StatusCode != http.StatusInternalServerError {
		t.Error(a.Status)
	}
	says(t, a.body, "Quote request "+id, "not", "closed pool")
	says(t, s.log.String(), id, "closed pool")
	if a := s.send(t, "GET", "/d/x"); a.StatusCode != http.StatusBadGateway || strings.Contains(a.body, "closed pool") {
		t.Error(a.Status, a.body)
	}
}

// What breaks off is shown as what fails is.
func TestAPanicIsAPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *dashboard.Config) {
		c.Needs = func(context.Context, remora.ResourceID, remora.Backup) (remora.Needs, error) { panic("inner words") }
	})
	n := s.tenant(t, shop())
	a := n.do(t, "GET", "/dashboard/backups/"+string(n.keep(t).ID)+"/restore")
	if a.StatusCode != http.StatusInternalServerError || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Error(a.Status, a.Header)
	}
	says(t, a.body, "Quote request "+a.Header.Get("X-Request-ID"), "To your databases", "not", "inner words")
	says(t, s.log.String(), "handler panicked", "inner words", "pages_test.go")
}

// What comes after a first verified backup is not told as a step towards it.
func TestFirstStepsEndWithTheFirstBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, after := range map[string]func(*testing.T, *tenant){
		"a failure": func(t *testing.T, n *tenant) {
			n.do(t, "POST", "/dashboard/databases/"+string(n.view(t).Databases[0].ID)+"/backups")
			n.fail(t, &remora.Failure{Reason: remora.ReasonPermission}, "")
		},
		"a pause": func(t *testing.T, n *tenant) {
			n.do(t, "POST", "/dashboard/databases/"+string(n.view(t).Databases[0].ID)+"/schedule/pause")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := s.tenant(t, shop())
			n.keep(t)
			says(t, n.do(t, "GET", "/dashboard").body, "Your first backup is verified")
			after(t, n)
			says(t, n.do(t, "GET", "/dashboard").body, "look here", "Restore…", "not", "To a first verified backup", "Your first backup is verified")
		})
	}
}
