package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// removed is the end of the address of the receipt of an add-on that had a backup, from the last word to its channels.
func (s *site) removed(t *testing.T, done bool) string {
	t.Helper()
	ctx := t.Context()
	n := s.tenant(t, shop())
	n.keep(t)
	if err := n.SaveLogInput(ctx, n.id, redact.New("https://token:t.1@1.us.logplex.io/logs")); err != nil {
		t.Fatal(err)
	}
	if err := n.DeprovisionResource(ctx, n.id); err != nil {
		t.Fatal(err)
	}
	if err := n.PlanNews(ctx, n.id); err != nil {
		t.Fatal(err)
	}
	all, err := n.Deliveries(ctx, n.id)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	m, err := n.ToDeliver(ctx, all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	token := ""
	for _, x := range m.News {
		token += x.Receipt.Reveal()
	}
	if !done {
		return token
	}
	_, err = n.Pool.Exec(ctx, "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE removals SET key_destroyed_at = now() WHERE resource_id = '"+string(n.id)+"'; COMMIT")
	if err == nil {
		err = n.SaveDeleted(ctx, n.id, postgres.Deleted{Objects: 4, Bytes: 1_130_000, Uploads: 1})
	}
	if err == nil {
		err = n.ForgetResource(ctx, n.id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAReceiptNeedsNoSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	begun := s.send(t, "GET", "/receipts/"+s.removed(t, false))
	says(t, begun.body, "goes step by step", "not yet; by 20", "write to us before", "4.2 MB", "in 2 objects", "not", "remora-backup-clean-1", "postgresql-curved-1", "owner@example.com")
	done := s.send(t, "GET", "/receipts/"+s.removed(t, true))
	says(t, done.body, "Nothing is left of this add-on", "in 4 objects", "and what was on its way there", "An export that you kept is whole", "not", "not yet", "write to us", "remora-backup-clean-1", "postgresql-curved-1")
	if begun.StatusCode != http.StatusOK || !strings.Contains(begun.Header.Get("Cache-Control"), "no-store") {
		t.Error(begun.Status, begun.Header)
	}
	for _, token := range []string{"x", remora.NewToken()} {
		if a := s.send(t, "GET", "/receipts/"+token); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", token, a.Status)
		}
	}
	says(t, s.tenant(t, shop()).do(t, "GET", "/dashboard/settings/danger").body, "Remove the add-on", "within 30 days nothing is left", "a receipt")
}
