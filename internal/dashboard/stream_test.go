package dashboard_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// stream is one EventSource's request.
type stream struct {
	*http.Response
	lines *bufio.Scanner
	close context.CancelFunc
}

func (n *tenant) follow(t *testing.T, path string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cookie", "remora="+n.session)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	return &stream{resp, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next event; "" once there is none.
func (s *stream) next(t *testing.T) (name, data string) {
	t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		switch {
		case line == "" && name != "":
			return name, data
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:] + "\n"
		}
	}
	return "", data
}

func often(c *dashboard.Config) { c.LookAgain = 5 * time.Millisecond }

func TestAPageFollowsABackup(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t, shop())
	c := n.claim(t)
	s := n.follow(t, "/dashboard/backups/"+string(c.Backup)+"/live")
	if s.StatusCode != http.StatusOK || !strings.HasPrefix(s.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatal(s.Status, s.Header)
	}
	name, page := s.next(t)
	says(t, name+page, "page", "running", "data-live")
	if err := n.Beat(t.Context(), c, remora.Progress{State: remora.RunDumping, TablesDone: 3, TablesTotal: 8, Current: "a\nb"}); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(page, "3 of 8 tables") {
		if name, page = s.next(t); name != "page" {
			t.Fatal(name, page)
		}
	}
	if err := n.KeepBackup(t.Context(), c, remora.Kept{Rows: 1, PlainSize: 1}); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(page, "A verifier is asked within a minute") { // as of every first backup
		if name, page = s.next(t); name != "page" {
			t.Fatal(name, page)
		}
	}
	says(t, page, `<span class="state verified">verified</span>`, "data-live")
	b, err := n.Backup(t.Context(), n.id, c.Backup)
	if err != nil {
		t.Fatal(err)
	}
	n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofPassed, Rows: 1})
	last := ""
	for name == "page" {
		last = page
		name, page = s.next(t)
	}
	says(t, last, `<span class="state proven">proven</span>`, "not", "data-live")
	if name != "end" {
		t.Errorf("%q ended it", name)
	}
	if name, _ := s.next(t); name != "" {
		t.Errorf("%q after the end", name)
	}
}

// A list of first steps that somebody watches asks for the attachments, and says when the add-on is gone.
func TestFirstStepsAreFollowed(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t)
	s := n.follow(t, "/dashboard/live")
	_, page := s.next(t)
	says(t, page, "1 of 7 done")
	if n.view(t).Resource.CheckedAt.IsZero() {
		t.Error("nobody asked for the attachments")
	}
	if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{shop()}); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(page, "3 of 7 done") {
		var name string
		if name, page = s.next(t); name != "page" {
			t.Fatal(name, page)
		}
	}
	if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	for {
		if name, _ := s.next(t); name == "gone" {
			return
		} else if name != "page" {
			t.Fatal(name)
		}
	}
}

// So many pages are followed at a time, and no more; one that is closed leaves its place.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	n := newSite(t, often).tenant(t)
	var all []*stream
	for range 6 {
		s := n.follow(t, "/dashboard/live")
		if s.next(t); s.StatusCode != http.StatusOK {
			t.Fatal(s.Status)
		}
		all = append(all, s)
	}
	s := n.follow(t, "/dashboard/live")
	if s.StatusCode != http.StatusTooManyRequests || s.Header.Get("Retry-After") == "" {
		t.Fatal(s.Status)
	}
	if a := n.do(t, "GET", "/dashboard/live"); a.StatusCode != http.StatusOK { // once is always possible
		t.Error(a.Status)
	}
	all[0].close()
	for s.StatusCode == http.StatusTooManyRequests {
		s = n.follow(t, "/dashboard/live")
	}
	if s.StatusCode != http.StatusOK {
		t.Error(s.Status)
	}
}
