package partnerapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// A plan goes up and down as Heroku asks: what would break says what to change and changes nothing, what shrinks says when.
func TestPlanGoesUpAndDown(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := newID()
	if w := s.call(http.MethodPost, "/heroku/resources", provisionBody(id)); w.Code != http.StatusAccepted {
		t.Fatal(w.Code, w.Body)
	}
	found := func(names ...string) {
		t.Helper()
		var all []postgres.Found
		for _, n := range names {
			all = append(all, postgres.Found{AddonID: n, Addon: n, OwnerApp: "shop", Attachment: strings.ToUpper(n), Credential: "remora_ro"})
		}
		if err := s.SaveFound(t.Context(), remora.ResourceID(id), "helper", all); err != nil {
			t.Fatal(err)
		}
	}
	change := func(plan string, status int, words ...string) {
		t.Helper()
		w := s.call(http.MethodPut, "/heroku/resources/"+id, `{"plan":"`+plan+`"}`)
		text := said(t, w)
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("%s: no %q in %q", plan, word, text)
			}
		}
		if w.Code != status {
			t.Errorf("%s: %d %q", plan, w.Code, text)
		}
	}
	plan := func(want, from string) {
		t.Helper()
		r, err := s.Resource(t.Context(), remora.ResourceID(id))
		if err != nil || r.Plan != want || r.ShrinksFrom != from {
			t.Errorf("%+v %v", r, err)
		}
	}
	found("db-1")
	change("hammerhead", http.StatusOK, "hammerhead")
	found("db-1", "db-2", "db-3")
	change("mako", http.StatusUnprocessableEntity, "3 databases", "heroku addons:detach")
	plan("hammerhead", "")
	found("db-1", "db-2")
	change("mako", http.StatusOK, "The plan is now mako", "35 days", "every 6 hours", "Until ")
	change("mako", http.StatusOK, "35 days") // delivered twice: the same answer
	plan("mako", "hammerhead")
	if n := s.count(t, "SELECT count(*) FROM events WHERE kind = 'plan_shrinks'"); n != 1 {
		t.Errorf("told %d times", n)
	}
	change("great-white", http.StatusOK, "great-white")
	plan("great-white", "")
}
