package firstrun_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/remora-backup/remora/internal/devtools/apart"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/locals3"
	"github.com/remora-backup/remora/internal/devtools/pages"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/pgdump"
)

// asked is set by make ops-test: it takes minutes, and the right to make namespaces.
var asked = flag.Bool("first-run", false, "go from a clone to a running service, in namespaces of its own")

const (
	root     = "../../.."
	inside   = "REMORA_FIRST_RUN_INSIDE"
	folder   = "/etc/remora" // of the settings
	site     = "https://remora.example.com"
	owner    = "shop_owner"
	password = "owners-password"
)

// By the commands of two pages and nothing else a clone becomes a running service, and a customer of it has a copy of a database.
func TestFromACloneToARestoredCopy(t *testing.T) {
	t.Parallel()
	switch {
	case !*asked:
		t.Log("not asked to by -first-run, as make ops-test does")
		return
	case os.Getenv(inside) == "":
		enter(t)
		return
	}
	m := newMachine(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.log.String())
		}
	})
	w := newWorld(t, m)
	w.operator(t)
	for process := range m.units {
		m.stop(t, process)
	}
}

// enter runs the test again in a network, mounts and process ids of its own, of which nothing stays.
func enter(t *testing.T) {
	t.Helper()
	args := []string{"--net"}
	if os.Geteuid() != 0 { // needs the package uidmap, and a range of ids in /etc/subuid
		args = append(args, "--user", "--map-root-user", "--map-auto")
	}
	apart.Again(t, args, inside+"=1", "-first-run")
}

// world is what is there before an operator comes: servers and accounts, at public addresses.
type world struct {
	*machine
	checkout      string // this one, by its whole path
	own, customer *localpg.Cluster
	store         *s3.Client
	heroku        *herokusim.Sim
	client        *http.Client
}

func newWorld(t *testing.T, m *machine) *world {
	t.Helper()
	w := &world{machine: m}
	ctx := t.Context()
	var err error
	w.checkout, err = filepath.Abs(root)
	must(t, err)
	w.own = cluster(t, localpg.Config{TLS: true})
	w.customer = cluster(t, localpg.Config{TLS: true})
	for host, c := range map[string]*localpg.Cluster{"db.example.com": w.own, customersHost: w.customer} {
		at, port := c.Addr()
		m.forward(t, host, 5432, fmt.Sprintf("%s:%d", at, port), false)
	}
	must(t, stack.Exec(ctx, w.own.SuperuserURL("postgres"), "CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'administrators'"))
	w.shop(t)
	w.bucket(t)
	jar, err := cookiejar.New(nil)
	must(t, err)
	w.client = &http.Client{Jar: jar, Timeout: time.Minute}
	for name, value := range map[string]string{
		"PGPASSWORD":       "administrators",
		"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "url." + w.checkout + ".insteadOf", "GIT_CONFIG_VALUE_0": "https://github.com/remora-backup/remora",
		"GIT_CONFIG_KEY_1": "safe.directory", "GIT_CONFIG_VALUE_1": "*",
	} {
		m.shell.Set(t, name, value)
	}
	return w
}

func cluster(t *testing.T, cfg localpg.Config) *localpg.Cluster {
	t.Helper()
	c, err := localpg.Start(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	return c
}

// shop is the customer's database.
func (w *world) shop(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must(t, stack.Exec(ctx, w.customer.SuperuserURL("postgres"), fmt.Sprintf("CREATE ROLE %s LOGIN CREATEDB PASSWORD '%s'", owner, password), "CREATE DATABASE shop OWNER "+owner))
	must(t, stack.Exec(ctx, w.customer.SuperuserURL("shop"), herokusim.OwnObjects(owner)...))
	must(t, stack.Exec(ctx, w.customer.URL(owner, password, "shop"),
		`CREATE TABLE public.customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, note text)`,
		`INSERT INTO public.customers (name, note) SELECT 'Customer ' || g, CASE g % 3 WHEN 0 THEN E'tab\tand\nline' WHEN 1 THEN '' END FROM generate_series(1, 3000) g`,
		`CREATE TABLE public.orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES public.customers, amount numeric(12,2), at timestamptz, doc jsonb)`,
		`INSERT INTO public.orders (customer, amount, at, doc) SELECT 1 + g % 3000, g * 1.01, timestamptz '2026-01-01' + g * interval '1 minute', jsonb_build_object('n', g, 'ä', md5(g::text)) FROM generate_series(1, 20000) g`,
		`CREATE INDEX ON public.orders (at)`,
		`CREATE VIEW public.totals AS SELECT customer, sum(amount) AS amount FROM public.orders GROUP BY customer`,
	))
}

// bucket makes the bucket, and each process's key with its policy of deploy/storage.
func (w *world) bucket(t *testing.T) {
	t.Helper()
	dir := filepath.Join(w.dir, "s3")
	must(t, os.Mkdir(dir, 0o700))
	users := map[string]string{} // as the page has them
	for _, process := range []string{"web", "worker", "verifier", "deleter"} {
		name := strings.ToUpper(process)
		users[process] = name + "S-KEY:" + name + "S-SECRET"
	}
	srv, err := locals3.Start(filepath.Join(root, "bin", "s3dev"), dir, "root", "roots-secret", slices.Collect(maps.Values(users))...)
	must(t, err)
	t.Cleanup(func() { must(t, srv.Stop()) })
	w.forward(t, "s3.example.com", 443, strings.TrimPrefix(srv.Endpoint(), "http://"), true)
	at, name := "https://s3.example.com", "remora-archives"
	w.store = s3.New(s3.Options{BaseEndpoint: &at, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("root", "roots-secret", "")})
	_, err = w.store.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	must(t, err)
	var all []map[string]any
	for process, user := range users {
		var policy struct{ Statement []map[string]any }
		must(t, json.Unmarshal([]byte(strings.ReplaceAll(read(t, filepath.Join(root, "deploy", "storage", process+".json")), "BUCKET", name)), &policy))
		key, _, _ := strings.Cut(user, ":")
		for _, s := range policy.Statement {
			if s["Sid"] == "OverwriteNothing" || s["Sid"] == "AndForNoLonger" {
				continue // the first the server keeps by itself, and it can be told neither
			}
			delete(s, "Sid")
			s["Principal"] = map[string]string{"AWS": key}
			all = append(all, s)
		}
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	must(t, err)
	policy := string(text)
	_, err = w.store.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &name, Policy: &policy})
	must(t, err)
}

// operator follows deploy/own-servers.md: what is to be typed into a shell is typed into one, what is to be filled in is filled in.
func (w *world) operator(t *testing.T) {
	t.Helper()
	checkups, starts := 0, 0
	for _, b := range pages.Read(t, filepath.Join(w.checkout, "deploy", "own-servers.md")) {
		switch b.Kind {
		case "ini":
			fill(t, b.Text)
			continue
		case "sh":
		default:
			continue // what is installed already, and another program's file
		}
		out := w.shell.Run(t, b.Text)
		if strings.Contains(b.Text, "remora settings $file >") {
			w.outdated(t)
		}
		if strings.Contains(b.Text, "addon-manifest.json") {
			w.portal(t, out)
		}
		if strings.Contains(b.Text, "systemctl") {
			if starts == 0 {
				w.proxy(t)
			}
			starts++
			w.systemd(t)
			w.answers(t)
		}
		if strings.Contains(b.Text, "remora checkup") {
			checkups++
			w.allIsWell(t, out, checkups == 2)
			if checkups == 2 {
				w.guest(t)
			}
		}
	}
	if checkups != 2 || starts != 2 {
		t.Errorf("%d checkups and %d starts", checkups, starts)
	}
}

// outdated lets programs be used that this machine has and production would refuse, and only then.
func (w *world) outdated(t *testing.T) {
	t.Helper()
	for _, c := range pgdump.Find(t.Context(), nil, os.Getenv("PATH")) {
		if c.Outdated() {
			t.Logf("PostgreSQL %s has known holes, so it needs ALLOW_OUTDATED_PG here", c.Version)
			fill(t, "# worker.env\nALLOW_OUTDATED_PG=true\n# verifier.env\nALLOW_OUTDATED_PG=true\n")
			return
		}
	}
}

// portal is Heroku, once its partner portal was given what the page's command has printed.
func (w *world) portal(t *testing.T, printed string) {
	t.Helper()
	var manifest struct {
		ID  string
		API struct {
			Password   string
			SSOSalt    string `json:"sso_salt"`
			Production struct {
				BaseURL string `json:"base_url"`
				SSOURL  string `json:"sso_url"`
			}
		}
	}
	must(t, json.Unmarshal([]byte(printed), &manifest))
	if len(manifest.API.Password) < 40 || len(manifest.API.SSOSalt) < 40 {
		t.Fatal("the manifest has no secrets")
	}
	var err error
	w.heroku, err = herokusim.New(herokusim.Config{
		URL: "https://api.heroku.com", APIKey: "the-customers-key", Email: "owner@example.com",
		ServiceEmail: "backups@example.com", ServiceToken: "TOKEN", RestoreBy: w.customer.BinDir(),
		Provider: herokusim.Provider{
			ID: manifest.ID, Password: manifest.API.Password, SSOSalt: manifest.API.SSOSalt, ClientSecret: "CLIENT-SECRET",
			BaseURL: manifest.API.Production.BaseURL, SSOURL: manifest.API.Production.SSOURL, Plans: []string{"mako", "hammerhead"},
		},
	})
	must(t, err)
	t.Cleanup(w.heroku.Close)
	w.heroku.CreateApp("shop")
	must(t, w.heroku.AddDatabase(herokusim.Database{
		Name: stack.Addon, App: "shop", AdminURL: w.customer.SuperuserURL("shop"), Owner: owner, Password: password, DBName: "shop", Host: customersHost, Port: 5432,
	}))
	w.serve(t, "api.heroku.com", w.heroku.Handler())
}

func (w *world) answers(t *testing.T) {
	t.Helper()
	w.until(t, "web is ready", 30*time.Second, func(ctx context.Context) (string, bool) {
		status, text, err := w.ask(ctx, http.MethodGet, site+"/readyz", "", nil)
		return fmt.Sprint(status, text, err), err == nil && status == http.StatusOK
	})
}

// warned is what a checkup may warn of here: what is not installed on this machine, and what the page says.
var warned = regexp.MustCompile(`^warning +(clients|servers|disk|mail +There is no mail server,) `)

func (w *world) allIsWell(t *testing.T, checkup string, running bool) {
	t.Helper()
	for line := range strings.Lines(checkup) {
		switch {
		case !running && strings.HasPrefix(line, "warning  site       Web does not answer at PUBLIC_URL."):
		case strings.HasPrefix(line, "ok "), warned.MatchString(line):
		case strings.HasPrefix(line, "{"), strings.TrimSpace(line) == "": // the migration's log
		default:
			t.Errorf("the checkup says: %s", line)
		}
	}
}

// guest is a customer, who follows docs/guide.md with the real Heroku CLI.
func (w *world) guest(t *testing.T) {
	t.Helper()
	cli, err := stack.CLI()
	must(t, err)
	home := filepath.Join(w.dir, "customer")
	must(t, os.Mkdir(home, 0o755)) //nolint:gosec // a folder to work in
	sh := newShell(t, home)
	for _, set := range append(stack.CLIEnv(cli, home, "", "the-customers-key"), "NODE_EXTRA_CA_CERTS="+w.authority) {
		name, value, _ := strings.Cut(set, "=")
		sh.Set(t, name, value)
	}
	guide := pages.Read(t, filepath.Join(w.checkout, "docs", "guide.md"))
	in := func(section string) []string { return pages.In(t, guide, section) }
	install, opened := strings.CutSuffix(in("Install")[0], "heroku addons:open remora-backup -a shop-backups\n") // which would start a browser
	if !opened {
		t.Error("the add-on is not opened")
	}
	sh.Run(t, install)
	sh.Run(t, strings.ReplaceAll(in("Share the Helper App")[0], "ACCOUNT", "backups@example.com"))
	made := in("Make the credential")
	create, _, _ := strings.Cut(made[0], "heroku pg:psql")
	sh.Run(t, create)
	must(t, stack.Exec(t.Context(), w.customer.URL(owner, password, "shop"), made[1])) // what is to be typed into psql
	sh.Run(t, made[2])

	backup, token := w.verified(t)
	var link struct{ URL string }
	w.api(t, http.MethodPost, "/backups/"+backup+"/links", token, &link)
	at, port := w.customer.Addr()
	for name, value := range map[string]string{"PGHOST": at, "PGPORT": fmt.Sprint(port), "PGUSER": owner, "PGPASSWORD": password, "PGDATABASE": "postgres"} {
		sh.Set(t, name, value)
	}
	fetched := func(commands string) string {
		return sh.Run(t, strings.NewReplacer("LINK", link.URL, "TARGET", "restored").Replace(commands))
	}
	restore := in("Restore")
	fetched(restore[1]) // onto your machine
	if said := fetched(restore[3]); !strings.Contains(said, "EQUAL: all ") {
		t.Errorf("the script says: %s", said)
	}
	must(t, stack.Exec(t.Context(), w.customer.SuperuserURL("restored"), herokusim.OwnObjects(owner)...)) // which are in all of Heroku's, and in no archive
	if _, err := stack.Compare(t.Context(), w.customer.BinDir(), w.customer.SuperuserURL("shop"), w.customer.SuperuserURL("restored")); err != nil {
		t.Error(err)
	}
	w.proven(t, backup, token)
	w.reviewer(t, sh, link.URL)
}

// reviewer is who must say yes in the customer's company, and tries what docs/security.md says.
func (w *world) reviewer(t *testing.T, sh *pages.Shell, link string) {
	t.Helper()
	clone := filepath.Join(w.shell.Dir, "remora")
	export := w.page(t, "/dashboard/settings/audit.json")
	var log struct{ Addon string }
	must(t, json.Unmarshal([]byte(export), &log))
	write(t, filepath.Join(clone, "audit.json"), export)
	write(t, filepath.Join(clone, "key.txt"), w.post(t, "/dashboard/settings/keys/own", url.Values{"name": {log.Addon}}))
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS"} {
		sh.Set(t, name, strings.TrimSpace(run(t, "go", "env", name)))
	}
	sh.Run(t, "cd '"+clone+"'")
	attached := ""
	for line := range strings.Lines(sh.Run(t, "heroku config -a shop-backups --shell")) {
		if name, value, _ := strings.Cut(line, "="); strings.Contains(value, "postgres://") {
			attached = name
		}
	}
	wants := map[string]string{ // what each of the page's blocks must print
		"heroku access": `(?s)backups@example\.com.*`, // once
		"psql":          `(?s)permission denied for table orders.*BEGIN`,
		"remora open":   `(?s)^age-encryption\.org/v1\n.*TABLE DATA public orders`,
		"remora audit":  `as they were written down`,
		"curl -sS -o":   `(?is)content-security-policy: default-src 'none'.*strict-transport-security: max-age=63072000`,
		"go mod verify": `(?s)github\.com/remora-backup/remora.*all modules verified.*\nok `,
	}
	for _, b := range pages.Read(t, filepath.Join(w.checkout, "docs", "security.md")) {
		if b.Kind != "sh" {
			t.Errorf("what is not run: %s", b.Text)
			continue
		}
		said := sh.Run(t, strings.NewReplacer("LINK", link, "ATTACHMENT_URL", attached).Replace(b.Text))
		known := false
		for what, want := range wants {
			if strings.Contains(b.Text, what) {
				known = true
				if !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("%s\nprints no %s:\n%s", b.Text, want, said)
				}
			}
		}
		switch {
		case !known:
			t.Errorf("nobody knows what this should print: %s", b.Text)
		case strings.Contains(b.Text, "heroku access") && strings.Count(said, "backups@example.com") != 1:
			t.Errorf("the service account sees: %s", said)
		case strings.Contains(b.Text, "audit.sql") && (regexp.MustCompile(`\| +(deny|fatal) +\|`).MatchString(said) || strings.Count(said, "ERROR") != 1): // of the DELETE
			t.Errorf("the credential is not as it should be: %s", said)
		case strings.Contains(b.Text, "sha256sum"):
			named := regexp.MustCompile(`"sha256": *"([0-9a-f]{64})"`).FindAllStringSubmatch(said, -1)
			for _, m := range named {
				if !strings.Contains(said, "\n"+m[1]+"  stored/") {
					t.Errorf("the manifest names a checksum that no file has: %s", said)
				}
			}
			if len(named) != 3 {
				t.Errorf("the manifest names %d checksums: %s", len(named), said)
			}
		}
	}
}

var shown = regexp.MustCompile(`<pre class="link">([^<]+)</pre>`)

// verified signs on as the customer, makes a token, and waits for the first backup.
func (w *world) verified(t *testing.T) (backup, token string) {
	t.Helper()
	form := url.Values{}
	for k, v := range w.heroku.SignOn(w.heroku.AddonID("remora-backup", "shop-backups"), time.Now()) {
		form.Set(k, v)
	}
	w.post(t, "/heroku/sso", form)
	w.post(t, "/dashboard/check", nil)
	page := w.post(t, "/dashboard/settings/tokens", url.Values{"name": {"first run"}, "scope": {"operate"}, "days": {"7"}})
	m := shown.FindStringSubmatch(page)
	if m == nil {
		t.Fatal("the page shows no token")
	}
	token = html.UnescapeString(m[1])
	w.until(t, "the first backup is verified", 2*time.Minute, func(ctx context.Context) (string, bool) {
		var all struct{ Databases, Backups []struct{ ID, State string } }
		text, err := w.tryAPI(ctx, http.MethodGet, "/databases", token, &all)
		if err == nil && len(all.Databases) > 0 {
			text, err = w.tryAPI(ctx, http.MethodGet, "/databases/"+all.Databases[0].ID+"/backups", token, &all)
		}
		if err != nil || len(all.Backups) == 0 {
			return fmt.Sprint(text, err), false
		}
		backup = all.Backups[0].ID
		return text, all.Backups[0].State == "verified" || all.Backups[0].State == "proven"
	})
	return backup, token
}

// proven waits until a verifier, as the unit's user, has restored the backup and compared.
func (w *world) proven(t *testing.T, backup, token string) {
	t.Helper()
	w.until(t, "the backup is proven", 3*time.Minute, func(ctx context.Context) (string, bool) {
		var b struct{ State string }
		text, err := w.tryAPI(ctx, http.MethodGet, "/backups/"+backup, token, &b)
		return fmt.Sprint(text, err), b.State == "proven"
	})
}

func (w *world) api(t *testing.T, method, path, token string, into any) {
	t.Helper()
	if text, err := w.tryAPI(t.Context(), method, path, token, into); err != nil {
		t.Fatal(err, text)
	}
}

func (w *world) tryAPI(ctx context.Context, method, path, token string, into any) (string, error) {
	status, text, err := w.ask(ctx, method, site+"/api/v1"+path, token, nil)
	if err == nil && status >= 300 {
		err = fmt.Errorf("%s %s: %d", method, path, status)
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), into)
	}
	return text, err
}

func (w *world) page(t *testing.T, path string) string {
	t.Helper()
	status, page, err := w.ask(t.Context(), http.MethodGet, site+path, "", nil)
	if err != nil || status >= 400 {
		t.Fatal(path, status, err, page)
	}
	return page
}

func (w *world) post(t *testing.T, path string, form url.Values) string {
	t.Helper()
	status, page, err := w.ask(t.Context(), http.MethodPost, site+path, "", form)
	if err != nil || status >= 400 {
		t.Fatal(path, status, err, page)
	}
	return page
}

func (w *world) ask(ctx context.Context, method, address, token string, form url.Values) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := w.client
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		client = &http.Client{Timeout: time.Minute}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
