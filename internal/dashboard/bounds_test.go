package dashboard_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// open are the routes that need no session.
var open = map[string]bool{
	"GET /": true, "GET /healthz": true, "GET /readyz": true, "GET /static/{file}": true, "GET /d/{token}": true, "HEAD /d/{token}": true,
	"GET /d/{token}/contents.json": true, "GET /d/{token}/check.sql": true, "GET /d/{token}/sealed/{name}": true,
	"GET /notifications/confirm/{token}": true, "POST /notifications/confirm/{token}": true,
	"GET /notifications/stop/{token}": true, "POST /notifications/stop/{token}": true,
	"GET /badge/{token}.svg": true, "GET /receipts/{token}": true,
}

// routes lists all of the server's; those added later too.
func (s *site) routes(t *testing.T) []string {
	t.Helper()
	var all []string
	err := chi.Walk(s.Mux(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		all = append(all, method+" "+route)
		return nil
	})
	if err != nil || len(all) < 15 {
		t.Fatal(all, err)
	}
	return all
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

func TestNothingWithoutASession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.keep(t)
	for name, session := range map[string]string{
		"none": "", "forged": strings.Repeat("0", 64), "not ours": "x", "8 KiB": strings.Repeat("a", 8<<10), "binary": "%00%ff",
	} {
		visitor := &tenant{site: s, session: session}
		for _, route := range s.routes(t) {
			method, path, _ := strings.Cut(route, " ")
			if open[route] {
				continue
			}
			a := visitor.do(t, method, parameter.ReplaceAllString(path, string(remora.NewID[remora.BackupID]())))
			if a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, "from Heroku") {
				t.Errorf("%s with session %q: %s", route, name, a.Status)
			}
		}
	}
}

// What belongs to another resource is not found, on every route that takes an identifier. A new route fails
// here until somebody says what its identifiers are.
func TestNeighboursAreNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mine, theirs := s.tenant(t, shop()), s.tenant(t, shop())
	own, other := mine.keep(t), theirs.keep(t)
	link, token, err := theirs.MakeLink(t.Context(), theirs.id, other.ID, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.RequestBackup(t.Context(), theirs.id, other.Database, "p"); err != nil { // something to cancel
		t.Fatal(err)
	}
	hook, _, err := theirs.AddChannel(t.Context(), theirs.id, remora.NewChannel{Kind: remora.ChannelSlack, Address: redact.New("https://hooks.slack.com/x")}, "p")
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := theirs.MakeAPIToken(t.Context(), theirs.id, remora.NewAPIToken{Name: "deploys", Scope: remora.ScopeRead}, "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.SetBucket(t.Context(), theirs.id, remora.Place{Endpoint: "https://s3.example.com", Bucket: "theirs"}, remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("secret")}, remora.BucketLock{}, "p"); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{"{bucket}": string(theirs.bucket(t, 0).ID), "{apitoken}": string(made.ID), "{channel}": string(hook), "{backup}": string(other.ID), "{database}": string(other.Database), "{link}": string(link.ID)}
	tried := 0
	for _, route := range s.routes(t) {
		method, path, _ := strings.Cut(route, " ")
		if open[route] || !strings.Contains(path, "{") {
			continue
		}
		tried++
		for _, bad := range []string{"", "x", "..%2f..", "%00", "00000000-0000-0000-0000-000000000000", strings.ToUpper(string(other.ID))} {
			at := parameter.ReplaceAllStringFunc(path, func(name string) string {
				id, known := ids[name]
				if !known {
					t.Fatalf("%s: no case for %s", route, name)
				}
				if bad != "" {
					return bad
				}
				return id
			})
			if a := mine.do(t, method, at); a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, "There is no such") {
				t.Errorf("%s %s: %s", method, at, a.Status)
			}
			if bad == "" && !mine.logged(t, "refused", route) {
				t.Errorf("%s: it is not written down", route)
			}
		}
	}
	if tried < 6 {
		t.Errorf("%d routes take an identifier", tried)
	}
	// Their link beside our backup, which is another way to ask.
	if a := mine.do(t, "POST", fmt.Sprintf("/dashboard/backups/%s/links/%s/revoke", own.ID, link.ID)); a.StatusCode != http.StatusNotFound {
		t.Errorf("a neighbour's link of our backup: %s", a.Status)
	}
	if a := s.send(t, "HEAD", "/d/"+token); a.StatusCode != http.StatusOK {
		t.Errorf("a neighbour's link was revoked: %s", a.Status)
	}
	if o := theirs.view(t); len(o.Backups) != 2 || o.Backups[0].State != remora.BackupQueued {
		t.Errorf("%+v", o.Backups)
	}
}

// logged tells whether the tenant's audit log has such a line.
func (n *tenant) logged(t *testing.T, action, subject string) bool {
	t.Helper()
	tx, err := n.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	var found bool
	if _, err = tx.Exec(t.Context(), "SELECT set_config('remora.resource', $1, true)", string(n.id)); err == nil {
		err = tx.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM audit_log WHERE action = $1 AND strpos(subject, $2) = 1)", action, subject).Scan(&found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestOnlyOurOwnPagesChangeAnything(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	at := "/dashboard/databases/" + string(b.Database) + "/backups"
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, route := range s.routes(t) {
			method, path, _ := strings.Cut(route, " ")
			if method != http.MethodPost {
				continue
			}
			path = strings.NewReplacer("{backup}", string(b.ID), "{database}", string(b.Database), "{link}", string(b.ID)).Replace(path)
			if a := n.do(t, method, path, headers...); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: %s", path, headers, a.Status)
			}
		}
	}
	if a := n.do(t, "GET", at); a.StatusCode != http.StatusMethodNotAllowed {
		t.Error(a.Status)
	}
	if a := n.do(t, "POST", "/dashboard", "X-HTTP-Method-Override", "DELETE"); a.StatusCode != http.StatusMethodNotAllowed {
		t.Error(a.Status)
	}
	if len(n.view(t).Backups) != 1 {
		t.Error("a backup was made")
	}
	if a := n.do(t, "POST", at, "Sec-Fetch-Site", "same-origin", "Origin", s.http.URL); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
}

func TestVisitEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	a := n.do(t, "POST", "/logout")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Error(a.Status, a.Header)
	}
	if a := n.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("after signing off: %s", a.Status)
	}

	n = s.tenant(t, shop())
	if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	a = n.do(t, "GET", "/dashboard")
	if a.StatusCode != http.StatusGone {
		t.Errorf("after the add-on was removed: %s", a.Status)
	}
	removal, err := n.Removal(t.Context(), n.id)
	if err != nil {
		t.Fatal(err)
	}
	says(t, a.body, "This add-on was removed", "write to us before "+removal.UndoUntil.UTC().Format("2 January 2006, 15:04 UTC"), "in our last message to you and in the Helper App&#39;s log", "not", "/receipts/")
	_, err = n.Pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE removals SET key_destroyed_at = now() WHERE resource_id = '"+string(n.id)+"'; COMMIT")
	if err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard").body, "This add-on was removed", "in our last message", "not", "write to us")
	if a := n.do(t, "POST", "/logout"); a.StatusCode != http.StatusGone {
		t.Errorf("signing off from it: %s", a.Status)
	}
	s.ahead += 31 * time.Minute
	if a := n.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("half an hour after it was removed: %s", a.Status)
	}

	n = s.tenant(t, shop())
	for range 3 { // a visit that goes on is kept
		s.ahead += 29 * time.Minute
		if a := n.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusOK {
			t.Error(a.Status)
		}
	}
	s.ahead += 31 * time.Minute
	if a := n.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("after half an hour: %s", a.Status)
	}
}

func TestPlainThings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for path, want := range map[string]int{
		"/": http.StatusSeeOther, "/static/remora.css": http.StatusOK, "/static/live.js": http.StatusOK, "/static/": http.StatusNotFound,
		"/static/..%2fdashboard.go": http.StatusNotFound, "/static/none": http.StatusNotFound, "/nowhere": http.StatusNotFound,
		"//dashboard": http.StatusNotFound, "/d/": http.StatusNotFound, "/metrics": http.StatusNotFound,
	} {
		a := s.send(t, "GET", path)
		if a.StatusCode != want {
			t.Errorf("%s: %s", path, a.Status)
		}
		if want == http.StatusNotFound && path != "/metrics" && !strings.Contains(a.body, "There is no such page.") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}
