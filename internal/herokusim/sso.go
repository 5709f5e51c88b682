package herokusim

import (
	"crypto/sha1" //nolint:gosec // Heroku's older token is SHA-1
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
)

// userID is the customer's, as Heroku would send it.
const userID = "7d2a4f4e-9a55-4d3c-8f0e-2f6f3c1f0a11"

var signOnForm = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Heroku (simulated): sign on</title>
<body style="font:16px sans-serif;max-width:36rem;margin:4rem auto">
<h1>Heroku, simulated</h1><p>Heroku would send you on to the add-on now, signed on as {{.Email}}.</p>
<form id="sso" method="post" action="{{.Action}}">{{range $k, $v := .Fields}}<input type="hidden" name="{{$k}}" value="{{$v}}">{{end}}
<button>Open the add-on</button></form><script>document.getElementById("sso").submit()</script></body></html>`))

// signOnPage posts the signed form to the provider, as Heroku's does.
func (s *Sim) signOnPage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	x := s.findAddon(chi.URLParam(r, "addon"), chi.URLParam(r, "app"))
	s.mu.Unlock()
	if x == nil {
		http.Error(w, "There is no such add-on any more.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = signOnForm.Execute(w, map[string]any{"Email": s.cfg.Email, "Action": s.cfg.Provider.SSOURL, "Fields": s.SignOn(x.ID, time.Now())})
}

// SignOn returns the fields of a sign-on form for a resource.
func (s *Sim) SignOn(resource string, at time.Time) map[string]string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	base := resource + ":" + s.cfg.Provider.SSOSalt + ":" + stamp
	old := sha1.Sum([]byte(base)) //nolint:gosec // as above
	scoped := sha256.Sum256([]byte(base + ":" + userID + ":" + s.cfg.Email))
	return map[string]string{
		"resource_id": resource, "timestamp": stamp, "user_id": userID, "email": s.cfg.Email, "app": "", "context_app": "",
		"resource_token": hex.EncodeToString(old[:]), "user_scoped_resource_token": hex.EncodeToString(scoped[:]),
		"id": resource, "token": hex.EncodeToString(old[:]), "nav-data": "",
	}
}
