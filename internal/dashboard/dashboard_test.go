package dashboard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/websession"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// archive is a plain archive of known bytes; it breaks where it is told to.
type archive struct {
	*bytes.Reader
	broken int64
}

func (a archive) ReadAt(p []byte, off int64) (int, error) {
	if a.broken > 0 && off+int64(len(p)) > a.broken {
		return 0, errors.New("the store is gone")
	}
	return a.Reader.ReadAt(p, off)
}

type bundle struct {
	store *postgres.Store
	mux   *chi.Mux
	url   string
	data  []byte
	broke int64
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{mux: chi.NewRouter(), data: bytes.Repeat([]byte("0123456789abcdef"), 20_000)}
	if b.store, err = postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys}); err != nil {
		t.Fatal(err)
	}
	pages, err := dashboard.New(dashboard.Config{
		Store: b.store, Cookie: websession.Cookie{Plain: true}, BaseURL: "https://remora.example", ServiceAccount: "backups@remora.example",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Open: func(context.Context, remora.ResourceID, remora.Backup) (dashboard.Archive, error) {
			return archive{bytes.NewReader(b.data), b.broke}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pages.Routes(b.mux)
	s := httptest.NewServer(b.mux)
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

// tenant is a resource with a database, a verified backup, a link to it, and somebody signed on.
type tenant struct {
	id      remora.ResourceID
	db      remora.DatabaseID
	backup  remora.BackupID
	link    remora.LinkID
	token   string // of the link
	session string
}

func (b *bundle) tenant(t *testing.T, name string) tenant {
	t.Helper()
	ctx := t.Context()
	x := tenant{id: remora.NewID[remora.ResourceID](), session: remora.NewToken()}
	_, err := b.store.ProvisionResource(ctx, remora.Provision{ID: x.id, Name: name, Plan: "mako", Grant: redact.New("g")}, redact.New("key"), "age1")
	if err == nil {
		err = b.store.SetReady(ctx, x.id, "app", "helper-"+name)
	}
	if err == nil {
		err = b.store.SaveFound(ctx, x.id, "", []postgres.Found{{AddonID: "p", Addon: "postgresql-" + name, OwnerApp: "shop", Attachment: "DB", Credential: "ro"}})
	}
	if err == nil {
		err = b.store.OpenSession(ctx, remora.Session{Resource: x.id, Email: name + "@example.com"}, x.session, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.store.Overview(ctx, x.id)
	if err != nil {
		t.Fatal(err)
	}
	x.db, x.backup = o.Databases[0].ID, o.Backups[0].ID
	c, err := b.store.ClaimBackup(ctx, x.backup, "w")
	if err == nil {
		err = b.store.KeepBackup(ctx, c, remora.Kept{PlainSize: int64(len(b.data)), ClientMajor: 15})
	}
	if err != nil {
		t.Fatal(err)
	}
	l, token, err := b.store.MakeLink(ctx, x.id, x.backup, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	x.link, x.token = l.ID, token
	return x
}

func (b *bundle) do(t *testing.T, method, path, session string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if session != "" {
		req.AddCookie(&http.Cookie{Name: "remora", Value: session})
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		body = append(body, []byte(" [cut: "+err.Error()+"]")...)
	}
	return resp.StatusCode, string(body)
}

// Every route that names something: a neighbour's id is not found, without a session nothing is, and a form
// sent from another site is refused. A route without a case here fails.
func TestEveryRouteKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	mine, other := b.tenant(t, "mine"), b.tenant(t, "other")
	open := map[string]bool{"/": true, "/static/*": true, "/d/{token}": true}
	fill := func(route string, x tenant) string {
		return strings.NewReplacer("{database}", string(x.db), "{backup}", string(x.backup), "{link}", string(x.link)).Replace(route)
	}
	seen := 0
	err := chi.Walk(b.mux, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if open[route] {
			return nil
		}
		seen++
		if status, _ := b.do(t, method, fill(route, mine), ""); status != http.StatusUnauthorized {
			t.Errorf("%s %s without a session: %d", method, route, status)
		}
		if status, _ := b.do(t, method, fill(route, mine), "forged"); status != http.StatusUnauthorized {
			t.Errorf("%s %s with a forged session: %d", method, route, status)
		}
		if method == http.MethodPost {
			if status, _ := b.do(t, method, fill(route, mine), mine.session, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
				t.Errorf("%s %s from another site: %d", method, route, status)
			}
		}
		if !strings.Contains(route, "{") || route == "/logout" {
			return nil
		}
		if status, body := b.do(t, method, fill(route, other), mine.session); status != http.StatusNotFound || strings.Contains(body, "postgresql-other") {
			t.Errorf("%s %s with a neighbour's id: %d", method, route, status)
		}
		for _, bad := range []string{"x", "../" + string(mine.db), strings.ToUpper(string(other.backup))} {
			path := strings.NewReplacer("{database}", bad, "{backup}", bad, "{link}", bad).Replace(route)
			if status, _ := b.do(t, method, path, mine.session); status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
		return nil
	})
	if err != nil || seen < 9 {
		t.Errorf("%d routes: %v", seen, err)
	}
	// A link of mine with a neighbour's backup in the path revokes nothing.
	path := fmt.Sprintf("/dashboard/backups/%s/links/%s/revoke", mine.backup, other.link)
	b.do(t, http.MethodPost, path, mine.session)
	if status, _ := b.do(t, http.MethodGet, "/d/"+other.token, ""); status != http.StatusOK {
		t.Error("a neighbour's link was revoked")
	}
}

func TestPagesShowWhatThereIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	x := b.tenant(t, "acme")
	for path, want := range map[string][]string{
		"/dashboard":                             {"postgresql-acme", "verified", "Back up now", "Next one in"},
		"/dashboard/live":                        {"postgresql-acme"},
		"/dashboard/backups/" + string(x.backup): {"Make a link", "PostgreSQL 15 or later", "Revoke"},
		"/static/remora.css":                     {"--ink"},
	} {
		if status, body := b.do(t, http.MethodGet, path, x.session); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		} else {
			for _, w := range want {
				if !strings.Contains(body, w) {
					t.Errorf("%s does not show %q", path, w)
				}
			}
		}
	}
	status, body := b.do(t, http.MethodPost, "/dashboard/backups/"+string(x.backup)+"/links", x.session)
	if status != http.StatusOK || !strings.Contains(body, "heroku pg:backups:restore 'https://remora.example/d/") || !strings.Contains(body, "pg_restore --no-owner") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := b.do(t, http.MethodPost, "/dashboard/databases/"+string(x.db)+"/backups", x.session); status != http.StatusSeeOther {
		t.Error(status)
	}
	if _, body := b.do(t, http.MethodGet, "/dashboard", x.session); !strings.Contains(body, "queued") || !strings.Contains(body, "acme@example.com") {
		t.Error("the backup asked for is not shown")
	}
	// Names that are not ours are shown as text.
	err := b.store.SaveFound(t.Context(), x.id, "<script>alert(1)</script>", []postgres.Found{{AddonID: "p", Addon: "<img src=x onerror=alert(2)>", Credential: "ro"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, body := b.do(t, http.MethodGet, "/dashboard", x.session); strings.Contains(body, "<img") || strings.Contains(body, "<script>alert") {
		t.Error("a name is taken for HTML")
	}
	if status, _ := b.do(t, http.MethodPost, "/logout", x.session); status != http.StatusOK {
		t.Error(status)
	}
	if status, _ := b.do(t, http.MethodGet, "/dashboard", x.session); status != http.StatusUnauthorized {
		t.Error("signed off and still there")
	}
}

func TestDownloads(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	x := b.tenant(t, "acme")
	whole := string(b.data)
	if status, body := b.do(t, http.MethodGet, "/d/"+x.token, ""); status != http.StatusOK || body != whole {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	if status, body := b.do(t, http.MethodGet, "/d/"+x.token, "", "Range", "bytes=100000-100015"); status != http.StatusPartialContent || body != whole[100000:100016] {
		t.Errorf("%d %q", status, body)
	}
	etag := `"` + string(x.backup) + `"`
	if status, body := b.do(t, http.MethodGet, "/d/"+x.token, "", "Range", "bytes=319990-", "If-Range", etag); status != http.StatusPartialContent || body != whole[319990:] {
		t.Errorf("resumed: %d %q", status, body)
	}
	if status, body := b.do(t, http.MethodGet, "/d/"+x.token, "", "Range", "bytes=5-", "If-Range", `"another"`); status != http.StatusOK || body != whole {
		t.Errorf("resumed from another backup: %d", status)
	}
	if status, body := b.do(t, http.MethodHead, "/d/"+x.token, ""); status != http.StatusOK || body != "" {
		t.Errorf("HEAD: %d", status)
	}
	for _, token := range []string{"x", x.token[:63], strings.Repeat("0", 64)} {
		if status, _ := b.do(t, http.MethodGet, "/d/"+token, ""); status != http.StatusNotFound {
			t.Errorf("%.5s: %d", token, status)
		}
	}
	// A store that breaks midway cuts the connection: nobody takes what came for the whole.
	b.broke = 200_000
	if _, body := b.do(t, http.MethodGet, "/d/"+x.token, ""); !strings.Contains(body, "[cut:") {
		t.Error("a broken download looks whole")
	}
	b.broke = 0
	if err := b.store.RevokeLink(t.Context(), x.id, x.link, "p"); err != nil {
		t.Fatal(err)
	}
	if status, _ := b.do(t, http.MethodGet, "/d/"+x.token, ""); status != http.StatusGone {
		t.Errorf("revoked: %d", status)
	}
}
