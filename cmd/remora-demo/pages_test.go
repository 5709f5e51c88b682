package main

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/pages"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// What the pages for customers give to be typed into a shell is typed into one, as it stands in the files but for what a reader
// has to fill in, and has done what the words around it say: all of the API's page, of checking a copy, of opening one without us
// and of the audit log's check, and of the guide what internal/devtools/firstrun leaves out and a shell without a browser can do.
func TestCustomersPagesAreTyped(t *testing.T) {
	t.Parallel()
	b := start(t, 1000)
	if err := stack.Exec(t.Context(), b.OwnerURL("shop"), `CREATE TABLE public.orders (id int PRIMARY KEY, note text)`, `INSERT INTO public.orders SELECT g, 'order ' || g FROM generate_series(1, 500) g`); err != nil {
		t.Fatal(err)
	}
	v := b.connect(t)
	first := b.verified(t, "")
	r := newReader(t, b, v)
	second := r.api(first)
	r.checking(second)
	third := r.withoutUs(second)
	r.audit()
	destroys := r.readme(third)
	r.guide(third)
	r.heroku(t, "addons:create", "remora-backup:mako", "-a", stack.HelperApp)
	r.sh.Run(t, destroys)
	if id := b.Sim.AddonID("remora-backup", stack.HelperApp); id != "" {
		t.Errorf("the add-on %s is there", id)
	}
	if u := b.Sim.Counters().Unknown; len(u) != 0 {
		t.Errorf("calls that the simulator does not know: %v", u)
	}
}

// reader is somebody with our pages and a shell.
type reader struct {
	*bundle
	t     *testing.T
	v     *stack.Visitor
	id    remora.ResourceID
	sh    *pages.Shell
	curls string // a file with the arguments of every curl
}

// apiToken is the name of the token that the reader makes.
const apiToken = "night watch"

func newReader(t *testing.T, b *bundle, v *stack.Visitor) *reader {
	t.Helper()
	cli, err := stack.CLI()
	if err != nil {
		t.Fatal(err)
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	home, programs := t.TempDir(), t.TempDir()
	r := &reader{bundle: b, t: t, v: v, id: remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp)), curls: filepath.Join(home, "curls")}
	for name, does := range map[string]string{
		"remora": "REMORA_STACK=1 exec '" + b.Program[0] + "' \"$@\"\n", // the program that customers have
		"curl":   "printf '%s\\n' \"$@\" >> '" + r.curls + "'\nexec '" + curl + "' \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+does), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	host, port := b.Customer.Addr()
	r.sh = pages.NewShell(t, filepath.Join(home, "reader"), "-eu -o pipefail", append(
		stack.CLIEnv(cli, home, b.SimURL, "demo-api-key"),
		"PATH="+strings.Join([]string{programs, filepath.Dir(cli), b.Customer.BinDir(), os.Getenv("PATH")}, ":"),
		"PGHOST="+host, fmt.Sprint("PGPORT=", port), "PGUSER="+b.Owner, "PGPASSWORD="+b.Password, "PGDATABASE=postgres",
	))
	return r
}

func page(name string) string { return filepath.Join("..", "..", "docs", name) }

// typed types commands of a page, in which each of these words stands for something and is there.
func (r *reader) typed(commands string, filled map[string]string, answers ...string) string {
	r.t.Helper()
	for word, with := range filled {
		if !strings.Contains(commands, word) {
			r.t.Fatalf("there is no %s to fill in:\n%s", word, commands)
		}
		commands = strings.ReplaceAll(commands, word, with)
	}
	return r.sh.Run(r.t, commands, answers...)
}

// api types docs/api.md's section, block by block, and returns the backup that is made there.
func (r *reader) api(first remora.Backup) (made remora.Backup) {
	t := r.t
	token := r.token()
	db := first.Database
	if _, err := r.Empty(t.Context(), "staging"); err != nil {
		t.Fatal(err)
	}
	host, port := r.Customer.Addr()
	r.Sim.CreateApp("staging")
	if err := r.Sim.AddDatabase(herokusim.Database{
		Name: "postgresql-flat-54321", App: "staging", AdminURL: r.Customer.SuperuserURL("staging"), Owner: r.Owner, Password: r.Password, DBName: "staging", Host: host, Port: port,
	}); err != nil {
		t.Fatal(err)
	}
	var next time.Time // as the schedule's preview says
	blocks := pages.In(t, pages.Read(t, page("api.md")), "In a shell")
	steps := []struct {
		has string // in the block
		did func(said string)
	}{
		{"export TOKEN", func(string) {}},
		{"/overview", func(said string) {
			var o struct {
				Addon, Health string
				LastGood      time.Time `json:"last_good"`
				Next          time.Time
			}
			if r.answers(said, &o); o.Addon != stack.Addon || o.Health != "fresh" || !o.LastGood.Equal(first.EndedAt) || !o.Next.After(o.LastGood) {
				t.Errorf("%+v after %+v", o, first)
			}
		}},
		{"/backups", func(string) {
			id := remora.BackupID(strings.TrimSpace(r.sh.Run(t, `echo "$BACKUP"`)))
			var err error
			if made, err = r.Store.Backup(t.Context(), r.id, id); err != nil || made.ID == first.ID || made.Database != db || !made.State.Good() || made.RequestedBy != "API token "+apiToken {
				t.Fatalf("%q: %+v %v", id, made, err)
			}
		}},
		{"heroku pg:backups:restore", func(string) {
			if c, err := stack.Compare(t.Context(), r.Customer.BinDir(), r.OwnerURL("shop"), r.OwnerURL("staging")); err != nil || c.Tables < 8 || c.Rows < made.Rows {
				t.Errorf("%+v of %+v: %v", c, made, err)
			}
		}},
		{"what=make+link", func(said string) {
			lines := strings.Split(strings.TrimSpace(said), "\n")
			if at, rest, _ := strings.Cut(lines[0], "\t"); len(lines) != 1 || rest != "API token "+apiToken+"\t"+string(made.ID) || !regexp.MustCompile(`^\d{4}-\d\d-\d\dT`).MatchString(at) {
				t.Errorf("%q", said)
			}
		}},
		{"remora audit check", func(said string) {
			if !regexp.MustCompile(`^\d+ lines of remora-backup-\S+ until 20\d\d-.* as they were written down`).MatchString(said) {
				t.Error(said)
			}
		}},
		{"/schedule", func(said string) {
			lines := strings.Split(strings.TrimSpace(said), "\n")
			berlin, err := time.LoadLocation("Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines[:len(lines)-1] {
				at, err := time.Parse(time.RFC3339, line)
				if err != nil || at.In(berlin).Format("15:04:05") != "03:30:00" || !at.After(next) {
					t.Errorf("%q after %s: %v", line, next, err)
				}
				if next.IsZero() {
					next = at
				}
			}
			s, err := r.Store.Schedule(t.Context(), r.id, db)
			if err != nil || len(lines) != 6 || lines[5] != "daily at 03:30, Europe/Berlin time" || s.Rule != (remora.Rule{Kind: remora.RuleDaily, Minute: 210, Zone: "Europe/Berlin"}) || !s.NextRunAt.Equal(next) {
				t.Errorf("%+v %v: %s", s, err, said)
			}
		}},
		{"/retention", func(said string) {
			var preview struct {
				Removes int
				Bytes   int64 `json:"stored_bytes"`
			}
			var pending struct {
				Says string
				At   time.Time `json:"effective_at"`
			}
			var says string
			r.answers(said, &preview, &pending, &says)
			if preview.Removes != 3 || preview.Bytes != 3*made.StoredSize || pending.Says != "7 daily" || time.Until(pending.At).Round(time.Hour) != 24*time.Hour || !strings.Contains(says, "5 weekly") {
				t.Errorf("%+v %+v %q", preview, pending, says)
			}
			if s, err := r.Store.Retention(t.Context(), r.id, db); err != nil || s.Pending != nil {
				t.Errorf("%+v %v", s.Pending, err)
			}
		}},
		{"/keys", func(said string) {
			var k struct {
				OpenedBy string `json:"opened_by"`
				Shown    bool
			}
			r.answers(said[max(0, strings.Index(said, "{")):], &k) // after what age-keygen says
			s, err := r.Store.Sealing(t.Context(), r.id)
			if err != nil || k.OpenedBy != "both" || !k.Shown || !s.Shown || s.Alone || !slices.Equal(s.Recipients, []string{r.public()}) {
				t.Errorf("%+v %+v %v", k, s, err)
			}
		}},
	}
	if len(blocks) != len(steps) {
		t.Fatalf("%d blocks, and %d are known", len(blocks), len(steps))
	}
	for i, step := range steps {
		if !strings.Contains(blocks[i], step.has) {
			t.Fatalf("block %d has no %s:\n%s", i, step.has, blocks[i])
		}
		var filled map[string]string
		switch step.has {
		case "export TOKEN":
			filled = map[string]string{"https://YOUR-REMORA": r.WebURL, "remora_…": token}
		case "/retention":
			r.older(made, 1, 2, 3, 4, 5, 6, 14, 21, 28)
		}
		step.did(r.typed(blocks[i], filled))
	}
	curls := string(r.read(r.curls))
	if !strings.Contains(curls, "/keys/challenge\n") || strings.Contains(curls, token) {
		t.Errorf("what others on the machine see has the token, or nothing: %s", curls)
	}
	return made
}

var shownToken = regexp.MustCompile(`(?s)<pre class="link">(remora_[0-9a-f]{72})</pre>.*<pre>(curl [^<]+)</pre>`)

// token makes one on the page, which may all that docs/api.md does, and tries it as the page says.
func (r *reader) token() string {
	r.t.Helper()
	made, err := r.v.Post(r.t.Context(), "/dashboard/settings/tokens", url.Values{"name": {apiToken}, "scope": {string(remora.ScopeAdmin)}, "days": {"7"}})
	m := shownToken.FindStringSubmatch(made)
	if err != nil || m == nil {
		r.t.Fatalf("the page shows no token: %v %s", err, made)
	}
	if said := r.sh.Run(r.t, html.UnescapeString(m[2])); !strings.Contains(said, stack.Addon) {
		r.t.Errorf("the token's page has a command that prints %s", said)
	}
	return m[1]
}

// older makes it that a backup was made so many days ago, too. Of these the plan's rules keep the weekly ones, which seven daily
// ones would not.
func (r *reader) older(like remora.Backup, days ...int) {
	r.t.Helper()
	_, err := r.own(r.t).Exec(r.t.Context(), `INSERT INTO backups SELECT x.* FROM backups b, unnest($2::int[]) d, jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(),
		'queued_at', b.queued_at - make_interval(days => d), 'started_at', b.started_at - make_interval(days => d), 'ended_at', b.ended_at - make_interval(days => d))) x
		WHERE b.id = $1`, like.ID, days)
	if err != nil {
		r.t.Fatal(err)
	}
}

// answers reads one JSON value after the other, and nothing is to follow.
func (r *reader) answers(said string, into ...any) {
	r.t.Helper()
	d := json.NewDecoder(strings.NewReader(said))
	for _, x := range into {
		if err := d.Decode(x); err != nil {
			r.t.Errorf("%v: %s", err, said)
		}
	}
	if d.More() {
		r.t.Errorf("there is more: %s", said)
	}
}

func (r *reader) read(file string) []byte {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// public is the public half of the reader's key.
func (r *reader) public() string {
	r.t.Helper()
	return strings.TrimSpace(r.sh.Run(r.t, "age-keygen -y key.txt"))
}

// link makes one on the page of a backup.
func (r *reader) link(b remora.Backup) string {
	r.t.Helper()
	link, err := r.v.Link(r.t.Context(), b.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return link
}

// fetched is what is had by a link.
func (r *reader) fetched(link, path string) string {
	r.t.Helper()
	text, err := r.v.Get(r.t.Context(), strings.TrimPrefix(link, r.WebURL)+path)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// checking types docs/checking-a-copy.md: of the copy in staging, and of the original.
func (r *reader) checking(b remora.Backup) {
	t := r.t
	link := r.link(b)
	typed := 0
	for _, block := range pages.Read(t, page("checking-a-copy.md")) {
		switch {
		case strings.HasPrefix(block.Text, "curl"):
			typed++
			if said := r.typed(block.Text, map[string]string{"LINK": link, "TARGET": "staging"}); !strings.Contains(said, "\nEQUAL: all ") || !strings.Contains(said, "equal     public.orders (500 rows)") {
				t.Error(said)
			}
		case strings.HasPrefix(block.Text, "psql"):
			typed++
			var list struct {
				Tables []struct {
					Schema, Name, SHA256 string
					Columns              []string
				}
			}
			r.answers(r.fetched(link, "/contents.json"), &list)
			for _, of := range list.Tables {
				if of.Schema+"."+of.Name != "public.customers" {
					continue
				}
				said := r.typed(block.Text, map[string]string{"(id, name)": "(" + strings.Join(of.Columns, ", ") + ")", "TARGET": "shop"})
				if len(of.Columns) < 4 || strings.TrimSpace(said) != of.SHA256+"  -" {
					t.Errorf("%+v: %s", of, said)
				}
			}
		case strings.HasPrefix(block.Text, "equal "), strings.HasPrefix(block.Text, "{"): // what is printed
		default:
			t.Errorf("nobody types %s", block.Text)
		}
	}
	if typed != 2 {
		t.Errorf("%d blocks were typed", typed)
	}
}

// withoutUs makes another backup, which is sealed to the reader's key, and types docs/opening-without-us.md: with its files, and
// with a link.
func (r *reader) withoutUs(before remora.Backup) remora.Backup {
	t := r.t
	b := r.backedUp(before)
	link, public := r.link(b), r.public()
	files := filepath.Join(r.sh.Dir, "stored")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifest", "head", "contents", "body-001"} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(r.fetched(link, "/sealed/"+name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restores := 0
	for _, block := range pages.Read(t, page("opening-without-us.md")) {
		if strings.HasPrefix(block.Text, "printf") {
			if said := strings.TrimSpace(r.typed(block.Text, map[string]string{"age1…": public})); said != seal.Fingerprint(public) || !slices.Equal(b.OpenedBy, []string{said}) {
				t.Errorf("%q, of %s: %v", said, public, b.OpenedBy)
			}
			continue
		}
		restores++
		name := fmt.Sprint("opened_", restores)
		to, err := r.Empty(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		filled := map[string]string{"EMPTY": name}
		switch {
		case strings.HasPrefix(block.Text, "remora open"):
			filled["FROM"] = "stored"
		case strings.Contains(block.Text, "LINK"):
			filled["LINK"] = link
		default:
			r.sh.Run(t, "cp key.txt stored && cd stored")
		}
		r.typed(block.Text, filled)
		r.sh.Run(t, "rm backup.dump && cd '"+r.sh.Dir+"'")
		if c, err := stack.Compare(t.Context(), r.Customer.BinDir(), r.OwnerURL("shop"), to); err != nil || c.Tables < 8 || c.Rows < b.Rows {
			t.Errorf("%s\n%+v of %+v: %v", block.Text, c, b, err)
		}
	}
	if restores != 3 {
		t.Errorf("%d ways to open it", restores)
	}
	return b
}

// backedUp asks for a backup on the page, and waits for it.
func (r *reader) backedUp(before remora.Backup) remora.Backup {
	r.t.Helper()
	r.post(r.t, r.v, "/dashboard/databases/"+string(before.Database)+"/backups")
	return r.verified(r.t, before.ID)
}

// audit runs docs/audit.md's program on the page's export, and on one of which a line was changed.
func (r *reader) audit() {
	t := r.t
	export := r.get(t, r.v, "/dashboard/settings/audit.json")
	changed := strings.Replace(export, "API token "+apiToken, "API token "+apiToken+".", 1)
	program := ""
	for _, block := range pages.Read(t, page("audit.md")) {
		if block.Kind == "python" {
			program += block.Text
		}
	}
	if program == "" || changed == export {
		t.Fatalf("%q %s", program, export)
	}
	for name, text := range map[string]string{"check.py": program, "export.json": export, "changed.json": changed} {
		if err := os.WriteFile(filepath.Join(r.sh.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"audit.json", "export.json"} { // the former is what the API's page made
		if said := r.sh.Run(t, "python3 check.py "+file); !regexp.MustCompile(`^\d+ lines, as they were written down`).MatchString(said) {
			t.Errorf("%s: %s", file, said)
		}
	}
	if said := r.sh.Run(t, "! python3 check.py changed.json"); !regexp.MustCompile(`line \d+ was changed`).MatchString(said) {
		t.Error(said)
	}
}

// readme types what the README gives to drive the demo with, but for where its two first lines point and its last, which it returns.
func (r *reader) readme(b remora.Backup) (destroys string) {
	t := r.t
	const port = "http://localhost:5001" // of make demo, unless it is told another
	lines := strings.SplitAfter(pages.In(t, pages.Read(t, filepath.Join("..", "..", "README.md")), "Driving the demo with the real CLI")[0], "\n")
	cli, err := stack.CLI()
	if err != nil {
		t.Fatal(err)
	}
	if at := strings.TrimPrefix(strings.TrimSpace(lines[1]), "alias heroku=~"); !strings.HasSuffix(cli, at) {
		t.Errorf("the CLI is at %s, and not at ~%s", cli, at)
	}
	said := r.typed(lines[0]+strings.Join(lines[2:6], ""), map[string]string{port: r.SimURL, "<link from the dashboard>": r.link(b)})
	for _, want := range []string{"remora-backup:mako", r.SimURL + "/sso/", "Restoring", "remora-backup:hammerhead"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in %s", want, said)
		}
	}
	if resource, err := r.Store.Resource(t.Context(), r.id); err != nil || resource.Plan != "hammerhead" {
		t.Errorf("%+v %v", resource, err)
	}
	return lines[6]
}

// guide types what docs/guide.md has beyond what internal/devtools/firstrun types of it. The add-on is gone after it.
func (r *reader) guide(b remora.Backup) {
	t := r.t
	ctx := t.Context()
	guide := pages.Read(t, page("guide.md"))
	restore := pages.In(t, guide, "Restore")

	// It goes on for ever: what it has shown is looked for. The page on notifications has the same one.
	tail := pages.In(t, guide, "Verify")[0]
	if other := strings.Replace(pages.Read(t, page("notifications.md"))[0].Text, "HELPER_APP", stack.HelperApp, 1); other != tail {
		t.Errorf("%q and %q", other, tail)
	}
	r.sh.Run(t, "exec 3< <(\n"+tail+")\ngrep -m 1 event=first_success <&3\nkill $!")

	table, err := r.Empty(ctx, "one_table")
	if err != nil {
		t.Fatal(err)
	}
	r.typed(restore[2], map[string]string{"LINK": r.link(b), "postgres://USER@HOST/DATABASE": table})
	if said := r.sh.Run(t, `psql -X -A -t -d one_table -c "SELECT count(*) FROM public.orders" -c "SELECT count(*) FROM public.customers"`); strings.TrimSpace(said) != "500\n0" {
		t.Errorf("rows of this table, and of another: %s", said)
	}

	if err := stack.Exec(ctx, r.OwnerURL("shop"), "DELETE FROM public.orders"); err != nil {
		t.Fatal(err)
	}
	r.typed(restore[0], map[string]string{"LINK": r.link(b)}, "shop")
	if said := r.sh.Run(t, `psql -X -A -t -d shop -c "SELECT count(*) FROM public.orders"`); strings.TrimSpace(said) != "500" {
		t.Errorf("rows: %s", said)
	}

	before := r.Sim.Secrets()["a credential's password"]
	r.typed(pages.In(t, guide, "Rotate the credential")[0], nil, "shop")
	if after := r.Sim.Secrets()["a credential's password"]; slices.Equal(after, before) {
		t.Error("the credential is what it was")
	}

	r.typed(pages.In(t, guide, "Remove")[0], map[string]string{"ACCOUNT": stack.Service}, stack.HelperApp)
	if _, err := r.v.Get(ctx, "/dashboard"); err == nil || r.Sim.AddonID("remora-backup", stack.HelperApp) != "" {
		t.Error("the add-on is there")
	}
	if said := r.heroku(t, "access", "-a", stack.HelperApp); strings.Contains(said, stack.Service) {
		t.Error(said)
	}
}
