package dashboard_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/websession"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	browsertest.Close()
	os.Exit(code)
}

const serviceAccount = "backups@remora.example"

// content is the archive that every backup of a test has.
var content = bytes.Repeat([]byte("PGDMP: not really, but long enough to be cut in pieces.\n"), 20_000)

// site is the pages on a real database, behind the real server's middleware.
type site struct {
	*postgres.Store
	*httpserver.Server
	http *httptest.Server
	log  *logtest.Buffer

	ahead time.Duration // how far the store's clock is set forward
	open  func() (dashboard.Archive, error)

	contents func() (dashboard.Archive, error)
}

func newSite(t testing.TB, change ...func(*dashboard.Config)) *site {
	t.Helper()
	return newSiteWriting(t, 0, change...)
}

// newSiteWriting is a site whose server gives an answer so long to leave; 0 is as long as it takes.
func newSiteWriting(t testing.TB, write time.Duration, change ...func(*dashboard.Config)) *site {
	t.Helper()
	s := &site{log: &logtest.Buffer{}, open: func() (dashboard.Archive, error) { return bytes.NewReader(content), nil }}
	s.contents = func() (dashboard.Archive, error) { return strings.NewReader(`{"tables":[]}`), nil }
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	s.Store, err = postgres.New(postgres.Config{
		GiveWay: time.Nanosecond, // what waits on one page is worked by nobody
		Pool:    pgtest.Pool(t), Keys: keys, Now: func(at time.Time) time.Time { return at.Add(s.ahead) },
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.Server = httpserver.New(httpserver.Config{Log: log})
	s.http = httptest.NewUnstartedServer(s.Mux())
	s.http.Config.WriteTimeout = write
	s.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.http.Start()
	t.Cleanup(s.http.Close)
	cfg := dashboard.Config{
		Store: s.Store, Cookie: websession.Cookie{Plain: true}, BaseURL: s.http.URL, ServiceAccount: serviceAccount, Log: log,
		Now: func() time.Time { return time.Now().Add(s.ahead) },
		Open: func(context.Context, remora.ResourceID, remora.Backup, []string) (dashboard.Archive, error) {
			return s.open()
		},
		Contents: func(context.Context, remora.ResourceID, remora.Backup) (dashboard.Archive, error) {
			return s.contents()
		},
		Sealer: sealer{}, Probe: probe,
		Sealed: func(_ context.Context, _ remora.ResourceID, _ remora.Backup, name string) (dashboard.Archive, error) {
			if name != "head" {
				return nil, remora.NotFound("part of this backup")
			}
			return strings.NewReader("sealed head"), nil
		},
		Script: func(w io.Writer, contents io.Reader) error {
			_, err := io.Copy(w, io.MultiReader(strings.NewReader("SELECT 1; -- "), contents))
			return err
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	pages, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pages.Routes(s.Mux())
	return s
}

// tenant is one resource with a session on it.
type tenant struct {
	*site
	id      remora.ResourceID
	session string
	locked  remora.ObjectLock // what the store says of what is kept
}

// tenant provisions a resource that is ready and attached as said, and signs on to it.
func (s *site) tenant(t testing.TB, found ...postgres.Found) *tenant {
	t.Helper()
	ctx := t.Context()
	n := &tenant{site: s, id: remora.NewID[remora.ResourceID](), session: remora.NewToken()}
	p := remora.Provision{ID: n.id, Name: "remora-backup-clean-1", Plan: "mako", Region: "us", Grant: redact.New("grant")}
	_, err := s.ProvisionResource(ctx, p, redact.New("key"), "age1")
	if err == nil {
		err = s.SetReady(ctx, n.id, "app-id", "helper")
	}
	if err == nil && len(found) > 0 {
		err = s.SaveFound(ctx, n.id, "helper", found)
	}
	if err == nil {
		err = s.OpenSession(ctx, remora.Session{Resource: n.id, Email: "owner@example.com"}, n.session, "used-"+string(n.id))
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func shop() postgres.Found {
	return postgres.Found{AddonID: "id-1", Addon: "postgresql-curved-1", OwnerApp: "shop", Attachment: "REMORA_DB", Credential: "remora_ro"}
}

func (n *tenant) view(t testing.TB) remora.Overview {
	t.Helper()
	o, err := n.Overview(t.Context(), n.id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// claim begins the live backup's run.
func (n *tenant) claim(t testing.TB) postgres.Claim {
	t.Helper()
	c, err := n.ClaimBackup(t.Context(), n.view(t).Backups[0].ID, "w1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keep brings the live backup to its good end.
func (n *tenant) keep(t testing.TB) remora.Backup {
	t.Helper()
	c := n.claim(t)
	err := n.KeepBackup(t.Context(), c, remora.Kept{
		ServerVersion: "15.18", ClientVersion: "15.18", ClientMajor: 15, ArchiveVersion: "1.14", Tables: 7, Rows: 4711, PlainSize: int64(len(content)), ObjectLock: n.locked,
		Objects: []remora.Object{{Name: "head", Size: 12, SHA256: []byte{1}}, {Name: "body-001", Size: 4_200_000, SHA256: []byte{2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Backup(t.Context(), n.id, c.Backup)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fail brings the live backup to a bad end.
func (n *tenant) fail(t *testing.T, f *remora.Failure, fix string) remora.BackupID {
	t.Helper()
	c := n.claim(t)
	if _, err := n.FailRun(t.Context(), c, f, fix); err != nil {
		t.Fatal(err)
	}
	return c.Backup
}

type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// do sends a request as the tenant's browser would, without following redirects.
func (n *tenant) do(t testing.TB, method, path string, headers ...string) answer {
	t.Helper()
	if n.session != "" {
		headers = append(headers, "Cookie", "remora="+n.session)
	}
	return n.send(t, method, path, headers...)
}

func (s *site) send(t testing.TB, method, path string, headers ...string) answer {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.http.URL + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, path, nil)
	if err != nil {
		t.Fatal(err)
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
	return answer{resp, string(body), err}
}

// says checks that a page has every one of the words, and none after "not".
func says(t *testing.T, page string, words ...string) {
	t.Helper()
	want := true
	for _, w := range words {
		if w == "not" {
			want = false
		} else if strings.Contains(page, w) != want {
			t.Errorf("says %q: %v, in:\n%s", w, !want, page)
		}
	}
}
