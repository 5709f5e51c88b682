package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/api"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// routes are all that the router knows under the API, as GET /backups/{backup}.
func (s *site) routes(t *testing.T) []string {
	t.Helper()
	var all []string
	err := chi.Walk(s.Mux(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if at, ok := strings.CutPrefix(route, api.Home); ok {
			all = append(all, method+" "+at)
		}
		return nil
	})
	if err != nil || len(all) < 40 {
		t.Fatal(all, err)
	}
	return all
}

type operation struct {
	OperationID string                `json:"operationId"`
	Summary     string                `json:"summary"`
	Description string                `json:"description"`
	Security    []map[string][]string `json:"security"`
	Tags        []string              `json:"tags"`
	Body        *struct {
		Content map[string]struct{ Schema json.RawMessage }
	} `json:"requestBody"`
	Responses map[string]any `json:"responses"`
}

// operations are all of the document, by the same names.
func (s *site) operations(t *testing.T) map[string]operation {
	t.Helper()
	s.validator()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]operation
	}
	if err := json.Unmarshal(document.text, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Fatal(doc.OpenAPI, err)
	}
	all := map[string]operation{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			all[strings.ToUpper(method)+" "+path] = op
		}
	}
	return all
}

func TestTheDocumentIsValidAndWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if ok, wrong := s.validator().ValidateDocument(); !ok {
		for _, w := range wrong {
			t.Error(w.Error())
		}
	}
	ops := s.operations(t)
	known, documented := s.routes(t), slices.Collect(maps.Keys(ops))
	slices.Sort(known)
	slices.Sort(documented)
	if !slices.Equal(known, documented) {
		t.Errorf("routes:\n%s\ndocumented:\n%s", strings.Join(known, "\n"), strings.Join(documented, "\n"))
	}
	ids := map[string]bool{}
	for route, op := range ops {
		if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 {
			t.Errorf("%s: %+v", route, op)
		}
		ids[op.OperationID] = true
		if len(op.Security) > 0 && (op.Responses["401"] == nil || op.Responses["429"] == nil || !strings.Contains(op.Description, "Needs the scope")) {
			t.Errorf("%s: %v %s", route, op.Responses, op.Description)
		}
	}
	if strings.Contains(string(document.text), "ErrorModel") || strings.Contains(string(document.text), `"null"`) {
		t.Error("something of the document is not ours")
	}

	get := func(path, tag string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+api.Home+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		return send(t, r)
	}
	for path, begins := range map[string]string{"/openapi.json": "{", "/openapi.yaml": "components:"} {
		a := get(path, "")
		if a.StatusCode != http.StatusOK || !strings.HasPrefix(string(a.body), begins) || a.Header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %s %v: %.30s", path, a.Status, a.Header, a.body)
		}
		if a := get(path, a.Header.Get("ETag")); a.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, a.Status)
		}
	}
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// example is a body that the document lets through, for the operations that have one.
var example = map[string]m{
	"acknowledgeFinding": {"code": "x", "object": "y"}, "previewSchedule": {"kind": "daily", "at": "03:30", "zone": "UTC"}, "setSchedule": {"kind": "daily", "at": "03:30", "zone": "UTC"},
	"pauseSchedule": {}, "previewRetention": {"daily": 7, "zone": "UTC"}, "setRetention": {"daily": 7, "zone": "UTC"}, "makeBadge": {}, "setPing": {"address": "https://hc-ping.com/x"},
	"lockBackup": {}, "addChannel": {"kind": "slack", "address": "https://hooks.slack.com/x"}, "setChannel": {"enabled": true, "mutes": []string{}},
	"setKeys": {"opened_by": "ours"}, "makeKeyChallenge": {"recipients": []string{someKey}}, "takeOwnKey": {"confirm": "another"},
	"forgetDatabase": {"confirm": "postgresql-curved-1"},
	"setStorage":     {"endpoint": "https://s3.eu-west-1.amazonaws.com", "bucket": "backups", "access_key": "AKIA", "secret_key": "secret"},
}

// body is what to send to an operation.
func (op operation) body(t *testing.T) any {
	t.Helper()
	if op.Body == nil {
		return nil
	}
	b, ok := example[op.OperationID]
	if !ok {
		t.Fatalf("%s: no example of a body", op.OperationID)
	}
	return b
}

// What belongs to another add-on is not found and written down, on every operation that takes an identifier. A new one fails
// here until somebody says what its identifiers are.
func TestNeighboursAreNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mine, theirs := s.tenant(t), s.tenant(t)
	backup := theirs.keep()
	link, _, err := theirs.MakeLink(t.Context(), theirs.id, backup, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.RequestBackup(t.Context(), theirs.id, theirs.database(), "p"); err != nil { // something to cancel
		t.Fatal(err)
	}
	hook, _, err := theirs.AddChannel(t.Context(), theirs.id, remora.NewChannel{Kind: remora.ChannelSlack, Address: redact.New("https://hooks.slack.com/x")}, "p")
	if err != nil {
		t.Fatal(err)
	}
	bucket := theirs.ownBucket(t)
	before := theirs.all(t)
	ids := map[string]string{"{bucket}": string(bucket), "{channel}": string(hook), "{backup}": string(backup), "{database}": string(theirs.database()), "{link}": string(link.ID)}
	tried := 0
	for route, op := range s.operations(t) {
		method, path, _ := strings.Cut(route, " ")
		if !strings.Contains(path, "{") || len(op.Security) == 0 {
			continue
		}
		tried++
		for _, bad := range []string{"", "..%2f..", strings.ToUpper(string(backup))} {
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
			a := send(t, mine.request(method, at, op.body(t)))
			if p := a.problem(t); a.StatusCode != http.StatusNotFound || p.Code != "not_found" || !strings.Contains(p.Detail, "There is no such") || p.RequestID != a.Header.Get("X-Request-ID") {
				t.Errorf("%s %s: %s: %s", method, at, a.Status, a.body)
			}
			if bad == "" {
				mine.conforms(mine.request(method, at, op.body(t)), a, true)
				if !mine.logged(t, "refused", "API token tests", method+" "+api.Home+path) {
					t.Errorf("%s: it is not written down", route)
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("%d operations take an identifier", tried)
	}
	if after := theirs.all(t); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

// ownBucket has the tenant use one.
func (n *tenant) ownBucket(t *testing.T) remora.BucketID {
	t.Helper()
	err := n.SetBucket(t.Context(), n.id, remora.Place{Endpoint: "https://s3.example.com", Bucket: "theirs"}, remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("secret")}, remora.BucketLock{}, "p")
	if err != nil {
		t.Fatal(err)
	}
	all, err := n.Buckets(t.Context(), n.id)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return all[0].ID
}

// all is what can be seen of a tenant, but for what changes by itself.
func (n *tenant) all(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, path := range []string{"/databases/" + string(n.database()), "/databases/" + string(n.database()) + "/schedule", "/databases/" + string(n.database()) + "/retention", "/databases/" + string(n.database()) + "/freshness", "/channels", "/storage"} {
		out.Write(n.do("GET", path, nil, 200).body)
	}
	return out.String()
}

// logged tells whether the tenant's audit log has such a line.
func (n *tenant) logged(t *testing.T, action, actor, subject string) bool {
	t.Helper()
	tx, err := n.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	var found bool
	if _, err = tx.Exec(t.Context(), "SELECT set_config('remora.resource', $1, true)", string(n.id)); err == nil {
		err = tx.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM audit_log WHERE action = $1 AND actor = $2 AND strpos(subject, $3) = 1)", action, actor, subject).Scan(&found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Without a token that opens something there is nothing, whatever else the request has; a cookie least of all.
func TestNothingWithoutAToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *api.Config) { c.Refusals = 1_000_000 })
	n := s.tenant(t)
	session := remora.NewToken()
	if err := n.OpenSession(t.Context(), remora.Session{Resource: n.id}, session, session); err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]string{
		"none": "", "session": "Bearer " + session, "forged": "Bearer " + remora.NewAPISecret().Reveal(), "basic": "Basic " + n.token, "bare": n.token, "short": "Bearer " + n.token[:20],
	} {
		for route, op := range s.operations(t) {
			method, path, _ := strings.Cut(route, " ")
			if len(op.Security) == 0 {
				continue
			}
			r := n.request(method, parameter.ReplaceAllString(path, string(n.database())), op.body(t))
			r.Header.Del("Authorization")
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			r.Header.Set("Cookie", "remora="+session)
			a := send(t, r)
			if p := a.problem(t); a.StatusCode != http.StatusUnauthorized || p.Code != "unauthorized" || !strings.Contains(p.Detail, "Settings, API tokens") || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s with %s: %s: %s", route, name, a.Status, a.body)
			}
		}
	}
	if strings.Contains(s.log.String(), n.token) {
		t.Error("a token is in the log")
	}
}

// Each operation needs the scope that the document says, and no larger one.
func TestEachOperationNeedsItsScope(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t)
	nobody := string(remora.NewID[remora.BackupID]())
	tokens := map[remora.APIScope]string{}
	for _, scope := range remora.APIScopes() {
		tokens[scope] = n.make("may "+string(scope), scope)
	}
	changes := 0
	for route, op := range s.operations(t) {
		method, path, _ := strings.Cut(route, " ")
		if len(op.Security) == 0 || op.OperationID == "revokeToken" {
			continue
		}
		need := remora.APIScope(op.Security[0]["token"][0])
		if need != remora.ScopeRead {
			changes++
		} else if method != http.MethodGet && !strings.HasSuffix(path, "/preview") {
			t.Errorf("%s needs %s alone", route, need)
		}
		for have, token := range tokens {
			n.token = token
			r := n.request(method, parameter.ReplaceAllString(path, nobody), op.body(t))
			if a := send(t, r); (a.StatusCode == http.StatusForbidden) == have.Allows(need) {
				t.Errorf("%s with %s: %s: %s", route, have, a.Status, a.body)
			} else if a.StatusCode == http.StatusForbidden && !strings.Contains(a.problem(t).Detail, "may "+string(need)) {
				t.Errorf("%s: %s", route, a.body)
			}
		}
	}
	if changes < 15 {
		t.Errorf("%d operations change something", changes)
	}
}

// What is not as the document says is refused with what to do, and changes nothing.
func TestStrictInput(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t)
	db := "/databases/" + string(n.database())
	before := n.all(t)
	for name, c := range map[string]struct {
		method, path, media, body string
		status                    int
		code, says                string
	}{
		"an unknown field":      {"PUT", db + "/schedule", "application/json", `{"kind":"daily","at":"03:30","zone":"UTC","secret":"hunter2"}`, 422, "invalid", "secret"},
		"a field too few":       {"PUT", db + "/schedule", "application/json", `{"kind":"daily","at":"03:30"}`, 422, "invalid", "zone"},
		"another type":          {"PUT", db + "/schedule", "application/json", `{"kind":"daily","at":330,"zone":"UTC"}`, 422, "invalid", "body.at"},
		"no object":             {"PUT", db + "/schedule", "application/json", `[]`, 422, "invalid", "body"},
		"null":                  {"PUT", db + "/schedule", "application/json", `null`, 422, "invalid", "body"},
		"no JSON":               {"PUT", db + "/schedule", "application/json", `{"kind":`, 400, "malformed", "JSON"},
		"two values":            {"PUT", db + "/schedule", "application/json", `{"kind":"daily","at":"03:30","zone":"UTC"} {}`, 400, "malformed", "JSON"},
		"nothing":               {"PUT", db + "/schedule", "application/json", ``, 400, "malformed", "none where one is"},
		"a form":                {"PUT", db + "/schedule", "application/x-www-form-urlencoded", `kind=daily`, 415, "unsupported_media_type", "Content-Type: application/json"},
		"a lot":                 {"PUT", db + "/schedule", "application/json", `{"cron":"` + strings.Repeat("x", 20_000) + `"}`, 413, "too_large", "16 KiB"},
		"very much":             {"PUT", db + "/schedule", "application/json", strings.Repeat(" ", 200_000), 413, "too_large", "16 KiB"},
		"a body too many":       {"POST", db + "/backups", "application/json", `{"force":true}`, 400, "malformed", "takes no body"},
		"an unknown parameter":  {"GET", db + "/backups?state=good", "", "", 422, "invalid", "query.state"},
		"too large a number":    {"GET", db + "/backups?limit=101", "", "", 422, "invalid", "query.limit"},
		"no number":             {"GET", db + "/backups?limit=x", "", "", 422, "invalid", "query.limit"},
		"no cursor":             {"GET", db + "/backups?before=2026-01-01", "", "", 422, "invalid", "next"},
		"a cursor of nothing":   {"GET", "/events?before=MjAyNi0wMS0wMVQwMDowMDowMFogeA", "", "", 422, "invalid", "next"},
		"an unknown filter":     {"GET", db + "/backups?show=all", "", "", 422, "invalid", "query.show"},
		"an unknown method":     {"PATCH", db + "/schedule", "application/json", `{}`, 405, "method_not_allowed", "PATCH"},
		"a preflight":           {"OPTIONS", db + "/schedule", "", "", 405, "method_not_allowed", "OPTIONS"},
		"an unknown path":       {"GET", db + "/everything", "", "", 404, "not_found", "endpoint"},
		"a pause without words": {"POST", db + "/schedule/pause", "application/json", `{"why":7}`, 422, "invalid", "body.why"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, n.http.URL+api.Home+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+n.token)
		r.Header.Set("Origin", "https://evil.example")
		if c.media != "" {
			r.Header.Set("Content-Type", c.media)
		}
		a := send(t, r)
		p := a.problem(t)
		if a.StatusCode != c.status || p.Code != c.code || p.Status != c.status || p.Type != base+"/api/v1/problems/"+c.code || p.Title == "" || p.RequestID == "" || !strings.Contains(string(a.body), c.says) {
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
		if strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "xxxx") {
			t.Errorf("%s: what was sent is sent back: %s", name, a.body)
		}
		for header := range a.Header {
			if strings.HasPrefix(header, "Access-Control") {
				t.Errorf("%s: %s", name, header)
			}
		}
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be stored", name)
		}
	}
	if after := n.all(t); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

// The type of each problem leads to what it means.
func TestEveryProblemIsExplained(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t)
	n.token = ""
	for _, code := range []string{
		"malformed", "unauthorized", "forbidden", "not_found", "method_not_allowed", "request_timeout", "conflict", "gone", "too_large", "unsupported_media_type",
		"invalid", "plan_limit", "rate_limited", "busy", "internal",
	} {
		if e := into[api.Explanation](t, n.do("GET", "/problems/"+code, nil, 200)); e.Code != code || e.Status < 400 || e.Means == "" {
			t.Errorf("%+v", e)
		}
	}
	n.do("GET", "/problems/none", nil, 404)
}

func TestATokenMayAskSoOften(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *api.Config) { c.PerMinute, c.Refusals = 20, 3 })
	n, other := s.tenant(t), s.tenant(t)
	for i := range 20 {
		a := n.do("GET", "/token", nil, 200)
		if a.Header.Get("RateLimit-Limit") != "20" || a.Header.Get("RateLimit-Remaining") != fmt.Sprint(19-i) {
			t.Fatal(i, a.Header)
		}
		if reset := a.Header.Get("RateLimit-Reset"); reset == "" || len(reset) > 2 {
			t.Errorf("resets in %s seconds", reset)
		}
	}
	a := n.do("GET", "/token", nil, 429)
	if p := a.problem(t); p.Code != "rate_limited" || a.Header.Get("Retry-After") != "60" || a.Header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("%v: %+v", a.Header, p)
	}
	backup := "/backups/" + string(other.keep())
	other.do("GET", backup+"/tables", nil, 200)
	if a := other.do("GET", backup+"/needs", nil, 200); a.Header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("what opens an archive counts as little as what does not: %v", a.Header)
	}

	// Tokens that open nothing: what does not look like one asks nobody and is not counted. One that was good a moment ago
	// is not stopped with them.
	fresh, late := s.tenant(t), s.tenant(t)
	fresh.do("GET", "/token", nil, 200)
	n.token = "remora_x"
	for range 5 {
		n.do("GET", "/token", nil, 401)
	}
	for range 2 {
		n.token = remora.NewAPISecret().Reveal()
		n.do("GET", "/token", nil, 401)
	}
	gone := s.tenant(t)
	if err := gone.DeprovisionResource(t.Context(), gone.id); err != nil {
		t.Fatal(err)
	}
	gone.do("GET", "/token", nil, 410)
	for _, stopped := range []*tenant{n, gone, late} {
		if a := stopped.do("GET", "/token", nil, 429); a.Header.Get("Retry-After") == "" || a.problem(t).Code != "busy" {
			t.Errorf("%s: %s", a.Status, a.body)
		}
	}
	fresh.do("GET", "/token", nil, 200)
}

// asked counts how often our database was asked whose a token is.
type asked struct {
	api.Store
	n atomic.Int32
}

func (s *asked) UseAPIToken(ctx context.Context, token, from string) (remora.ResourceID, remora.APIToken, error) {
	s.n.Add(1)
	return s.Store.UseAPIToken(ctx, token, from)
}

// What is too much asks our database nothing; more tokens are not more requests; and looking through the audit log is dear.
func TestLimitsHoldBeforeTheDatabaseAndForAllTokens(t *testing.T) {
	t.Parallel()
	store := &asked{}
	s := newSite(t, func(c *api.Config) {
		store.Store = c.Store
		c.Store, c.PerMinute, c.PerResource = store, 20, 30
	})
	n := s.tenant(t)
	for range 20 {
		n.do("GET", "/token", nil, 200)
	}
	for range 5 {
		n.do("GET", "/token", nil, 429)
	}
	if got := store.n.Load(); got != 20 {
		t.Errorf("our database was asked %d times", got)
	}
	n.token = n.make("another", remora.ScopeRead)
	if a := n.do("GET", "/audit?limit=5&before=1000", nil, 200); a.Header.Get("RateLimit-Remaining") != "19" {
		t.Errorf("a page of the audit log is dear: %v", a.Header)
	}
	a := n.do("GET", "/audit?who=tests", nil, 429)
	if p := a.problem(t); p.Code != "rate_limited" || !strings.Contains(p.Detail, "together") || a.Header.Get("Retry-After") != "60" || a.Header.Get("RateLimit-Remaining") != "9" {
		t.Errorf("%v: %+v", a.Header, p)
	}
	s.tenant(t).do("GET", "/audit?who=tests", nil, 200)
}

func TestARemovedAddOnIsGone(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t)
	if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	if p := n.do("GET", "/overview", nil, 410).problem(t); p.Code != "gone" || !strings.Contains(p.Detail, "was removed") {
		t.Errorf("%+v", p)
	}
}

// What fails on our side says nothing of it outside, and all of it in the log, under the same name.
func TestOurOwnFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *api.Config) {
		c.Contents = func(context.Context, remora.ResourceID, remora.Backup) (io.Reader, error) {
			return nil, errors.New("the bucket is on fire")
		}
	})
	n := s.tenant(t)
	a := n.do("GET", "/backups/"+string(n.keep())+"/tables", nil, 500)
	if p := a.problem(t); p.Code != "internal" || !strings.Contains(p.Detail, p.RequestID) || bytes.Contains(a.body, []byte("bucket")) {
		t.Errorf("%s", a.body)
	}
	if !strings.Contains(s.log.String(), "the bucket is on fire") || !strings.Contains(s.log.String(), a.Header.Get("X-Request-ID")) {
		t.Error(s.log.String())
	}
}

// What breaks off is answered as what fails is, and stands in the log with where it broke off.
func TestAPanicIsAProblem(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *api.Config) {
		c.Contents = func(context.Context, remora.ResourceID, remora.Backup) (io.Reader, error) {
			panic("the bucket is on fire")
		}
	})
	n := s.tenant(t)
	a := n.do("GET", "/backups/"+string(n.keep())+"/tables", nil, 500)
	if p := a.problem(t); p.Code != "internal" || p.RequestID != a.Header.Get("X-Request-ID") || !strings.Contains(p.Detail, p.RequestID) || bytes.Contains(a.body, []byte("bucket")) {
		t.Errorf("%s", a.body)
	}
	if log := s.log.String(); !strings.Contains(log, "handler panicked") || !strings.Contains(log, "the bucket is on fire") || !strings.Contains(log, "bounds_test.go") {
		t.Error(log)
	}
}
