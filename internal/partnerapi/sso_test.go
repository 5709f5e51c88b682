package partnerapi

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The vectors were computed from Heroku's description, with neither side's code.
const (
	salt  = "s3cr3t-sso-salt"
	sha1s = "0d8cfeb19744cc2f1e7e4f24239122608b9aebfc"
	sha2s = "53c3373c3dfb0c2b086116cdb1ee6ef7b4aa83c29e9edf6484ffff5e17607934"
)

var at = time.Unix(1760000000, 0)

func form(change func(url.Values)) url.Values {
	v := url.Values{
		"resource_id": {"01234567-89ab-cdef-0123-456789abcdef"}, "timestamp": {"1760000000"},
		"user_id": {"fedcba98-7654-3210-fedc-ba9876543210"}, "email": {"owner@example.com"},
		"resource_token": {sha1s}, "user_scoped_resource_token": {sha2s}, "app": {"helper"}, "context_app": {"helper"},
	}
	if change != nil {
		change(v)
	}
	return v
}

// scoped signs another user.
func scoped(v url.Values, user, email string) {
	sum := sha256.Sum256([]byte(v.Get("resource_id") + ":" + salt + ":" + v.Get("timestamp") + ":" + user + ":" + email))
	v.Set("user_id", user)
	v.Set("email", email)
	v.Set("user_scoped_resource_token", hex.EncodeToString(sum[:]))
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s, _, err := verify(form(nil), salt, at)
	if err != nil || s.Email != "owner@example.com" || s.UserID == "" {
		t.Fatal(s, err)
	}
	s, _, err = verify(form(func(v url.Values) { v.Del("user_scoped_resource_token") }), salt, at)
	if err != nil || s.Email != "" || s.UserID != "" {
		t.Fatal("with SHA-1 alone, user and e-mail are nobody's word:", s, err)
	}
	for name, change := range map[string]func(url.Values){
		"other e-mail":          func(v url.Values) { v.Set("email", "x@example.com") },
		"other user":            func(v url.Values) { v.Set("user_id", "x") },
		"other resource":        func(v url.Values) { v.Set("resource_id", "11234567-89ab-cdef-0123-456789abcdef") },
		"other time":            func(v url.Values) { v.Set("timestamp", "1760000001") },
		"SHA-256 wrong":         func(v url.Values) { v.Set("user_scoped_resource_token", sha1s) },
		"SHA-256 cut":           func(v url.Values) { v.Set("user_scoped_resource_token", sha2s[:63]) },
		"no token":              func(v url.Values) { v.Del("user_scoped_resource_token"); v.Del("resource_token") },
		"SHA-1 wrong":           func(v url.Values) { v.Del("user_scoped_resource_token"); v.Set("resource_token", sha2s) },
		"two timestamps":        func(v url.Values) { v.Add("timestamp", "1760000000") },
		"token as an array":     func(v url.Values) { v.Set("resource_token[]", sha1s) },
		"timestamp with spaces": func(v url.Values) { v.Set("timestamp", " 1760000000") },
		"timestamp in floats":   func(v url.Values) { v.Set("timestamp", "1.76e9") },
		"negative timestamp":    func(v url.Values) { v.Set("timestamp", "-1760000000") },
		"no timestamp":          func(v url.Values) { v.Del("timestamp") },
		"user with a NUL":       func(v url.Values) { scoped(v, "u\x00", "e") },
		"e-mail not UTF-8":      func(v url.Values) { scoped(v, "u", "\xff") },
		"e-mail without end":    func(v url.Values) { scoped(v, "u", strings.Repeat("e", 300)) },
		"no resource":           func(v url.Values) { v.Del("resource_id") },
	} {
		if _, _, err := verify(form(change), salt, at); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute, 5*time.Minute + time.Second} {
		if _, _, err := verify(form(nil), salt, at.Add(off)); err == nil {
			t.Errorf("accepted %v off", off)
		}
	}
	for _, off := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		if _, _, err := verify(form(nil), salt, at.Add(off)); err != nil {
			t.Errorf("refused %v off", off)
		}
	}
	if _, _, err := verify(form(nil), "other", at); err == nil {
		t.Error("any salt does")
	}
}

// Whatever comes, nothing but a signed form gets in.
func FuzzVerify(f *testing.F) {
	f.Add(form(nil).Encode())
	f.Add("resource_id=&timestamp=&resource_token=")
	f.Add(form(func(v url.Values) { v.Del("user_scoped_resource_token"); v.Set("resource_token", sha2s) }).Encode())
	f.Fuzz(func(t *testing.T, body string) {
		v, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		s, used, err := verify(v, salt, at)
		if err != nil {
			return
		}
		if string(s.Resource) != "01234567-89ab-cdef-0123-456789abcdef" || used == "" || (v.Get("resource_token") != sha1s && v.Get("user_scoped_resource_token") != sha2s) {
			t.Errorf("%q got in as %+v", body, s)
		}
	})
}
