package wiring

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/websession"
)

// visit opens a session on an add-on in the database of the settings, and returns its cookie.
func visit(t *testing.T, env map[string]string) *http.Cookie {
	t.Helper()
	ctx := t.Context()
	keys, err := keyring.Parse(redact.New(env["KEYRING"]))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(ctx, env["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	id, token := remora.NewID[remora.ResourceID](), remora.NewToken()
	_, err = store.ProvisionResource(ctx, remora.Provision{ID: id, Name: "remora-backup-clean-1", Plan: "mako", Region: "us", Grant: redact.New("grant")}, redact.New("key"), "age1")
	if err == nil {
		err = store.OpenSession(ctx, remora.Session{Resource: id, Email: "owner@example.com"}, token, "used")
	}
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	websession.Cookie{}.Set(w, token)
	return w.Result().Cookies()[0]
}

// The operator's pages are there where a password is set, for who knows it, over https; a customer's session opens nothing
// of them, and the password nothing of a customer's.
func TestOperatorsPages(t *testing.T) { //nolint:paralleltest // the environment is the process's
	const password = "hidden-6-correct-horse"
	for name, set := range map[string]string{"off": "", "on": password} {
		t.Run(name, func(t *testing.T) {
			env := settings(t)
			env["OPERATOR_PASSWORD"] = set
			cookie := visit(t, env)
			at, log, stop := startWeb(t, env)
			for _, c := range []struct {
				path, password, proto string
				cookie                bool
				off, on               int
				says                  string // where it is on
			}{
				{"/operator", "", "https", false, 404, 401, "password is needed"},
				{"/operator", "hidden-7", "https", false, 404, 401, "password is needed"},
				{"/operator", password + " ", "https", false, 404, 401, "password is needed"},
				{"/operator", password, "https", false, 404, 200, "Nothing is stuck"},
				{"/operator", password, "http", false, 404, 403, "https alone"},
				{"/operator", password, "", false, 404, 403, "https alone"},
				{"/operator", "", "https", true, 404, 401, "password is needed"},
				{"/operator/find?q=x", "", "https", true, 404, 401, "password is needed"},
				{"/operator/queue/", "", "https", true, 404, 401, "password is needed"},
				{"/operator/queue/api/jobs", "", "https", true, 404, 401, "password is needed"},
				{"/operator/queue/", password, "https", false, 404, 200, "/operator/queue/assets/"},
				{"/operator/queue/api/jobs?state=available", password, "https", false, 404, 200, "make_ready"},
				{"/dashboard", "", "https", true, 200, 200, "remora-backup-clean-1"},
				{"/dashboard", password, "https", false, 401, 401, "not signed on"},
			} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+c.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept", "text/html")
				if c.proto != "" {
					req.Header.Set("X-Forwarded-Proto", c.proto)
				}
				if c.password != "" {
					req.SetBasicAuth("ops@example.com", c.password)
				}
				if c.cookie {
					req.AddCookie(cookie)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := c.off
				if set != "" {
					want = c.on
				}
				if err != nil || resp.StatusCode != want || set != "" && !strings.Contains(string(body), c.says) {
					t.Errorf("%s with %q over %q, signed on %v: %s %v\n%s", c.path, c.password, c.proto, c.cookie, resp.Status, err, body)
				}
			}
			stop()
			if said := log.String(); strings.Contains(said, "hidden-") || strings.Contains(said, "the operator's pages are served") != (set != "") {
				t.Error(said)
			}
		})
	}
}
