package dashboard_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/remora"
)

// A link opens the one backup that it was made for, whatever is added to its address, and nothing after its time; and it is no
// way to a page.
func TestALinkOpensOneBackup(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	opened := map[string]int{}
	note := func(id remora.ResourceID, b remora.Backup) (dashboard.Archive, error) {
		mu.Lock()
		defer mu.Unlock()
		opened[string(id)+" "+string(b.ID)]++
		return strings.NewReader("an archive"), nil
	}
	s := newSite(t, func(c *dashboard.Config) {
		c.Open = func(_ context.Context, id remora.ResourceID, b remora.Backup, _ []string) (dashboard.Archive, error) {
			return note(id, b)
		}
		c.Contents = func(_ context.Context, id remora.ResourceID, b remora.Backup) (dashboard.Archive, error) {
			return note(id, b)
		}
		c.Sealed = func(_ context.Context, id remora.ResourceID, b remora.Backup, _ string) (dashboard.Archive, error) {
			return note(id, b)
		}
	})
	two := shop()
	two.AddonID, two.Addon = "id-2", "postgresql-square-2"
	n := s.tenant(t, shop(), two)
	neighbour := s.tenant(t, shop())
	var own []remora.Backup
	for _, b := range n.view(t).Backups {
		c, err := n.ClaimBackup(t.Context(), b.ID, "w")
		if err == nil {
			err = n.KeepBackup(t.Context(), c, remora.Kept{Rows: 1, Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}})
		}
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, b)
	}
	other := neighbour.keep(t)
	link := n.link(t, own[0].ID)
	token := strings.TrimPrefix(link, "/d/")
	paths := []string{"", "/contents.json", "/check.sql", "/sealed/head", "/sealed/manifest"}
	for _, b := range []remora.Backup{own[1], other} {
		for _, add := range []string{"?backup=", "?id=", "?resource=", "?table=", "/../", "/sealed/..%2f..%2f", "/sealed/"} {
			paths = append(paths, add+string(b.ID))
		}
	}
	for _, p := range paths {
		s.send(t, "GET", link+p)
	}
	want := string(n.id) + " " + string(own[0].ID)
	if len(opened) != 1 || opened[want] < 5 {
		t.Errorf("%s is to be opened, and these were: %v", want, opened)
	}
	for _, path := range []string{"/dashboard", "/dashboard/backups/" + string(own[0].ID), "/dashboard/settings/keys"} {
		if a := s.send(t, "GET", path, "Cookie", "remora="+token, "Authorization", "Bearer "+token); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a link's token: %s", path, a.Status)
		}
	}
	before := opened[want]
	s.ahead = time.Hour + time.Second
	for _, p := range paths[:5] {
		if a := s.send(t, "GET", link+p); a.StatusCode != http.StatusGone {
			t.Errorf("%s after its time: %s", p, a.Status)
		}
	}
	if opened[want] != before {
		t.Error("it was opened after its time")
	}
}
