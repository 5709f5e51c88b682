package dashboard_test

import (
	"net/http"
	"testing"
	"time"
)

// A download in a hundred pieces is one use of the link a minute, from wherever, so that nobody fills the log with them.
func TestUsesOfALinkAreWrittenDownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	uses := func() (rows int) {
		t.Helper()
		tx, err := s.Pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context()) //nolint:errcheck // it only reads
		if _, err := tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM audit_log WHERE action = 'use link'").Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for _, c := range []struct {
		ahead time.Duration
		from  string
		rows  int
	}{{0, "192.0.2.1", 1}, {30 * time.Second, "192.0.2.1", 1}, {30 * time.Second, "192.0.2.2", 1}, {2 * time.Minute, "192.0.2.2", 2}} {
		s.ahead = c.ahead
		for range 10 {
			if a := s.send(t, "GET", at, "Range", "bytes=0-0", "X-Forwarded-For", c.from); a.StatusCode != http.StatusPartialContent {
				t.Fatal(a.Status)
			}
		}
		if got := uses(); got != c.rows {
			t.Errorf("%v later from %s: %d uses", c.ahead, c.from, got)
		}
	}
}
