package dashboard

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// TokenStore is what the page about tokens of the API needs.
type TokenStore interface {
	APITokens(ctx context.Context, id remora.ResourceID) ([]remora.APIToken, error)
	MakeAPIToken(ctx context.Context, id remora.ResourceID, n remora.NewAPIToken, person string) (remora.APIToken, redact.Secret, error)
	RevokeAPIToken(ctx context.Context, id remora.ResourceID, token remora.APITokenID, person string) error
}

// apiTokens is the address of the page.
const apiTokens = Home + "/settings/tokens"

// tokensPage is who may use the API.
type tokensPage struct {
	Frame  frame
	Now    time.Time
	Tokens []remora.APIToken
	Full   bool // there are as many as there may be
	Scopes []remora.APIScope
	API    string // where it is

	Name, Scope, Days string // what was typed, where it is to be mended
	Wrong             string
	Made              *remora.APIToken // the one that was just made; nil where none was
	Secret            string           // and itself, this once
}

func (p *Pages) tokenRoutes(r chi.Router) {
	r.Get(apiTokens, p.with(p.tokens))
	r.Post(apiTokens, p.with(p.makeToken))
	r.Post(apiTokens+"/{apitoken}/revoke", p.with(p.revokeToken))
}

func (p *Pages) tokensPage(r *http.Request, s remora.Session) (tokensPage, error) {
	page := tokensPage{Now: p.Now(), Scopes: remora.APIScopes(), API: p.BaseURL + "/api/v1", Scope: string(remora.ScopeRead), Days: "90"}
	resource, err := p.Store.Resource(r.Context(), s.Resource)
	if err != nil {
		return page, err
	}
	page.Frame = frame{"API tokens", "settings", resource}
	page.Tokens, err = p.Store.APITokens(r.Context(), s.Resource)
	page.Full = len(page.Tokens) >= remora.MaxAPITokens
	return page, err
}

func (p *Pages) tokens(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.tokensPage(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "apitokens.html", page)
}

// makeToken makes a token. What cannot be made is shown again as it was typed, with what is wrong. The token is on the page
// that answers, and on no other.
func (p *Pages) makeToken(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	name, scope, days := typed(r, "name"), typed(r, "scope"), typed(r, "days")
	n, failed := remora.ParseAPIToken(name, scope, days)
	var made remora.APIToken
	var secret redact.Secret
	if failed == nil {
		made, secret, failed = p.Store.MakeAPIToken(r.Context(), s.Resource, n, s.Person())
	}
	status, known := httpserver.Status(failed)
	if failed != nil && (!known || status == http.StatusGone) {
		return failed
	}
	page, err := p.tokensPage(r, s)
	if err != nil {
		return err
	}
	if failed != nil {
		page.Name, page.Scope, page.Days, page.Wrong = name, scope, days, remora.Public(failed, "")
		return p.render(w, status, "apitokens.html", page)
	}
	page.Made, page.Secret = &made, secret.Reveal()
	return p.render(w, http.StatusOK, "apitokens.html", page)
}

func (p *Pages) revokeToken(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := remora.KnownID[remora.APITokenID](chi.URLParam(r, "apitoken"), "token")
	if err != nil {
		return err
	}
	if err := p.Store.RevokeAPIToken(r.Context(), s.Resource, id, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, apiTokens, http.StatusSeeOther)
	return nil
}

// tokensPart is what the settings page says of tokens.
func tokensPart(p *Pages, r *http.Request, s remora.Session) (*part, error) {
	page, err := p.tokensPage(r, s)
	return &part{"tokens", "API tokens", "tokenspart", page}, err
}
