package websession_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/websession"
)

func set(t *testing.T, do func(http.ResponseWriter)) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	do(w)
	k, err := http.ParseSetCookie(w.Header().Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCookie(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []websession.Cookie{{}, {Plain: true}} {
		k := set(t, func(w http.ResponseWriter) { c.Set(w, token) })
		// A browser takes a name with __Host- only with Secure, Path=/ and no Domain.
		if k.Secure == c.Plain || strings.HasPrefix(k.Name, "__Host-") == c.Plain || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode ||
			k.Path != "/" || k.Domain != "" || k.MaxAge != 0 || !k.Expires.IsZero() {
			t.Errorf("%+v: %s", c, k)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: k.Name, Value: k.Value})
		if got := c.Token(r); got != token {
			t.Errorf("%q", got)
		}
		if gone := set(t, c.Clear); gone.Name != k.Name || gone.MaxAge >= 0 || gone.Path != "/" {
			t.Error(gone)
		}
	}
}

// A value for one page goes to that page alone, and away with its reading.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []websession.Cookie{{}, {Plain: true}} {
		k := set(t, func(w http.ResponseWriter) { c.SetOnce(w, "word", "x", "/a/b") })
		if k.Secure == c.Plain || strings.HasPrefix(k.Name, "__Secure-") == c.Plain || !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/a/b" || k.MaxAge != 60 {
			t.Errorf("%+v: %s", c, k)
		}
		r := httptest.NewRequest(http.MethodGet, "/a/b", nil)
		r.AddCookie(&http.Cookie{Name: k.Name, Value: k.Value})
		gone := set(t, func(w http.ResponseWriter) {
			if got := c.TakeOnce(w, r, "word", "/a/b"); got != "x" {
				t.Errorf("%q", got)
			}
		})
		if gone.Name != k.Name || gone.MaxAge >= 0 || gone.Path != "/a/b" || gone.Value != "" {
			t.Error(gone)
		}
		w := httptest.NewRecorder()
		if got := c.TakeOnce(w, httptest.NewRequest(http.MethodGet, "/a/b", nil), "word", "/a/b"); got != "" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%q %v", got, w.Header())
		}
	}
}

func TestWhatIsNoToken(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"", "__Host-remora=", "__Host-remora=x", "__Host-remora=" + strings.Repeat("a", 8<<10), "__Host-remora=" + strings.Repeat("g", 64),
		"remora=" + strings.Repeat("a", 64), "__host-remora=" + strings.Repeat("a", 64), "__Host-remora=" + strings.Repeat("é", 32),
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", header)
		if got := (websession.Cookie{}).Token(r); got != "" {
			t.Errorf("%.30s: %q", header, got)
		}
	}
}
