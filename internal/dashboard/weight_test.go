package dashboard_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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

// statements counts what our database is asked.
type statements struct{ n atomic.Int64 }

// TraceQueryStart implements pgx.QueryTracer.
func (x *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	x.n.Add(1)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// counted is a site whose statements are counted.
func counted(t testing.TB) (*site, *statements) {
	t.Helper()
	s, x := newSite(t), &statements{}
	cfg := s.Pool.Config().Copy()
	cfg.ConnConfig.Tracer = x
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s.Pool = pool
	return s, x
}

// heavy are the pages that have the most to read, and how many statements each may ask.
func heavy(t testing.TB, n *tenant) []heavyPage {
	t.Helper()
	return []heavyPage{
		{"overview", "/dashboard", 20},
		{"database", databaseOf(n, t), 45},
		{"backup", "/dashboard/backups/" + string(n.view(t).Backups[0].ID), 30},
	}
}

type heavyPage struct {
	name, path string
	most       int64
}

// The first page, a database's and a backup's weigh little, and ask no more where there are ten thousand backups.
func TestPagesAreLight(t *testing.T) {
	t.Parallel()
	s, asked := counted(t)
	n := s.tenant(t, shop())
	n.keep(t)
	n.years(t, 10_000)
	for _, x := range heavy(t, n) {
		n.transferred(t, x.path) // connections are made by the first
		before := asked.n.Load()
		bytes, page := n.transferred(t, x.path)
		n := asked.n.Load() - before
		if t.Logf("%s: %d bytes transferred, %d of page, %d statements", x.name, bytes, len(page), n); bytes > 50_000 || n > x.most {
			t.Errorf("%s: %d bytes, %d statements", x.name, bytes, n)
		}
	}
}

// BenchmarkPages says how long pages take in the server with ten thousand backups in the database, all of one database.
func BenchmarkPages(b *testing.B) {
	n := newSite(b).tenant(b, shop())
	n.keep(b)
	n.years(b, 10_000)
	if _, err := n.Pool.Exec(b.Context(), "VACUUM ANALYZE"); err != nil { // as autovacuum does within a minute
		b.Fatal(err)
	}
	for _, x := range heavy(b, n) {
		b.Run(x.name, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, x.path, nil)
				r.Header.Set("Cookie", "remora="+n.session)
				w := httptest.NewRecorder()
				if n.Mux().ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body.String())
				}
			}
		})
	}
}
