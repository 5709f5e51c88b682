package main

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/remora"
)

// The whole story before a customer's eyes, in a browser, with every process of the product at work. What the pages show is
// done as they show it: the commands by the real Heroku CLI, the SQL by psql, the restore by a shell. A newcomer comes from
// Heroku's link, the list of first steps turns green by itself, the first backup is seen at work and is proven; it is
// restored; the schedule is changed; a mailbox is added, confirmed and tried; a running backup is canceled; the plan becomes
// smaller, and a page says what that means; the add-on is removed, and the next click says so.
func TestStory(t *testing.T) {
	t.Parallel()
	b := startWith(t, 1000, []string{"CHECK_EVERY=1s"})
	for _, name := range []string{"verifier", "deleter"} {
		if _, err := b.Spawn(name); err != nil {
			t.Fatal(err)
		}
	}
	s := &story{b, t, browsertest.Open(t, b.WebURL, true)}
	s.Look(1280, 900, "light")
	first := s.begin()
	s.restored(first)
	s.scheduled()
	s.told()
	s.canceled(first.ID)
	s.ended()
	if u := b.Sim.Counters().Unknown; len(u) != 0 {
		t.Errorf("calls that the simulator does not know: %v", u)
	}
}

// story is a customer with a browser and a shell.
type story struct {
	*bundle
	t *testing.T
	*browsertest.Tab
}

// begin goes from addons:create to a first backup that is proven.
func (s *story) begin() remora.Backup {
	t := s.t
	s.heroku(t, "addons:create", "remora-backup:mako", "-a", stack.HelperApp)
	s.Open(s.SimURL)
	s.Do(chromedp.Click(chromedp.CSS(`a[href*="/sso/"]`)))
	s.Await("To a first verified backup")
	s.Await("-a " + stack.HelperApp) // the add-on is ready, and so the commands name its app
	s.Await("1 of 7 done")
	browsertest.Eval[chromedp.Void](s.Tab, `window.untouched = document.querySelector("#live")`)

	own := strings.NewReplacer("POSTGRES-ADDON", stack.Addon, "YOUR-APP", stack.ShopApp)
	s.run(s.shown("heroku access:add"))
	s.run(own.Replace(s.shown("heroku pg:credentials:create")))
	grants := s.shown("GRANT USAGE")
	for _, schema := range []string{"public", "sales", `"Odd Names"`} { // “once for each schema that you use”
		s.psql(s.OwnerURL("shop"), strings.ReplaceAll(grants, "SCHEMA public", "SCHEMA "+schema))
	}
	s.Await("2 of 7 done")
	release := s.hold()
	s.run(own.Replace(s.shown("heroku addons:attach")))
	s.Await("5 of 7 done") // the credential was found, and looked at; the backup waits for a table
	s.Await("running")
	release()
	s.Await("Your first backup is verified")
	s.Await("Your database is backed up")
	if !browsertest.Eval[bool](s.Tab, `window.untouched === document.querySelector("#live")`) {
		t.Error("the page was loaded again")
	}
	first := s.verified(t, "")
	if proof, err := s.AwaitProof(t.Context(), first); err != nil || proof.State != remora.ProofPassed {
		t.Fatal(proof, err)
	}
	s.Open("/dashboard/backups/" + string(first.ID))
	s.Await("are equal, row for row")
	return first
}

// restored takes the line that the page shows for any Postgres, and the one that checks the copy.
func (s *story) restored(first remora.Backup) {
	t := s.t
	s.Press(`.actions a.button[href$="/restore"]`)
	s.Do(chromedp.Click(chromedp.CSS(`input[value="postgres"]`)))
	s.Press(`form[action$="/links"] button`)
	to, err := s.Empty(t.Context(), "story")
	if err != nil {
		t.Fatal(err)
	}
	s.sh(strings.Replace(s.shown("curl -fL"), "postgres://USER@HOST/DATABASE", to, 1))
	if c, err := stack.Compare(t.Context(), s.Customer.BinDir(), s.OwnerURL("shop"), to); err != nil || c.Tables < 8 || c.Rows < first.Rows {
		t.Errorf("%+v of %+v: %v", c, first, err)
	}
	_, check, _ := strings.Cut(s.Text("main"), "Check the copy")
	line := regexp.MustCompile(`curl .*\| psql .*`).FindString(check)
	if out := s.sh(strings.Replace(line, "postgres://USER@HOST/DATABASE", to, 1)); !strings.Contains(out, "EQUAL: all ") {
		t.Error(out)
	}
}

// scheduled has the database backed up every twelve hours, by the clocks of a zone.
func (s *story) scheduled() {
	s.Press(`.crumbs a[href*="/databases/"]`)
	s.Press(`#schedule a[href$="/schedule"]`)
	s.Do(chromedp.Click(chromedp.CSS(`input[value="every_hours"]`)))
	s.Fill(`select[name="every"]`, "12")
	s.Fill(`input[name="every_at"]`, "03:30")
	s.Fill(`input[name="zone"]`, "Asia/Kolkata")
	s.Press(`button[value="save"]`)
	s.Await("every 12 hours, at 03:30 and 15:30")
	s.Await("IST") // and the next times by that zone's clocks
}

// told adds a mailbox, which is asked first, and sends it a test.
func (s *story) told() {
	t := s.t
	s.Press(`nav a[href$="/settings"]`)
	s.Press(`a[href$="/settings/notifications"]`)
	s.Fill(`#address`, stack.Email)
	s.Press(`#add button`)
	s.Await("unconfirmed")
	asked := s.mail("/notifications/confirm/")
	mailbox := browsertest.Open(t, s.WebURL, true) // nobody who is signed on
	mailbox.Open(regexp.MustCompile(`http\S+/notifications/confirm/\w+`).FindString(asked.Text))
	mailbox.Press("main form button")
	mailbox.Await("is told what happens to the backups")
	s.Open("/dashboard/settings/notifications")
	s.Press(`article:has(form[action$="/remove"]) form[action$="/test"] button`)
	if m := s.mail("test"); len(m.To) != 1 || m.To[0] != stack.Email {
		t.Errorf("%+v", m)
	}
}

// canceled cancels a backup that waits for a table: its session leaves the customer's server, while the table is held.
func (s *story) canceled(first remora.BackupID) {
	t := s.t
	release := s.hold()
	defer release()
	s.Press(`nav a[href$="/dashboard"]`)
	s.Press(`article form[action$="/backups"] button`)
	s.until("the backup waits for the table", "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'customers'::regclass)")
	s.Await("tables") // how far it is
	s.Press(`form[action$="/cancel"] button`)
	s.Await("canceled")
	s.until("its session has left", "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = '"+stack.Credential+"')")
	if got := s.await(t, func(x remora.Backup) bool { return x.ID != first && x.State.Ended() }); got.State != remora.BackupCanceled || got.Reason != remora.ReasonCanceled {
		t.Errorf("%+v", got)
	}
}

// ended chooses a smaller plan and then removes the add-on.
func (s *story) ended() {
	t := s.t
	id := s.Sim.AddonID("remora-backup", stack.HelperApp)
	s.heroku(t, "addons:downgrade", "remora-backup", "remora-backup:test", "-a", stack.HelperApp)
	s.Press(`nav a[href$="/settings"]`)
	s.Await("Plan Test")
	s.Await("From then on plan test keeps backups for at most 7 days")
	overview := s.at(s.Press(`nav a[href$="/dashboard"]`), http.StatusOK)
	if !strings.Contains(overview, stack.Addon) || !strings.Contains(overview, "plan test keeps backups for at most 7 days") {
		t.Error(overview)
	}
	form := url.Values{}
	for name, value := range s.Sim.SignOn(id, time.Now()) { // signed by Heroku while there was something to open
		form.Set(name, value)
	}
	s.heroku(t, "addons:destroy", "remora-backup", "-a", stack.HelperApp, "--confirm", stack.HelperApp)
	for _, click := range []string{`article .actions a[href*="/databases/"]`, `.brand`} {
		if page := s.at(s.Press(click), http.StatusGone); !strings.Contains(page, "This add-on was removed") || strings.Contains(page, stack.Addon) {
			t.Error(page)
		}
	}
	s.Clean("the add-on was removed")
	late, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.WebURL+"/heroku/sso", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	late.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultTransport.RoundTrip(late)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) != 0 {
		t.Errorf("a sign-on to it: %s", answer.Status)
	}
	s.Open(s.SimURL + "/sso/apps/" + stack.HelperApp + "/addons/remora-backup")
	s.Await("There is no such add-on any more")
}

// at checks the status of the page that came, and returns what the page says.
func (s *story) at(status, want int) string {
	s.t.Helper()
	if status != want {
		s.t.Errorf("the page answers %d", status)
	}
	return s.Text("body")
}

// shown is what the page gives to be pasted, of that beginning: the first that is in sight.
func (s *story) shown(begins string) string {
	s.t.Helper()
	s.Await(begins)
	for _, text := range browsertest.Eval[[]string](s.Tab, `[...document.querySelectorAll("pre")].filter(p => p.checkVisibility()).map(p => { const q = p.cloneNode(true); q.querySelectorAll(".copy").forEach(c => c.remove()); return q.textContent })`) {
		if strings.HasPrefix(text, begins) {
			return text
		}
	}
	s.t.Fatalf("%q is nowhere to be pasted:\n%s", begins, s.Text("body"))
	return ""
}

// run runs a line of the Heroku CLI as it is shown.
func (s *story) run(line string) {
	s.t.Helper()
	for l := range strings.Lines(line) {
		s.heroku(s.t, strings.Fields(l)[1:]...)
	}
}

// sh runs lines in a shell as they are shown, with the client programs of the customer's server.
func (s *story) sh(lines string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-eo", "pipefail", "-c", lines)
	cmd.Dir, cmd.Env = s.t.TempDir(), []string{"PATH=" + s.Customer.BinDir() + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s\n%v: %s", lines, err, out)
	}
	return string(out)
}

func (s *story) psql(at, lines string) {
	s.t.Helper()
	if err := stack.Exec(s.t.Context(), at, strings.Split(strings.TrimSuffix(lines, ";"), ";\n")...); err != nil {
		s.t.Fatal(err)
	}
}

// hold locks a table of the customer's, so that a dump waits for it, until it is let go.
func (s *story) hold() (release func()) {
	s.t.Helper()
	conn := s.customer()
	if _, err := conn.Exec(s.t.Context(), "BEGIN; LOCK TABLE customers"); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if _, err := conn.Exec(context.Background(), "ROLLBACK"); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *story) customer() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.Customer.SuperuserURL("shop"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// until waits for what the customer's server says, as long as the tab is good for.
func (s *story) until(what, query string) {
	s.t.Helper()
	conn := s.customer()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for so := false; !so; {
		if err := conn.QueryRow(s.Context, query).Scan(&so); err != nil {
			s.t.Fatalf("waited in vain until %s: %v", what, err)
		}
		<-poll.C
	}
}

// mail waits for one that has the word, whatever else comes.
func (s *story) mail(word string) inbox.Mail {
	s.t.Helper()
	for {
		came := s.Mail.Came()
		for _, m := range s.Mail.Mails() {
			if strings.Contains(m.Subject+"\n"+m.Text, word) {
				return m
			}
		}
		select {
		case <-came:
		case <-s.Done():
			s.t.Fatalf("no mail has %q: %+v", word, s.Mail.Mails())
		}
	}
}
