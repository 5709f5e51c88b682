// Package websession is the cookie between a sign-on and the pages: it carries a random token, of which the
// store keeps the hash.
package websession

import (
	"encoding/hex"
	"net/http"
)

// Cookie is how the token travels.
type Cookie struct {
	// Plain is for the demo, which serves http on loopback: the name prefix __Host- demands https.
	Plain bool
}

func (c Cookie) name() string {
	if c.Plain {
		return "remora"
	}
	return "__Host-remora"
}

// Set gives the browser a token. It ends with the browser, and earlier by the store's rules. Lax, because the
// visitor comes from Heroku by a form post and a redirect, which Strict would leave without the cookie.
func (c Cookie) Set(w http.ResponseWriter, token string) { c.write(w, token, 0) }

// Clear takes the token away.
func (c Cookie) Clear(w http.ResponseWriter) { c.write(w, "", -1) }

func (c Cookie) write(w http.ResponseWriter, token string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure but for the demo, which has no https
		Name: c.name(), Value: token, Path: "/", MaxAge: age, HttpOnly: true, Secure: !c.Plain, SameSite: http.SameSiteLaxMode,
	})
}

// Token returns the token that a request brings, or "" where it brings none, or what no sign-on ever gave: a
// token is 256 bits in hexadecimal. The store knows which ones are good.
func (c Cookie) Token(r *http.Request) string {
	k, err := r.Cookie(c.name())
	if err != nil || len(k.Value) != 64 {
		return ""
	}
	if _, err := hex.DecodeString(k.Value); err != nil {
		return ""
	}
	return k.Value
}

// SetOnce gives the browser a value that one page, at path, reads once and within a minute.
func (c Cookie) SetOnce(w http.ResponseWriter, name, value, path string) {
	c.once(w, name, value, path, 60)
}

// TakeOnce returns that value and takes it away; "" where there is none.
func (c Cookie) TakeOnce(w http.ResponseWriter, r *http.Request, name, path string) string {
	k, err := r.Cookie(c.onceName(name))
	if err != nil {
		return ""
	}
	c.once(w, name, "", path, -1)
	return k.Value
}

func (c Cookie) onceName(name string) string {
	if c.Plain {
		return name
	}
	return "__Secure-" + name
}

func (c Cookie) once(w http.ResponseWriter, name, value, path string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure but for the demo, which has no https
		Name: c.onceName(name), Value: value, Path: path, MaxAge: age, HttpOnly: true, Secure: !c.Plain, SameSite: http.SameSiteStrictMode,
	})
}
