package partnerapi_test

import (
	"crypto/sha1" //nolint:gosec // Heroku's older token
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/websession"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const (
	password = "c4nary-partner-password"
	grant    = "c4nary-grant-code"
	salt     = "s3cr3t-sso-salt"
)

// service is two web processes on one real database.
type service struct {
	*postgres.Store
	handlers [2]http.Handler
	log      *logtest.Buffer
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{log: &logtest.Buffer{}}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Store, err = postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	for i := range s.handlers {
		api, err := partnerapi.New(partnerapi.Config{
			Store: s.Store, ID: "remora-backup", Password: redact.New(password), SSOSalt: redact.New(salt), Home: "/dashboard", Now: time.Now, Log: log,
			NewKey: func() (redact.Secret, string, error) { return redact.New("key"), "age1", nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httpserver.New(httpserver.Config{Log: log})
		api.Routes(server.Mux())
		s.handlers[i] = server.Mux()
	}
	return s
}

func (s *service) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handlers[0].ServeHTTP(w, r)
	return w
}

// call is Heroku's.
func (s *service) call(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("remora-backup", password)
	return s.serve(r)
}

// said reads the one sentence that an answer has.
func said(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var m struct{ ID, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Message == "" || !strings.HasSuffix(m.Message, ".") || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("no sentence: %d %q %v", w.Code, w.Body, err)
	}
	return m.Message
}

func newID() string { return string(remora.NewID[remora.ResourceID]()) }

// provisionBody is as Heroku sends it, with a field that is new to us.
func provisionBody(id string) string {
	return fmt.Sprintf(`{"uuid":%q,"name":"remora-backup-clean-1","plan":"mako","region":"amazon-web-services::us-east-1",
		"callback_url":"http://169.254.169.254/latest","oauth_grant":{"code":%q,"type":"authorization_code","expires_at":"2126-05-01T10:05:00-07:00"},
		"options":{"note":"x"},"log_input_url":null,"brand_new":[{"deep":{}}]}`, id, grant)
}

func (s *service) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	tx, err := s.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLifeOfAResource(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := newID()
	at := "/heroku/resources/" + id

	first := s.call("POST", "/heroku/resources", provisionBody(id))
	var answer map[string]string
	if err := json.Unmarshal(first.Body.Bytes(), &answer); err != nil || first.Code != http.StatusAccepted || answer["id"] != id || answer["message"] == "" || len(answer) != 2 {
		t.Fatalf("%d %s %v", first.Code, first.Body, err)
	}
	if again := s.call("POST", "/heroku/resources", provisionBody(strings.ToUpper(id))); again.Code != first.Code || again.Body.String() != first.Body.String() {
		t.Errorf("the same again: %d %s", again.Code, again.Body)
	}
	other := strings.NewReplacer("mako", "hammerhead", grant, "other").Replace(provisionBody(id))
	if again := s.call("POST", "/heroku/resources", other); again.Code != first.Code || again.Body.String() != first.Body.String() {
		t.Errorf("the same uuid with another body: %d %s", again.Code, again.Body)
	}
	if r, err := s.Resource(t.Context(), remora.ResourceID(id)); err != nil || r.Plan != "mako" || r.Region != "amazon-web-services::us-east-1" {
		t.Errorf("%+v %v", r, err)
	}

	for _, plan := range []string{"hammerhead", "hammerhead", "remora-backup:great-white"} {
		if w := s.call("PUT", at, `{"uuid":"`+id+`","plan":"`+plan+`"}`); w.Code != http.StatusOK || !strings.Contains(said(t, w), strings.TrimPrefix(plan, "remora-backup:")) {
			t.Errorf("%s: %d", plan, w.Code)
		}
	}
	for _, body := range []string{`{"plan":"admin"}`, `{"plan":""}`, `{}`} {
		if w := s.call("PUT", at, body); w.Code != http.StatusUnprocessableEntity || !strings.Contains(said(t, w), "mako, hammerhead") {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if w := s.call("PUT", "/heroku/resources/"+newID(), `{"plan":"mako"}`); w.Code != http.StatusNotFound {
		t.Errorf("a plan for nobody: %d", w.Code)
	}

	if w := s.call("DELETE", at, ""); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, w := range []*httptest.ResponseRecorder{
		s.call("DELETE", at, ""), s.call("PUT", at, `{"plan":"mako"}`), s.call("POST", "/heroku/resources", provisionBody(id)),
	} {
		if w.Code != http.StatusGone || !strings.Contains(said(t, w), "removed") {
			t.Errorf("removed, and yet %d", w.Code)
		}
	}

	// Deprovisioned before it ever came: the late provision finds the tombstone.
	late := newID()
	if w := s.call("DELETE", "/heroku/resources/"+strings.ToUpper(late), ""); w.Code != http.StatusGone {
		t.Errorf("%d", w.Code)
	}
	for _, w := range []*httptest.ResponseRecorder{
		s.call("PUT", "/heroku/resources/"+late, `{"plan":"mako"}`), s.call("POST", "/heroku/resources", provisionBody(late)),
		s.call("PUT", "/heroku/resources/"+late, `{"plan":"mako"}`), s.call("DELETE", "/heroku/resources/"+late, ""),
	} {
		if w.Code != http.StatusGone || !strings.Contains(said(t, w), "removed") {
			t.Errorf("a late call revived it: %d", w.Code)
		}
	}
	if log := s.log.String(); strings.Contains(log, password) || strings.Contains(log, grant) || strings.Contains(log, id) {
		t.Error("the log has a password, a grant or a path")
	}
}

func TestFiftyProvisionsAtOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := newID()
	var all sync.WaitGroup
	answers := make([]string, 50)
	for i := range answers {
		all.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/heroku/resources", strings.NewReader(provisionBody(id)))
			r.SetBasicAuth("remora-backup", password)
			w := httptest.NewRecorder()
			s.handlers[i%2].ServeHTTP(w, r)
			answers[i] = fmt.Sprint(w.Code, w.Body)
		})
	}
	all.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.HasPrefix(a, "202") {
			t.Errorf("%s", a)
		}
	}
	if n := s.count(t, "SELECT count(*) FROM resources"); n != 1 {
		t.Errorf("%d resources", n)
	}
	if n := s.count(t, "SELECT count(*) FROM river.river_job"); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := newID()
	with := func(old, replacement string) string { return strings.Replace(provisionBody(id), old, replacement, 1) }
	for name, body := range map[string]string{
		"empty": "", "no JSON": "uuid=1", "cut": provisionBody(id)[:80], "null": "null", "array": "[]", "text": `"x"`, "two": provisionBody(id) + "{}",
		"no uuid": `{"plan":"mako"}`, "uuid as a number": with(`"`+id+`"`, "7"), "uuid as a path": with(id, "../x"), "uuid in braces": with(id, "{"+id+"}"),
		"no plan": with(`"plan":"mako",`, ""), "unknown plan": with("mako", "admin"), "plan as an object": with(`"mako"`, "{}"),
		"long name": with("clean", strings.Repeat("n", 300)), "long region": with("amazon", strings.Repeat("n", 300)),
		"NUL in the name": with("clean", `\u0000`), "newline in the name": with("clean", `\n`), "escape in the region": with("amazon", `\u001b[31m`),
		"grant as a list": with(`"`+grant+`"`, "[1]"), "deep": with(`[{"deep":{}}]`, strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)),
		"large": with("clean", strings.Repeat("n", 70<<10)),
	} {
		if w := s.call("POST", "/heroku/resources", body); w.Code != http.StatusUnprocessableEntity || strings.Contains(said(t, w), grant) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if n := s.count(t, "SELECT count(*) FROM resources"); n != 0 {
		t.Errorf("%d resources", n)
	}
	if strings.Contains(s.log.String(), "partner request failed") {
		t.Error("what Heroku got wrong is no fault of ours:", s.log)
	}
	for name, body := range map[string]string{
		"no grant": with(`"oauth_grant"`, `"other"`), "null grant": fmt.Sprintf(`{"uuid":%q,"plan":"mako","oauth_grant":null}`, newID()),
		"another form of time": fmt.Sprintf(`{"uuid":%q,"plan":"mako","oauth_grant":{"code":"c","expires_at":"soon"}}`, newID()),
		"unknown region":       fmt.Sprintf(`{"uuid":%q,"plan":"mako","region":"moon"}`, newID()),
		"twice the uuid":       fmt.Sprintf(`{"uuid":"x","uuid":%q,"plan":"mako"}`, newID()),
	} {
		if w := s.call("POST", "/heroku/resources", body); w.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, path := range []string{"x", "%2e%2e", "%00", strings.Repeat("a", 5000), id + "%20", "{" + id + "}"} {
		for _, method := range []string{"PUT", "DELETE"} {
			if w := s.call(method, "/heroku/resources/"+path, `{"plan":"mako"}`); w.Code != http.StatusNotFound {
				t.Errorf("%s %.20s: %d", method, path, w.Code)
			}
		}
	}
}

func TestOnlyHerokuCalls(t *testing.T) {
	t.Parallel()
	s := newService(t)
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, header := range map[string]string{
		"none": "", "empty": "Basic ", "empty parts": basic("", ""), "no password": basic("remora-backup", ""), "no user": basic("", password),
		"wrong user": basic("remora", password), "wrong password": basic("remora-backup", "x"), "cut": basic("remora-backup", password[:10]),
		"longer": basic("remora-backup", password+"x"), "with NUL": basic("remora-backup", password+"\x00"), "split elsewhere": basic("remora-backup:"+password, ""),
		"bad base64": "Basic !!!", "bearer": "Bearer " + password, "upper case": basic("REMORA-BACKUP", password),
	} {
		for _, call := range []string{"POST /heroku/resources", "PUT /heroku/resources/" + newID(), "DELETE /heroku/resources/" + newID()} {
			method, path, _ := strings.Cut(call, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(provisionBody(newID())))
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			w := s.serve(r)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || strings.Contains(said(t, w), password) {
				t.Errorf("%s, %s: %d", name, method, w.Code)
			}
		}
	}
	if n := s.count(t, "SELECT count(*) FROM resources"); n != 0 {
		t.Errorf("%d resources", n)
	}
	if w := s.call("GET", "/heroku/resources", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", w.Code)
	}
	r := httptest.NewRequest(http.MethodPost, "/heroku/resources/"+newID(), nil)
	r.SetBasicAuth("remora-backup", password)
	r.Header.Set("X-HTTP-Method-Override", "DELETE")
	if w := s.serve(r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", w.Code)
	}
}

// A fault of ours tells Heroku nothing of its cause and is in the log by the request's name.
func TestOurFault(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.Pool.Close()
	w := s.call("POST", "/heroku/resources", provisionBody(newID()))
	id := w.Header().Get("X-Request-ID")
	if m := said(t, w); w.Code != http.StatusInternalServerError || !strings.Contains(m, id) || strings.Contains(m, "pool") {
		t.Errorf("%d %s", w.Code, m)
	}
	if !strings.Contains(s.log.String(), "closed pool") {
		t.Error(s.log)
	}
}

// signOn is a form as Heroku signs it, now.
func signOn(id string) url.Values {
	stamp := fmt.Sprint(time.Now().Unix())
	old := sha1.Sum([]byte(id + ":" + salt + ":" + stamp)) //nolint:gosec // as above
	scoped := sha256.Sum256([]byte(id + ":" + salt + ":" + stamp + ":u-1:owner@example.com"))
	return url.Values{
		"resource_id": {id}, "timestamp": {stamp}, "user_id": {"u-1"}, "email": {"owner@example.com"}, "app": {"helper"}, "context_app": {"helper"},
		"resource_token": {hex.EncodeToString(old[:])}, "user_scoped_resource_token": {hex.EncodeToString(scoped[:])},
		"nav-data": {"<script>alert(1)</script>"}, "id": {id}, "token": {"v1"},
	}
}

func (s *service) signOn(form url.Values, cookie string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/heroku/sso?next=//evil.example", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://addons-sso.heroku.com")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if cookie != "" {
		r.Header.Set("Cookie", "__Host-remora="+cookie)
	}
	return s.serve(r)
}

func TestSignOn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	provisioned := func() string {
		id := newID()
		if w := s.call("POST", "/heroku/resources", provisionBody(id)); w.Code != http.StatusAccepted {
			t.Fatal(w.Code)
		}
		return id
	}
	refused := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusForbidden || w.Header().Get("Set-Cookie") != "" || !strings.Contains(w.Body.String(), "Open the add-on again from Heroku") || strings.Contains(w.Body.String(), "script>") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// The whole way, with a cookie planted before: the visitor gets a new one.
	planted := remora.NewToken()
	id := provisioned()
	form := signOn(id)
	w := s.signOn(form, planted)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/dashboard" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", w.Header().Get("Set-Cookie"))
	token := websession.Cookie{}.Token(r)
	session, err := s.Session(t.Context(), token)
	if err != nil || token == planted || session.Resource != remora.ResourceID(id) || session.Email != "owner@example.com" || session.UserID != "u-1" {
		t.Errorf("%q %+v %v", token, session, err)
	}
	if _, err := s.Session(t.Context(), planted); err == nil {
		t.Error("the planted cookie is a session")
	}
	// Once, with either of the tokens that the form has.
	refused("again", s.signOn(form, ""))
	old := url.Values{"resource_id": form["resource_id"], "timestamp": form["timestamp"], "resource_token": form["resource_token"]}
	refused("again, by the older token", s.signOn(old, ""))

	// With the older token alone nobody has signed who it is.
	form = signOn(provisioned())
	form.Del("user_scoped_resource_token")
	w = s.signOn(form, "")
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", w.Header().Get("Set-Cookie"))
	if session, err := s.Session(t.Context(), websession.Cookie{}.Token(r)); err != nil || session.Email != "" || session.UserID != "" {
		t.Errorf("%+v %v", session, err)
	}
	refused("again, without it", s.signOn(form, ""))

	removed := provisioned()
	s.call("DELETE", "/heroku/resources/"+removed, "")
	refused("removed", s.signOn(signOn(removed), ""))
	refused("never here", s.signOn(signOn(newID()), ""))
	mixed := signOn(provisioned())
	mixed.Set("resource_id", id)
	refused("another's", s.signOn(mixed, ""))
	large := signOn(provisioned())
	large.Set("nav-data", strings.Repeat("x", 70<<10))
	refused("large", s.signOn(large, ""))
	refused("nothing", s.signOn(nil, ""))

	if w := s.serve(httptest.NewRequest(http.MethodGet, "/heroku/sso?"+signOn(provisioned()).Encode(), nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("by GET: %d", w.Code)
	}
	inAddress := httptest.NewRequest(http.MethodPost, "/heroku/sso?"+signOn(provisioned()).Encode(), nil)
	refused("in the address", s.serve(inAddress))
	if strings.Contains(s.log.String(), "sign-on failed") {
		t.Error("a refused sign-on is no fault of ours:", s.log)
	}
}

// Fifty at once with one form: one is signed on.
func TestSignOnRace(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := newID()
	s.call("POST", "/heroku/resources", provisionBody(id))
	form := signOn(id)
	var all sync.WaitGroup
	codes := make([]int, 50)
	for i := range codes {
		all.Go(func() { codes[i] = s.signOn(form, "").Code })
	}
	all.Wait()
	in := 0
	for _, c := range codes {
		if c == http.StatusSeeOther {
			in++
		} else if c != http.StatusForbidden {
			t.Error(c)
		}
	}
	if in != 1 {
		t.Errorf("%d were signed on", in)
	}
}

func TestSlowBodyAndMisconfiguration(t *testing.T) {
	t.Parallel()
	if _, err := partnerapi.New(partnerapi.Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
	s := newService(t)
	r := httptest.NewRequest(http.MethodPost, "/heroku/resources", io.MultiReader(strings.NewReader(`{"uuid":`), broken{}))
	r.SetBasicAuth("remora-backup", password)
	if w := s.serve(r); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a body that breaks off: %d", w.Code)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
