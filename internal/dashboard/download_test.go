package dashboard_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/remora"
)

func (n *tenant) link(t *testing.T, b remora.BackupID) string {
	t.Helper()
	_, token, err := n.MakeLink(t.Context(), n.id, b, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return "/d/" + token
}

func TestContents(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	for path, want := range map[string]string{
		at + "/contents.json": `200 application/json {"tables":[]}`, at + "/check.sql": "200 text/plain; charset=utf-8 SELECT 1;",
		"/d/" + strings.Repeat("0", 64) + "/check.sql": "404 text/plain; charset=utf-8 ",
	} {
		a := s.send(t, "GET", path)
		if got := fmt.Sprint(a.StatusCode, " ", a.Header.Get("Content-Type"), " ", a.body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	at := n.link(t, b.ID)
	size, tag := len(content), `"`+string(b.ID)+`"`

	for _, c := range []struct {
		method  string
		headers []string
		status  int
		want    string
	}{
		{"GET", nil, 200, string(content)},
		{"HEAD", nil, 200, ""},
		{"GET", []string{"Range", "bytes=0-4"}, 206, "PGDMP"},
		{"GET", []string{"Range", fmt.Sprintf("bytes=%d-", size-5)}, 206, string(content[size-5:])},
		{"GET", []string{"Range", "bytes=-5"}, 206, string(content[size-5:])},
		{"GET", []string{"Range", "bytes=100000-", "If-Range", tag}, 206, string(content[100000:])},
		{"GET", []string{"Range", "bytes=100000-", "If-Range", `"another"`}, 200, string(content)},
		{"GET", []string{"Range", fmt.Sprintf("bytes=%d-", size)}, 416, "invalid range: failed to overlap\n"},
		{"GET", []string{"If-None-Match", tag}, 304, ""},
	} {
		a := s.send(t, c.method, at, c.headers...) // no session: the link is all
		if a.StatusCode != c.status || a.body != c.want || a.err != nil {
			t.Errorf("%s %v: %s, %d bytes, %v", c.method, c.headers, a.Status, len(a.body), a.err)
		}
	}
	h := s.send(t, "HEAD", at).Header
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Length": fmt.Sprint(size), "Accept-Ranges": "bytes", "Etag": tag, "Cache-Control": "no-store",
		"Content-Disposition": `attachment; filename="postgresql-curved-1-` + b.EndedAt.Format("20060102T150405Z") + `.dump"`,
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	if a := s.send(t, "POST", at); a.StatusCode != http.StatusMethodNotAllowed {
		t.Error(a.Status)
	}
}

func TestLinkEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	for _, unknown := range []string{"/d/x", "/d/" + strings.Repeat("0", 64), "/d/" + strings.Repeat("a", 5000), "/d/%00", "/d/..%2f.."} {
		if a := s.send(t, "GET", unknown); a.StatusCode != http.StatusNotFound || a.body != "There is no such link.\n" {
			t.Errorf("%.40s: %s %s", unknown, a.Status, a.body)
		}
	}
	at := n.link(t, b.ID)
	s.ahead = time.Hour + time.Second
	if a := s.send(t, "GET", at); a.StatusCode != http.StatusGone {
		t.Errorf("after its time: %s", a.Status)
	}
	at = n.link(t, b.ID)
	if a := s.send(t, "HEAD", at); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
	if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	if a := s.send(t, "GET", at); a.StatusCode != http.StatusGone || strings.Contains(a.body, "PGDMP") {
		t.Errorf("after the add-on was removed: %s", a.Status)
	}
}

// broken fails, or waits, from some byte on.
type broken struct {
	*bytes.Reader
	from int64
	err  error
	wait time.Duration
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if b.wait > 0 {
		<-time.After(b.wait)
	}
	if b.err != nil && off+int64(len(p)) > b.from {
		return 0, b.err
	}
	return b.Reader.ReadAt(p, off)
}

// A store that fails in the middle is a broken connection, never an archive that looks whole.
func TestBrokenArchiveIsCut(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{errors.New("the store went away"), io.ErrUnexpectedEOF} {
		s := newSite(t)
		n := s.tenant(t, shop())
		at := n.link(t, n.keep(t).ID)
		s.open = func() (dashboard.Archive, error) {
			return broken{Reader: bytes.NewReader(content), from: 500_000, err: fault}, nil
		}
		if a := s.send(t, "GET", at); a.err == nil || len(a.body) >= len(content) {
			t.Errorf("%v: %d bytes looked whole", fault, len(a.body))
		}
		if a := s.send(t, "GET", at, "Range", "bytes=0-1000"); a.err != nil || len(a.body) != 1001 {
			t.Errorf("the part that can be read: %v", a.err)
		}
		says(t, s.log.String(), "download was cut", fault.Error())

		s.open = func() (dashboard.Archive, error) { return nil, fault }
		if a := s.send(t, "GET", at); a.StatusCode != http.StatusBadGateway || strings.Contains(a.body, fault.Error()) || !strings.Contains(a.body, "Try again") {
			t.Error(a.Status, a.body)
		}
	}
}

// The server's deadline for an answer, 1 s here, is for pages: a download lives as long as it gets on.
func TestLongDownload(t *testing.T) {
	t.Parallel()
	s := newSiteWriting(t, time.Second)
	n := s.tenant(t, shop())
	at := n.link(t, n.keep(t).ID)
	s.open = func() (dashboard.Archive, error) {
		return broken{Reader: bytes.NewReader(content), wait: 40 * time.Millisecond}, nil
	}
	began := time.Now()
	if a := s.send(t, "GET", at); a.err != nil || a.body != string(content) {
		t.Errorf("%d of %d bytes: %v", len(a.body), len(content), a.err)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("%v is not long", took)
	}
}
