package herokuapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
)

const canary = "CANARY-secret"

// heroku answers each "METHOD /path" with the bytes given, as Heroku's documentation shows them, and keeps
// what it was sent.
func heroku(t *testing.T, answers map[string]string) (*herokuapi.Client, *[]string) {
	t.Helper()
	var log []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		log = append(log, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Range")+" "+string(body))
		answer, ok := answers[r.Method+" "+r.URL.Path+r.Header.Get("Range")]
		status := 404
		if ok {
			if _, err := fmt.Sscan(answer, &status); err != nil {
				t.Error(err)
			}
			answer = strings.TrimSpace(answer[3:])
		}
		if next, rest, ok := strings.Cut(answer, "\n"); ok {
			w.Header().Set("Next-Range", next)
			w.Header().Set("Retry-After", "7")
			answer = rest
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	c, err := herokuapi.New(herokuapi.Config{APIURL: s.URL + "/", IDURL: s.URL, ClientSecret: redact.New(canary), HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c, &log
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c, log := heroku(t, map[string]string{
		"POST /oauth/token": `200 {"access_token":"HRKU-1","refresh_token":"r-1","expires_in":28799,"token_type":"Bearer","user_id":"u","session_nonce":null}`,
	})
	got, err := c.ExchangeGrant(t.Context(), redact.New("code-1"))
	if err != nil || got.Access.Reveal() != "HRKU-1" || got.Refresh.Reveal() != "r-1" || got.ExpiresIn != 28799*time.Second {
		t.Fatal(got, err)
	}
	if _, err := c.Refresh(t.Context(), redact.New("r-1")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"client_secret=CANARY-secret&code=code-1&grant_type=authorization_code", "client_secret=CANARY-secret&grant_type=refresh_token&refresh_token=r-1"} {
		if !strings.HasSuffix((*log)[i], want) {
			t.Error((*log)[i])
		}
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	c, log := heroku(t, map[string]string{
		"GET /addons/a1":                     `200 {"id":"a1","name":"remora-backup-x","state":"provisioning","app":{"id":"h1","name":"helper"},"plan":{"name":"remora-backup:mako"}}`,
		"GET /apps/h1/addon-attachments":     "206 ]1..\n" + `[{"id":"t1","name":"REMORA_DB","namespace":"credential:remora_ro","addon":{"id":"p1","name":"postgresql-x","app":{"id":"s1","name":"shop"}},"app":{"id":"h1","name":"helper"}}]`,
		"GET /apps/h1/addon-attachments]1..": `200 [{"id":"t2","name":"DATABASE","namespace":null,"addon":{"id":"p2","name":"postgresql-y","app":{"id":"s1","name":"shop"}},"app":{"id":"h1","name":"helper"}}]`,
		"GET /apps/h1/config-vars":           `200 {"REMORA_DB_URL":"postgres://u:CANARY-secret@h/d"}`,
		"PATCH /addons/a1/config":            `200 [{"name":"REMORA_BACKUP_ID","value":"a1"}]`,
		"POST /addons/a1/actions/provision":  `200 {"id":"a1","state":"provisioned"}`,
		"GET /account":                       `200 {"email":"service@example.com"}`,
	})
	ctx, token := t.Context(), redact.New("tok")
	addon, err := c.Addon(ctx, token, "a1")
	if err != nil || addon.App.Name != "helper" {
		t.Error(addon, err)
	}
	list, err := c.Attachments(ctx, token, "h1")
	if err != nil || len(list) != 2 || list[0].Credential() != "remora_ro" || list[1].Credential() != "" || list[0].Addon.App.Name != "shop" {
		t.Error(list, err)
	}
	vars, err := c.ConfigVars(ctx, token, "h1")
	if err != nil || vars["REMORA_DB_URL"].Reveal() == "" || strings.Contains(fmt.Sprintf("%+v", vars), "CANARY") {
		t.Error(vars, err)
	}
	if err := errors.Join(c.SetConfig(ctx, token, "a1", "REMORA_BACKUP_ID", "a1"), c.Provisioned(ctx, token, "a1")); err != nil {
		t.Error(err)
	}
	if email, err := c.Account(ctx, token); err != nil || email != "service@example.com" {
		t.Error(email, err)
	}
	if got := (*log)[4]; got != `PATCH /addons/a1/config Bearer tok  {"config":[{"name":"REMORA_BACKUP_ID","value":"a1"}]}` {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]error{
		`401 {"id":"unauthorized","message":"Invalid credentials provided."}`: herokuapi.ErrClientSecret,
		`401 {"error":"invalid_client","error_description":"no"}`:             herokuapi.ErrClientSecret,
		`400 {"error":"invalid_client"}`:                                      herokuapi.ErrClientSecret,
		`401 `:                                                                herokuapi.ErrClientSecret,
		`400 {"error":"invalid_grant","error_description":"used"}`:            herokuapi.ErrRevoked,
		`401 {"id":"invalid_grant","message":"used"}`:                         herokuapi.ErrRevoked,
		`503 {"error":"invalid_grant"}`:                                       herokuapi.ErrUnavailable,
		`403 {"id":"forbidden","message":"no"}`:                               herokuapi.ErrForbidden,
		`404 {"id":"not_found","message":"no"}`:                               herokuapi.ErrNotFound,
		"429 x\n" + `{"id":"rate_limit","message":"slow"}`:                    herokuapi.ErrRateLimited,
		`503 <html>`: herokuapi.ErrUnavailable,
		`422 {"id":"invalid_params","message":"no"}`: herokuapi.ErrRefused,
		`302 `:               herokuapi.ErrRefused,
		`200 {"expires_in":`: herokuapi.ErrUnavailable,
		`200 {}`:             herokuapi.ErrUnavailable,
	} {
		c, _ := heroku(t, map[string]string{"POST /oauth/token": answer})
		_, err := c.ExchangeGrant(t.Context(), redact.New(canary))
		var e *herokuapi.Error
		if !errors.Is(err, want) || !errors.As(err, &e) {
			t.Errorf("%s: %v", answer, err)
			continue
		}
		if strings.Contains(fmt.Sprintf("%v %#v", err, err), "CANARY") {
			t.Errorf("%v", err)
		}
		if errors.Is(err, herokuapi.ErrRateLimited) && e.RetryAfter != 7*time.Second {
			t.Error(e.RetryAfter)
		}
	}
	api, _ := heroku(t, map[string]string{"GET /account": `401 {"id":"unauthorized","message":"Invalid credentials provided."}`})
	if _, err := api.Account(t.Context(), redact.New(canary)); !errors.Is(err, herokuapi.ErrUnauthorized) {
		t.Error(err)
	}
	c, err := herokuapi.New(herokuapi.Config{APIURL: "http://127.0.0.1:1", IDURL: "http://127.0.0.1:1", HTTP: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Account(t.Context(), redact.New(canary)); !errors.Is(err, herokuapi.ErrUnavailable) || strings.Contains(err.Error(), "CANARY") {
		t.Error(err)
	}
}

// The owner's credential has two names: none, and default (heroku pg:credentials lists it so). The second must not pass
// for one that can only read.
func TestTheOwnersCredentialHasTwoNames(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"": "", "credential:default": "", "credential:Default": "", "credential:DEFAULT": "", "Credential:default": "", "credential:": "",
		"credential:default\t": "", "role:x": "", "credential:remora_ro": "remora_ro", "credential:defaults": "defaults",
	} {
		if got := (herokuapi.Attachment{Namespace: namespace}).Credential(); got != want {
			t.Errorf("%q: %q", namespace, got)
		}
	}
}

func TestWhatIsAPostgresDatabase(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		`{"addon":{"name":"x","plan":{"name":"heroku-postgresql:standard-0"}},"namespace":null}`:                 true,
		`{"addon":{"name":"x","plan":{"name":"heroku-postgresql:essential-0"}},"namespace":"credential:backup"}`: true,
		`{"addon":{"name":"postgresql-x","plan":{"name":"heroku-redis:mini"}},"namespace":null}`:                 false,
		`{"addon":{"name":"x","plan":{"name":"heroku-postgresql-like:a"}},"namespace":null}`:                     false,
		`{"addon":{"name":"postgresql-curved-1"},"namespace":null}`:                                              true,
		`{"addon":{"name":"renamed"},"namespace":"credential:backup"}`:                                           true,
		`{"addon":{"name":"redis-curved-1"},"namespace":null}`:                                                   false,
	} {
		var include string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			include = r.Header.Get("Accept-Inclusion")
			_, _ = io.WriteString(w, "["+answer+"]")
		}))
		c, err := herokuapi.New(herokuapi.Config{APIURL: s.URL, IDURL: s.URL, HTTP: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.Attachments(t.Context(), redact.New("t"), "h")
		s.Close()
		if err != nil || len(list) != 1 || list[0].Postgres() != want || include != "addon:plan" {
			t.Errorf("%s: %+v %v, asked for %q", answer, list, err, include)
		}
	}
}
