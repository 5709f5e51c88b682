package herokusim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/herokusim"
)

// provider is an add-on provider that keeps what it was asked and answers as told.
type provider struct {
	mu     sync.Mutex
	asked  []string
	bodies []map[string]any
	status int
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, password, _ := r.BasicAuth()
	p.asked = append(p.asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", user, ":", password, " ", r.Header.Get("Accept")))
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body)
	p.bodies = append(p.bodies, body)
	w.WriteHeader(p.status)
	_, _ = io.WriteString(w, `{"message":"words of the provider"}`)
}

func start(t *testing.T, change func(*herokusim.Config)) (*herokusim.Sim, *provider, string) {
	t.Helper()
	p := &provider{status: http.StatusAccepted}
	ps := httptest.NewServer(p)
	t.Cleanup(ps.Close)
	cfg := herokusim.Config{
		URL: "http://localhost", APIKey: "key", Email: "owner@example.com", ServiceEmail: "service@example.com", ServiceToken: "service",
		Provider: herokusim.Provider{ID: "remora-backup", Password: "pw", SSOSalt: "salt", ClientSecret: "secret", BaseURL: ps.URL + "/heroku/resources", Plans: []string{"test", "mako"}},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := herokusim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.CreateApp("helper")
	s.CreateApp("shop")
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return s, p, h.URL
}

func call(t *testing.T, method, at, token, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if strings.HasSuffix(at, "/oauth/token") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	raw, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out
}

func TestProvisionIsAsTheContractSays(t *testing.T) {
	t.Parallel()
	s, p, base := start(t, nil)
	status, addon := call(t, "POST", base+"/apps/helper/addons", "key", `{"plan":{"name":"remora-backup:mako"}}`)
	if status != 201 || addon["state"] != "provisioning" || addon["provision_message"] != "words of the provider" {
		t.Fatal(status, addon)
	}
	if p.asked[0] != "POST /heroku/resources remora-backup:pw application/vnd.heroku-addons+json; version=3" {
		t.Error(p.asked)
	}
	body := p.bodies[0]
	grant := body["oauth_grant"].(map[string]any)
	if body["plan"] != "mako" || body["uuid"] != addon["id"] || grant["type"] != "authorization_code" || grant["expires_at"] == nil {
		t.Error(body)
	}
	id := addon["id"].(string)
	exchange := func() (int, map[string]any) {
		return call(t, "POST", base+"/oauth/token", "", url.Values{"grant_type": {"authorization_code"}, "code": {grant["code"].(string)}, "client_secret": {"secret"}}.Encode())
	}
	status, tokens := exchange()
	if status != 200 || tokens["expires_in"] != float64(28800) {
		t.Fatal(status, tokens)
	}
	if status, answer := exchange(); status != 400 || answer["error"] != "invalid_grant" {
		t.Error("a grant is good twice", status, answer)
	}
	access := tokens["access_token"].(string)
	// What the add-on's own token may and may not do.
	for at, want := range map[string]int{
		"GET /addons/" + id: 200, "GET /apps/helper": 200, "GET /apps/helper/addon-attachments": 200, "GET /apps/helper/config-vars": 403,
		"GET /apps/shop": 403, "POST /apps/helper/collaborators": 403, "POST /addons/" + id + "/actions/provision": 200,
	} {
		method, path, _ := strings.Cut(at, " ")
		if status, answer := call(t, method, base+path, access, `{"user":"x"}`); status != want {
			t.Errorf("%s: %d %v", at, status, answer)
		}
	}
	if _, again := call(t, "GET", base+"/addons/"+id, "key", ""); again["state"] != "provisioned" {
		t.Error(again)
	}
	// The service account sees what is shared with it.
	if status, _ := call(t, "GET", base+"/apps/helper/config-vars", "service", ""); status != 403 {
		t.Error("an app that is not shared is seen", status)
	}
	if status, _ := call(t, "POST", base+"/apps/helper/collaborators", "key", `{"user":"service@example.com"}`); status != 201 {
		t.Error(status)
	}
	if status, _ := call(t, "GET", base+"/apps/helper/config-vars", "service", ""); status != 200 {
		t.Error(status)
	}
	if status, _ := call(t, "GET", base+"/addons/"+id, "nonsense", ""); status != 401 {
		t.Error(status)
	}
	s.ExpireTokens()
	if status, _ := call(t, "GET", base+"/addons/"+id, access, ""); status != 401 {
		t.Error("an expired token is good", status)
	}
	refresh := func(token, secret string) (int, map[string]any) {
		return call(t, "POST", base+"/oauth/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_secret": {secret}}.Encode())
	}
	first := tokens["refresh_token"].(string)
	status, tokens = refresh(first, "secret")
	if status != 200 || tokens["refresh_token"] == first {
		t.Error(status, tokens)
	}
	if status, _ := refresh(first, "secret"); status != 400 {
		t.Error("a rotated refresh token is good", status)
	}
	s.ResetSecret("new")
	if status, answer := refresh(tokens["refresh_token"].(string), "secret"); status != 401 || answer["error"] != "invalid_client" {
		t.Error("the old client secret is good", status)
	}
	s.Revoke(id)
	if status, answer := refresh(tokens["refresh_token"].(string), "new"); status != 400 || answer["error"] != "invalid_grant" {
		t.Error("a revoked authorization is good", status)
	}
	if s.Provision(t.Context(), id) != 202 || len(p.asked) != 2 {
		t.Error("not delivered again", p.asked)
	}
	p.status = 422
	if status, _ := call(t, "DELETE", base+"/apps/helper/addons/"+id, "key", ""); status != 422 {
		t.Error("removed although the provider refused:", status)
	}
}

func TestRefusalsAndExpiredGrants(t *testing.T) {
	t.Parallel()
	_, p, base := start(t, func(c *herokusim.Config) { c.GrantTTL = time.Nanosecond; c.KeepRefresh = true })
	p.status = 422
	if status, answer := call(t, "POST", base+"/apps/helper/addons", "key", `{"plan":{"name":"remora-backup:mako"}}`); status != 422 || answer["message"] != "words of the provider" {
		t.Error(status, answer)
	}
	p.status = 200
	if status, addon := call(t, "POST", base+"/apps/helper/addons", "key", `{"plan":{"name":"remora-backup"}}`); status != 201 || addon["state"] != "provisioned" {
		t.Error(status, addon)
	}
	code := p.bodies[1]["oauth_grant"].(map[string]any)["code"].(string)
	if status, _ := call(t, "POST", base+"/oauth/token", "", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_secret": {"secret"}}.Encode()); status != 400 {
		t.Error("an expired grant is good", status)
	}
	if status, answer := call(t, "GET", base+"/nonsense", "key", ""); status != 404 || answer["id"] != "not_found" {
		t.Error(status, answer)
	}
}

// A config var that Heroku writes anew is a release of every app that has it, and of no other.
func TestRotationAndFailoverAreReleases(t *testing.T) {
	t.Parallel()
	server, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	s, _, base := start(t, nil)
	host, port := server.Addr()
	admin := server.SuperuserURL("postgres")
	if err := s.AddDatabase(herokusim.Database{Name: "db-1", App: "shop", AdminURL: admin, Owner: "shop", Password: "pw", DBName: "postgres", Host: host, Port: port}); err != nil {
		t.Fatal(err)
	}
	for at, body := range map[string]string{
		"/postgres/v0/databases/db-1/credentials": `{"name":"remora_ro"}`,
		"/apps/helper/collaborators":              `{"user":"service@example.com"}`,
	} {
		if status, answer := call(t, "POST", base+at, "key", body); status != 201 {
			t.Fatal(at, status, answer)
		}
	}
	if status, answer := call(t, "POST", base+"/addon-attachments", "key", `{"addon":{"name":"db-1"},"app":{"name":"helper"},"name":"REMORA_DB","namespace":"credential:remora_ro"}`); status != 201 {
		t.Fatal(status, answer)
	}
	url := func() string {
		_, vars := call(t, "GET", base+"/apps/helper/config-vars", "service", "")
		return vars["REMORA_DB_URL"].(string)
	}
	releases := func(helper, shop float64) {
		t.Helper()
		for app, want := range map[string]float64{"helper": helper, "shop": shop} {
			if got := release(t, base, app); got != want {
				t.Errorf("%s: v%v instead of v%v", app, got, want)
			}
		}
	}
	helper, shop := release(t, base, "helper"), release(t, base, "shop")
	before := url()
	if err := s.RotateCredential(t.Context(), "db-1", "remora_ro"); err != nil || url() == before {
		t.Fatal(before, err)
	}
	releases(helper+1, shop)
	s.MoveDatabase("db-1", admin, "elsewhere", port)
	releases(helper+2, shop+1)
}

func release(t *testing.T, base, app string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/apps/"+app+"/releases", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer key")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list []struct{ Version float64 }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list[0].Version
}

// The vectors were computed from Heroku's description, with neither side's code.
func TestSignOnVectors(t *testing.T) {
	t.Parallel()
	s, _, _ := start(t, func(c *herokusim.Config) { c.Provider.SSOSalt = "s3cr3t-sso-salt" })
	f := s.SignOn("01234567-89ab-cdef-0123-456789abcdef", time.Unix(1760000000, 0))
	if f["resource_token"] != "0d8cfeb19744cc2f1e7e4f24239122608b9aebfc" || f["email"] != "owner@example.com" {
		t.Error(f)
	}
}
