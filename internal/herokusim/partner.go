package herokusim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

// createAddon is addons:create: the provider is asked, and its answer decides.
func (s *Sim) createAddon(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Plan       struct{ Name string }
		Name       string
		Attachment struct{ Name string }
	}
	ok := decode(r, &in)
	s.owner(func(w http.ResponseWriter, r *http.Request) {
		a := s.findApp(chi.URLParam(r, "app"))
		service, slug, found := cut(in.Plan.Name)
		if !ok || a == nil || service != s.cfg.Provider.ID {
			missing(w, "add_on service")
			return
		}
		if !found {
			slug = s.cfg.Provider.Plans[0]
		}
		x := &addon{
			ID: uuid.NewString(), Name: in.Name, Service: service, Plan: slug, App: a, State: "provisioning",
			Config: map[string]string{}, CreatedAt: time.Now().UTC(),
		}
		if x.Name == "" {
			x.Name = service + "-" + []string{"clean", "calm", "deep", "swift"}[a.Version%4] + "-" + random(5)
		}
		s.addons = append(s.addons, x) // the provider's worker may call before it has answered us
		answer, status := s.provision(r.Context(), x)
		if status >= 300 {
			x.Gone = true
			fail(w, http.StatusUnprocessableEntity, "provider_error", text(answer, "The add-on provider refused."))
			return
		}
		x.Message = text(answer, "")
		if status != http.StatusAccepted && x.State == "provisioning" {
			x.State = "provisioned"
		}
		s.attach(x, a, in.Attachment.Name, "")
		reply(w, http.StatusCreated, s.addonJSON(x))
	})(w, r)
}

func cut(plan string) (service, slug string, found bool) {
	for i := range plan {
		if plan[i] == ':' {
			return plan[:i], plan[i+1:], true
		}
	}
	return plan, "", false
}

func text(answer map[string]any, fallback string) string {
	if m, ok := answer["message"].(string); ok && m != "" {
		return m
	}
	return fallback
}

// provision asks the provider for a resource, with a fresh grant.
func (s *Sim) provision(ctx context.Context, x *addon) (map[string]any, int) {
	return s.call(ctx, http.MethodPost, "", s.request(x))
}

// request is what the provider is asked for a resource with.
func (s *Sim) request(x *addon) map[string]any {
	code := uuid.NewString()
	s.grants[code] = &grant{addon: x, expires: time.Now().Add(s.cfg.GrantTTL)}
	return map[string]any{
		"uuid": x.ID, "name": x.Name, "plan": x.Plan, "region": "amazon-web-services::us-east-1",
		"callback_url": s.cfg.URL + "/addons/" + x.ID, "options": map[string]string{},
		"oauth_grant":   map[string]any{"code": code, "type": "authorization_code", "expires_at": time.Now().Add(s.cfg.GrantTTL)},
		"log_input_url": s.logInput(x), "log_drain_token": "",
	}
}

// call asks the provider. The state is not held meanwhile, since the provider may call back.
func (s *Sim) call(ctx context.Context, method, path string, body any) (map[string]any, int) {
	s.mu.Unlock()
	defer s.mu.Lock()
	answer, status := s.deliver(ctx, method, path, body)
	if s.twice.Load() {
		answer, status = s.deliver(ctx, method, path, body)
	}
	parsed := map[string]any{}
	_ = json.Unmarshal(answer, &parsed) // an empty answer says nothing
	return parsed, status
}

func (s *Sim) deliver(ctx context.Context, method, path string, body any) ([]byte, int) {
	answer, status := s.send(ctx, method, path, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, Call{At: time.Now().UTC(), Method: method, Path: path, Status: status, Answer: string(answer)})
	return answer, status
}

func (s *Sim) send(ctx context.Context, method, path string, body any) ([]byte, int) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, http.StatusInternalServerError
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.cfg.Provider.BaseURL+path, payload)
	if err != nil {
		return nil, http.StatusInternalServerError
	}
	req.SetBasicAuth(s.cfg.Provider.ID, s.cfg.Provider.Password)
	req.Header.Set("Accept", "application/vnd.heroku-addons+json; version=3")
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		s.cfg.Log.Warn("the provider did not answer", "error", err)
		return nil, http.StatusGatewayTimeout
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return answer, resp.StatusCode
}

func (s *Sim) changePlan(w http.ResponseWriter, r *http.Request) {
	var in struct{ Plan struct{ Name string } }
	ok := decode(r, &in)
	s.owner(func(w http.ResponseWriter, r *http.Request) {
		x := s.findAddon(chi.URLParam(r, "addon"), chi.URLParam(r, "app"))
		_, slug, found := cut(in.Plan.Name)
		if x == nil || !ok || !found {
			missing(w, "add_on")
			return
		}
		answer, status := s.call(r.Context(), http.MethodPut, "/"+x.ID, map[string]any{"uuid": x.ID, "plan": slug})
		if status >= 300 {
			fail(w, http.StatusUnprocessableEntity, "provider_error", text(answer, "The add-on provider refused."))
			return
		}
		x.Plan, x.Message = slug, text(answer, "")
		reply(w, 200, s.addonJSON(x))
	})(w, r)
}

func (s *Sim) destroyAddon(w http.ResponseWriter, r *http.Request) {
	s.owner(func(w http.ResponseWriter, r *http.Request) {
		x := s.findAddon(chi.URLParam(r, "addon"), chi.URLParam(r, "app"))
		if x == nil {
			missing(w, "add_on")
			return
		}
		answer, status := s.call(r.Context(), http.MethodDelete, "/"+x.ID, nil)
		if status >= 300 && status != http.StatusGone {
			fail(w, http.StatusUnprocessableEntity, "provider_error", text(answer, "The add-on provider refused."))
			return
		}
		s.remove(x)
		gone := s.addonJSON(x)
		gone["state"] = "deprovisioned"
		reply(w, 200, gone)
	})(w, r)
}

// remove ends an add-on: its attachments, and its provider's access to it.
func (s *Sim) remove(x *addon) {
	x.Gone, x.revoked = true, true
	kept := []*attachment{}
	for _, t := range s.attachments {
		if t.Addon != x {
			kept = append(kept, t)
		}
	}
	s.attachments = kept
	x.App.Version++
}
