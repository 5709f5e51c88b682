// Package partnerapi is how Heroku calls us: the Add-on Partner API, version 3, and single sign-on.
//
// Heroku delivers at least once, in any order, so every answer is a function of what is written down: the same
// request again gets the same answer. No handler calls another service; what takes time is a job.
//
// Sources: https://devcenter.heroku.com/articles/add-on-partner-api-reference and
// https://devcenter.heroku.com/articles/add-on-single-sign-on.
package partnerapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/websession"
)

// Store is what the handlers need written down. Errors carry a remora.Kind.
type Store interface {
	// ProvisionResource writes a new resource down, and the job that makes it ready. The same again changes
	// nothing and returns what is there. KindGone for an id that was removed.
	ProvisionResource(ctx context.Context, p remora.Provision, key redact.Secret, recipient string) (remora.Resource, error)
	// ChangePlan: KindNotFound, KindGone, KindInvalid for an unknown plan, KindPlanLimit for one too small.
	ChangePlan(ctx context.Context, id remora.ResourceID, slug string) (remora.Resource, error)
	// DeprovisionResource leaves a tombstone, also for an id never seen. KindGone where there is one already.
	DeprovisionResource(ctx context.Context, id remora.ResourceID) error
	// OpenSession starts a session under a token, once for each used. KindForbidden where it was used
	// before, or the resource is not, or no longer, here.
	OpenSession(ctx context.Context, s remora.Session, token, used string) error
}

// Config of the handlers.
type Config struct {
	Store    Store
	ID       string        // the manifest's id, which is the Basic-auth user
	Password redact.Secret // the manifest's api.password
	SSOSalt  redact.Secret // the manifest's api.sso_salt
	// NewKey makes what a new resource's archives are sealed to: the key and its public half.
	NewKey func() (key redact.Secret, recipient string, err error)
	Cookie websession.Cookie
	Home   string // where a sign-on leads
	Now    func() time.Time
	Log    *slog.Logger
}

// API is the handlers.
type API struct{ Config }

// New returns the handlers.
func New(cfg Config) (*API, error) {
	if cfg.Store == nil || cfg.ID == "" || cfg.Password.IsZero() || cfg.SSOSalt.IsZero() || cfg.NewKey == nil || cfg.Now == nil || cfg.Log == nil || cfg.Home == "" {
		return nil, errors.New("partnerapi: a dependency or setting is missing")
	}
	return &API{cfg}, nil
}

// Routes adds the handlers to a router.
func (a *API) Routes(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(a.authenticate)
		r.Post(resourcesPath, a.provision)
		r.Put(resourcesPath+"/{uuid}", a.changePlan)
		r.Delete(resourcesPath+"/{uuid}", a.deprovision)
	})
	r.Post(signOnPath, a.signOn)
}

// authenticate compares digests, in a time that tells neither length nor content.
func (a *API) authenticate(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(a.ID + "\x00" + a.Password.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(user + "\x00" + password))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="add-on partner api"`)
			a.answer(w, http.StatusUnauthorized, message{Message: "The add-on's id or password is wrong."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// provisionRequest is what we read of Heroku's; other fields may come and go. callback_url is none of them: we
// know Heroku's address, and call no other that a request names.
type provisionRequest struct {
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Plan   string `json:"plan"`
	Region string `json:"region"`
	// LogInput is where the app's log takes lines, since the manifest requires log_input.
	LogInput redact.Secret `json:"log_input_url"`
	Grant    *struct {
		Code      redact.Secret `json:"code"`
		ExpiresAt string        `json:"expires_at"`
	} `json:"oauth_grant"`
}

// provision checks what must be right. When the grant expires is good to know and no more: Heroku's token
// endpoint is the judge of that, so a time in another form does not cost the customer the add-on.
func (in provisionRequest) provision() (remora.Provision, error) {
	id, err := remora.ParseResourceID(in.UUID)
	if err != nil || !printable(in.Name) || !printable(in.Region) {
		return remora.Provision{}, remora.Invalid("The request needs a uuid, and a name and region of at most %d bytes.", maxText)
	}
	plan, err := remora.PlanOf(in.Plan)
	if err != nil {
		return remora.Provision{}, err
	}
	p := remora.Provision{ID: id, Name: in.Name, Plan: plan.Slug, Region: in.Region, LogInput: in.LogInput}
	if in.Grant != nil {
		p.Grant = in.Grant.Code
		if at, err := time.Parse(time.RFC3339, in.Grant.ExpiresAt); err == nil {
			p.GrantExpiresAt = at
		}
	}
	return p, nil
}

type message struct {
	ID      string `json:"id,omitempty"`
	Message string `json:"message"`
}

// maxText bounds a name, a region, a user or an e-mail address as Heroku sends it.
const maxText = 256

// printable tells whether a text is short and of characters that a database and a page can hold.
func printable(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func (a *API) provision(w http.ResponseWriter, r *http.Request) {
	var in provisionRequest
	if err := read(r, &in); err != nil {
		a.refuse(w, r, err)
		return
	}
	p, err := in.provision()
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	key, recipient, err := a.NewKey()
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	res, err := a.Store.ProvisionResource(r.Context(), p, key, recipient)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	a.answer(w, http.StatusAccepted, message{
		ID:      string(res.ID),
		Message: "Remora is being set up. When it is ready, open it with heroku addons:open: the page leads to the first backup, step by step.",
	})
}

func (a *API) changePlan(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Plan string `json:"plan"`
	}
	if err := read(r, &in); err != nil {
		a.refuse(w, r, err)
		return
	}
	id, err := remora.ParseResourceID(chi.URLParam(r, "uuid"))
	if err != nil {
		a.refuse(w, r, remora.NotFound("add-on"))
		return
	}
	res, err := a.Store.ChangePlan(r.Context(), id, in.Plan)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	said := "The plan is now " + res.Plan + ". A backup that is running ends under the old one."
	if plan, err := remora.PlanOf(res.Plan); err == nil && !res.ShrinksAt.IsZero() {
		said += " " + plan.Shrinks(res.ShrinksAt)
	}
	a.answer(w, http.StatusOK, message{Message: said})
}

func (a *API) deprovision(w http.ResponseWriter, r *http.Request) {
	id, err := remora.ParseResourceID(chi.URLParam(r, "uuid"))
	if err != nil {
		a.refuse(w, r, remora.NotFound("add-on"))
		return
	}
	if err := a.Store.DeprovisionResource(r.Context(), id); err != nil {
		a.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// read decodes one JSON object. Of a key that comes twice the last counts, as everywhere in encoding/json.
func read(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return remora.Invalid("The request is larger than %d bytes.", large.Limit)
	case err != nil: // not wrapped: it may quote the grant
		return remora.Invalid("The request is not a JSON object of the expected form.")
	}
	return nil
}

var statuses = map[remora.Kind]int{
	remora.KindInvalid: http.StatusUnprocessableEntity, remora.KindPlanLimit: http.StatusUnprocessableEntity, remora.KindConflict: http.StatusUnprocessableEntity,
	remora.KindNotFound: http.StatusNotFound, remora.KindGone: http.StatusGone, remora.KindForbidden: http.StatusForbidden,
}

// refuse is the one place where an error becomes an answer to Heroku.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, known := statuses[remora.KindOf(err)]
	if !known {
		status = http.StatusInternalServerError
		a.Log.ErrorContext(r.Context(), "partner request failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
	a.answer(w, status, message{Message: remora.Public(err, "Something went wrong on our side. Heroku will try again; request "+httpserver.RequestID(r.Context())+".")})
}

func (a *API) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the connection may be gone
}
