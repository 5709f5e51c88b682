package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// canaryRow is in the customer's database, and must be nowhere else but sealed.
const canaryRow = "canary-row-0b7c4f21"

// What must be nowhere: the database's password, Heroku's tokens, the store's key, the mail server's password, the master key, a
// token of the API, a session, in any log line, row, job, measure, page, argument or environment during a whole run with its
// failures; and a row of the customer's in what is stored, or in any of those. Leaks that are really planted, in each kind
// of place, are found there by the same search.
func TestCanaryIsNowhere(t *testing.T) {
	t.Parallel()
	b := start(t, 1000)
	ctx := t.Context()
	mailing := remora.NewToken() // a mail server that knows no login
	if err := b.web.Stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.web, err = b.Spawn("web", "SMTP_URL=smtp://mailer:"+mailing+fmt.Sprint("@127.0.0.1:", b.Mail.Port())); err != nil {
		t.Fatal(err)
	}
	if err := b.AwaitWeb(ctx, b.web); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Spawn("verifier"); err != nil {
		t.Fatal(err)
	}
	if err := stack.Exec(ctx, b.OwnerURL("shop"), "UPDATE customers SET name = '"+canaryRow+"' WHERE id = 7"); err != nil {
		t.Fatal(err)
	}
	listed := b.sample(t)
	v := b.connect(t)
	good := b.verified(t, "")
	if _, err := b.AwaitProof(ctx, good); err != nil {
		t.Fatal(err)
	}
	api, err := v.Post(ctx, "/dashboard/settings/tokens", url.Values{"name": {"ci"}, "scope": {string(remora.ScopeRead)}, "days": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Post(ctx, "/dashboard/settings/notifications", url.Values{"kind": {"email"}, "address": {"owner@example.com"}}); err != nil {
		t.Fatal(err)
	}
	b.heroku(t, "addons:upgrade", "remora-backup", "remora-backup:hammerhead", "-a", stack.HelperApp)
	theirs, form, err := b.TheirBucket(ctx) // which gets a copy, and in which all that is made from then on lies
	for _, as := range []string{"copies", "own"} {
		if form.Set("as", as); err == nil {
			_, err = v.Post(ctx, "/dashboard/settings/storage", form)
		}
		if err != nil {
			t.Fatal(err)
		}
		if page := "/dashboard/backups/" + string(good.ID); as == "copies" {
			b.post(t, v, page+"/copy")
			b.until(t, "a copy", func() bool { return strings.Contains(b.get(t, v, page), "the same sealed files") })
		}
	}
	canaries := b.canaries(t, v, api)
	canaries[mailing] = "the mail server's password"
	password := b.Sim.Secrets()["a credential's password"][0]

	// While a dump runs, held by a lock on a table of the customer's.
	customer, err := pgx.Connect(ctx, b.Customer.SuperuserURL("shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer customer.Close(context.Background())
	if _, err := customer.Exec(ctx, "BEGIN; LOCK TABLE customers"); err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(good.Database)+"/backups")
	for waiting := 0; waiting == 0; {
		if err := customer.QueryRow(ctx, "SELECT count(*), pg_sleep(0.05)::text FROM pg_locks WHERE NOT granted AND relation = 'customers'::regclass").Scan(&waiting, new(string)); err != nil {
			t.Fatal(err)
		}
	}
	before := listed() // what is planted now would be found
	now := b.Processes()
	for _, want := range []string{"/pg_dump --", "PGPASSFILE=/proc/self/fd/3", "PGUSER=" + stack.Credential} {
		if !strings.Contains(now, want) {
			t.Errorf("the search of the process list does not see %q, so it proves nothing", want)
		}
	}
	byArgument, byEnvironment := exec.Command("cat", "-", password), exec.Command("cat")
	byEnvironment.Env = []string{"PGPASSWORD=" + password}
	for _, planted := range []*exec.Cmd{byArgument, byEnvironment} {
		in, err := planted.StdinPipe() // whose end it waits for
		if err != nil {
			t.Fatal(err)
		}
		if err := planted.Start(); err != nil {
			t.Fatal(err)
		}
		if found := having(map[string]string{"processes": b.Processes()}, canaries); !slices.Equal(found, []string{"a credential's password in processes"}) {
			t.Errorf("a leak planted in the process list is not found: %q, %v", planted.Args, found)
		}
		_ = in.Close()
		_ = planted.Wait() // there is no file of that name
	}
	listed = b.sample(t)
	if _, err := customer.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	held := b.verified(t, good.ID)
	if held.Bucket == "" {
		t.Error("it does not lie in the customer's bucket")
	}
	b.equal(t, v, held.ID, "from_theirs")

	// A failure of each kind that could quote it: a login refused, a permission missing, a mail not taken.
	if err := stack.Exec(ctx, b.Customer.SuperuserURL("postgres"), "ALTER ROLE "+stack.Credential+" NOLOGIN"); err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(good.Database)+"/backups")
	refused := b.await(t, func(x remora.Backup) bool { return x.ID != held.ID && x.Reason != "" })
	if refused.Reason != remora.ReasonLoginRefused {
		t.Errorf("%+v", refused)
	}
	b.post(t, v, "/dashboard/backups/"+string(refused.ID)+"/cancel")
	err = stack.Exec(ctx, b.Customer.SuperuserURL("shop"), "ALTER ROLE "+stack.Credential+" LOGIN", "REVOKE SELECT ON customers FROM "+stack.Credential)
	if err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(good.Database)+"/backups")
	denied := b.await(t, func(x remora.Backup) bool { return x.ID != refused.ID && x.ID != held.ID && x.State.Ended() })
	if denied.Reason != remora.ReasonPermission || !strings.Contains(denied.Fix, "GRANT SELECT ON public.customers TO remora_ro") {
		t.Errorf("%+v", denied)
	}
	tried, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for poll := time.NewTicker(50 * time.Millisecond); !strings.Contains(b.logs.String(), `"channel":"email"`); {
		select {
		case <-tried.Done():
			t.Fatal("no mail was tried")
		case <-poll.C:
		}
	}
	measures := ""
	places := func() map[string]string {
		t.Helper()
		rows, err := stack.Everything(ctx, b.Own.SuperuserURL("remora"))
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{
			"log": b.logs.String(), "rows": rows, "metrics of web": b.metrics(t, b.WebURL), "metrics of the worker": b.metrics(t, b.Metrics) + measures, "store": b.unsealed(t, b.Bucket), "their store": b.unsealed(t, theirs),
		}
		for _, page := range []string{
			"/dashboard", "/dashboard/live", "/dashboard/settings", "/dashboard/settings/tokens", "/dashboard/settings/notifications", "/dashboard/settings/storage", "/dashboard/databases/" + string(good.Database),
			"/dashboard/backups/" + string(good.ID), "/dashboard/backups/" + string(good.ID) + "/tables", "/dashboard/backups/" + string(refused.ID), "/dashboard/backups/" + string(denied.ID),
		} {
			all[page] = b.get(t, v, page)
		}
		return all
	}
	clean := places()
	clean["processes"] = before + listed()
	for place, want := range map[string]string{
		"log": "login_refused", "rows": "run_backup", "metrics of web": "remora_http_request", "metrics of the worker": "remora_runs_total", "/dashboard/backups/" + string(denied.ID): "has no SELECT",
		"processes": "/pg_restore ", "store": "age-encryption.org", "their store": "age-encryption.org",
	} {
		if !strings.Contains(clean[place], want) {
			t.Errorf("the search does not see %q in %s, so it proves nothing", want, place)
		}
	}
	if found := having(clean, canaries); len(found) > 0 {
		t.Errorf("there is %v", found)
	}
	// Planted: in what a process of ours logs, in a row that a page shows, in a measure, and in the store, unsealed.
	leaky, err := b.Spawn("web", "PORT="+freePort(t), "REMORA_LEAK="+password)
	if err != nil {
		t.Fatal(err)
	}
	<-leaky.Done()
	if _, err := b.own(t).Exec(ctx, "UPDATE backups SET detail = 'connection to postgres://remora_ro:' || $1 || '@h/d failed' WHERE id = $2", password, denied.ID); err != nil {
		t.Fatal(err)
	}
	measuring := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "remora_runs_total{outcome=%q} 1\n", password)
	}))
	defer measuring.Close()
	measures = b.metrics(t, measuring.URL)
	b.plant(t, v, good)
	want := []string{"a credential's password in /dashboard/backups/" + string(denied.ID), "a credential's password in log", "a credential's password in metrics of the worker", "a credential's password in rows", "a row of the customer's in store"}
	if found := having(places(), canaries); !slices.Equal(found, want) {
		t.Errorf("leaks planted in %v are found in %v", want, found)
	}
}

// canaries are what must be nowhere, and what each is.
func (b *bundle) canaries(t *testing.T, v *stack.Visitor, madeToken string) map[string]string {
	t.Helper()
	all := b.Secrets()
	session, err := v.Session()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(madeToken, `<pre class="link">`)
	token, _, ok := strings.Cut(rest, "</pre>")
	if !ok {
		t.Fatalf("the page shows no token: %s", madeToken)
	}
	all[session], all[html.UnescapeString(token)], all[canaryRow] = "a session", "a token of the API", "a row of the customer's"
	for secret, what := range all {
		if len(secret) < 8 {
			t.Errorf("%s is too short to be looked for", what)
		}
	}
	for _, kind := range []string{"a credential's password", "an access token", "a refresh token", "the master key", "the store's key", "the service account's token", "the client secret"} {
		if !slices.Contains(slices.Collect(func(yield func(string) bool) {
			for _, what := range all {
				if !yield(what) {
					return
				}
			}
		}), kind) {
			t.Errorf("%s is not looked for", kind)
		}
	}
	return all
}

// having names what is in which place, in order.
func having(places, canaries map[string]string) (found []string) {
	for place, text := range places {
		for canary, what := range canaries {
			if strings.Contains(text, canary) {
				found = append(found, what+" in "+place)
			}
		}
	}
	slices.Sort(found)
	return found
}

// sample looks at the process list again and again from now on. What it returns ends that and tells all that was seen.
func (b *bundle) sample(t *testing.T) (end func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines := map[string]bool{}
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for line := range strings.Lines(b.Processes()) {
					lines[line] = true
				}
			}
		}
	})
	end = sync.OnceValue(func() string {
		cancel()
		ended.Wait()
		var all strings.Builder
		for line := range lines {
			all.WriteString(line)
		}
		return all.String()
	})
	t.Cleanup(func() { end() })
	return end
}

// unsealed is what somebody gets out of the store who has only that: each object as it is, and, where head and bodies are
// an archive, what pg_restore makes of it.
func (b *bundle) unsealed(t *testing.T, bucket *objectstore.Bucket) string {
	t.Helper()
	ctx := t.Context()
	var all strings.Builder
	parts := map[archivestore.Ref][][]byte{}
	err := bucket.List(ctx, "", func(o objectstore.Object) error {
		body, err := bucket.Get(ctx, o.Key, 1<<30)
		if err != nil {
			return err
		}
		all.WriteString(o.Key + "\n")
		all.Write(body)
		ref, _ := archivestore.ParseKey(o.Key)
		switch name := filepath.Base(o.Key); {
		case name == "head":
			parts[ref] = slices.Insert(parts[ref], 0, body)
		case strings.HasPrefix(name, "body-"):
			parts[ref] = append(parts[ref], body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, archive := range parts {
		restore := exec.CommandContext(ctx, filepath.Join(b.Customer.BinDir(), "pg_restore"), "-f", "-")
		restore.Stdin = bytes.NewReader(slices.Concat(archive...))
		out, _ := restore.Output() // where it is none, nothing
		all.Write(out)
	}
	return all.String()
}

// plant puts a backup into the store as it is before it is sealed.
func (b *bundle) plant(t *testing.T, v *stack.Visitor, good remora.Backup) {
	t.Helper()
	link, err := v.Link(t.Context(), good.ID)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	plain, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	ref := "r/" + b.Sim.AddonID("remora-backup", stack.HelperApp) + "/b/" + string(good.ID) + "/99/head"
	if _, err := b.Bucket.PutIfAbsent(t.Context(), ref, plain); err != nil {
		t.Fatal(err)
	}
}
