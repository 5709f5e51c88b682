package opstest_test

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/freeport"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// previous are what ran before this. make ops-test builds them (internal/devtools/previous.sh).
var previous = flag.String("previous", "", "the folders of earlier releases, each with bin/remora-demo and migrations, to run beside this one")

// The release before this one and this one, in the order in which they meet: the old one at work on its own schema, on which
// the new one does not start; the new one's migrations while the old one is at a backup; the old one on the new schema; both
// beside each other, each doing what the other asked for; the new one alone; and back, by the old release phase, to the old one on
// what the new one has written, to the end of the add-on. Nobody signs on anew, nothing fails and nothing is an error in the log.
func TestPreviousRelease(t *testing.T) {
	t.Parallel()
	if *previous == "" {
		t.Log("no earlier release is named by -previous, as make ops-test does")
	}
	for _, folder := range strings.Fields(*previous) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			unchanged(t, folder)
			r := startRelease(t, folder)
			r.refused()
			first := r.migrated()
			r.works("the release before, on this schema", first)
			r.both(first)
			newest := r.deployed(first)
			r.wentBack(first, newest)
			for line := range strings.Lines(r.logs.String()) {
				// What is installed here may be outdated, which every start says.
				if strings.Contains(line, `"level":"ERROR"`) && !strings.Contains(line, "as ALLOW_OUTDATED_PG says") {
					t.Error(line)
				}
			}
		})
	}
}

// unchanged sees that no migration was changed that the release before has applied: where it was, nobody applies it again.
func unchanged(t *testing.T, folder string) {
	t.Helper()
	theirs, err := filepath.Glob(filepath.Join(folder, "migrations", "*.sql"))
	if err != nil || len(theirs) < 2 {
		t.Fatal(theirs, err)
	}
	for _, f := range theirs {
		was, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		is, err := os.ReadFile(filepath.Join(root, "migrations", filepath.Base(f)))
		if err != nil || !bytes.Equal(was, is) {
			t.Errorf("%s is another one since it was released: %v", filepath.Base(f), err)
		}
	}
}

// release is a service and a customer, while one release follows another.
type release struct {
	*stack.Stack
	t           *testing.T
	logs        *logtest.Buffer
	older, this []string // their programs
	own         *pgx.Conn
	missing     []string // what the older schema lacks
	customer    *stack.Visitor
	web, worker *stack.Process
	restored    int
}

// startRelease starts the older release on its own schema.
func startRelease(t *testing.T, folder string) *release {
	t.Helper()
	ctx := t.Context()
	this, err := filepath.Abs(filepath.Join(root, "bin", "remora-demo"))
	if err != nil {
		t.Fatal(err)
	}
	r := &release{t: t, logs: &logtest.Buffer{}, older: []string{filepath.Join(folder, "bin", "remora-demo")}, this: []string{this}}
	if r.Stack, err = stack.Start(ctx, stack.Config{Root: root, Program: r.older, Logs: r.logs}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(r.logs.String())
		}
	})
	if r.own, err = pgx.Connect(ctx, r.Own.SuperuserURL("remora")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.own.Close(context.Background()) })
	if r.missing, err = postgres.Behind(ctx, pgtest.PoolAt(t, r.Own.SuperuserURL("remora"))); err != nil {
		t.Fatal(err)
	}
	t.Logf("the schema of the release before lacks %v", r.missing)
	if err := r.Fill(ctx, 10); err != nil {
		t.Fatal(err)
	}
	r.replace(&r.web, r.older, "web")
	r.replace(&r.worker, r.older, "worker")
	if r.customer, err = r.Connect(ctx, func(_ string, do func() error) error { return do() }); err != nil {
		t.Fatal(err)
	}
	return r
}

// replace stops a process and starts another release's in its place.
func (r *release) replace(p **stack.Process, program []string, name string) {
	r.t.Helper()
	if *p != nil {
		if err := (*p).Stop(); err != nil {
			r.t.Fatal(err)
		}
	}
	var err error
	if *p, err = r.SpawnOf(program, name); err != nil {
		r.t.Fatal(err)
	}
	if name == "web" {
		if err := r.AwaitWeb(r.t.Context(), *p); err != nil {
			r.t.Fatal(err)
		}
	}
}

// runs runs a command to its end, and tells whether it succeeded and what all processes logged meanwhile.
func (r *release) runs(program []string, name string, settings ...string) (succeeded bool, said string) {
	r.t.Helper()
	before := len(r.logs.String())
	p, err := r.SpawnOf(program, name, settings...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.until(name+" ends", func() bool {
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
	return p.Err() == nil, r.logs.String()[before:]
}

func (r *release) until(what string, so func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			r.t.Fatalf("waited in vain until %s", what)
		case <-poll.C:
		}
	}
}

// backup is a row as it is on either schema.
type backup struct{ ID, Database, State, Reason string }

func (r *release) newest() (b backup) {
	r.t.Helper()
	rows, _ := r.own.Query(r.t.Context(), "SELECT id::text, database_id::text, state, reason FROM backups ORDER BY queued_at DESC LIMIT 1")
	b, err := pgx.CollectOneRow(rows, pgx.RowToStructByPos[backup])
	if err != nil && err != pgx.ErrNoRows {
		r.t.Fatal(err)
	}
	return b
}

// verified waits for a backup other than that one.
func (r *release) verified(after backup) (b backup) {
	r.t.Helper()
	r.until("a backup has ended", func() bool {
		b = r.newest()
		return b.ID != after.ID && remora.BackupState(b.State).Ended()
	})
	if !remora.BackupState(b.State).Good() {
		r.t.Fatalf("%+v", b)
	}
	return b
}

func (r *release) asks(b backup) {
	r.t.Helper()
	if _, err := r.customer.Post(r.t.Context(), "/dashboard/databases/"+b.Database+"/backups", nil); err != nil {
		r.t.Fatal(err)
	}
}

// refused sees that nothing of this release starts on the older schema, and that each says what to type. Where the schemas
// are the same, web starts.
func (r *release) refused() {
	t := r.t
	t.Helper()
	if len(r.missing) == 0 {
		beside := *r.Stack
		port := freePort(t)
		beside.WebURL = "http://localhost:" + port
		p, err := r.SpawnOf(r.this, "web", "PORT="+port)
		if err != nil {
			t.Fatal(err)
		}
		if err := beside.AwaitWeb(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, name := range []string{"web", "worker", "verifier", "deleter", "checkup"} {
		want := "run remora migrate first: it lacks " + r.missing[0]
		if name == "checkup" {
			want = "Run remora migrate; on Heroku the release phase does."
		}
		if ok, said := r.runs(r.this, name, "PORT="+freePort(t), "WORKER_METRICS="); ok || !strings.Contains(said, want) {
			t.Errorf("%s on the schema of the release before: %v, %s", name, ok, said)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// migrated has this release's release phase run while the older release is in the middle of a backup, which it ends.
func (r *release) migrated() backup {
	t := r.t
	t.Helper()
	first := r.verified(backup{})
	customer, err := pgx.Connect(t.Context(), r.OwnerURL("shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer customer.Close(context.Background())
	if _, err := customer.Exec(t.Context(), "BEGIN; LOCK TABLE customers"); err != nil {
		t.Fatal(err)
	}
	r.asks(first)
	r.until("the backup waits for the table", func() (so bool) {
		if err := customer.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'customers'::regclass)").Scan(&so); err != nil {
			t.Fatal(err)
		}
		return so
	})
	if ok, said := r.runs(r.this, "migrate"); !ok {
		t.Fatal(said)
	}
	if now := r.newest(); now.ID == first.ID || now.State != string(remora.BackupRunning) {
		t.Errorf("it was not in the middle of one: %+v", now)
	}
	if _, err := customer.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	r.verified(first)
	return first
}

// works has the web and the worker that run do what they are for: pages, a backup, a link, a restore that is equal, another add-on
// from its provision to its removal.
func (r *release) works(who string, old backup) backup {
	t := r.t
	t.Helper()
	ctx := t.Context()
	before := r.newest()
	r.asks(old)
	made := r.verified(before)
	for _, path := range []string{"/dashboard", "/dashboard/databases/" + old.Database, "/dashboard/settings", "/dashboard/backups/" + old.ID, "/dashboard/backups/" + made.ID} {
		if page, err := r.customer.Get(ctx, path); err != nil || !strings.Contains(page, "</html>") {
			t.Errorf("%s: %s: %v %s", who, path, err, page)
		}
	}
	r.equal(who, made)
	t.Log(who, "has made a backup that is equal")
	id, request, err := r.Sim.Announce(stack.HelperApp, "mako")
	if err != nil {
		t.Fatal(err)
	}
	r.partner(who, http.MethodPost, "", string(request), http.StatusAccepted)
	r.until("an add-on is ready", func() (so bool) {
		if err := r.own.QueryRow(ctx, "SELECT ready_at IS NOT NULL FROM resources WHERE id = $1", id).Scan(&so); err != nil {
			t.Fatal(err)
		}
		return so
	})
	r.partner(who, http.MethodPut, "/"+id, `{"plan":"hammerhead"}`, http.StatusOK)
	r.partner(who, http.MethodDelete, "/"+id, "", http.StatusNoContent)
	return made
}

// equal restores a backup from a link and compares.
func (r *release) equal(who string, b backup) {
	t := r.t
	t.Helper()
	link, err := r.customer.Link(t.Context(), remora.BackupID(b.ID))
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	r.restored++
	to, err := r.Restore(t.Context(), link, "restored_"+strconv.Itoa(r.restored))
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	if c, err := stack.Compare(t.Context(), r.Customer.BinDir(), r.OwnerURL("shop"), to); err != nil || c.Tables < 8 {
		t.Errorf("%s: %+v %v", who, c, err)
	}
}

// partner asks web as Heroku does.
func (r *release) partner(who, method, path, body string, want int) {
	r.t.Helper()
	status, answer, err := r.Partner(r.t.Context(), r.WebURL, method, path, body)
	if err != nil {
		r.t.Fatalf("%s: %v", who, err)
	}
	if status != want {
		r.t.Errorf("%s: %s %s: %d %s", who, method, path, status, answer)
	}
}

// both has each release do what the other was asked for: the jobs of one are the other's.
func (r *release) both(old backup) {
	r.t.Helper()
	r.replace(&r.worker, r.this, "worker")
	r.works("this worker with the web before", old)
	r.replace(&r.worker, r.older, "worker")
	r.replace(&r.web, r.this, "web")
	r.works("this web with the worker before", old)
}

// deployed is this release alone, with all its processes.
func (r *release) deployed(old backup) (made backup) {
	t := r.t
	t.Helper()
	r.replace(&r.worker, r.this, "worker")
	all := r.others(r.this)
	made = r.works("this release", old)
	// What is restored by itself is the newest of all.
	if _, err := r.customer.Post(t.Context(), "/dashboard/backups/"+old.ID+"/proofs", nil); err != nil {
		t.Fatal(err)
	}
	if p, err := r.AwaitProof(t.Context(), remora.Backup{ID: remora.BackupID(old.ID)}); err != nil || p.State != remora.ProofPassed {
		t.Errorf("%+v %v", p, err)
	}
	r.equal("this release, of the release before", old)
	for _, p := range all {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// others are the processes that no one waits for.
func (r *release) others(program []string) (all []*stack.Process) {
	r.t.Helper()
	for _, name := range []string{"verifier", "deleter"} {
		p, err := r.SpawnOf(program, name)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// wentBack is the older release again, on what this one has written, until the add-on is removed and nothing is left of it.
func (r *release) wentBack(old, newest backup) {
	t := r.t
	t.Helper()
	ctx := t.Context()
	count := func() (n int) {
		t.Helper()
		if err := r.own.QueryRow(ctx, "SELECT (SELECT count(*) FROM goose_db_version) + (SELECT count(*) FROM river.river_migration)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	if ok, said := r.runs(r.older, "migrate"); !ok || count() != before {
		t.Fatal(said)
	}
	r.replace(&r.web, r.older, "web")
	r.replace(&r.worker, r.older, "worker")
	r.others(r.older)
	r.works("the release before, again", newest)
	r.equal("the release before, of this release", newest)
	r.equal("the release before, of itself", old)
	id := remora.ResourceID(r.Sim.AddonID("remora-backup", stack.HelperApp))
	if _, err := r.Heroku(ctx, "addons:destroy", "remora-backup", "-a", stack.HelperApp, "--confirm", stack.HelperApp); err != nil {
		t.Fatal(err)
	}
	if _, err := r.customer.Get(ctx, "/dashboard"); err == nil {
		t.Error("the session outlived the add-on")
	}
	if _, err := r.own.Exec(ctx, "UPDATE removals SET asked_at = asked_at - interval '4 days', undo_until = undo_until - interval '4 days'"); err != nil {
		t.Fatal(err)
	}
	r.until("nothing is left of the add-on", func() bool {
		removal, err := r.Store.Removal(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return removal.Done()
	})
	if left := r.tablesWith(string(id)); !slices.Equal(left, []string{"removals", "resources"}) {
		t.Errorf("it is left in %v", left)
	}
}

// tablesWith lists the tables of our database that have a word in any column of a row.
func (r *release) tablesWith(word string) (tables []string) {
	t := r.t
	t.Helper()
	rows, _ := r.own.Query(t.Context(), `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace) ORDER BY 1`)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		there := false
		if err := r.own.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM "+table+" x WHERE strpos(x::text, $1) > 0)", word).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			tables = append(tables, table)
		}
	}
	return tables
}
