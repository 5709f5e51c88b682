package dashboard_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/internal/dashboard"
)

// held is an archive whose reads wait.
type held struct {
	*bytes.Reader
	reached chan struct{} // told of each read
	until   chan struct{}
}

func (h held) ReadAt(p []byte, off int64) (int, error) {
	h.reached <- struct{}{}
	<-h.until
	return h.Reader.ReadAt(p, off)
}

// Downloads are limited by link, by add-on and in all; who is refused is told when to ask again, and may when one ends.
func TestDownloadsAreLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *dashboard.Config) { c.Downloads, c.DownloadsOfResource, c.DownloadsOfLink = 4, 3, 2 })
	mine, theirs := s.tenant(t, shop()), s.tenant(t, shop())
	b := mine.keep(t)
	one, two, other := mine.link(t, b.ID), mine.link(t, b.ID), theirs.link(t, theirs.keep(t).ID)
	h := held{bytes.NewReader([]byte("PGDMP")), make(chan struct{}, 10), make(chan struct{})}
	s.open = func() (dashboard.Archive, error) { return h, nil }
	ended := make(chan answer, 10)
	begin := func(at string) {
		go func() { ended <- s.send(t, "GET", at) }()
		<-h.reached
	}
	refused := func(at, sentence string) {
		t.Helper()
		a := s.send(t, "GET", at)
		if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "10" || !strings.Contains(a.body, sentence) {
			t.Errorf("%s %v %s", a.Status, a.Header, a.body)
		}
	}
	begin(one)
	begin(one)
	refused(one, "2 downloads are running by this link already.")
	refused(one+"/contents.json", "by this link")
	refused(one+"/check.sql", "by this link")
	if a := s.send(t, "HEAD", one); a.StatusCode != http.StatusTooManyRequests {
		t.Error(a.Status)
	}
	begin(two)
	refused(two, "3 downloads of this add-on's backups are running already.")
	begin(other)
	refused(other, "Too many downloads are running.")
	close(h.until)
	for range 4 {
		if a := <-ended; a.body != "PGDMP" {
			t.Errorf("%s %q %v", a.Status, a.body, a.err)
		}
	}
	// One that breaks leaves its place too.
	s.open = func() (dashboard.Archive, error) {
		return broken{Reader: bytes.NewReader(content), from: 500_000, err: errors.New("gone")}, nil
	}
	for range 5 {
		if a := s.send(t, "GET", one); a.StatusCode != http.StatusOK || a.err == nil {
			t.Errorf("%s, %v", a.Status, a.err)
		}
	}
	s.open = func() (dashboard.Archive, error) { return bytes.NewReader(content), nil }
	if a := s.send(t, "GET", one); a.body != string(content) {
		t.Error(a.Status)
	}
}

// reads counts what is read of an archive.
type reads struct {
	*bytes.Reader
	n *atomic.Int64
}

func (r reads) ReadAt(p []byte, off int64) (int, error) {
	r.n.Add(1)
	return r.Reader.ReadAt(p, off)
}

// Several ranges in one request would be as many reads in as many places: they get the whole, which they may
// (RFC 9110, section 14.2), from its beginning to its end.
func TestSeveralRangesAreTheWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	var count atomic.Int64
	s.open = func() (dashboard.Archive, error) { return reads{bytes.NewReader(content), &count}, nil }
	a := s.send(t, "GET", at)
	whole := count.Swap(0)
	for _, header := range []string{"bytes=0-0,2-3", "bytes=0-0,", "bytes=0-0" + strings.Repeat(",900000-900000,0-0", 1000)} {
		b := s.send(t, "GET", at, "Range", header)
		if got := count.Swap(0); b.StatusCode != http.StatusOK || b.body != a.body || b.err != nil || got > whole {
			t.Errorf("%.30s: %s, %d bytes in %d reads: %v", header, b.Status, len(b.body), got, b.err)
		}
	}
	if s.send(t, "HEAD", at); count.Load() != 0 {
		t.Errorf("HEAD reads %d times", count.Load())
	}
}

func TestNamesOfTablesAreLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	names := url.Values{}
	for range 100 {
		names.Add("table", "public.t")
	}
	if a := s.send(t, "GET", at+"?"+names.Encode()); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
	names.Add("table", "public.t")
	if a := s.send(t, "GET", at+"?"+names.Encode()); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "At most 100 tables") {
		t.Error(a.Status, a.body)
	}
}

// The list of contents goes out as it is read, without a script; a script that fails midway is cut.
func TestContentsAreStreamed(t *testing.T) {
	t.Parallel()
	scripts := 0
	s := newSite(t, func(c *dashboard.Config) {
		c.Script = func(w io.Writer, contents io.Reader) error {
			scripts++
			_, err := io.Copy(w, contents)
			return err
		}
	})
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	s.contents = func() (dashboard.Archive, error) { return bytes.NewReader(content), nil }
	if a := s.send(t, "GET", at+"/contents.json", "Range", "bytes=5-9"); a.StatusCode != http.StatusPartialContent || a.body != string(content[5:10]) || scripts != 0 {
		t.Errorf("%s %q, %d scripts", a.Status, a.body, scripts)
	}
	if a := s.send(t, "GET", at+"/check.sql"); a.body != string(content) || a.err != nil {
		t.Error(a.Status, a.err)
	}
	s.contents = func() (dashboard.Archive, error) {
		return broken{Reader: bytes.NewReader(content), from: 500_000, err: errors.New("the store went away")}, nil
	}
	for _, path := range []string{"/contents.json", "/check.sql"} {
		if a := s.send(t, "GET", at+path); a.err == nil || len(a.body) >= len(content) {
			t.Errorf("%s: %d bytes looked whole", path, len(a.body))
		}
	}
	s.contents = func() (dashboard.Archive, error) { return nil, nil }
	if a := s.send(t, "GET", at+"/contents.json"); a.StatusCode != http.StatusNotFound {
		t.Error(a.Status)
	}
}
