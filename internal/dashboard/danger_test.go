package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// Nothing dangerous is done before its name was typed, and what was done is done to all of it, and to nobody else's.
func TestTheDangerZone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, other := s.tenant(t, shop()), s.tenant(t, shop())
	link, theirs := n.link(t, n.keep(t).ID), other.link(t, other.keep(t).ID)
	if _, _, err := n.MakeAPIToken(t.Context(), n.id, remora.NewAPIToken{Name: "ci", Scope: remora.ScopeRead}, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard/settings").body, "Open the danger zone")
	says(t, n.do(t, "GET", dangerPath).body, "1 link is good now", "1 token is in use now", "1 browser is signed on now", "heroku addons:destroy remora-backup-clean-1 -a helper", "Every database is attached")
	before := len(n.lines(t))
	for _, what := range []string{"links", "tokens", "visits"} {
		for _, typed := range []string{"", "remora-backup", "REMORA-BACKUP-CLEAN-1"} {
			a := n.submit(t, dangerPath+"/"+what, "confirm", typed)
			if a.StatusCode != http.StatusUnprocessableEntity || strings.Count(a.body, `role="alert"`) != 1 {
				t.Error(what, typed, a.Status)
			}
			says(t, a.body, "Nothing was done. Type remora-backup-clean-1", `aria-invalid="true"`)
		}
	}
	if a := s.send(t, "HEAD", link); a.StatusCode != http.StatusOK || len(n.lines(t)) != before+1 { // the link's use
		t.Error(a.Status)
	}
	before++
	for _, what := range []string{"links", "tokens"} {
		if a := n.submit(t, dangerPath+"/"+what, "confirm", " remora-backup-clean-1 "); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != dangerPath+"#"+what {
			t.Error(a.Status, a.Header)
		}
		if n.submit(t, dangerPath+"/"+what, "confirm", "remora-backup-clean-1"); len(n.lines(t)) != before+1 {
			t.Errorf("%s: twice leaves %d lines", what, len(n.lines(t))-before)
		}
		before++
	}
	if a := s.send(t, "HEAD", link); a.StatusCode != http.StatusGone {
		t.Error(a.Status)
	}
	if all, err := n.APITokens(t.Context(), n.id); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if a := n.submit(t, dangerPath+"/visits", "confirm", "remora-backup-clean-1"); a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Error(a.Status, a.Header)
	}
	if a := n.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusUnauthorized {
		t.Error(a.Status)
	}
	if a := s.send(t, "HEAD", theirs); a.StatusCode != http.StatusOK {
		t.Error("a neighbour's link:", a.Status)
	}
	if a := other.do(t, "GET", "/dashboard"); a.StatusCode != http.StatusOK {
		t.Error("a neighbour's visit:", a.Status)
	}
}

// A database is forgotten by a person's word, once it is detached and nothing of it is locked: not for a day, in which that
// can be undone, and then all of it, and it is on no page any more.
func TestADatabaseIsForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop(), second())
	b := n.keep(t)
	n.years(t, 10)
	at := "/dashboard/databases/" + string(b.Database) + "/forget"
	name, stays := b.Addon, second().Addon
	if name == stays { // both have a first backup, and either may be the newest
		stays = shop().Addon
	}
	refused := func(status int, words string) {
		t.Helper()
		a := n.submit(t, at, "confirm", name)
		if a.StatusCode != status || strings.Count(a.body, `role="alert"`) != 1 {
			t.Error(a.Status, a.body)
		}
		says(t, a.body, words)
	}
	going := func() int {
		t.Helper()
		now, err := n.Retention(t.Context(), n.id, b.Database)
		if err != nil {
			t.Fatal(err)
		}
		all, err := now.Going()
		if err != nil {
			t.Fatal(err)
		}
		forgotten := 0
		for _, v := range all {
			if v.Reasons[0].Because == retention.Forgotten {
				forgotten++
			}
		}
		return forgotten
	}
	refused(http.StatusConflict, "is attached, so it is backed up. Detach it first")
	if err := n.LockBackup(t.Context(), n.id, b.ID, "", "p"); err != nil {
		t.Fatal(err)
	}
	if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", dangerPath).body, "1 of its", "is locked. Unlock what may go first", "Forget "+stays, "not", "Forget "+name)
	refused(http.StatusConflict, "1 backup of it is locked")
	if err := n.UnlockBackup(t.Context(), n.id, b.ID, "p"); err != nil {
		t.Fatal(err)
	}
	if a := n.submit(t, at, "confirm", "postgresql"); a.StatusCode != http.StatusUnprocessableEntity {
		t.Error(a.Status)
	}
	if a := n.submit(t, at, "confirm", name); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status, a.body)
	}
	says(t, n.do(t, "GET", dangerPath).body, "owner@example.com has asked for it to be forgotten", "Keep "+name)
	says(t, n.do(t, "GET", strings.TrimSuffix(at, "/forget")).body, "has asked for this database to be forgotten")
	if going() != 0 {
		t.Error("it goes at once")
	}
	if a := n.submit(t, at+"/undo"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	if a := n.submit(t, at+"/undo"); a.StatusCode != http.StatusConflict {
		t.Error(a.Status)
	}
	n.submit(t, at, "confirm", name)
	s.ahead = remora.RetentionGrace + time.Second
	n.session = remora.NewToken()
	if err := n.OpenSession(t.Context(), remora.Session{Resource: n.id, Email: "owner@example.com"}, n.session, "again"); err != nil {
		t.Fatal(err)
	}
	if going() != 0 {
		t.Error("it goes, and may have been attached again: nobody has looked since")
	}
	if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
		t.Fatal(err)
	}
	now, err := n.Retention(t.Context(), n.id, b.Database)
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, x := range now.Backups {
		if x.State.Restorable() {
			stored++
		}
	}
	if got := going(); got == 0 || stored == 0 {
		t.Errorf("%d of %d go", got, stored)
	}
	if a := n.submit(t, at+"/undo"); a.StatusCode != http.StatusConflict {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", dangerPath).body, "Its backups are going now")
	if err := n.ForgetDatabases(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard").body, name) // while something of it is stored
	gone, err := n.Expire(t.Context(), n.id, b.Database, 24*time.Hour)
	if err != nil || len(gone) != stored {
		t.Errorf("%d of %d: %v", len(gone), stored, err)
	}
	if err := n.ForgetDatabases(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard").body, stays, "not", name)
	if a := n.do(t, "GET", "/dashboard/databases/"+string(b.Database)); a.StatusCode != http.StatusNotFound {
		t.Error(a.Status)
	}
	lines := n.lines(t)
	if l := lines[len(lines)-1]; !strings.HasPrefix(l.Action+" "+l.Actor, "forget database retention") && l.Action != "refused" {
		t.Error(l)
	}
	// Attached again, it is a database like any other.
	if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{shop(), second()}); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard").body, name)
	if going() != 0 {
		t.Error("it is still forgotten")
	}
}
