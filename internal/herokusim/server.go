package herokusim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// Handler serves everything: both APIs, OAuth, sign-on, the control calls and a page for people.
func (s *Sim) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(s.log)
	r.Get("/", s.page)
	r.Get("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // browsers ask
	r.Get("/sso/apps/{app}/addons/{addon}", s.signOnPage)
	r.Post("/oauth/token", s.oauthToken)
	r.Post("/logs", s.takeLog)
	r.Get("/log-sessions/{session}", s.showLog) // opened by its address, as Logplex's are
	r.Route("/sim", s.control)
	r.Group(func(r chi.Router) {
		r.Use(s.authenticate)
		s.platform(r)
		s.data(r)
	})
	unknown := func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.unknown = append(s.unknown, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		s.cfg.Log.Warn("call that the simulator does not know", "method", r.Method, "path", r.URL.Path)
		fail(w, http.StatusNotFound, "not_found", "The simulator does not know this call.")
	}
	r.NotFound(unknown)
	r.MethodNotAllowed(unknown)
	return r
}

func (s *Sim) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.cfg.Log.Debug("call", "method", r.Method, "path", r.URL.Path)
		next.ServeHTTP(w, r)
	})
}

// principal is who calls: an account, or an add-on's own token.
type principal struct {
	email string
	addon *addon
}

type principalHandler func(w http.ResponseWriter, r *http.Request, p principal)

func (s *Sim) who(r *http.Request) (principal, bool) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, ok := r.BasicAuth(); ok { // the Data API's way
		bearer = password
	}
	switch bearer {
	case "":
		return principal{}, false
	case s.cfg.APIKey:
		return principal{email: s.cfg.Email}, true
	case s.cfg.ServiceToken:
		return principal{email: s.cfg.ServiceEmail}, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[bearer]
	if t == nil || t.addon.revoked || time.Now().After(t.expires) {
		return principal{}, false
	}
	return principal{addon: t.addon}, true
}

func (s *Sim) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.who(r); !ok {
			fail(w, http.StatusUnauthorized, "unauthorized", "Invalid credentials provided.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// owner allows the customer only.
func (s *Sim) owner(h http.HandlerFunc) http.HandlerFunc {
	return s.as(func(w http.ResponseWriter, r *http.Request, p principal) {
		if p.email != s.cfg.Email {
			forbidden(w)
			return
		}
		h(w, r)
	})
}

// as runs a handler with the state held.
func (s *Sim) as(h principalHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, ok := s.who(r)
		if !ok {
			fail(w, http.StatusUnauthorized, "unauthorized", "Invalid credentials provided.")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		h(w, r, p)
	}
}

// sees tells whether somebody may look at an app at all.
func (s *Sim) sees(p principal, a *app) bool {
	switch {
	case p.addon != nil:
		return p.addon.App == a
	case p.email == s.cfg.Email:
		return true
	}
	return a.Collaborators[p.email]
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("RateLimit-Remaining", "4500")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, id, message string) {
	reply(w, status, map[string]string{"id": id, "message": message})
}

func forbidden(w http.ResponseWriter) {
	fail(w, http.StatusForbidden, "forbidden", "You do not have access to this.")
}

// missing names the kind of thing, which the CLI looks at.
func missing(w http.ResponseWriter, resource string) {
	reply(w, http.StatusNotFound, map[string]string{"id": "not_found", "resource": resource, "message": "Couldn't find that " + resource + "."})
}

func decode(r *http.Request, into any) bool {
	return json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(into) == nil
}
