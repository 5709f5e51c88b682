package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/remora-backup/remora/internal/api"
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

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// archive is what every backup of a test has.
const archive = "PGDMP: not really."

// base is where the document of a test says that the API is, on every port.
const base = "https://backups.example.com"

// site is the API beside the pages, on a real database, behind the real server's middleware.
type site struct {
	*postgres.Store
	*httpserver.Server
	http *httptest.Server
	log  *logtest.Buffer
}

func newSite(t *testing.T, change ...func(*api.Config)) *site {
	t.Helper()
	s := &site{log: &logtest.Buffer{}}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Store, err = postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.Server = httpserver.New(httpserver.Config{Log: log})
	s.http = httptest.NewServer(s.Mux())
	t.Cleanup(s.http.Close)
	contents := `{"tables":[{"schema":"public","name":"orders","rows":4711,"bytes":12,"sha256":"00ff"},{"schema":"public","name":"items","rows":2,"bytes":3,"sha256":"00fe"}]}`
	needs := func(context.Context, remora.ResourceID, remora.Backup) (remora.Needs, error) {
		return remora.Needs{Extensions: []string{"hstore"}}, nil
	}
	pages, err := dashboard.New(dashboard.Config{
		Store: s.Store, Cookie: websession.Cookie{Plain: true}, BaseURL: base, ServiceAccount: "backups@remora.example", Log: log,
		Open: func(context.Context, remora.ResourceID, remora.Backup, []string) (dashboard.Archive, error) {
			return strings.NewReader(archive), nil
		},
		Contents: func(context.Context, remora.ResourceID, remora.Backup) (dashboard.Archive, error) {
			return strings.NewReader(contents), nil
		},
		Script: func(io.Writer, io.Reader) error { return nil }, Sealer: struct{ dashboard.Sealer }{}, Probe: probe,
		Sealed: func(context.Context, remora.ResourceID, remora.Backup, string) (dashboard.Archive, error) {
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := api.Config{
		Store: s.Store, BaseURL: base, LinkURL: pages.LinkURL, BadgeURL: pages.BadgeURL, Mails: true, Log: log, Needs: needs, PerMinute: 100_000, PerResource: 100_000,
		Sealer: sealer{},
		Callable: func(_ context.Context, address redact.Secret) error {
			if strings.Contains(address.Reveal(), "internal.example.com") {
				return remora.Invalid("This address leads to a network that is not public.")
			}
			return nil
		},
		Probe: probe,
		Contents: func(context.Context, remora.ResourceID, remora.Backup) (io.Reader, error) {
			return strings.NewReader(contents), nil
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	a, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.Routes(s.Mux())
	pages.Routes(s.Mux())
	return s
}

// probe takes any bucket but one that is called nobodys.
func probe(_ context.Context, _ remora.ResourceID, p remora.Place, keys remora.BucketKeys) (found remora.Probed, err error) {
	if p.Bucket == "nobodys" {
		return found, remora.Invalid("The bucket cannot be used: writing an object failed. There is no bucket of this name at this endpoint.")
	}
	if p.Bucket == "one" {
		found.ObjectLock = remora.BucketLock{State: remora.BucketLockGovernance, Days: 3}
	}
	found.WriterDeletes = keys.DeleteAccessKey == "AKIAUSELESS"
	return found, nil
}

// tenant is one resource with a token of it.
type tenant struct {
	*site
	t     *testing.T
	id    remora.ResourceID
	token string

	locked remora.ObjectLock // what the store says of what is kept
}

// tenant provisions a resource that is ready, with one database whose first backup waits.
func (s *site) tenant(t *testing.T) *tenant {
	t.Helper()
	ctx := t.Context()
	n := &tenant{site: s, t: t, id: remora.NewID[remora.ResourceID]()}
	p := remora.Provision{
		ID: n.id, Name: "remora-backup-clean-1", Plan: "mako", Region: "us", Grant: redact.New("grant"), LogInput: redact.New("https://token:t.1@1.us.logplex.io/logs"),
	}
	_, err := s.ProvisionResource(ctx, p, redact.New("key"), "age1")
	if err == nil {
		err = s.SetReady(ctx, n.id, "app-id", "helper")
	}
	if err == nil {
		err = s.SaveFound(ctx, n.id, "helper", []postgres.Found{{AddonID: "id-1", Addon: "postgresql-curved-1", OwnerApp: "shop", Attachment: "REMORA_DB", Credential: "remora_ro"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	n.token = n.make("tests", remora.ScopeAdmin)
	return n
}

// make makes a token of a scope.
func (n *tenant) make(name string, scope remora.APIScope) string {
	n.t.Helper()
	_, secret, err := n.MakeAPIToken(n.t.Context(), n.id, remora.NewAPIToken{Name: name, Scope: scope}, "owner@example.com")
	if err != nil {
		n.t.Fatal(err)
	}
	return secret.Reveal()
}

func (n *tenant) database() remora.DatabaseID { return n.overview().Databases[0].ID }

func (n *tenant) overview() remora.Overview {
	n.t.Helper()
	o, err := n.Overview(n.t.Context(), n.id)
	if err != nil {
		n.t.Fatal(err)
	}
	return o
}

// keep brings the live backup to its good end, with a report that asks something.
func (n *tenant) keep() remora.BackupID {
	n.t.Helper()
	ctx := n.t.Context()
	c, err := n.ClaimBackup(ctx, n.overview().Backups[0].ID, "w1")
	if err == nil {
		finding := remora.Finding{Code: "security_definer", Severity: remora.SeverityReview, Object: "FUNCTION public.refund(bigint)", Detail: "runs with its owner's powers"}
		err = n.SaveAudit(ctx, c, remora.Audit{Role: "remora_ro", Findings: []remora.Finding{finding}, Witness: remora.Witness{Before: 7}}, remora.Server{Version: "15.18", Size: 1_234_567})
	}
	if err == nil {
		err = n.Beat(ctx, c, remora.Progress{State: remora.RunDumping, Bytes: 12, TablesTotal: 2, Current: "public.orders"})
	}
	if err == nil {
		err = n.SaveImpact(ctx, c, remora.Impact{Held: 2e9, Watched: true})
	}
	if err == nil {
		err = n.KeepBackup(ctx, c, remora.Kept{
			ServerVersion: "15.18", ClientVersion: "15.18", ClientMajor: 15, ArchiveVersion: "1.14", Tables: 2, Rows: 4713, PlainSize: int64(len(archive)), ObjectLock: n.locked,
			Objects: []remora.Object{{Name: "head", Size: 12, SHA256: []byte{1}}, {Name: "body-001", Size: 30, PlainSize: 18, SHA256: []byte{2}}}, Witness: remora.Witness{Before: 7, After: 7},
		})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return c.Backup
}

type answer struct {
	*http.Response
	body []byte
}

// into reads the answer's JSON.
func into[T any](t *testing.T, a answer) (out T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return out
}

// says is the answer's problem.
func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	if a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %s", a.Header.Get("Content-Type"), a.body)
	}
	return into[api.Problem](t, a)
}

// request makes one of the tenant's token.
func (n *tenant) request(method, path string, body any) *http.Request {
	n.t.Helper()
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			n.t.Fatal(err)
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.http.URL+api.Home+path, text)
	if err != nil {
		n.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+n.token)
	return r
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return answer{resp, body}
}

// do sends a request and checks its status, and that it and the answer are as the document says.
func (n *tenant) do(method, path string, body any, status int) answer {
	n.t.Helper()
	r := n.request(method, path, body)
	a := send(n.t, r)
	if a.StatusCode != status {
		n.t.Fatalf("%s %s: %s: %s", method, path, a.Status, a.body)
	}
	seen := n.request(method, path, body)
	n.conforms(seen, a, status != http.StatusUnprocessableEntity && status != http.StatusBadRequest)
	return a
}

// conforms holds an answer, and a request that is meant to be good, against the document.
func (n *tenant) conforms(r *http.Request, a answer, good bool) {
	n.t.Helper()
	v := n.validator()
	check := v.ValidateHttpResponse
	if good {
		check = v.ValidateHttpRequestResponse
	}
	if ok, wrong := check(r, a.Response); !ok {
		for _, w := range wrong {
			n.t.Errorf("%s %s: %s", r.Method, r.URL.Path, w.Error())
		}
	}
	a.Body = io.NopCloser(bytes.NewReader(a.body))
}

var document struct {
	once  sync.Once
	text  []byte
	valid validator.Validator
	wrong []error
}

// validator is an independent reader of the document, which the API serves to anybody. It is the same on every site.
func (s *site) validator() validator.Validator {
	document.once.Do(func() {
		resp, err := http.Get(s.http.URL + api.Home + "/openapi.json")
		if err != nil {
			panic(err)
		}
		defer resp.Body.Close()
		if document.text, err = io.ReadAll(resp.Body); err != nil {
			panic(err)
		}
		doc, err := libopenapi.NewDocument(document.text)
		if err != nil {
			panic(err)
		}
		document.valid, document.wrong = validator.NewValidator(doc)
		if document.wrong != nil {
			panic(document.wrong)
		}
	})
	return document.valid
}

// form sends a form of a page, as the browser of a person who has signed on.
func (n *tenant) form(path string, values url.Values) string {
	n.t.Helper()
	session := remora.NewToken()
	if err := n.OpenSession(n.t.Context(), remora.Session{Resource: n.id, Email: "owner@example.com"}, session, session); err != nil {
		n.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.http.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "remora="+session)
	return string(send(n.t, r).body)
}
