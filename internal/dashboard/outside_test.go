package dashboard_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var badgeAt = regexp.MustCompile(`http://[^"<]*/badge/[0-9A-Za-z_-]{20,}\.svg`)

func TestABadgeShowsTheStateAndNoName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.keep(t)
	page := databaseOf(n, t)
	if a := n.submit(t, page+"/badge", "do", "make"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != page+"#freshness" {
		t.Fatal(a.Status, a.body)
	}
	first := badgeAt.FindString(n.do(t, "GET", page).body)
	s.ahead = 20 * time.Minute
	a := s.send(t, "GET", first)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "image/svg+xml" || a.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Error(a.Status, a.Header)
	}
	says(t, a.body, "fresh, 20 min old", "not", "postgresql-curved-1", "shop", "helper", string(n.id))
	n.submit(t, page+"/badge", "do", "make", "named", "on")
	second := badgeAt.FindString(n.do(t, "GET", page).body)
	if old := s.send(t, "GET", first); old.StatusCode != http.StatusNotFound {
		t.Error("its old address still opens it", old.Status)
	}
	s.ahead = 9 * 24 * time.Hour
	says(t, s.send(t, "GET", second).body, "postgresql-curved-1 backup", "stale, 9 days old")
	s.ahead = 0
	n.submit(t, page+"/badge", "do", "remove")
	if old := s.send(t, "GET", second); old.StatusCode != http.StatusNotFound {
		t.Error("it is there after it was removed", old.Status)
	}
}

func TestAPingIsSetAndItsAddressIsNotShownAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	page := databaseOf(n, t)
	for _, bad := range []string{"", "http://hc-ping.com/5e3d-secret", "hc-ping.com/5e3d-secret", "https://hc-ping.com/5e3d-secret#x"} {
		if a := n.submit(t, page+"/ping", "do", "save", "address", bad); a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%q: %s", bad, a.Status)
		}
	}
	if a := n.submit(t, page+"/ping", "do", "save", "address", "https://hc-ping.com/5e3d-secret", "starts", "on"); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
	body := n.do(t, "GET", page).body
	says(t, body, "we call <bdi>https://hc-ping.com/…</bdi>", "with /start when one begins", "It was not called yet")
	if strings.Contains(body, "5e3d-secret") {
		t.Error("the address is shown")
	}
	n.keep(t)
	n.submit(t, page+"/ping", "do", "remove")
	says(t, n.do(t, "GET", page).body, "Have your own watch called")
}
