package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

const apiTokens = "/dashboard/settings/tokens"

func TestATokenIsShownOnceListedAndRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t)
	says(t, n.do(t, "GET", "/dashboard/settings").body, "No program uses the API", apiTokens)
	a := n.post(t, apiTokens, url.Values{"name": {" nightly  <deploys> "}, "scope": {"operate"}, "days": {"30"}})
	_, after, found := strings.Cut(a.body, `<pre class="link">`)
	token, _, _ := strings.Cut(after, "<")
	if !found || !remora.IsAPISecret(token) || a.StatusCode != http.StatusOK {
		t.Fatal(a.Status, a.body)
	}
	says(t, a.body, "It is shown this once", "Authorization: Bearer "+token, "nightly &lt;deploys&gt;")
	id, used, err := n.UseAPIToken(t.Context(), token, "203.0.113.7")
	if err != nil || id != n.id || used.Scope != remora.ScopeOperate {
		t.Fatal(id, used, err)
	}
	page := n.do(t, "GET", apiTokens).body
	says(t, page, "nightly &lt;deploys&gt;", "remora_…"+token[len(token)-4:], "from 203.0.113.7", "by owner@example.com", "in 30 days", "not", token)
	says(t, n.do(t, "GET", "/dashboard/settings").body, "nightly &lt;deploys&gt;", "may operate", "last used", "not", token)

	a = n.post(t, apiTokens+"/"+string(used.ID)+"/revoke", nil)
	if a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	says(t, n.do(t, "GET", apiTokens).body, "None yet.")
	if _, _, err := n.UseAPIToken(t.Context(), token, "203.0.113.7"); remora.KindOf(err) != remora.KindUnauthorized || !strings.Contains(err.Error(), "was revoked") {
		t.Error(err)
	}
	if !n.logged(t, "make api token", "nightly <deploys> (operate)") || !n.logged(t, "revoke api token", "nightly <deploys>") {
		t.Error("it is not written down")
	}
}

func TestATokenThatCannotBeMadeIsShownAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t)
	n.post(t, apiTokens, url.Values{"name": {"deploys"}, "scope": {"read"}})
	for _, c := range []struct {
		name, scope, days, says string
		status                  int
	}{
		{"", "read", "7", "Give the token a name", http.StatusUnprocessableEntity},
		{"a\x00b", "read", "7", "letters, digits", http.StatusUnprocessableEntity},
		{strings.Repeat("x", 61), "read", "7", "at most 60", http.StatusUnprocessableEntity},
		{"new", "owner", "7", "what the token may do", http.StatusUnprocessableEntity},
		{"new", "read", "367", "from 1 to 366 days", http.StatusUnprocessableEntity},
		{"new", "read", "-1", "from 1 to 366 days", http.StatusUnprocessableEntity},
		{"deploys", "admin", "0", "There is a token of that name", http.StatusConflict},
	} {
		a := n.post(t, apiTokens, url.Values{"name": {c.name}, "scope": {c.scope}, "days": {c.days}})
		if a.StatusCode != c.status {
			t.Errorf("%+v: %s", c, a.Status)
		}
		says(t, a.body, c.says, `aria-invalid="true"`, "not", `class="link"`)
	}
}
