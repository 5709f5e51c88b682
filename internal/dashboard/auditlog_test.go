package dashboard_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"html"
	"iter"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/auditlog"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

const auditPath = "/dashboard/settings/audit"

// lines are all lines of the tenant's audit log, oldest first.
func (n *tenant) lines(t *testing.T) (out []remora.AuditLine) {
	t.Helper()
	for l, err := range n.AuditLines(t.Context(), n.id, remora.AuditLook{}, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// mailToken is what the newest mail's links carry.
func (n *tenant) mailToken(t *testing.T) string {
	t.Helper()
	all, err := n.Deliveries(t.Context(), n.id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.ToDeliver(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return m.Secret.Reveal()
}

// Whatever a page changes leaves exactly one line that names who did it. A new route fails here until somebody says what
// its line is.
func TestEveryChangeIsWrittenDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMail)
	n := s.tenant(t, shop())
	b := n.keep(t)
	n.years(t, 10)
	db := n.reported(t, findings...)
	const me = "owner@example.com"
	page, at := "/dashboard/databases/"+string(db), "/dashboard/backups/"+string(b.ID)
	var backup, bucket, channel, link, token, apiToken string // made by one step for another
	looked := func() url.Values {
		a := n.submit(t, page+"/retention", "last", "4", "zone", "UTC", "do", "look")
		return url.Values{"last": {"4"}, "zone": {"UTC"}, "do": {"save"}, "seen": {html.UnescapeString(seen.FindStringSubmatch(a.body)[1])}}
	}
	form := func(fields ...string) func() url.Values {
		return func() url.Values {
			v := url.Values{}
			for i := 0; i < len(fields); i += 2 {
				v.Set(fields[i], fields[i+1])
			}
			return v
		}
	}
	copies := func() url.Values { // which needs a plan and a bucket
		if _, err := n.ChangePlan(t.Context(), n.id, "hammerhead"); err != nil {
			t.Fatal(err)
		}
		n.copies(t, "backups-one")
		return url.Values{}
	}
	s.ahead = 20 * time.Minute // the attachments were listed a while ago
	tried := map[string]bool{}
	for _, c := range []struct {
		route, path string
		form        func() url.Values
		line        string // who, what, and how what it is about begins
	}{
		{"/dashboard/check", "/dashboard/check", form(), me + " check attachments "},
		{"/dashboard/databases/{database}/schedule", page + "/schedule", form("kind", "daily", "daily_at", "02:30", "zone", "Europe/Berlin", "do", "save"), me + " change schedule " + string(db) + " daily at 02:30"},
		{"/dashboard/databases/{database}/schedule/pause", page + "/schedule/pause", form("why", "we move"), me + " pause schedule " + string(db) + " we move"},
		{"/dashboard/databases/{database}/schedule/resume", page + "/schedule/resume", form(), me + " resume schedule " + string(db)},
		{"/dashboard/databases/{database}/badge", page + "/badge", form(), me + " make badge " + string(db)},
		{"/dashboard/databases/{database}/badge", page + "/badge", form("do", "remove"), me + " remove badge " + string(db)},
		{"/dashboard/databases/{database}/ping", page + "/ping", form("address", "https://hc-ping.com/5e3d"), me + " set ping https://hc-ping.com/"},
		{"/dashboard/databases/{database}/ping", page + "/ping", form("do", "remove"), me + " remove ping " + string(db)},
		{"/dashboard/databases/{database}/audit", page + "/audit", form(), me + " check credential " + string(db)},
		{"/dashboard/databases/{database}/acknowledge", page + "/acknowledge", form("code", findings[3].Code, "object", findings[3].Object), me + " acknowledge security_definer " + string(db)},
		{"/dashboard/databases/{database}/retention", page + "/retention", looked, me + " change retention " + string(db) + " the newest 4"},
		{"/dashboard/databases/{database}/retention/undo", page + "/retention/undo", form(), me + " undo retention " + string(db)},
		{"/dashboard/backups/{backup}/lock", at + "/lock", form("note", "before the migration"), me + " lock backup " + string(b.ID)},
		{"/dashboard/backups/{backup}/unlock", at + "/unlock", form(), me + " unlock backup " + string(b.ID)},
		{"/dashboard/backups/{backup}/proofs", at + "/proofs", form(), me + " request proof " + string(b.ID)},
		{"/dashboard/backups/{backup}/links", at + "/links", form("to", "local"), me + " make link " + string(b.ID)},
		{"/dashboard/backups/{backup}/links/{link}/revoke", at + "/links/{link}/revoke", form(), me + " revoke link "},
		{"/dashboard/databases/{database}/backups", page + "/backups", form(), me + " request backup "},
		{"/dashboard/backups/{backup}/cancel", "/dashboard/backups/{backup}/cancel", form(), me + " cancel backup "},
		{"/dashboard/settings/notifications", notifications, form("kind", "email", "address", me), me + " add channel email o…@example.com"},
		{"/notifications/confirm/{token}", "/notifications/confirm/{token}", form(), "o…@example.com confirm channel email o…@example.com"},
		{"/dashboard/settings/notifications/{channel}/set", notifications + "/{channel}/set", form("enabled", "yes"), me + " set channel email"},
		{"/dashboard/settings/notifications/{channel}/test", notifications + "/{channel}/test", form(), me + " test channel email"},
		{"/notifications/stop/{token}", "/notifications/stop/{token}", form(), "o…@example.com remove channel email"},
		{"/dashboard/settings/notifications/{channel}/remove", notifications + "/{channel}/remove", form(), me + " remove channel slack"},
		{"/dashboard/settings/tokens", "/dashboard/settings/tokens", form("name", "ci", "scope", "read", "days", "90"), me + " make api token ci"},
		{"/dashboard/settings/tokens/{apitoken}/revoke", "/dashboard/settings/tokens/{apitoken}/revoke", form(), me + " revoke api token ci"},
		{storagePage, storagePage, func() url.Values { return bucketForm("backups-one") }, me + " set bucket backups-one/remora at "},
		{"/dashboard/backups/{backup}/copy", at + "/copy", copies, me + " ask for copy " + string(b.ID)},
		{storagePage + "/leave", storagePage + "/leave", form(), me + " leave bucket ours"},
		{storagePage + "/{bucket}/remove", storagePage + "/{bucket}/remove", form(), me + " remove bucket backups-one/remora at "},
		{keysPage, keysPage, form("who", "both", "keys", ownKey, "do", "save"), me + " set keys 1 key of the customer’s and ours: " + ownKey},
		{keysPage + "/own", keysPage + "/own", form("name", "remora-backup-clean-1"), me + " download key age1"},
		{"/dashboard/backups/{backup}/links", at + "/links", form("to", "local"), me + " make link " + string(b.ID)},
		{"/dashboard/settings/danger/links", dangerPath + "/links", form("confirm", "remora-backup-clean-1"), me + " revoke all links 1 link"},
		{"/dashboard/settings/tokens", "/dashboard/settings/tokens", form("name", "ci", "scope", "read", "days", "90"), me + " make api token ci"},
		{"/dashboard/settings/danger/tokens", dangerPath + "/tokens", form("confirm", "remora-backup-clean-1"), me + " revoke all api tokens 1 token"},
		{"/dashboard/databases/{database}/forget", page + "/forget", form("confirm", b.Addon), me + " ask to forget database " + string(db)},
		{"/dashboard/databases/{database}/forget/undo", page + "/forget/undo", form(), me + " undo forget database " + string(db)},
		{"/dashboard/settings/danger/visits", dangerPath + "/visits", form("confirm", "remora-backup-clean-1"), me + " sign off everybody 1 visit"},
		{"/logout", "/logout", form(), me + " sign off "},
	} {
		tried[c.route] = true
		if links, err := n.Links(t.Context(), n.id, b.ID); err == nil && len(links) > 0 {
			link = string(links[0].ID)
		}
		if live := n.view(t).Backups[0]; !live.State.Ended() {
			backup = string(live.ID)
		}
		if strings.HasPrefix(c.path, notifications) && strings.HasSuffix(c.path, "/remove") {
			if _, _, err := n.AddChannel(t.Context(), n.id, remora.NewChannel{Kind: remora.ChannelSlack, Address: redact.New("https://hooks.slack.com/x")}, "p"); err != nil {
				t.Fatal(err)
			}
		}
		if all, err := n.Channels(t.Context(), n.id); err == nil && len(all) > 0 {
			if channel = string(all[len(all)-1].ID); token == "" {
				token = n.mailToken(t)
			}
		}
		if all, err := n.APITokens(t.Context(), n.id); err == nil && len(all) > 0 {
			apiToken = string(all[0].ID)
		}
		if all, err := n.Buckets(t.Context(), n.id); err == nil && len(all) > 0 {
			bucket = string(all[0].ID)
		}
		switch c.path {
		case page + "/forget":
			if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
				t.Fatal(err)
			}
		case "/logout":
			n.session = remora.NewToken()
			if err := n.OpenSession(t.Context(), remora.Session{Resource: n.id, Email: me}, n.session, "again"); err != nil {
				t.Fatal(err)
			}
		}
		fields := c.form() // which may look first, and leaves nothing
		before := n.lines(t)
		path := strings.NewReplacer("{backup}", backup, "{bucket}", bucket, "{link}", link, "{channel}", channel, "{token}", token, "{apitoken}", apiToken).Replace(c.path)
		a := n.post(t, path, fields)
		after := n.lines(t)
		if a.StatusCode >= 400 || len(after) != len(before)+1 {
			t.Errorf("%s: %s leaves %d lines: %s", c.route, a.Status, len(after)-len(before), a.body)
			continue
		}
		if l := after[len(after)-1]; !strings.HasPrefix(l.Actor+" "+l.Action+" "+l.Subject, c.line) {
			t.Errorf("%s: %q by %q about %q", c.route, l.Action, l.Actor, l.Subject)
		}
	}
	for _, route := range s.routes(t) {
		if method, path, _ := strings.Cut(route, " "); method == http.MethodPost && !tried[path] {
			t.Errorf("%s: nobody has said which line it leaves", path)
		}
	}
}

// many gives the tenant a log of so many lines, by ten people.
func (n *tenant) many(t *testing.T, lines int) {
	t.Helper()
	_, err := n.Pool.Exec(t.Context(), fmt.Sprintf(`BEGIN; SELECT set_config('remora.service', 'on', true);
		INSERT INTO audit_log (resource_id, at, actor, action, subject)
		SELECT '%s', now() - (%[2]d - i) * interval '3 hours', 'person-' || i %% 10 || '@example.com',
		       CASE WHEN i %% 7 = 0 THEN 'pause schedule' WHEN i %% 7 = 1 THEN 'resume schedule' WHEN i %% 23 = 2 THEN 'refused' ELSE 'sign on' END, ''
		  FROM generate_series(1, %[2]d) i; COMMIT`, n.id, lines))
	if err != nil {
		t.Fatal(err)
	}
}

// The log is looked through by person, action and day, in pages that leave nothing out.
func TestLookingThroughTheAuditLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, other := s.tenant(t, shop()), s.tenant(t, shop())
	b := n.keep(t)
	if err := n.LockBackup(t.Context(), n.id, b.ID, "", `<b>"evil"`); err != nil {
		t.Fatal(err)
	}
	page := n.do(t, "GET", auditPath).body
	says(t, page, "provision", "heroku", "sign on", `<option>lock backup</option>`, `href="/dashboard/backups/`+string(b.ID)+`"`, "&lt;b&gt;&#34;evil&#34;", "not", "<b>", "Older", "Newest")
	says(t, n.do(t, "GET", "/dashboard/settings").body, "the newest of 5 lines", auditPath)
	if strings.Contains(other.do(t, "GET", auditPath+"?who=evil").body, "lock backup") {
		t.Error("a neighbour's line")
	}
	n.many(t, 230)
	var seqs []string
	at := auditPath + "?who=person-3"
	for at != "" {
		page = n.do(t, "GET", at).body
		for _, row := range strings.Split(page, `<tr><td class="num" data-name="No.">`)[1:] {
			number, _, _ := strings.Cut(row, "<")
			seqs = append(seqs, number)
		}
		says(t, page, `value="person-3"`, "not", "person-4@")
		_, after, _ := strings.Cut(page, `</span><a href="`)
		at, _, _ = strings.Cut(after, `"`)
		at = html.UnescapeString(at)
	}
	if len(seqs) != 23 || len(slices.Compact(seqs)) != 23 {
		t.Errorf("%d lines: %v", len(seqs), seqs)
	}
	page = n.do(t, "GET", auditPath).body
	says(t, page, "before=186", "Older")
	says(t, n.do(t, "GET", auditPath+"?before=186").body, "Newest", "185</td>", "not", "186</td>")
	for query, want := range map[string]string{
		"what=pause+schedule&from=" + time.Now().AddDate(0, 0, -2).Format(time.DateOnly): "pause schedule</td>",
		"to=" + time.Now().AddDate(0, 0, -365).Format(time.DateOnly):                     "No line is of that person",
		"who=%25": "No line is of that person", "before=1": "There is no line before that", "who=person-3&before=1": "No line is of that",
	} {
		says(t, n.do(t, "GET", auditPath+"?"+query).body, want)
	}
	for query, status := range map[string]int{"from=yesterday": http.StatusUnprocessableEntity, "to=2026-02-31": http.StatusUnprocessableEntity, "before=x": http.StatusNotFound, "before=-1": http.StatusNotFound} {
		if a := n.do(t, "GET", auditPath+"?"+query); a.StatusCode != status {
			t.Errorf("%s: %s", query, a.Status)
		}
	}
	says(t, n.do(t, "GET", auditPath+"?from=yesterday").body, "The first day is no date", `value="yesterday"`)
	for _, kind := range []string{".csv", ".json"} {
		if a := n.do(t, "GET", auditPath+kind+"?from=yesterday"); a.StatusCode != http.StatusUnprocessableEntity {
			t.Error(a.Status)
		}
	}
}

// torn is a store whose audit log breaks off.
type torn struct{ dashboard.Store }

func (t torn) AuditLines(ctx context.Context, id remora.ResourceID, look remora.AuditLook, last int64) iter.Seq2[remora.AuditLine, error] {
	return func(yield func(remora.AuditLine, error) bool) {
		for l := range t.Store.AuditLines(ctx, id, look, last) {
			if l.Seq > 700 {
				yield(l, errors.New("the database restarts"))
				return
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// An export that breaks off does not look whole.
func TestATornExportIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *dashboard.Config) { c.Store = torn{c.Store} })
	n := s.tenant(t)
	n.many(t, 1000)
	for _, kind := range []string{".csv", ".json"} {
		if a := n.do(t, "GET", auditPath+kind); a.err == nil || a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %d bytes look whole", kind, a.Status, len(a.body))
		}
	}
	says(t, s.log.String(), "export was cut", "the database restarts")
}

// An export has what the page has, is named honestly, and can be checked; what a neighbour did is in none.
func TestExportsOfTheAuditLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, other := s.tenant(t, shop()), s.tenant(t, shop())
	if err := n.NoteStranger(t.Context(), n.id, "=1+1", "@x", []string{"00000000-0000-0000-0000-000000000000"}); err != nil {
		t.Fatal(err)
	}
	if err := other.NoteStranger(t.Context(), other.id, "neighbour", "", []string{"00000000-0000-0000-0000-000000000000"}); err != nil {
		t.Fatal(err)
	}
	n.many(t, 1500) // more than one step
	whole := n.do(t, "GET", auditPath+".json")
	h, err := auditlog.Check(strings.NewReader(whole.body))
	if err != nil || h.Length != int64(len(n.lines(t))) || h.Filtered || h.Resource != n.id || strings.Contains(whole.body, "neighbour") {
		t.Error(h, err)
	}
	says(t, whole.Header.Get("Content-Disposition"), `attachment; filename="remora-backup-clean-1-audit-2`, `Z.json"`, "not", "some")
	if kind := whole.Header.Get("Content-Type"); kind != "application/json" || whole.Header.Get("Cache-Control") != "no-store" {
		t.Error(whole.Header)
	}
	some := n.do(t, "GET", auditPath+".json?who=person-3")
	if _, err := auditlog.Check(strings.NewReader(some.body)); err == nil || !strings.Contains(err.Error(), "leaves lines out") {
		t.Error(err)
	}
	says(t, some.Header.Get("Content-Disposition"), "audit-some-2")
	table := n.do(t, "GET", auditPath+".csv")
	rows, err := csv.NewReader(strings.NewReader(table.body)).ReadAll()
	if err != nil || len(rows) != int(h.Length)+1 || rows[len(rows)-1][5] != h.Hash {
		t.Error(len(rows), err)
	}
	says(t, table.body, "'=1+1,refused,'@x 00000000-", "not", ",=1", "neighbour")
	says(t, table.Header.Get("Content-Type"), "text/csv; charset=utf-8")
	if rows, err := csv.NewReader(strings.NewReader(n.do(t, "GET", auditPath+".csv?who=person-3").body)).ReadAll(); err != nil || len(rows) != 151 {
		t.Error(len(rows), err)
	}
	n.session = ""
	if a := n.do(t, "GET", auditPath+".json"); a.StatusCode != http.StatusUnauthorized || a.Header.Get("Content-Disposition") != "" {
		t.Error(a.Status, a.Header)
	}
}
