package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/devtools/freeport"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
	"github.com/remora-backup/remora/internal/wiring"
)

// patience is how long a test waits for what must come, until it fails: one command of the Heroku CLI takes a minute where a machine
// has much else to do.
const patience = 10 * time.Minute

// The test program is also the product's processes, as the demo is.
func TestMain(m *testing.M) {
	if os.Getenv("REMORA_STACK") != "" {
		if leak := os.Getenv("REMORA_LEAK"); leak != "" { // a process of ours that logs what it must not
			slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("run failed", "error", "connection to postgres://remora_ro:"+leak+"@h/d failed")
			return
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := wiring.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, dialer.AllowLoopback())
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	browsertest.Close()
	os.Exit(code)
}

type bundle struct {
	*stack.Stack
	logs        *logtest.Buffer
	web, worker *stack.Process
	running     []*stack.Process // beside them
	longer      time.Duration    // than usual, for a backup to end
}

// start brings the stack up, with web and worker, and a filled database. The processes are this program, or
// another that is named.
func start(t *testing.T, rows int, program ...string) *bundle {
	t.Helper()
	return startWith(t, rows, nil, program...)
}

// startWith is start with further settings for web and worker.
func startWith(t *testing.T, rows int, settings []string, program ...string) *bundle {
	t.Helper()
	ctx := t.Context()
	if len(program) == 0 {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		program = []string{self}
	}
	b := &bundle{logs: &logtest.Buffer{}}
	var err error
	b.Stack, err = stack.Start(ctx, stack.Config{Root: filepath.Join("..", ".."), Program: program, Logs: b.logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(b.logs.String())
		}
	})
	if err := b.Fill(ctx, rows); err != nil {
		t.Fatal(err)
	}
	if b.web, err = b.Spawn("web", settings...); err != nil {
		t.Fatal(err)
	}
	if b.worker, err = b.Spawn("worker", settings...); err != nil {
		t.Fatal(err)
	}
	if err := b.AwaitWeb(ctx, b.web); err != nil {
		t.Fatal(err)
	}
	return b
}

// heroku runs the real CLI.
func (b *bundle) heroku(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.Heroku(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// connect does what a customer does, from addons:create to an attached credential, and signs on.
func (b *bundle) connect(t *testing.T) *stack.Visitor {
	t.Helper()
	b.heroku(t, "addons:create", "remora-backup:mako", "-a", stack.HelperApp)
	b.heroku(t, "addons:wait", "remora-backup", "-a", stack.HelperApp)
	b.heroku(t, "access:add", stack.Service, "-a", stack.HelperApp)
	b.heroku(t, "pg:credentials:create", stack.Addon, "--name", stack.Credential, "-a", stack.ShopApp)
	if err := b.Grants(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.heroku(t, "addons:attach", stack.Addon, "--credential", stack.Credential, "-a", stack.HelperApp)
	v, err := b.SignOn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/check")
	return v
}

func (b *bundle) post(t *testing.T, v *stack.Visitor, path string) string {
	t.Helper()
	page, err := v.Post(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func (b *bundle) get(t *testing.T, v *stack.Visitor, path string) string {
	t.Helper()
	page, err := v.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// await waits for the newest backup to be as wanted.
func (b *bundle) await(t *testing.T, ok func(remora.Backup) bool) remora.Backup {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+b.longer)
	defer cancel()
	got, err := b.Await(ctx, ok, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (b *bundle) verified(t *testing.T, after remora.BackupID) remora.Backup {
	t.Helper()
	got := b.await(t, func(x remora.Backup) bool { return x.State.Ended() && x.ID != after })
	if !got.State.Good() {
		t.Fatalf("%s: %s %s", got.State, got.Reason, got.Detail)
	}
	return got
}

// equal restores a backup through a link and compares it with the original.
func (b *bundle) equal(t *testing.T, v *stack.Visitor, backup remora.BackupID, name string) string {
	t.Helper()
	link, err := v.Link(t.Context(), backup)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := b.Restore(t.Context(), link, name)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := stack.Compare(t.Context(), b.Customer.BinDir(), b.OwnerURL("shop"), restored); err != nil || c.Tables < 8 || c.Sequences < 3 {
		t.Fatalf("%+v %v", c, err)
	}
	return restored
}

// The main job with the real Heroku CLI: create, share, attach, back up; the credential is rotated and the
// database fails over to another address, and the next backup needs nobody; restore through Heroku; upgrade;
// destroy, and nothing is left. Every call of Heroku's is delivered twice, and believed the second time.
func TestMainJob(t *testing.T) {
	t.Parallel()
	b := start(t, 20_000)
	b.Sim.DeliverTwice()
	ctx := t.Context()
	v := b.connect(t)
	if _, err := b.Spawn("verifier"); err != nil {
		t.Fatal(err)
	}
	first := b.verified(t, "")
	b.proven(t, v, first)
	restored := b.equal(t, v, first.ID, "restored_1")
	b.oneTable(t, v, first)
	b.doctored(t, v, first)
	b.checked(t, v, first, restored, "")

	// The comparison notices one changed value, or it would prove nothing.
	if err := stack.Exec(ctx, restored, "UPDATE customers SET name = name || '.' WHERE id = 4711"); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Compare(ctx, b.Customer.BinDir(), b.OwnerURL("shop"), restored); err == nil || !strings.Contains(err.Error(), "customers") {
		t.Errorf("one altered value: %v", err)
	}
	b.checked(t, v, first, restored, "public.customers")

	if err := b.Sim.RotateCredential(ctx, stack.Addon, stack.Credential); err != nil {
		t.Fatal(err)
	}
	if err := b.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	b.Sim.ExpireTokens()
	b.post(t, v, "/dashboard/databases/"+string(first.Database)+"/backups")
	second := b.verified(t, first.ID)
	b.equal(t, v, second.ID, "restored_2")
	if n := b.Sim.Counters(); n.Exchanges != 1 {
		t.Errorf("%d exchanges", n.Exchanges)
	}

	// As Heroku does it, into the database of the app.
	link, err := v.Link(ctx, second.ID)
	if err != nil {
		t.Fatal(err)
	}
	before, err := rowsOf(ctx, b.OwnerURL("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Exec(ctx, b.OwnerURL("shop"), "DELETE FROM sales.events"); err != nil {
		t.Fatal(err)
	}
	b.heroku(t, "pg:backups:restore", link, "DATABASE_URL", "-a", stack.ShopApp, "--confirm", stack.ShopApp)
	if after, err := rowsOf(ctx, b.OwnerURL("shop")); err != nil || after != before {
		t.Errorf("%d rows before, %d after pg:backups:restore: %v", before, after, err)
	}

	// What the pages tell a customer to run when something is amiss.
	if out := b.heroku(t, "access", "-a", stack.HelperApp); !strings.Contains(out, stack.Service) {
		t.Error(out)
	}
	overview, err := b.Store.Overview(ctx, remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp)))
	if err != nil {
		t.Fatal(err)
	}
	b.heroku(t, "addons:detach", overview.Databases[0].Attachment, "-a", stack.HelperApp)
	b.post(t, v, "/dashboard/check")
	b.heroku(t, "addons:attach", stack.Addon, "--credential", stack.Credential, "-a", stack.HelperApp)
	b.heroku(t, "pg:credentials:rotate", stack.Addon, "--name", stack.Credential, "-a", stack.ShopApp, "--confirm", stack.ShopApp)

	if out := b.heroku(t, "addons:info", "remora-backup", "-a", stack.HelperApp); !strings.Contains(out, "mako") {
		t.Error(out)
	}
	if out := b.heroku(t, "addons:open", "remora-backup", "-a", stack.HelperApp, "--show-url"); !strings.Contains(out, "/sso/") {
		t.Error(out)
	}
	if out, err := b.Heroku(ctx, "addons:upgrade", "remora-backup", "remora-backup:nonsense", "-a", stack.HelperApp); err == nil || !strings.Contains(out, "hammerhead") {
		t.Errorf("an unknown plan: %v %s", err, out)
	}
	b.heroku(t, "addons:upgrade", "remora-backup", "remora-backup:hammerhead", "-a", stack.HelperApp)
	id := b.Sim.AddonID("remora-backup", stack.HelperApp)
	b.heroku(t, "addons:destroy", "remora-backup", "-a", stack.HelperApp, "--confirm", stack.HelperApp)
	if _, err := v.Get(ctx, "/dashboard"); err == nil {
		t.Error("the session outlived the add-on")
	}
	if resp := fetch(t, link); resp.StatusCode != http.StatusGone {
		t.Errorf("the link outlived the add-on: %s", resp.Status)
	}
	if err := b.Store.DeprovisionResource(ctx, remora.ResourceID(id)); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if n := len(b.Sim.Counters().Calls); n != 8 { // create, upgrade to nonsense, upgrade, destroy
		t.Errorf("Heroku called %d times", n)
	}
	if u := b.Sim.Counters().Unknown; len(u) != 0 {
		t.Errorf("calls that the simulator does not know: %v", u)
	}
	b.forgotten(t, remora.ResourceID(id), stack.HelperApp, stack.ShopApp, stack.Addon, stack.Credential)
}

// proven waits until the verifier has restored the backup, and sees that it left nothing and that the pages say so.
func (b *bundle) proven(t *testing.T, v *stack.Visitor, backup remora.Backup) {
	t.Helper()
	last, err := b.AwaitProof(t.Context(), backup)
	if err != nil {
		t.Fatal(err)
	}
	b.await(t, func(x remora.Backup) bool { return x.ID == backup.ID && x.State == remora.BackupProven })
	if last.State != remora.ProofPassed || last.Rows != backup.Rows || last.Tables != backup.Tables || !last.Objects {
		t.Errorf("%+v of %+v", last, backup)
	}
	if left, err := os.ReadDir(b.Scratch); err != nil || len(left) != 0 {
		t.Errorf("left by the verifier: %v %v", left, err)
	}
	if page := b.get(t, v, "/dashboard/backups/"+string(backup.ID)); !strings.Contains(page, "Restored and compared") || !strings.Contains(page, "the same objects are there") {
		t.Errorf("the page does not tell of the proof: %s", page)
	}
}

// checked holds a restored database against what was counted, with psql and nothing of ours; only the named table is
// to differ.
func (b *bundle) checked(t *testing.T, v *stack.Visitor, backup remora.Backup, restored, differs string) {
	t.Helper()
	link, err := v.Link(t.Context(), backup.ID)
	if err != nil {
		t.Fatal(err)
	}
	script, err := v.Get(t.Context(), strings.TrimPrefix(link, b.WebURL)+"/check.sql")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(b.Customer.BinDir(), "psql"), "-X", "-f", "-", restored)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if (differs != "") != (errors.As(err, &exit) && exit.ExitCode() == 3) || differs == "" && err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	equal := 0
	lines := slices.Collect(strings.Lines(string(out)))
	if last := lines[len(lines)-1]; strings.HasPrefix(last, "EQUAL: all ") != (differs == "") {
		t.Errorf("it ends: %s", last)
	}
	for _, line := range lines[:len(lines)-1] {
		same, differing := strings.HasPrefix(line, "equal     "), strings.HasPrefix(line, "DIFFERENT ")
		if same {
			equal++
		}
		if same == differing || differing != (differs != "" && strings.Contains(line, differs+" ")) {
			t.Errorf("%s", line)
		}
	}
	if equal < 10 {
		t.Errorf("%s", out)
	}
}

// doctored looks at what was found out about the credential: nothing that needs anybody, with Heroku's own objects in the
// database, and nothing written.
func (b *bundle) doctored(t *testing.T, v *stack.Visitor, backup remora.Backup) {
	t.Helper()
	a, err := b.Store.Audit(t.Context(), remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp)), backup.ID)
	if err != nil || a.Verdict(nil) != remora.VerdictGood || len(a.Having(remora.SeverityFuture)) != 0 || len(a.Inventory) < 10 {
		t.Errorf("%+v %v", a, err)
	}
	herokus := 0
	for _, f := range a.Findings {
		if f.Code == "heroku_event_trigger" {
			herokus++
		}
	}
	if herokus != 5 {
		t.Errorf("%d of Heroku's event triggers", herokus)
	}
	if page := b.get(t, v, "/dashboard/backups/"+string(backup.ID)); !strings.Contains(page, "can read everything and change nothing") || !strings.Contains(page, "01_extension_before_drop") {
		t.Error(page)
	}
}

// oneTable fetches one table of a backup, by the link's own parameter and by our command, and neither more of it.
func (b *bundle) oneTable(t *testing.T, v *stack.Visitor, backup remora.Backup) {
	t.Helper()
	link, err := v.Link(t.Context(), backup.ID)
	if err != nil {
		t.Fatal(err)
	}
	served, err := v.Get(t.Context(), strings.TrimPrefix(link, b.WebURL)+"?table=public.customers")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "customers.dump")
	var said bytes.Buffer
	if err := wiring.Run(t.Context(), []string{"table", link, "public.customers", "-o", file}, &said, io.Discard, dialer.Strict()); err != nil {
		t.Fatal(err)
	}
	fetched, err := os.ReadFile(file)
	if err != nil || string(fetched) != served || int64(len(fetched)) > backup.PlainSize*2/3 {
		t.Errorf("%d bytes fetched, %d served, of %d: %s %v", len(fetched), len(served), backup.PlainSize, said.String(), err)
	}
	out, err := exec.Command(filepath.Join(b.Customer.BinDir(), "pg_restore"), "--data-only", "--table=customers", "-f", "-", file).CombinedOutput()
	if err != nil || strings.Count(string(out), "@example.") < 1000 || strings.Contains(string(out), "COPY sales") {
		t.Errorf("%.300s %v", out, err)
	}
	if err := wiring.Run(t.Context(), []string{"table", link, "public.nowhere", "-o", file + "2"}, &said, io.Discard, dialer.Strict()); err == nil || !strings.Contains(err.Error(), "public.nowhere") {
		t.Error(err)
	}
	if _, err := v.Get(t.Context(), strings.TrimPrefix(link, b.WebURL)+"?table=nowhere"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

func rowsOf(ctx context.Context, url string) (n int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT count(*) FROM sales.events").Scan(&n)
	return n, err
}

func fetch(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

// A worker that is killed with -9 in the middle of a dump: its pg_dump dies with it, its session leaves the
// customer's server, its upload is swept, and another worker does the backup.
func TestKilledWorkerLeavesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, 100_000)
	v := b.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.await(t, func(x remora.Backup) bool { return x.State == remora.BackupRunning })
	admin, err := pgx.Connect(ctx, b.Customer.SuperuserURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	sessions := func(wait string) (n int) {
		t.Helper()
		err := admin.QueryRow(ctx, "SELECT count(*), pg_sleep("+wait+")::text FROM pg_stat_activity WHERE usename = $1", stack.Credential).Scan(&n, new(string))
		if err != nil {
			t.Fatalf("a session stays on the customer's server: %v", err)
		}
		return n
	}
	for sessions("0.01") == 0 { // until pg_dump is at it
	}
	if err := b.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	gone, cancelGone := context.WithTimeout(ctx, 30*time.Second)
	defer cancelGone()
	for sessions("0.1") > 0 {
		if gone.Err() != nil {
			t.Fatal("pg_dump's session is there 30 s after its worker was killed")
		}
	}
	if _, err := b.Spawn("worker"); err != nil {
		t.Fatal(err)
	}
	got := b.verified(t, "")
	if got.Attempts != 2 || got.Epoch != 2 {
		t.Errorf("%+v", got)
	}
	b.equal(t, v, got.ID, "restored")
	b.nothingOpen(t)
	if odd, whole := b.unlisted(t), b.heads(t); len(odd) > 0 || len(whole) != 1 {
		t.Errorf("unlisted archives %v, of %v", odd, whole)
	}
	// The killed run's archive, had it been there whole, would have been found.
	killed := archivestore.Ref{Resource: remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp)), Backup: got.ID, Epoch: 1}
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	planted := archivestore.Create(t.Context(), b.Bucket, killed, key.Recipient())
	if _, err := planted.Commit([]byte("head"), nil, archivestore.Manifest{}, b.Keys, time.Now()); err != nil {
		t.Fatal(err)
	}
	if odd := b.unlisted(t); len(odd) != 1 || odd[0] != killed {
		t.Errorf("an archive of a run that was killed is not found: %v", odd)
	}
}

// A verifier that is killed with -9 in the middle of a restore: its scratch server and pg_restore die with it, and another
// verifier removes the folder and makes the proof.
func TestKilledVerifier(t *testing.T) {
	t.Parallel()
	b := start(t, 120_000)
	v := b.connect(t)
	first := b.verified(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp))
	verifier, err := b.Spawn("verifier")
	if err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	until := func(what string, so func() bool) {
		t.Helper()
		for !so() {
			select {
			case <-ctx.Done():
				t.Fatalf("waited in vain until %s", what)
			case <-poll.C:
			}
		}
	}
	var running []string
	until("pg_restore is at it", func() bool {
		running = b.scratched()
		return slices.ContainsFunc(running, func(at string) bool { return strings.Contains(cmdline(at), "remora_owner scratch [local] COPY") })
	})
	if err := verifier.Kill(); err != nil {
		t.Fatal(err)
	}
	until("nothing of it runs", func() bool {
		return !slices.ContainsFunc(running, func(at string) bool { return strings.Contains(cmdline(at), "postgres") })
	})
	if left, err := os.ReadDir(b.Scratch); err != nil || len(left) != 2 { // the folder and its lock
		t.Errorf("left by the verifier: %v %v", left, err)
	}
	if all, err := b.Store.Proofs(ctx, id, first.ID); err != nil || len(all) == 0 || all[0].State.Ended() {
		t.Fatalf("it was not in the middle of it: %+v %v", all, err)
	}
	if _, err := b.Spawn("verifier"); err != nil {
		t.Fatal(err)
	}
	b.proven(t, v, first)
	if all, err := b.Store.Proofs(ctx, id, first.ID); err != nil || all[0].Attempts != 2 {
		t.Errorf("%+v %v", all, err)
	}
}

// scratched are the folders below /proc of scratch servers and of what they have started.
func (b *bundle) scratched() (all []string) {
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, at := range found {
		status, _ := os.ReadFile(filepath.Join(at, "status"))
		_, parent, _ := strings.Cut(string(status), "\nPPid:\t")
		parent, _, _ = strings.Cut(parent, "\n")
		if strings.Contains(cmdline(at), b.Scratch) || strings.Contains(cmdline("/proc/"+parent), b.Scratch) {
			all = append(all, at)
		}
	}
	return all
}

// cmdline is how a process was started, or what PostgreSQL says that it does; "" where it has gone.
func cmdline(at string) string {
	line, _ := os.ReadFile(filepath.Join(at, "cmdline"))
	return strings.ReplaceAll(string(line), "\x00", " ")
}

// A deleter that is killed between two objects leaves what is no backup any more, and the next one takes it up, by itself.
func TestKilledDeleter(t *testing.T) {
	t.Parallel()
	b := start(t, 10)
	b.connect(t)
	kept := b.verified(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := remora.ResourceID(b.Sim.AddonID("remora-backup", stack.HelperApp))
	old := archivestore.Ref{Resource: id, Backup: remora.NewID[remora.BackupID](), Epoch: 1}
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w := archivestore.Create(ctx, b.Bucket, old, key.Recipient())
	if _, err := w.Write([]byte("body")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit([]byte("head"), nil, archivestore.Manifest{}, b.Keys, time.Now()); err != nil {
		t.Fatal(err)
	}
	_, err = b.own(t).Exec(ctx, `INSERT INTO backups (id, resource_id, database_id, state, epoch, queued_at, started_at, ended_at, expired_at, delete_at)
		SELECT $1, resource_id, database_id, 'expired', 1, now() - interval '60 days', now() - interval '60 days', now() - interval '60 days', now() - interval '1 day', now() - interval '1 hour'
		  FROM backups WHERE id = $2`, old.Backup, kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.NewHTTP(b.S3.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	defer close(release)
	proxy.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, string(old.Backup))
		}, Skip: 1,
		Do: faultproxy.Hold(arrived, release),
	})
	deleter, err := b.Spawn("deleter", "S3_ENDPOINT="+proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
	case <-ctx.Done():
		t.Fatal("it deletes nothing")
	}
	if err := deleter.Kill(); err != nil {
		t.Fatal(err)
	}
	left := func() (keys []string) {
		t.Helper()
		if err := b.Bucket.List(ctx, "r/"+string(id)+"/b/"+string(old.Backup), func(o objectstore.Object) error { keys = append(keys, o.Key); return nil }); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if keys := left(); len(keys) == 0 || slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, "/head") }) {
		t.Errorf("left are %v", keys)
	}
	state := func() remora.BackupState {
		t.Helper()
		got, err := b.Store.Backup(ctx, id, old.Backup)
		if err != nil {
			t.Fatal(err)
		}
		return got.State
	}
	if s := state(); s != remora.BackupExpired {
		t.Errorf("it is %s", s)
	}
	if _, err := b.Spawn("deleter"); err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for state() != remora.BackupDeleted {
		<-poll.C
	}
	if keys := left(); len(keys) > 0 {
		t.Errorf("it is called deleted, and there are %v", keys)
	}
	if got, err := b.Store.Backup(ctx, id, kept.ID); err != nil || !got.State.Good() {
		t.Errorf("the newest one is %s: %v", got.State, err)
	}
}

// heads are the archives that are there whole: what commits one is its head.
func (b *bundle) heads(t *testing.T) (all []archivestore.Ref) {
	t.Helper()
	err := b.Bucket.List(t.Context(), archivestore.Prefix, func(o objectstore.Object) error {
		ref, ok := archivestore.ParseKey(o.Key)
		if !ok {
			return fmt.Errorf("%s is nobody's", o.Key)
		}
		if strings.HasSuffix(o.Key, "/head") {
			all = append(all, ref)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unlisted are the archives that are there whole and are no listed backup's, by its newest run.
func (b *bundle) unlisted(t *testing.T) []archivestore.Ref {
	t.Helper()
	rows, err := b.own(t).Query(t.Context(), "SELECT resource_id::text, id::text, epoch FROM backups WHERE state = 'verified'")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[archivestore.Ref])
	if err != nil {
		t.Fatal(err)
	}
	whole := b.heads(t)
	for _, ref := range listed {
		if !slices.Contains(whole, ref) {
			t.Errorf("%v is listed, and there is no such archive", ref)
		}
	}
	return slices.DeleteFunc(whole, func(ref archivestore.Ref) bool { return slices.Contains(listed, ref) })
}

// nothingOpen waits for the janitor to leave no upload open.
func (b *bundle) nothingOpen(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		open, err := b.Bucket.OpenUploads(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("open uploads: %v", open)
		case <-poll.C:
		}
	}
}

func (b *bundle) metrics(t *testing.T, base string) string {
	t.Helper()
	text, err := b.Measures(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Fifty provisions of one resource, each with the same grant, in parallel, to two web processes: one resource, one
// answer, one job, one exchange; and after its removal fifty more are all refused, and none of them revives it.
func TestParallelProvisionsToTwoProcesses(t *testing.T) {
	t.Parallel()
	b := start(t, 100)
	ctx := t.Context()
	second := freePort(t)
	other, err := b.Spawn("web", "PORT="+second)
	if err != nil {
		t.Fatal(err)
	}
	moved := *b.Stack
	moved.WebURL = "http://localhost:" + second
	if err := moved.AwaitWeb(ctx, other); err != nil {
		t.Fatal(err)
	}
	id, request, err := b.Sim.Announce(stack.HelperApp, "mako")
	if err != nil {
		t.Fatal(err)
	}
	fifty := func(want string) {
		t.Helper()
		answers := make([]string, 50)
		var wg sync.WaitGroup
		for i := range answers {
			base := []string{b.WebURL, moved.WebURL}[i%2]
			wg.Go(func() {
				status, answer := b.partner(t, http.MethodPost, base, "", string(request))
				answers[i] = fmt.Sprint(status, answer)
			})
		}
		wg.Wait()
		for _, a := range answers {
			if a != answers[0] || !strings.HasPrefix(a, want) {
				t.Fatalf("%s and %s", answers[0], a)
			}
		}
	}
	fifty("202")
	b.ready(t, id)
	fifty("202") // and of one that is ready
	own := b.own(t)
	once := func(when string) {
		t.Helper()
		var resources, jobs, audits int
		err := own.QueryRow(ctx, `SELECT (SELECT count(*) FROM resources), (SELECT count(*) FROM river.river_job WHERE kind = 'make_ready'),
			(SELECT count(*) FROM audit_log WHERE action = 'provision')`).Scan(&resources, &jobs, &audits)
		if err != nil || resources != 1 || jobs != 1 || audits != 1 {
			t.Errorf("%s: %d resources, %d make_ready jobs, provisioned %d times: %v", when, resources, jobs, audits, err)
		}
		if n := b.Sim.Counters().Exchanges; n != 1 {
			t.Errorf("%s: %d exchanges", when, n)
		}
	}
	once("a hundred times provisioned")
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodDelete, "/" + id, "", 204},
		{http.MethodDelete, "/" + id, "", 410},
		{http.MethodPut, "/" + id, `{"plan":"mako"}`, 410},
		{http.MethodPut, "/11111111-2222-4333-8444-555555555555", `{"plan":"mako"}`, 404},
		{http.MethodPost, "", `{"uuid":"../x","plan":"mako"}`, 422},
		{http.MethodPost, "", `{"uuid":"` + id + `","plan":"admin"}`, 422},
		{http.MethodPost, "", `not json`, 422},
		{http.MethodPost, "", `{"uuid":"` + strings.Repeat("x", 70_000) + `"}`, 422},
	} {
		if got, answer := b.partner(t, c.method, b.WebURL, c.path, c.body); got != c.want || got != 204 && !strings.Contains(answer, "message") {
			t.Errorf("%s %s %.40s: %d %s", c.method, c.path, c.body, got, answer)
		}
	}
	fifty("410")
	once("after its removal")
	var state string
	if err := own.QueryRow(ctx, "SELECT state FROM resources WHERE id = $1", id).Scan(&state); err != nil || state != string(remora.ResourceDeprovisioned) {
		t.Errorf("%s %v", state, err)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.WebURL+"/heroku/resources", bytes.NewReader(request))
	req.SetBasicAuth("remora-backup", "wrong")
	if resp, err := http.DefaultTransport.RoundTrip(req); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Error(resp, err)
	} else {
		_ = resp.Body.Close()
	}
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
}

// A store with no room left, in front of which the real one stands behind a proxy: the customer reads it on the page, the
// operator in the log and in the metrics, and nothing is kept.
func TestFullStore(t *testing.T) {
	t.Parallel()
	b := start(t, 1000)
	v := b.connect(t)
	good := b.verified(t, "")
	proxy, err := faultproxy.NewHTTP(b.S3.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	proxy.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/body-")
		},
		Do: faultproxy.Answer(http.StatusForbidden, `<Error><Code>QuotaExceeded</Code><Message>words of the store</Message></Error>`),
	})
	if err := b.worker.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Spawn("worker", "S3_ENDPOINT="+proxy.URL); err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(good.Database)+"/backups")
	full := b.await(t, func(x remora.Backup) bool { return x.ID != good.ID && x.Reason != "" })
	if full.Reason != remora.ReasonStoreFull || full.State != remora.BackupQueued {
		t.Errorf("%+v", full)
	}
	b.until(t, "the log says why", func() bool { return strings.Contains(b.logs.String(), `"reason":"store_full"`) }) // after the row, and the measure
	for place, text := range map[string]string{
		"page": b.get(t, v, "/dashboard/backups/"+string(full.ID)), "metrics": b.metrics(t, b.Metrics),
	} {
		want := map[string]string{
			"page": "Our store has no room left, so nothing was kept. We have been told.", "metrics": `remora_runs_total{outcome="failed",reason="store_full"} 1`,
		}[place]
		if !strings.Contains(text, want) {
			t.Errorf("the %s does not say %q: %s", place, want, text)
		}
	}
	b.nothingOpen(t)
	if odd, whole := b.unlisted(t), b.heads(t); len(odd) > 0 || len(whole) != 1 {
		t.Errorf("unlisted archives %v, of %v", odd, whole)
	}
}

// The handlers that Heroku calls write to our own database and call nobody: with Heroku, the token endpoint and the store
// at an address that counts who connects, nobody does until there is a worker.
func TestHandlersCallNobody(t *testing.T) {
	t.Parallel()
	b := start(t, 100)
	ctx := t.Context()
	if err := b.worker.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	counted, port := "http://"+l.Addr().String(), freePort(t)
	elsewhere := []string{"HEROKU_API_URL=" + counted, "HEROKU_ID_URL=" + counted, "S3_ENDPOINT=" + counted}
	web, err := b.Spawn("web", append(elsewhere, "PORT="+port)...)
	if err != nil {
		t.Fatal(err)
	}
	moved := *b.Stack
	moved.WebURL = "http://localhost:" + port
	if err := moved.AwaitWeb(ctx, web); err != nil {
		t.Fatal(err)
	}
	atStart := connections.Load() // it has looked for the bucket
	if atStart == 0 {
		t.Error("the web process looked for no bucket at its start: are its settings heeded?")
	}
	id, request, err := b.Sim.Announce(stack.HelperApp, "mako")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, c := range []struct {
			method, path, body string
			want               int
		}{{http.MethodPost, "", string(request), 202}, {http.MethodPut, "/" + id, `{"plan":"hammerhead"}`, 200}} {
			if got, answer := b.partner(t, c.method, moved.WebURL, c.path, c.body); got != c.want {
				t.Errorf("%s: %d %s", c.method, got, answer)
			}
		}
	}
	if _, err := moved.SignOn(ctx); err != nil {
		t.Error(err)
	}
	if n := connections.Load() - atStart; n != 0 {
		t.Errorf("the handlers connected %d times to others", n)
	}
	if n := b.Sim.Counters().Exchanges; n != 0 {
		t.Errorf("%d exchanges without a worker", n)
	}
	// What was left for a worker is done by one, and its connections are counted.
	worker, err := b.Spawn("worker", elsewhere[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	await, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for connections.Load() == atStart {
		select {
		case <-await.Done():
			t.Fatal("a worker connects to nobody, so nothing was counted")
		case <-worker.Done():
			t.Fatal(worker.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := worker.Stop(); err != nil {
		t.Fatal(err)
	}
	seen := connections.Load()
	if got, answer := b.partner(t, http.MethodDelete, moved.WebURL, "/"+id, ""); got != 204 {
		t.Errorf("%d %s", got, answer)
	}
	if n := connections.Load() - seen; n != 0 {
		t.Errorf("the removal connected %d times to others", n)
	}
}

// partner asks a web process as Heroku does.
func (b *bundle) partner(t *testing.T, method, base, path, body string) (status int, answer string) {
	t.Helper()
	status, answer, err := b.Partner(t.Context(), base, method, path, body)
	if err != nil {
		t.Error(err)
	}
	return status, answer
}

// ready waits until a resource is.
func (b *bundle) ready(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		r, err := b.Store.Resource(ctx, remora.ResourceID(id))
		if err != nil {
			t.Fatal(err)
		}
		if !r.ReadyAt.IsZero() {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("it is not made ready: %+v", r)
		case <-poll.C:
		}
	}
}

// own is a connection to our database as its superuser, who sees every row.
func (b *bundle) own(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.Own.SuperuserURL("remora"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}
