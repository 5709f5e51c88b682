package dashboard_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var loaded = regexp.MustCompile(`(?:href|src)="(/static/[^"]+\.(?:css|js))"`)

// transferred is how many bytes a browser is sent for a page and what it loads, without pictures.
func (n *tenant) transferred(t testing.TB, path string) (bytes int, page string) {
	t.Helper()
	for i, paths := 0, []string{path}; i < len(paths); i++ {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.http.URL+paths[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "remora="+n.session)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatal(paths[i], resp.Status, resp.Header, err)
		}
		if bytes += len(body); i > 0 {
			continue
		}
		r, err := gzip.NewReader(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		page = string(plain)
		for _, m := range loaded.FindAllStringSubmatch(page, -1) {
			paths = append(paths, m[1])
		}
	}
	return bytes, page
}

// lastLine is the last of the log's lines about pages, which has how long the server took.
func lastLine(log string) string {
	all := strings.Split(strings.TrimSpace(log), "\n")
	for i := len(all) - 1; i >= 0; i-- {
		if strings.Contains(all[i], "route=/dashboard") {
			_, after, _ := strings.Cut(all[i], "status=")
			return after
		}
	}
	return ""
}

// The first page and a database's weigh little, whatever lies behind them.
func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	n.keep(t)
	n.years(t, 10_000)
	for _, path := range []string{"/dashboard", databaseOf(n, t)} {
		n.transferred(t, path) // plans and connections are made by the first
		bytes, page := n.transferred(t, path)
		if t.Logf("%s: %d bytes transferred, %d of page; %s", path, bytes, len(page), lastLine(n.log.String())); bytes > 50_000 {
			t.Errorf("%s: %d bytes", path, bytes)
		}
	}
}
