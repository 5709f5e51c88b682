package herokusim

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// oauthToken exchanges a grant, once, or refreshes.
func (s *Sim) oauthToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.ParseForm(); err != nil || r.PostForm.Get("client_secret") != s.cfg.Provider.ClientSecret {
		refuse(w, http.StatusUnauthorized, "invalid_client", "Unknown client.")
		return
	}
	var x *addon
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		s.exchanges++
		g := s.grants[r.PostForm.Get("code")]
		if g == nil || g.used || g.addon.Gone || time.Now().After(g.expires) {
			refuse(w, http.StatusBadRequest, "invalid_grant", "Unknown or expired grant.")
			return
		}
		g.used = true
		x = g.addon
	case "refresh_token":
		x = s.refresh[r.PostForm.Get("refresh_token")]
		if x == nil || x.revoked {
			refuse(w, http.StatusBadRequest, "invalid_grant", "The authorization was revoked.")
			return
		}
		s.refreshes++
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "Unknown grant type.")
		return
	}
	access, again := "HRKU-"+uuid.NewString(), uuid.NewString()
	if old := r.PostForm.Get("refresh_token"); old != "" {
		if s.cfg.KeepRefresh {
			again = old
		} else {
			delete(s.refresh, old)
		}
	}
	s.tokens[access] = &token{addon: x, expires: time.Now().Add(s.cfg.TokenTTL)}
	s.refresh[again] = x
	reply(w, 200, object{
		"access_token": access, "refresh_token": again, "expires_in": int(s.cfg.TokenTTL.Seconds()),
		"token_type": "Bearer", "user_id": uuid.NewString(), "session_nonce": nil,
	})
}

// refuse answers in OAuth's own shape (https://www.rfc-editor.org/rfc/rfc6749#section-5.2); Heroku's is not published.
func refuse(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, object{"error": code, "error_description": message})
}
