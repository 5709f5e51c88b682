package dashboard_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/remora"
)

// halfway is an archive whose reader waits once in the middle.
type halfway struct {
	*bytes.Reader
	reached, goOn chan struct{}
}

func (h halfway) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.Reader.ReadAt(p, off)
	if at := int64(len(content) / 2); off <= at && at < off+int64(n) {
		h.reached <- struct{}{}
		<-h.goOn
	}
	return n, err
}

// silent is a store whose database does not say whether a link goes on.
type silent struct{ dashboard.Store }

func (silent) LinkEnds(context.Context, string) (time.Time, error) {
	return time.Time{}, errors.New("the database restarts")
}

// A download ends with what it is a download of: with its link, its backup and its add-on. One that was begun in time
// may take longer than its link is good, but not for ever.
func TestDownloadsEndWithTheirLinks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(*dashboard.Config)
		meanwhile func(t *testing.T, n *tenant, l remora.Link)
		goesOn    bool
	}{
		"nothing": {goesOn: true},
		"removed": {meanwhile: func(t *testing.T, n *tenant, _ remora.Link) {
			if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
				t.Error(err)
			}
		}},
		"revoked": {meanwhile: func(t *testing.T, n *tenant, l remora.Link) {
			if err := n.RevokeLink(t.Context(), n.id, l.Backup, l.ID, "p"); err != nil {
				t.Error(err)
			}
		}},
		"expired":          {goesOn: true, meanwhile: func(_ *testing.T, n *tenant, _ remora.Link) { n.ahead = time.Hour + time.Minute }},
		"expired long ago": {meanwhile: func(_ *testing.T, n *tenant, _ remora.Link) { n.ahead = 13*time.Hour + time.Minute }},
		"expired, at once": {
			change:    func(c *dashboard.Config) { c.RunsOn = -1 },
			meanwhile: func(_ *testing.T, n *tenant, _ remora.Link) { n.ahead = time.Hour + time.Minute },
		},
		"no answer": {goesOn: true, change: func(c *dashboard.Config) { c.Store = silent{c.Store} }},
		"asked soon enough": {
			goesOn: true, change: func(c *dashboard.Config) { c.AskAgain = time.Hour },
			meanwhile: func(t *testing.T, n *tenant, l remora.Link) {
				if err := n.RevokeLink(t.Context(), n.id, l.Backup, l.ID, "p"); err != nil {
					t.Error(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(cfg *dashboard.Config) {
				cfg.AskAgain = time.Nanosecond
				if c.change != nil {
					c.change(cfg)
				}
			})
			n := s.tenant(t, shop())
			l, token, err := n.MakeLink(t.Context(), n.id, n.keep(t).ID, "p", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			h := halfway{bytes.NewReader(content), make(chan struct{}), make(chan struct{})}
			s.open = func() (dashboard.Archive, error) { return h, nil }
			answered := make(chan answer)
			go func() { answered <- s.send(t, http.MethodGet, "/d/"+token) }()
			<-h.reached
			if c.meanwhile != nil {
				c.meanwhile(t, n, l)
			}
			close(h.goOn)
			a := <-answered
			if whole := a.err == nil && a.body == string(content); whole != c.goesOn {
				t.Errorf("%d of %d bytes were served: %v", len(a.body), len(content), a.err)
			}
			if !c.goesOn && len(a.body) > len(content)/2+64<<10 {
				t.Errorf("%d bytes more were served", len(a.body)-len(content)/2)
			}
		})
	}
}
