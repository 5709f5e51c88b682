package dashboard_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// pending sets a retention that will remove something.
func (n *tenant) pending(t *testing.T) {
	t.Helper()
	if removes, err := n.SetRetention(t.Context(), n.id, n.view(t).Databases[0].ID, remora.Retention{Last: 4, Zone: "UTC"}, 99, "owner@example.com"); err != nil || removes == 0 {
		t.Fatal(removes, err)
	}
}

var seen = regexp.MustCompile(`name="seen" value="([^"]*)"`)

// A change is shown before it is saved, saved only as it was shown, seen on the database's page while it waits, and undone.
func TestARetentionIsLookedAtSavedAndUndone(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	n.keep(t)
	n.years(t, 10)
	page := databaseOf(n, t)
	says(t, n.do(t, "GET", page).body, "It keeps all of the last 3 days, 7 daily and 5 weekly", "plan Mako begins with", "until ", "not", "Undo the change")
	says(t, n.do(t, "GET", page+"/retention").body, `name="daily" min="0" max="3660" value="7"`, "one of the newest 3 good ones", "daily 3 of 7", "not", "This will remove")
	fields := []string{"last", "4", "zone", "UTC", "daily", ""}
	with := func(more ...string) []string { return append(append([]string(nil), fields...), more...) }
	look := n.submit(t, page+"/retention", with("do", "look")...)
	says(t, look.body, "This will remove ", "backups, ", "It would keep the newest 4.", "no rule keeps it", "Set it, and remove them in 24 hours")
	m := seen.FindStringSubmatch(look.body)
	if m == nil {
		t.Fatal(look.body)
	}
	shown := html.UnescapeString(m[1])
	standing := func() bool {
		t.Helper()
		s, err := n.Retention(t.Context(), n.id, n.view(t).Databases[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.Pending != nil
	}
	for _, other := range [][]string{with("do", "save"), {"last", "2", "zone", "UTC", "do", "save", "seen", shown}} {
		if a := n.submit(t, page+"/retention", other...); a.StatusCode != http.StatusOK || standing() {
			t.Errorf("saved without being shown: %s", a.Status)
		}
	}
	if a := n.submit(t, page+"/retention", with("do", "save", "seen", shown)...); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != page+"#retention" || !standing() {
		t.Errorf("%s %v", a.Status, a.Header)
	}
	says(t, n.do(t, "GET", page).body, "A change waits until", "it keeps the newest 4", "Undo the change")
	if a := n.submit(t, page+"/retention/undo"); a.StatusCode != http.StatusSeeOther || standing() {
		t.Error(a.Status)
	}
	if a := n.submit(t, page+"/retention/undo"); a.StatusCode != http.StatusConflict {
		t.Error(a.Status)
	}
}

// One that has gone says when and why, and until when it is stored.
func TestABackupThatHasGoneSaysWhy(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	n.keep(t)
	n.years(t, 12)
	gone, err := n.Expire(t.Context(), n.id, n.view(t).Databases[0].ID, 0)
	if err != nil || len(gone) == 0 {
		t.Fatal(gone, err)
	}
	page := "/dashboard/backups/" + string(gone[0].Backup.ID)
	says(t, n.do(t, "GET", page).body, "It is no longer kept", "no rule keeps it", "is deleted after", "not", "How long it is kept", "Restore…")
	if err := n.EndDeletion(t.Context(), n.id, gone[0].Backup.ID); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", page).body, "nothing lists or reads it")
}

// Where the store has said until when it keeps a backup, the page says so for as long as it is so, and claims nothing else of one that
// was deleted meanwhile.
func TestALockedBackupSaysUntilWhen(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	plain := n.keep(t)
	says(t, n.do(t, "GET", "/dashboard/backups/"+string(plain.ID)).body, "not", "Object Lock", "the store said")
	until := time.Now().AddDate(0, 0, 10).UTC()
	n.locked = remora.ObjectLock{Mode: remora.LockCompliance, Until: until}
	if _, err := n.RequestBackup(t.Context(), n.id, plain.Database, "p"); err != nil {
		t.Fatal(err)
	}
	b := n.keep(t)
	page := "/dashboard/backups/" + string(b.ID)
	says(t, n.do(t, "GET", page).body, "the store said that nobody can delete or change it until "+until.Format("2006-01-02 15:04 UTC")+" (Object Lock, compliance mode).")
	locked := func(id remora.BackupID, until time.Time) {
		t.Helper()
		_, err := n.Pool.Exec(t.Context(), fmt.Sprintf(`BEGIN; SELECT set_config('remora.service', 'on', true);
			UPDATE backups SET locked_until = '%s', lock_mode = 'governance' WHERE id = '%s'; COMMIT`, until.Format(time.RFC3339), id))
		if err != nil {
			t.Fatal(err)
		}
	}
	locked(b.ID, until)
	says(t, n.do(t, "GET", page).body, "the store said that nobody without the right to override that can delete or change it until "+until.Format("2006-01-02 15:04 UTC")+" (Object Lock, governance mode).")
	passed := time.Now().Add(-time.Minute)
	locked(b.ID, passed)
	says(t, n.do(t, "GET", page).body, "not", "Object Lock", "the store said")

	n.years(t, 12)
	gone, err := n.Expire(t.Context(), n.id, b.Database, 0)
	if err != nil || len(gone) == 0 {
		t.Fatal(gone, err)
	}
	id := gone[0].Backup.ID
	locked(id, until)
	page = "/dashboard/backups/" + string(id)
	keeps := "which hides it: the store keeps a locked version until " + until.Format("2006-01-02 15:04:05 UTC")
	says(t, n.do(t, "GET", page).body, "is deleted after", keeps)
	if err := n.EndDeletion(t.Context(), n.id, id); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", page).body, keeps, "we neither list nor read that", "not", "the store said")
	locked(id, passed)
	says(t, n.do(t, "GET", page).body, "these go as its rules say", "not", "locked version")
}

// What cannot be meant is refused with what to change, and what was typed stays.
func TestAWrongRetentionIsRefused(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	page := databaseOf(n, t) + "/retention"
	for what, fields := range map[string][]string{
		"Something must be kept":                {"zone", "UTC"},
		"Daily must be a number from 0 to 3660": {"zone", "UTC", "daily", "<b>many"},
		"Yearly must be a number from 0 to 10":  {"zone", "UTC", "yearly", "11"},
		"There is no time zone":                 {"zone", "Mars/Olympus", "daily", "7"},
	} {
		a := n.submit(t, page, append(fields, "do", "look")...)
		says(t, a.body, what, "not", "<b>many")
		if a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", what, a.Status)
		}
	}
	other := n.tenant(t, shop())
	for _, a := range []answer{
		other.do(t, "GET", page), other.submit(t, page, "daily", "7", "zone", "UTC", "do", "look"), other.submit(t, page+"/undo"),
	} {
		if a.StatusCode != http.StatusNotFound {
			t.Errorf("a neighbour's: %s", a.Status)
		}
	}
}

// A backup says why it is kept, and is locked with a note and unlocked.
func TestABackupIsLocked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	page := "/dashboard/backups/" + string(b.ID)
	says(t, n.do(t, "GET", page).body, "How long it is kept", "one of the newest 3 good ones", "daily 1 of 7", "10 more backups", "not", "Unlock it")
	if a := n.submit(t, page+"/lock", "note", "before the <b>move"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != page+"#kept" {
		t.Error(a.Status, a.Header)
	}
	says(t, n.do(t, "GET", page).body, "owner@example.com locked it", "before the &lt;b&gt;move", "Unlock it", "not", "<b>move")
	says(t, n.do(t, "GET", databaseOf(n, t)).body, "before the &lt;b&gt;move", ">locked<")
	if a := s.tenant(t, shop()).submit(t, page+"/unlock"); a.StatusCode != http.StatusNotFound {
		t.Errorf("a neighbour unlocks it: %s", a.Status)
	}
	if a := n.submit(t, page+"/unlock"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", page).body, "9 more backups", "not", "Unlock it")
}
