package api_test

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/api"
	"github.com/remora-backup/remora/internal/remora"
)

type m = map[string]any

// The whole of it, as a program goes through it, with a token that a person makes on the Settings page. Each request and each
// answer is held against the document.
func TestJourney(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t)
	page := n.form("/dashboard/settings/tokens", url.Values{"name": {"deploys"}, "scope": {"admin"}, "days": {"7"}})
	_, after, _ := strings.Cut(page, `<pre class="link">`)
	n.token, _, _ = strings.Cut(after, "<")
	if me := into[api.Token](t, n.do("GET", "/token", nil, 200)); me.Name != "deploys" || me.Scope != "admin" || time.Until(me.ExpiresAt) < 6*24*time.Hour {
		t.Fatalf("%+v", me)
	}

	// The overview; the first backup waits already, so that asking for one gives that one.
	o := into[api.Overview](t, n.do("GET", "/overview", nil, 200))
	if len(o.Databases) != 1 || o.Databases[0].Health.State != "never" || o.Databases[0].Running == nil || o.Plan.Slug != "mako" || o.Addon.State != "active" {
		t.Fatalf("%+v", o)
	}
	db := "/databases/" + o.Databases[0].ID
	n.do("POST", "/check", nil, 202)
	n.do("GET", db+"/report", nil, 404)
	asked := n.do("POST", db+"/backups", nil, 202)
	backup := into[api.Backup](t, asked)
	again := into[api.Backup](t, n.do("POST", db+"/backups", nil, 202))
	if backup.ID != o.Databases[0].Running.ID || again.ID != backup.ID || asked.Header.Get("Location") != "/api/v1/backups/"+backup.ID || backup.State != "queued" {
		t.Fatalf("%+v %+v", backup, again)
	}
	b := "/backups/" + backup.ID
	n.do("POST", b+"/links", nil, 409)
	n.locked = remora.ObjectLock{Mode: remora.LockCompliance, Until: time.Now().AddDate(0, 0, 10).UTC().Truncate(time.Second)}
	n.keep()
	d := into[api.BackupDetail](t, n.do("GET", b, nil, 200))
	if d.State != "verified" || !d.Restorable || *d.Rows != 4713 || len(d.Objects) != 2 || d.Kept == nil || d.Kept.Fate != "kept" || d.Impact == nil || d.Impact.SnapshotSeconds != 2 {
		t.Fatalf("%+v", d)
	}
	if l := d.ObjectLock; l == nil || l.Mode != "compliance" || !l.Until.Equal(n.locked.Until) || !strings.HasPrefix(l.Says, "When this was stored, the store said that nobody can delete or change it until ") {
		t.Errorf("%+v", l)
	}
	n.do("POST", b+"/cancel", nil, 409)
	if all := into[api.Databases](t, n.do("GET", "/databases", nil, 200)); all.Databases[0].LastGood.ID != backup.ID || all.Databases[0].Stored.Backups != 1 || all.Databases[0].Credentials.Verdict != "asks" {
		t.Fatalf("%+v", all)
	}
	if tables := into[api.Tables](t, n.do("GET", b+"/tables?find=ORDERS", nil, 200)); tables.Total != 1 || tables.Tables[0].Rows != 4711 {
		t.Fatalf("%+v", tables)
	}
	if r := into[api.Report](t, n.do("GET", b+"/report", nil, 200)); r.Witness != "nothing_written" || len(r.Findings) != 1 {
		t.Fatalf("%+v", r)
	}

	// The doctor, and a proof.
	r := into[api.Report](t, n.do("GET", db+"/report", nil, 200))
	n.do("POST", db+"/acknowledgements", m{"code": r.Findings[0].Code, "object": r.Findings[0].Object}, 204)
	n.do("POST", db+"/acknowledgements", m{"code": r.Findings[0].Code, "object": "nothing"}, 404)
	if r = into[api.Report](t, n.do("GET", db+"/report", nil, 200)); r.Verdict != "good" || r.Findings[0].Acknowledged.By != "API token deploys" {
		t.Fatalf("%+v", r)
	}
	n.do("POST", db+"/check", nil, 202)
	if one := into[api.Database](t, n.do("GET", db, nil, 200)); !one.Credentials.Checking || one.Health.State != "fresh" {
		t.Fatalf("%+v", one)
	}
	if p := into[api.Proofs](t, n.do("POST", b+"/proofs", nil, 202)); len(p.Proofs) != 1 || p.Proofs[0].Kind != "restore" || p.Proofs[0].State != "queued" {
		t.Fatalf("%+v", p)
	}
	n.do("GET", b+"/proofs", nil, 200)

	// A link, which opens the archive until it is revoked.
	link := into[api.NewLink](t, n.do("POST", b+"/links", nil, 201))
	download := func() int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.http.URL+strings.TrimPrefix(link.URL, base), nil)
		if err != nil {
			t.Fatal(err)
		}
		a := send(t, req)
		if a.StatusCode == http.StatusOK && string(a.body) != archive {
			t.Errorf("%q", a.body)
		}
		return a.StatusCode
	}
	if got := download(); got != 200 {
		t.Error(got)
	}
	if all := into[api.Links](t, n.do("GET", b+"/links", nil, 200)); len(all.Links) != 1 || all.Links[0].MadeBy != "API token deploys" || all.Links[0].UsedAt.IsZero() {
		t.Errorf("%+v", all)
	}
	n.do("DELETE", b+"/links/"+link.ID, nil, 204)
	n.do("DELETE", b+"/links/"+link.ID, nil, 204)
	n.do("DELETE", b+"/links/"+backup.ID, nil, 404)
	if got := download(); got != 410 {
		t.Error(got)
	}
	if needs := into[api.Needs](t, n.do("GET", b+"/needs", nil, 200)); len(needs.Extensions) != 1 {
		t.Errorf("%+v", needs)
	}

	n.schedules(db)
	n.retains(db, b)
	n.outside(db)
	n.channels()
	n.keys()
	n.storage(b)

	// More backups, page by page.
	for range 3 {
		id := into[api.Backup](t, n.do("POST", db+"/backups", nil, 202)).ID
		n.do("POST", "/backups/"+id+"/cancel", nil, 204)
	}
	seen := 0
	for path := db + "/backups?limit=2"; path != ""; {
		p := into[api.Backups](t, n.do("GET", path, nil, 200))
		seen += len(p.Backups)
		if path = ""; p.Next != "" {
			path = db + "/backups?limit=2&before=" + p.Next
		}
	}
	if p := into[api.Backups](t, n.do("GET", db+"/backups?show=canceled", nil, 200)); seen != 10 || len(p.Backups) != 3 || p.Backups[0].RequestedBy != "API token deploys" {
		t.Errorf("%d, %+v", seen, p)
	}
	seen = 0
	for path := "/events?limit=2"; path != ""; {
		p := into[api.Events](t, n.do("GET", path, nil, 200))
		seen += len(p.Events)
		if path = ""; p.Next != "" {
			path = "/events?limit=2&before=" + p.Next
		}
	}
	if seen < 4 {
		t.Errorf("%d events", seen)
	}
	n.do("GET", "/plan", nil, 200)
	n.audits()
	n.danger(db)

	// The end of the token.
	n.do("DELETE", "/token", nil, 204)
	if p := n.do("GET", "/overview", nil, 401).problem(t); p.Code != "unauthorized" || !strings.Contains(p.Detail, "was revoked") {
		t.Errorf("%+v", p)
	}
}

// audits reads the audit log page by page, and follows its chain.
func (n *tenant) audits() {
	n.t.Helper()
	t := n.t
	var lines []api.AuditLine
	var log api.AuditLog
	for path := "/audit?limit=7"; path != ""; {
		log = into[api.AuditLog](t, n.do("GET", path, nil, 200))
		lines = append(lines, log.Lines...)
		if path = ""; log.Next != "" {
			path = "/audit?limit=7&before=" + log.Next
		}
	}
	var chain remora.AuditChain
	for _, x := range slices.Backward(lines) {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		l := remora.AuditLine{Resource: n.id}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		if err := chain.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	if chain.Length != log.Length || hex.EncodeToString(chain.Hash) != log.Hash {
		t.Errorf("%d lines of %d", chain.Length, log.Length)
	}
	own := into[api.AuditLog](t, n.do("GET", "/audit?who=API+token+deploys&what=pause+schedule&since=2026-01-01T00:00:00Z", nil, 200))
	if len(own.Lines) != 1 || !strings.HasSuffix(own.Lines[0].Subject, " we move") {
		t.Errorf("%+v", own)
	}
	n.do("GET", "/audit?before=0", nil, 422)
}

func (n *tenant) schedules(db string) {
	n.t.Helper()
	t := n.t
	s := into[api.Schedule](t, n.do("GET", db+"/schedule", nil, 200))
	if s.Rule.Kind != "daily" || len(s.Next) != 5 {
		t.Errorf("%+v", s)
	}
	for _, rule := range []m{
		{"kind": "every_hours", "hours": 6, "at": "01:30", "zone": "UTC"},
		{"kind": "weekly", "weekday": "sunday", "at": "3:30", "zone": "Europe/Berlin"},
		{"kind": "monthly", "day": 31, "at": "23:59", "zone": "UTC"},
		{"kind": "cron", "cron": "0 0 * * 1", "zone": "America/New_York"},
		{"kind": "daily", "at": "04:15", "zone": "UTC"},
	} {
		if p := into[api.Times](t, n.do("POST", db+"/schedule/preview", rule, 200)); len(p.Next) != 5 {
			t.Errorf("%v: %+v", rule, p)
		}
		if s := into[api.Schedule](t, n.do("PUT", db+"/schedule", rule, 200)); s.Rule.Kind != rule["kind"] || s.ChangedBy != "API token deploys" || s.Rule.Zone != rule["zone"] {
			t.Errorf("%v: %+v", rule, s)
		}
	}
	for _, c := range []struct {
		rule m
		code string
	}{
		{m{"kind": "hourly", "minute": 0, "zone": "UTC"}, "plan_limit"},
		{m{"kind": "daily", "at": "25:00", "zone": "UTC"}, "invalid"},
		{m{"kind": "daily", "at": "03:30", "day": 3, "zone": "UTC"}, "invalid"},
		{m{"kind": "daily", "zone": "UTC"}, "invalid"},
		{m{"kind": "daily", "at": "03:30", "zone": "Mars/Olympus"}, "invalid"},
		{m{"kind": "yearly", "zone": "UTC"}, "invalid"},
		{m{"kind": "cron", "cron": "x", "zone": "UTC"}, "invalid"},
	} {
		for _, how := range []struct{ method, path string }{{"POST", db + "/schedule/preview"}, {"PUT", db + "/schedule"}} {
			if p := n.do(how.method, how.path, c.rule, 422).problem(t); p.Code != c.code || !strings.HasSuffix(p.Detail, ".") {
				t.Errorf("%v: %+v", c.rule, p)
			}
		}
	}
	if s := into[api.Schedule](t, n.do("POST", db+"/schedule/pause", m{"why": "we move"}, 200)); s.Pause == nil || s.Pause.Why != "we move" || s.Pause.By != "API token deploys" {
		t.Errorf("%+v", s)
	}
	n.do("POST", db+"/schedule/pause", nil, 200)
	if s := into[api.Schedule](t, n.do("POST", db+"/schedule/resume", nil, 200)); s.Pause != nil {
		t.Errorf("%+v", s)
	}
}

func (n *tenant) retains(db, backup string) {
	n.t.Helper()
	t := n.t
	now := into[api.RetentionStanding](t, n.do("GET", db+"/retention", nil, 200))
	if len(now.Backups) != 1 || now.Pending != nil || now.LocksLeft != 10 {
		t.Errorf("%+v", now)
	}
	// Ten more, each a day older, so that fewer days remove some.
	_, err := n.Pool.Exec(t.Context(), `BEGIN; SELECT set_config('remora.service', 'on', true);
		INSERT INTO backups (id, resource_id, database_id, state, queued_at, started_at, ended_at, rows, stored_size, client_major)
		SELECT gen_random_uuid(), resource_id, database_id, 'verified', queued_at - i * interval '1 day', started_at - i * interval '1 day', ended_at - i * interval '1 day', 1, 100, 15
		  FROM backups, generate_series(1, 6) i WHERE id = '`+strings.TrimPrefix(backup, "/backups/")+`'; COMMIT`)
	if err != nil {
		t.Fatal(err)
	}
	want := m{"last": 2, "zone": "UTC"}
	p := into[api.RetentionPreview](t, n.do("POST", db+"/retention/preview", want, 200))
	if p.Removes == 0 || p.Bytes == 0 || len(p.Backups) != p.Removes {
		t.Fatalf("%+v", p)
	}
	n.do("PUT", db+"/retention", want, 409)
	want["may_remove"] = p.Removes
	if s := into[api.RetentionStanding](t, n.do("PUT", db+"/retention", want, 200)); s.Pending == nil || s.Pending.Retention.Last != 2 || s.Pending.SetBy != "API token deploys" {
		t.Errorf("%+v", s)
	}
	if s := into[api.RetentionStanding](t, n.do("POST", db+"/retention/undo", nil, 200)); s.Pending != nil {
		t.Errorf("%+v", s)
	}
	n.do("POST", db+"/retention/undo", nil, 409)
	n.do("POST", db+"/retention/preview", m{"zone": "UTC"}, 422)
	n.do("PUT", db+"/retention", m{"last": -1, "zone": "UTC"}, 422)
	if d := into[api.BackupDetail](t, n.do("PUT", backup+"/lock", m{"note": "before the move"}, 200)); d.Kept.Lock == nil || d.Kept.Lock.Note != "before the move" {
		t.Errorf("%+v", d.Kept)
	}
	n.do("DELETE", backup+"/lock", nil, 204)
	n.do("DELETE", backup+"/lock", nil, 409)
	n.do("PUT", backup+"/lock", nil, 200)
}

func (n *tenant) outside(db string) {
	n.t.Helper()
	t := n.t
	if f := into[api.Freshness](t, n.do("GET", db+"/freshness", nil, 200)); f.State != "fresh" || f.Badge != nil || f.Ping != nil {
		t.Errorf("%+v", f)
	}
	f := into[api.Freshness](t, n.do("POST", db+"/badge", m{"named": true}, 201))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.http.URL+strings.TrimPrefix(f.Badge.URL, base), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := send(t, req); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), "postgresql-curved-1 backup") {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	n.do("DELETE", db+"/badge", nil, 204)
	f = into[api.Freshness](t, n.do("PUT", db+"/ping", m{"address": "https://hc-ping.com/5e3d", "starts": true}, 200))
	if f.Ping == nil || f.Ping.Shown != "https://hc-ping.com/…" || !f.Ping.Starts || f.Badge != nil {
		t.Errorf("%+v", f)
	}
	if p := n.do("PUT", db+"/ping", m{"address": "http://hc-ping.com/secret"}, 422).problem(t); strings.Contains(p.Detail, "secret") {
		t.Errorf("%+v", p)
	}
	n.do("PUT", db+"/ping", m{"address": "https://internal.example.com/x"}, 422)
	n.do("DELETE", db+"/ping", nil, 204)
}

func (n *tenant) channels() {
	n.t.Helper()
	t := n.t
	hook := into[api.NewChannel](t, n.do("POST", "/channels", m{"kind": "webhook", "address": "https://ops.example.com/hooks?key=secret", "mutes": []string{"paused"}}, 201))
	if !strings.HasPrefix(hook.Secret, "whsec_") || hook.Shown != "https://ops.example.com/…" || hook.State != "on" || len(hook.Mutes) != 1 {
		t.Errorf("%+v", hook)
	}
	n.do("POST", "/channels", m{"kind": "webhook", "address": "https://ops.example.com/hooks?key=secret"}, 409)
	n.do("POST", "/channels", m{"kind": "email", "address": "not one"}, 422)
	n.do("POST", "/channels", m{"kind": "webhook", "address": "https://internal.example.com/x"}, 422)
	if c := into[api.NewChannel](t, n.do("POST", "/channels", m{"kind": "email", "address": "owner@example.com"}, 201)); c.State != "unconfirmed" || c.Secret != "" {
		t.Errorf("%+v", c)
	}
	all := into[api.Channels](t, n.do("GET", "/channels", nil, 200))
	if len(all.Channels) != 3 || all.Channels[0].Kind != "log_stream" || strings.Contains(string(n.do("GET", "/channels", nil, 200).body), "secret") {
		t.Errorf("%+v", all)
	}
	n.do("POST", "/channels/"+hook.ID+"/test", nil, 202)
	if d := into[api.Deliveries](t, n.do("GET", "/deliveries", nil, 200)); len(d.Deliveries) != 2 || d.Deliveries[0].Kind != "test" {
		t.Errorf("%+v", d)
	}
	if c := into[api.Channel](t, n.do("PUT", "/channels/"+hook.ID, m{"enabled": false, "mutes": []string{string(remora.EventLate)}}, 200)); c.State != "off" || len(c.Mutes) != 1 {
		t.Errorf("%+v", c)
	}
	n.do("PUT", "/channels/"+hook.ID, m{"enabled": true, "mutes": []string{"everything"}}, 422)
	n.do("DELETE", "/channels/"+all.Channels[0].ID, nil, 409)
	n.do("DELETE", "/channels/"+hook.ID, nil, 204)
	n.do("DELETE", "/channels/"+hook.ID, nil, 404)
}

// storage uses a bucket of one's own, and another, and ours again.
// danger ends what others use. An attached database is not forgotten.
func (n *tenant) danger(db string) {
	t := n.t
	t.Helper()
	good := into[api.Database](t, n.do("GET", db, nil, 200)).LastGood
	n.do("POST", "/backups/"+good.ID+"/links", nil, 201)
	if got := into[api.Access](t, n.do("GET", "/access", nil, 200)); got.Links != 1 || got.Visits != 1 || got.Tokens != 2 {
		t.Errorf("%+v", got)
	}
	n.do("DELETE", "/links", nil, 204)
	n.do("DELETE", "/visits", nil, 204)
	if got := into[api.Access](t, n.do("GET", "/access", nil, 200)); got != (api.Access{Tokens: 2}) {
		t.Errorf("%+v", got)
	}
	n.do("POST", db+"/forget", m{"confirm": "another"}, 422)
	name := m{"confirm": n.overview().Databases[0].Addon}
	n.do("POST", db+"/forget", name, 409)
	n.do("DELETE", db+"/forget", nil, 409)
	if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
		t.Fatal(err)
	}
	n.do("POST", db+"/forget", name, 409)
	n.do("DELETE", "/backups/"+good.ID+"/lock", nil, 204)
	n.do("POST", db+"/forget", name, 204)
	if d := into[api.Database](t, n.do("GET", db, nil, 200)); time.Until(d.ForgetAt) < 23*time.Hour {
		t.Errorf("%+v", d)
	}
	n.do("DELETE", db+"/forget", nil, 204)
}

func (n *tenant) storage(b string) {
	t := n.t
	t.Helper()
	if got := into[api.Storage](t, n.do("GET", "/storage", nil, 200)); got.Own || len(got.Buckets) != 0 {
		t.Errorf("%+v", got)
	}
	body := func(bucket string) m {
		return m{"endpoint": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1", "bucket": bucket, "prefix": "remora", "access_key": "AKIAWRITES", "secret_key": "canary-secret"}
	}
	n.do("PUT", "/storage", body("nobodys"), 422)
	n.do("PUT", "/storage", body("a/b"), 422)
	n.do("PUT", "/storage", m{"endpoint": "https://s3.example.com"}, 422)
	set := into[api.StorageSet](t, n.do("PUT", "/storage", body("one"), 200))
	if !set.Own || set.WriterDeletes || len(set.Buckets) != 1 || set.Buckets[0].Provider != "Amazon S3" || set.Buckets[0].Prefix != "remora/" {
		t.Errorf("%+v", set)
	}
	if l := set.Buckets[0].ObjectLock; l == nil || l.State != "governance" || l.Days != 3 || !strings.Contains(l.Says, "for 3 days") {
		t.Errorf("%+v", l)
	}
	n.do("DELETE", "/storage/"+set.Buckets[0].ID, nil, 409)
	two := body("two")
	two["delete_access_key"], two["delete_secret_key"] = "AKIAUSELESS", "canary-deletes"
	if got := into[api.StorageSet](t, n.do("PUT", "/storage", two, 200)); !got.WriterDeletes || len(got.Buckets) != 2 || got.Buckets[0].Bucket != "two" || got.Buckets[0].ObjectLock != nil || got.Buckets[1].InUse {
		t.Errorf("%+v", got)
	}
	n.do("DELETE", "/storage/"+set.Buckets[0].ID, nil, 204)
	n.do("DELETE", "/storage", nil, 204)
	a := n.do("GET", "/storage", nil, 200)
	if got := into[api.Storage](t, a); got.Own || len(got.Buckets) != 1 || strings.Contains(string(a.body), "canary") {
		t.Errorf("%s", a.body)
	}
	// In ours, and a copy of each in theirs, where the plan has a second place.
	second := body("one")
	second["copies"] = true
	n.do("PUT", "/storage", second, 422)
	if _, err := n.ChangePlan(t.Context(), n.id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	if p := into[api.Plan](t, n.do("GET", "/plan", nil, 200)); !p.SecondPlace {
		t.Errorf("%+v", p)
	}
	n.do("POST", b+"/copy", nil, 409)
	if got := into[api.StorageSet](t, n.do("PUT", "/storage", second, 200)); got.Own || !got.Copies || !got.Buckets[0].TakesCopies || got.Buckets[0].InUse || got.Buckets[0].Bucket != "one" {
		t.Errorf("%+v", got)
	}
	if got := into[api.StorageSet](t, n.do("PUT", "/storage", body("one"), 200)); got.Own || !got.Copies { // other keys, and nothing said of copies
		t.Errorf("%+v", got)
	}
	for range 2 {
		d := into[api.BackupDetail](t, n.do("POST", b+"/copy", nil, 202))
		if len(d.Copies) != 1 || d.Copies[0].State != "queued" || d.Copies[0].Place.Bucket != "one" || d.Copies[0].Provider != "Amazon S3" || d.Copies[0].DueAt.IsZero() || !d.Copies[0].CopiedAt.IsZero() {
			t.Errorf("%+v", d.Copies)
		}
	}
	n.do("DELETE", "/storage", nil, 204)
	if d := into[api.BackupDetail](t, n.do("GET", b, nil, 200)); len(d.Copies) != 1 || d.Copies[0].State != "stopped" || !d.Copies[0].DueAt.IsZero() {
		t.Errorf("%+v", d.Copies)
	}
}
