package herokusim

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// Counters are what the provider did, for tests.
type Counters struct {
	Exchanges int      `json:"exchanges"` // of grants, those that were refused too
	Refreshes int      `json:"refreshes"`
	Calls     []Call   `json:"calls"`
	Unknown   []string `json:"unknown"` // calls that the simulator does not know
}

// Counters returns what the provider did so far.
func (s *Sim) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counters{s.exchanges, s.refreshes, append([]Call(nil), s.calls...), append([]string(nil), s.unknown...)}
}

// Provision has the provider asked for a resource that it may know already, as Heroku's retries do. It returns
// the status of the answer.
func (s *Sim) Provision(ctx context.Context, resource string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.findAddon(resource, "")
	if x == nil {
		return 0
	}
	_, status := s.provision(ctx, x)
	return status
}

// Announce makes an add-on that the provider has not been asked for yet, and returns its id and the request that asks for
// it, with its grant, for whoever delivers it himself.
func (s *Sim) Announce(inApp, plan string) (resource string, request []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.findApp(inApp)
	if a == nil {
		return "", nil, errors.New("herokusim: there is no app " + inApp)
	}
	x := &addon{
		ID: uuid.NewString(), Name: s.cfg.Provider.ID + "-" + random(5), Service: s.cfg.Provider.ID, Plan: plan, App: a, State: "provisioning",
		Config: map[string]string{}, CreatedAt: time.Now().UTC(),
	}
	s.addons = append(s.addons, x)
	s.attach(x, a, "", "")
	request, err = json.Marshal(s.request(x))
	return x.ID, request, err
}

// Secrets are what the simulator has given out: tokens, grants and passwords of credentials, by what they are.
func (s *Sim) Secrets() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]string{"the service account's token": {s.cfg.ServiceToken}, "the client secret": {s.cfg.Provider.ClientSecret}}
	for v := range s.tokens {
		out["an access token"] = append(out["an access token"], v)
	}
	for v := range s.refresh {
		out["a refresh token"] = append(out["a refresh token"], v)
	}
	for v := range s.grants {
		out["a grant"] = append(out["a grant"], v)
	}
	for _, d := range s.databases {
		for _, v := range d.credentials {
			out["a credential's password"] = append(out["a credential's password"], v)
		}
	}
	return out
}

// DeliverTwice sends every further call to the provider a second time, and believes the second answer, as where
// the first one was lost on its way.
func (s *Sim) DeliverTwice() { s.twice.Store(true) }

// ResetSecret changes the add-on's OAuth client secret, which ends every access token.
func (s *Sim) ResetSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Provider.ClientSecret = secret
	clear(s.tokens)
}

// ExpireTokens ends every access token; refresh tokens stay good.
func (s *Sim) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.expires = time.Now()
	}
}

// Revoke ends a resource's authorization for good.
func (s *Sim) Revoke(resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.findAddon(resource, ""); x != nil {
		x.revoked = true
	}
}

// AddonID finds an add-on's id by its name, or by its service within an app.
func (s *Sim) AddonID(ref, inApp string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.findAddon(ref, inApp); x != nil {
		return x.ID
	}
	return ""
}

// control is for whoever drives a simulator that runs as a process of its own.
func (s *Sim) control(r chi.Router) {
	r.Get("/counters", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, s.Counters()) })
	r.Post("/twice", func(w http.ResponseWriter, _ *http.Request) { s.DeliverTwice(); reply(w, 200, object{}) })
	r.Post("/tokens/expire", func(w http.ResponseWriter, _ *http.Request) { s.ExpireTokens(); reply(w, 200, object{}) })
	r.Post("/resources/{id}/revoke", func(w http.ResponseWriter, r *http.Request) { s.Revoke(chi.URLParam(r, "id")); reply(w, 200, object{}) })
	r.Post("/databases/{name}/credentials/{credential}/rotate", func(w http.ResponseWriter, r *http.Request) {
		if err := s.RotateCredential(r.Context(), chi.URLParam(r, "name"), chi.URLParam(r, "credential")); err != nil {
			fail(w, 422, "invalid_params", err.Error())
			return
		}
		reply(w, 200, object{})
	})
}

var indexPage = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Heroku, simulated</title>
<body style="font:16px/1.5 sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem">
<h1>Heroku, simulated</h1><p>The real Heroku CLI works with this program. In a shell:</p>
<pre style="background:#f0f3f6;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere">{{.Env}}</pre>
{{range .Apps}}<h2>{{.Name}}</h2>
<p>{{if .Shared}}Shared with {{range .Shared}}{{.}} {{end}}{{else}}Shared with nobody{{end}}. Release v{{.Version}}.</p>
<ul>{{range .Attached}}<li><strong>{{.Name}}</strong>: {{.Addon}} ({{.State}}){{if .Namespace}}, {{.Namespace}}{{end}}{{if .SSO}} – <a href="{{.SSO}}">open</a>{{end}}</li>{{end}}</ul>{{end}}
{{range .Apps}}{{if .Log}}<h2>Log of {{.Name}}</h2><pre style="background:#f0f3f6;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere">{{range .Log}}{{.}}
{{end}}</pre>{{end}}{{end}}
<h2>Calls to the add-on provider</h2><ul>{{range .Calls}}<li>{{.At.Format "15:04:05"}} {{.Method}} /heroku/resources{{.Path}}: {{.Status}}</li>{{end}}</ul></body></html>`))

type shownApp struct {
	Name     string
	Version  int
	Shared   []string
	Attached []shownAttachment
	Log      []string
}

type shownAttachment struct{ Name, Addon, State, Namespace, SSO string }

func (s *Sim) page(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var apps []shownApp
	for _, a := range s.apps {
		shown := shownApp{Name: a.Name, Version: a.Version, Log: s.logs[a.Name]}
		for email := range a.Collaborators {
			shown.Shared = append(shown.Shared, email)
		}
		for _, t := range s.attachments {
			if t.App != a {
				continue
			}
			at := shownAttachment{Name: t.Name, Addon: t.Addon.Name, State: t.Addon.State, Namespace: t.Namespace}
			if t.Addon.Service == s.cfg.Provider.ID {
				at.SSO = s.cfg.URL + "/sso/apps/" + a.Name + "/addons/" + t.Addon.Name
			}
			shown.Attached = append(shown.Attached, at)
		}
		apps = append(apps, shown)
	}
	sort.Slice(apps, func(i, k int) bool { return apps[i].Name < apps[k].Name })
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = indexPage.Execute(w, map[string]any{"Apps": apps, "Calls": s.calls, "Env": s.CLILine()})
}

// CLIEnv is what has the real Heroku CLI ask a simulator at that address, by that key, and nobody else. Without an address it asks
// Heroku's own.
func CLIEnv(url, key string) []string {
	env := []string{"HEROKU_API_KEY=" + key, "HEROKU_SKIP_NEW_VERSION_CHECK=1", "HEROKU_DISABLE_AUTOUPDATE=1", "DISABLE_TELEMETRY=true"}
	if url != "" {
		env = append([]string{"HEROKU_HOST=" + url, "HEROKU_DATA_HOST=localhost"}, env...)
	}
	return env
}

// CLILine points a shell's Heroku CLI at the simulator.
func (s *Sim) CLILine() string {
	return "export " + strings.Join(CLIEnv(s.cfg.URL, s.cfg.APIKey), " ")
}

// ServiceToken is the token of the second account.
func (s *Sim) ServiceToken() string { return s.cfg.ServiceToken }
