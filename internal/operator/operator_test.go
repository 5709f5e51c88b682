package operator_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/operator"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	browsertest.Close()
	os.Exit(code)
}

const password = "correct horse battery staple"

// site is the operator's pages on a real database and River's real pages.
type site struct {
	*postgres.Store
	url   string
	log   *logtest.Buffer
	ahead time.Duration
	id    remora.ResourceID
}

// canary is in everything of the tenant's that an operator must not see.
const canary = "kanarienvogel"

func newSite(t *testing.T, plain bool) *site {
	t.Helper()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.Pool(t)
	s := &site{log: &logtest.Buffer{}, id: remora.NewID[remora.ResourceID]()}
	if s.Store, err = postgres.New(postgres.Config{Pool: pool, Keys: keys}); err != nil {
		t.Fatal(err)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: postgres.RiverSchema})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	queue, err := riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(client, nil), Logger: quiet, Prefix: operator.Home + "/queue"})
	if err == nil {
		err = queue.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	pages, err := operator.New(operator.Config{
		Store: s.Store, Password: redact.New(password), Queue: queue, Plain: plain, Log: log, Now: func() time.Time { return time.Now().Add(s.ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httpserver.New(httpserver.Config{Log: log})
	pages.Routes(server.Mux())
	server.Mux().Get("/static/*", http.FileServerFS(os.DirFS("../dashboard")).ServeHTTP) // which the pages share with the dashboard
	web := httptest.NewServer(server.Mux())
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// tenant is an add-on whose database failed to be backed up, with words of its server's.
func (s *site) tenant(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := s.ProvisionResource(ctx, remora.Provision{ID: s.id, Name: "remora-backup-clean-1", Plan: "mako", Region: "us", Grant: redact.New(canary)}, redact.New(canary), "age1"+canary)
	if err == nil {
		err = s.SetReady(ctx, s.id, "app-id", "helper-"+canary)
	}
	if err == nil {
		err = s.SaveFound(ctx, s.id, "helper-"+canary, []postgres.Found{{AddonID: "id-" + canary, Addon: "postgresql-" + canary, OwnerApp: "shop-" + canary, Attachment: "DB_" + canary, Credential: canary}})
	}
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Overview(ctx, s.id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.ClaimBackup(ctx, o.Backups[0].ID, "worker-1")
	if err == nil {
		_, err = s.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonPermission, Detail: "permission denied for table " + canary}, "GRANT SELECT ON "+canary)
	}
	if err == nil {
		_, err = s.Pool.Exec(ctx, `UPDATE river.river_job SET errors = ARRAY[jsonb_build_object('at', now(), 'attempt', 1, 'error', 'table `+canary+`', 'trace', '`+canary+`')], attempted_at = now(), attempt = 1`)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	*http.Response
	body string
}

func (s *site) ask(t *testing.T, method, path, password string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if password != "" {
		req.SetBasicAuth("ops@example.com", password)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

var paths = []string{"/operator", "/operator/find?q=x", "/operator/resources/00000000-0000-4000-8000-000000000001", "/operator/queue/", "/operator/queue/api/queues", "/operator/queue/api/jobs"}

// Nothing is answered without the password, nor over http, nor to anything but a look.
func TestNobodyElseLooks(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	for _, path := range paths {
		for _, wrong := range []string{"", password + "x"} {
			a := s.ask(t, "GET", path, wrong, "Cookie", "remora=0", "X-Forwarded-For", "203.0.113.9"+path)
			if a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %q: %s", path, wrong, a.Status)
			}
		}
		if a := s.ask(t, "POST", path, password); a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %s", path, a.Status)
		}
	}
	secure := newSite(t, false)
	if a := secure.ask(t, "GET", "/operator", password); a.StatusCode != http.StatusForbidden {
		t.Error("over http:", a.Status)
	}
	if a := secure.ask(t, "GET", "/operator", password, "X-Forwarded-Proto", "https"); a.StatusCode != http.StatusOK {
		t.Error("over https:", a.Status)
	}
}

// Who guesses is not listened to for a minute; others are.
func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	const guesser, other = "203.0.113.1", "203.0.113.2"
	for range 10 {
		if a := s.ask(t, "GET", "/operator", "a guess", "X-Forwarded-For", guesser); a.StatusCode != http.StatusUnauthorized {
			t.Fatal(a.Status)
		}
	}
	if a := s.ask(t, "GET", "/operator", password, "X-Forwarded-For", guesser); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "60" {
		t.Error(a.Status)
	}
	if a := s.ask(t, "GET", "/operator", password, "X-Forwarded-For", other); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
	s.ahead = time.Minute
	if a := s.ask(t, "GET", "/operator", password, "X-Forwarded-For", guesser); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
	// Of IPv6 all addresses of one customer count as one.
	s.ahead = 2 * time.Minute
	for i := range 10 {
		s.ask(t, "GET", "/operator", "a guess", "X-Forwarded-For", fmt.Sprintf("2001:db8:1:2::%x", i+1))
	}
	if a := s.ask(t, "GET", "/operator", password, "X-Forwarded-For", "2001:db8:1:2:ffff::1"); a.StatusCode != http.StatusTooManyRequests {
		t.Error(a.Status)
	}
	if a := s.ask(t, "GET", "/operator", password, "X-Forwarded-For", "2001:db8:1:3::1"); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
	if strings.Contains(s.log.String(), password) || strings.Contains(s.log.String(), "a guess") {
		t.Error("a password is in the log")
	}
}

// However many guess, who has not been wrong is let in; who has been is not.
func TestACrowdShutsNobodyOut(t *testing.T) {
	t.Parallel()
	pages, err := operator.New(operator.Config{
		Store: struct{ operator.Store }{}, Password: redact.New(password), Queue: http.NotFoundHandler(), Plain: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httpserver.New(httpserver.Config{Log: slog.New(slog.DiscardHandler)})
	pages.Routes(server.Mux())
	ask := func(from int, password string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/operator/queue", nil)
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", from>>16, from>>8&255, from&255))
		r.SetBasicAuth("ops@example.com", password)
		w := httptest.NewRecorder()
		server.Mux().ServeHTTP(w, r)
		return w.Code
	}
	const crowd = 10_000
	for i := range crowd {
		if got := ask(i, "a guess"); got != http.StatusUnauthorized {
			t.Fatal(i, got)
		}
	}
	for from, want := range map[int]int{0: http.StatusTooManyRequests, crowd - 1: http.StatusTooManyRequests, crowd: http.StatusNotFound} {
		if got := ask(from, password); got != want {
			t.Errorf("from %d: %d", from, got)
		}
	}
}

// An operator finds an add-on and sees how it stands, without anything that its people called something; that they looked
// is in its audit log.
func TestATenantWithoutTheirData(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	s.tenant(t)
	if a := s.ask(t, "GET", "/operator", password); !strings.Contains(a.body, "permission") || !strings.Contains(a.body, "find_databases") || !strings.Contains(a.body, "mako") {
		t.Error(a.Status, a.body)
	}
	for _, words := range []string{string(s.id), strings.ToUpper(string(s.id)), "remora-backup-clean-1"} {
		if a := s.ask(t, "GET", "/operator/find?q="+words, password); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/operator/resources/"+string(s.id) {
			t.Error(words, a.Status)
		}
	}
	if a := s.ask(t, "GET", "/operator/find?q=remora", password); !strings.Contains(a.body, "There is none") {
		t.Error(a.body)
	}
	page := s.ask(t, "GET", "/operator/resources/"+string(s.id), password, "X-Forwarded-For", "203.0.113.7")
	if !strings.Contains(page.body, "failed") || !strings.Contains(page.body, "remora-backup-clean-1") {
		t.Error(page.Status, page.body)
	}
	jobs := s.ask(t, "GET", "/operator/queue/api/jobs/1", password)
	if jobs.StatusCode != http.StatusOK || !strings.Contains(jobs.body, "The log has it") || !strings.Contains(jobs.body, string(s.id)) {
		t.Error(jobs.Status, jobs.body)
	}
	all := append([]string{"/operator/resources/" + string(s.id), "/operator/queue/api/jobs?state=available", "/operator/queue/api/jobs/1", "/operator/queue/api/jobs/2", "/operator/find?q=" + string(s.id)}, paths...)
	for _, path := range all {
		if a := s.ask(t, "GET", path, password, "Accept", "text/html"); a.StatusCode >= 500 || strings.Contains(a.body, canary) {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	if a := s.ask(t, "GET", "/operator/resources/00000000-0000-4000-8000-000000000001", password); a.StatusCode != http.StatusNotFound {
		t.Error(a.Status)
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if a := s.ask(t, "GET", "/operator/resources/"+string(s.id), password, "Sec-Fetch-Site", site); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", site, a.Status)
		}
	}
	log, err := s.AuditLog(t.Context(), s.id, remora.AuditLook{Action: "look at the add-on", Most: 5})
	if err != nil || len(log.Lines) != 2 || log.Lines[1].Actor != "operator" || log.Lines[1].Subject != "ops@example.com, from 203.0.113.7" {
		t.Errorf("%+v %v", log.Lines, err)
	}
}

// River's pages answer, with a policy of their own that no other page has.
func TestRiversPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	a := s.ask(t, "GET", "/operator/queue/", password, "Accept", "text/html")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "/operator/queue/assets/") || !strings.Contains(a.Header.Get("Content-Security-Policy"), "style-src 'self' 'unsafe-inline'") {
		t.Error(a.Status, a.Header, a.body)
	}
	if a := s.ask(t, "GET", "/operator/queue/api/health-checks/complete", password); a.StatusCode != http.StatusOK {
		t.Error(a.Status, a.body)
	}
	if a := s.ask(t, "GET", "/operator", password); strings.Contains(a.Header.Get("Content-Security-Policy"), "unsafe") {
		t.Error(a.Header)
	}
}
