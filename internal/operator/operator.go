// Package operator is the pages of whoever runs the service: how it stands, what is stuck, one add-on without its data, and
// River's own pages about the queue. They are off unless a password is set, know nothing of customers' sessions, and only
// read: no request of theirs but GET and HEAD is answered.
package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Store is what the pages need.
type Store interface {
	ServiceView(ctx context.Context) (remora.ServiceView, error)
	FindResources(ctx context.Context, words string) ([]remora.Resource, error)
	TenantView(ctx context.Context, id remora.ResourceID, from string) (remora.TenantView, error)
}

// Config of the pages.
type Config struct {
	Store    Store
	Password redact.Secret // of at least 20 characters; where it is empty there are no pages
	Queue    http.Handler  // River's pages, which expect to be at Home + "/queue"
	Plain    bool          // the service is reached without https, as in the demo
	Log      *slog.Logger
	Now      func() time.Time // default time.Now
}

// Pages are the handlers.
type Pages struct {
	Config
	templates *template.Template
	want      [sha256.Size]byte

	mu    sync.Mutex
	since time.Time      // when wrong was begun
	wrong map[string]int // wrong passwords within a minute, by where they came from
}

// Home is where the pages begin.
const Home = "/operator"

//go:embed *.html
var files embed.FS

// New returns the handlers.
func New(cfg Config) (*Pages, error) {
	if cfg.Store == nil || cfg.Queue == nil || cfg.Log == nil || cfg.Password.IsZero() {
		return nil, errors.New("operator: a dependency or the password is missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"length":  func(d time.Duration) string { return d.Round(time.Second).String() },
		"since":   func(now, t time.Time) time.Duration { return now.Sub(t) },
		"counted": countedBy, "tone": toneOf, "bytes": remora.Bytes,
	}).ParseFS(files, "*.html")
	return &Pages{Config: cfg, templates: t, want: sha256.Sum256([]byte(cfg.Password.Reveal())), wrong: map[string]int{}}, err
}

// Routes adds the handlers to a router.
func (p *Pages) Routes(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(p.signedOn, onlyRead)
		r.HandleFunc(Home, p.with(p.service))
		r.HandleFunc(Home+"/find", p.with(p.find))
		r.HandleFunc(Home+"/resources/{resource}", p.with(p.tenant))
		queue := withheld(loosened(p.Queue))
		r.Handle(Home+"/queue", queue)
		r.Handle(Home+"/queue/*", queue)
	})
}

// mostWrong is how many wrong passwords may come from one address within a minute; what comes then is not looked at.
// mostRemembered is how many addresses are remembered for it: where there are more, each of those is stopped at once, and
// nobody else is, so that no crowd shuts the operator out.
const (
	mostWrong      = 10
	mostRemembered = 10_000
)

// signedOn lets through who knows the password, over https. The name that is given beside it is written into the log.
func (p *Pages) signedOn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.Plain && r.Header.Get("X-Forwarded-Proto") != "https" { // Heroku's router says how it was asked
			http.Error(w, "these pages are for https alone", http.StatusForbidden)
			return
		}
		from := middleware.GetClientIP(r.Context())
		network := httprate.CanonicalizeIP(from) // of IPv6 the /64, which is one customer's
		if !p.mayTry(network) {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "too many wrong passwords; try again in a minute", http.StatusTooManyRequests)
			return
		}
		name, password, given := r.BasicAuth()
		got := sha256.Sum256([]byte(password))
		if subtle.ConstantTimeCompare(got[:], p.want[:]) != 1 {
			if given {
				p.noteWrong(network)
				p.Log.WarnContext(r.Context(), "wrong operator's password", "request_id", httpserver.RequestID(r.Context()), "from", from)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="operator", charset="UTF-8"`)
			http.Error(w, "the operator's password is needed", http.StatusUnauthorized)
			return
		}
		p.Log.InfoContext(r.Context(), "operator looked", "request_id", httpserver.RequestID(r.Context()), "operator", name, "from", from, "path", r.URL.Path)
		next.ServeHTTP(w, r)
	})
}

func (p *Pages) mayTry(from string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.Now(); now.Sub(p.since) >= time.Minute {
		p.since, p.wrong = now, map[string]int{}
	}
	wrong := p.wrong[from]
	return wrong < mostWrong && (wrong == 0 || len(p.wrong) < mostRemembered)
}

func (p *Pages) noteWrong(from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.wrong[from]; known || len(p.wrong) < mostRemembered {
		p.wrong[from]++
	}
}

// onlyRead refuses what could change something: River's pages have buttons. Our rows are the truth of what runs, and a job
// that was deleted there would be asked for anew, so there is nothing that these buttons could do well.
func onlyRead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "these pages only read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loosened lets River's pages style themselves, which they do while they run. Nothing else is looser than everywhere.
func loosened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

func (p *Pages) with(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		status, known := httpserver.Status(err)
		if !known {
			p.Log.ErrorContext(r.Context(), "operator's page failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
		}
		http.Error(w, remora.Public(err, "It failed; the log has it as request "+httpserver.RequestID(r.Context())+"."), status)
	}
}

func (p *Pages) render(w http.ResponseWriter, name string, page any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the connection may be gone
	return nil
}

func (p *Pages) service(w http.ResponseWriter, r *http.Request) error {
	v, err := p.Store.ServiceView(r.Context())
	if err != nil {
		return err
	}
	return p.render(w, "service.html", serviceOf(v))
}

// find leads to the add-on that is looked for, or lists several of that name. Where nothing is looked for, it asks.
func (p *Pages) find(w http.ResponseWriter, r *http.Request) error {
	words := strings.TrimSpace(r.URL.Query().Get("q"))
	var found []remora.Resource
	if words != "" {
		var err error
		if found, err = p.Store.FindResources(r.Context(), strings.ToLower(words)); err != nil {
			return err
		}
	}
	if len(found) == 1 {
		http.Redirect(w, r, Home+"/resources/"+string(found[0].ID), http.StatusSeeOther)
		return nil
	}
	return p.render(w, "found.html", struct {
		Frame frame
		Words string
		Found []remora.Resource
	}{frame{"Add-ons", "addons"}, words, found})
}

// tenant shows one add-on, and leaves a line in its audit log, which another site's page must not have an operator's browser do.
func (p *Pages) tenant(w http.ResponseWriter, r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return &remora.Error{Kind: remora.KindForbidden, Public: "Another site led here. Look for the add-on on the operator's pages: each look is in its audit log."}
	}
	id, err := remora.ParseResourceID(chi.URLParam(r, "resource"))
	if err != nil {
		return remora.NotFound("add-on")
	}
	name, _, _ := r.BasicAuth()
	v, err := p.Store.TenantView(r.Context(), id, fmt.Sprintf("%s, from %s", name, middleware.GetClientIP(r.Context())))
	if err != nil {
		return err
	}
	return p.render(w, "tenant.html", struct {
		Frame frame
		remora.TenantView
	}{frame{"Add-on", "addons"}, v})
}
