package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/remora"
)

const (
	keysPage = "/dashboard/settings/keys"
	ownKey   = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
)

// sealer takes anything that begins with age1 and is not too odd; the word of its challenges is "open".
type sealer struct{}

func (sealer) Recipients(pasted string) ([]string, error) {
	if strings.Contains(pasted, "AGE-SECRET") {
		return nil, &remora.Error{Kind: remora.KindForbidden, Public: "This is a secret key."}
	}
	out := strings.Fields(pasted)
	if len(out) == 0 || !strings.HasPrefix(out[0], "age1") {
		return nil, remora.Invalid("Line 1 is no age recipient.")
	}
	return out, nil
}

func (sealer) Fingerprint(recipient string) string { return "print-of-" + recipient[4:8] }

func (sealer) Challenge(_ remora.ResourceID, recipients []string) (message, ticket string, err error) {
	return "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSB0\n-----END AGE ENCRYPTED FILE-----\n", "ticket of " + strings.Join(recipients, " "), nil
}

func (sealer) Answered(_ remora.ResourceID, recipients []string, ticket, answer string) bool {
	return ticket == "ticket of "+strings.Join(recipients, " ") && answer == "open"
}

// alone has the live backup sealed to the owner's own key alone, and keeps it.
func (n *tenant) alone(t *testing.T) remora.Backup {
	t.Helper()
	if err := n.SetSealing(t.Context(), n.id, remora.Sealing{Recipients: []string{ownKey}, Alone: true}, "owner@example.com"); err != nil {
		t.Fatal(err)
	}
	c := n.claim(t)
	err := n.KeepBackup(t.Context(), c, remora.Kept{
		ServerVersion: "15.18", ClientVersion: "15.18", ClientMajor: 15, ArchiveVersion: "1.14", Tables: 7, Rows: 4711, PlainSize: 1_100_000,
		OpenedBy: []string{"cf7e568231315068"}, Alone: true,
		Objects: []remora.Object{{Name: "head", Size: 12, SHA256: []byte{1}}, {Name: "body-001", Size: 4_200_000, SHA256: []byte{2}}, {Name: "body-002", Size: 4_200_000, SHA256: []byte{2}}, {Name: "contents", SHA256: []byte{3}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Backup(t.Context(), n.id, c.Backup)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a change of keys changes is said before it is made, and leaving ours out is answered for by typing the add-on's name.
func TestKeysAreLookedAtAndSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	says(t, n.do(t, "GET", "/dashboard/settings").body, "sealed to the key of this add-on", keysPage)
	says(t, n.do(t, "GET", keysPage).body, "We can open backups", "Nobody has changed this", "not", "BEGIN AGE", "Leave our key out")
	now := func() remora.Sealing {
		t.Helper()
		got, err := n.Sealing(t.Context(), n.id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	form := url.Values{"who": {"alone"}, "keys": {ownKey}, "do": {"look"}}
	looked := n.post(t, keysPage, form)
	says(t, looked.body, "nobody can open it, we included", "never called proven", "sealed files", "Single tables", "BEGIN AGE ENCRYPTED FILE", "made until now stay as they are", "not", "You alone can open new backups")
	form.Set("do", "save")
	for name, change := range map[string]url.Values{
		"without the name":    {"ticket": {"ticket of " + ownKey}, "answer": {"open"}},
		"with another name":   {"name": {"another"}, "ticket": {"ticket of " + ownKey}, "answer": {"open"}},
		"with a wrong answer": {"name": {"remora-backup-clean-1"}, "ticket": {"ticket of " + ownKey}, "answer": {"closed"}},
		"of other keys":       {"name": {"remora-backup-clean-1"}, "ticket": {"ticket of age1other"}, "answer": {"open"}},
	} {
		for k, v := range form {
			change[k] = v
		}
		if a := n.post(t, keysPage, change); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, `role="alert"`) || !now().SetAt.IsZero() {
			t.Errorf("%s: %s", name, a.Status)
		}
	}
	form.Set("name", "remora-backup-clean-1")
	form.Set("answer", " open ")
	form.Set("ticket", "ticket of "+ownKey)
	if a := n.post(t, keysPage, form); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
	if got := now(); !got.Alone || !got.Shown || len(got.Recipients) != 1 || got.SetBy != "owner@example.com" {
		t.Errorf("%+v", got)
	}
	says(t, n.do(t, "GET", keysPage).body, "You alone can open new backups", ownKey, "print-of-ql3z", "was opened then", "owner@example.com")
	says(t, n.do(t, "GET", "/dashboard/settings").body, "You alone can open new backups")

	for _, again := range []url.Values{{"who": {"both"}, "keys": {ownKey + "\r\nage1second"}, "do": {"save"}}, {"who": {"ours"}, "keys": {ownKey}, "do": {"save"}}} {
		if a := n.post(t, keysPage, again); a.StatusCode != http.StatusSeeOther {
			t.Fatal(a.Status, a.body)
		}
		if got := now(); got.Alone || got.Shown || (len(got.Recipients) == 2) != (again.Get("who") == "both") {
			t.Errorf("%v: %+v", again, got)
		}
	}
}

// A secret key that was pasted by mistake is refused aloud and is on no page and in no log; another mistake is shown to be mended.
func TestWhatIsPastedByMistake(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	a := n.post(t, keysPage, url.Values{"who": {"alone"}, "keys": {"AGE-SECRET-KEY-1CANARY"}, "do": {"look"}})
	if a.StatusCode != http.StatusUnprocessableEntity {
		t.Error(a.Status)
	}
	says(t, a.body, "This is a secret key.", "note bad", "not", "CANARY", "BEGIN AGE")
	if strings.Contains(s.log.String(), "CANARY") {
		t.Error("it is in the log")
	}
	a = n.post(t, keysPage, url.Values{"who": {"both"}, "keys": {"hello <b>"}, "do": {"save"}})
	says(t, a.body, "Line 1 is no age recipient.", "hello &lt;b&gt;", `value="both" checked`, "not", "<b>")
	if got, err := n.Sealing(t.Context(), n.id); err != nil || !got.SetAt.IsZero() || a.StatusCode != http.StatusUnprocessableEntity {
		t.Error(got, err, a.Status)
	}
}

// The add-on's own key is a file for whoever types the add-on's name, and each time a line in the audit log.
func TestTheKeyIsDownloaded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	for _, name := range []string{"", "remora-backup-clean-2"} {
		a := n.post(t, keysPage+"/own", url.Values{"name": {name}})
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "take-wrong") {
			t.Error(a.Status)
		}
	}
	a := n.post(t, keysPage+"/own", url.Values{"name": {"remora-backup-clean-1"}})
	if a.StatusCode != http.StatusOK || !strings.HasSuffix(a.body, "\n# public key: age1\nkey\n") || !strings.HasPrefix(a.body, `# The key of the add-on "remora-backup-clean-1"`) ||
		!strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment; ") || a.Header.Get("Cache-Control") != "no-store" {
		t.Error(a.Status, a.Header, a.body)
	}
}

// What only its owner's keys open says so wherever it is seen, and offers nothing that we cannot do. Its link gives the
// files as they are stored.
func TestABackupThatWeCannotOpen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.alone(t)
	at := "/dashboard/backups/" + string(b.ID)
	s.open = func() (dashboard.Archive, error) { return nil, remora.ErrAlone }
	s.contents = s.open
	says(t, n.do(t, "GET", "/dashboard").body, "sealed to your own keys alone", "Your database is backed up", "Your first backup is verified")
	says(t, n.do(t, "GET", at).body, `<span class="state verified">verified</span>`, "sealed to your own key alone: we cannot open it", "cf7e568231315068", "remora open --check", "Restore…",
		"not", "Prove it now", "Each table", "It was not restored yet")
	if a := n.post(t, at+"/proofs", nil); a.StatusCode != http.StatusConflict || !strings.Contains(a.body, "we cannot open it") {
		t.Error(a.Status)
	}
	if a := n.do(t, "GET", at+"/tables"); a.StatusCode != http.StatusConflict || !strings.Contains(a.body, "we cannot open it") {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", at+"/restore").body, "You alone can open it", "Make the command", "not", "pg:backups:restore '", "Where to?")
	made := n.post(t, at+"/links", nil)
	once, err := http.ParseSetCookie(made.Header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(made.Status, err)
	}
	page := s.send(t, "GET", at+"/restore", "Cookie", "remora="+n.session+"; "+once.Name+"="+once.Value).body
	link := s.http.URL + "/d/" + once.Value
	says(t, page, "remora open --key key.txt -o backup.dump '"+link+"'", "for part in head body-001 body-002; do", "curl -fL '"+link+"/sealed/'$part | age --decrypt -i key.txt || exit 1",
		"not", "pg:backups:restore '", "/check.sql'", "?table=")
	for path, want := range map[string]int{"": 409, "?table=public.x": 409, "/contents.json": 409, "/check.sql": 409, "/sealed/head": 200, "/sealed/body-009": 404} {
		a := s.send(t, "GET", link+path)
		if a.StatusCode != want || want == 409 && !strings.Contains(a.body, "we cannot open it") {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	if a := s.send(t, "GET", link+"/sealed/head"); a.body != "sealed head" {
		t.Error(a.body)
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Error(s.log.String())
	}
}

// The page that shows what leaving our key out means is as clean as every other, and so is a link's of such a backup. None
// of it needs JavaScript: the scripts here only look.
func TestLeavingOurKeyOutInABrowser(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	b := n.tab(t, true)
	b.Look(1280, 900, "light")
	b.Open(keysPage)
	browsertest.Eval[chromedp.Void](b, `document.querySelector('[value="alone"]').click(); document.querySelector("#keys").value = "`+ownKey+`"`)
	b.Press(`button[value="look"]`)
	b.Await("we included")
	b.Clean("what it changes")
	picture(b, "keys-looked")
	b.Look(360, 740, "light")
	b.Fits("what it changes, on a phone")
	picture(b, "keys-looked-phone")
	at := "/dashboard/backups/" + string(n.alone(t).ID) + "/restore"
	b.Look(1280, 900, "light")
	b.Open(at)
	b.Press(`form[action$="/links"] button`)
	b.Await("With age alone")
	b.Clean("a link to what only its owner opens")
	picture(b, "restore-alone-link")
}
