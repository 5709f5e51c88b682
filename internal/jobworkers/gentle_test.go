package jobworkers

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/remora"
)

// A real ALTER TABLE waits for a real dump no longer than it is allowed to, by the server's own clock; those behind it go
// on too; the backup comes back later and says what happened.
func TestADumpGivesWay(t *testing.T) {
	t.Parallel()
	t.Run("while it reads rows", func(t *testing.T) {
		t.Parallel()
		givesWay(t, "PG_DUMP | { head -c 3000000; sleep 60; cat; }", "", nil) // as behind a store that takes nothing more
	})
	t.Run("while it reads the catalog", func(t *testing.T) {
		t.Parallel()
		givesWay(t, "PG_DUMP | { sleep 60; cat; }", "", nil) // as of many tables, which are all locked by then
	})
	t.Run("although it could not be looked for a time", func(t *testing.T) {
		t.Parallel()
		givesWay(t, "PG_DUMP | { sleep 60; cat; }", "whom the dump kept waiting could not be seen all the time", func(b *bundle, may bool) {
			sql := "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_blocking_pids(int) FROM PUBLIC"
			if may {
				b.looked(t, 3)
				sql = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_blocking_pids(int) TO PUBLIC"
			}
			if _, err := b.own(t).Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// Where the inventory fails, the backup is made and watched all the same.
func TestADumpGivesWayWithoutAnInventory(t *testing.T) {
	t.Parallel()
	givesWay(t, "PG_DUMP | { sleep 60; cat; }", "what objects there are could not be listed", func(b *bundle, may bool) {
		if !may {
			if _, err := b.own(t).Exec(t.Context(), "REVOKE SELECT ON pg_catalog.pg_enum FROM PUBLIC"); err != nil { // pg_dump reads it where there is an enum
				t.Fatal(err)
			}
		}
	})
}

// givesWay has a customer's statements wait for a dump. look, where it is not nil, lets the credential see who waits, or not, of which our
// log says something.
func givesWay(t *testing.T, dump, says string, look func(b *bundle, may bool)) {
	t.Helper()
	const patience = 700 * time.Millisecond
	b := newBundle(t)
	b.connect(t)
	b.LockPatience, b.WatchEvery = patience, 20*time.Millisecond
	log := b.logs()
	restore := filepath.Join(b.Clients[0].Dir, "pg_restore")
	b.broken(t, dump)
	own, started := filepath.Join(b.Clients[0].Dir, "pg_restore"), filepath.Join(b.Clients[0].Dir, "started")
	if err := errors.Join(os.Remove(own), os.WriteFile(own, []byte("#!/bin/sh\n: >"+started+"\nexec "+restore+` "$@"`+"\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if look != nil {
		look(b, false)
	}
	id := b.newest(t).ID
	ended := make(chan error, 1)
	go func() { ended <- work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}) }()
	b.dumping(t)
	if look != nil {
		look(b, true)
	}

	// The reader waits behind the ALTER, as a site's requests do.
	waited := make(chan time.Duration, 2)
	for _, sql := range []string{"ALTER TABLE large ADD COLUMN more int", "SELECT count(*) FROM large WHERE id = 1"} {
		conn := b.own(t)
		go func() {
			began := time.Now()
			if _, err := conn.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
			waited <- time.Since(began)
		}()
		if strings.HasPrefix(sql, "ALTER") {
			b.waits(t, 1)
		}
	}
	longest := max(<-waited, <-waited)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	t.Logf("the ALTER and the reader behind it were held up for %v, of %v", longest, patience)
	if longest < patience || longest > patience+time.Second {
		t.Errorf("an ALTER TABLE waited for %v", longest)
	}
	got, err := b.Store.Backup(t.Context(), b.id, id)
	if err != nil || got.State != remora.BackupQueued || got.Reason != remora.ReasonLockGaveWay || got.RetryAt.Sub(got.StartedAt) < 4*time.Minute {
		t.Errorf("%+v %v", got, err)
	}
	if !strings.Contains(got.Detail, "AccessExclusiveLock") || !strings.Contains(got.Detail, "large") {
		t.Errorf("said %q", got.Detail)
	}
	if i := got.Impact; i == nil || !i.Watched || i.Blocked < 1 || i.Waited < patience || i.Held < i.Waited {
		t.Errorf("%+v", i)
	}
	events, err := b.Store.Events(t.Context(), b.id, remora.EventLook{Most: 10})
	if err != nil || len(events) == 0 || events[0].Kind != remora.EventLockGaveWay || !strings.Contains(events[0].Detail, "We try again at") {
		t.Errorf("%+v %v", events, err)
	}
	if !strings.Contains(log.String(), says) {
		t.Errorf("the log does not say that %s:\n%s", says, log)
	}
	if _, err := os.Stat(started); err != nil { // before the archive's head comes, when our own questions are answered
		t.Errorf("pg_restore: %v", err)
	}
	b.nothing(t, b.Bucket)
	b.noSession(t)
}

// While the doctor's question has no answer nobody watches whom pg_dump's locks keep waiting: it lets go of them, and is
// started again with the answer.
func TestASlowAnswerKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	b.attempt(t) // the credential is known, so pg_dump does not wait for the answer
	at, err := url.Parse(b.url.Load().(string))
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.NewTCP(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	at.Host = proxy.Addr
	b.url.Store(at.String())
	answer := make(chan struct{})
	proxy.HoldAt(8, answer) // the way to TLS, its hello, its end, who comes, two of the login, the begin; then the question
	id, err := b.Store.RequestBackup(t.Context(), b.id, b.newest(t).Database, "dev@example.com")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}) }()
	b.until(t, `SELECT (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE relation = 'large'::regclass AND application_name LIKE 'remora-backup/%')
		+ count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND application_name LIKE 'remora-backup%' AND now() - state_change > '12 s'`, 1) // a slow machine's pg_dump may have let go by then
	if _, err := b.own(t).Exec(t.Context(), "ALTER TABLE large ADD COLUMN more int"); err != nil { // while the question still waits
		t.Fatal(err)
	}
	close(answer)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got, err := b.Store.Backup(t.Context(), b.id, id); err != nil || got.State != remora.BackupVerified {
		t.Errorf("%+v %v", got, err)
	}
}

// A wait that was counted is not counted again where a look between has failed.
func TestAWaitIsCountedOnce(t *testing.T) {
	t.Parallel()
	at := time.Now()
	g := gentle{}
	g.count(customerdb.Waiting{Sessions: 1, Longest: 16 * time.Second}, at)
	g.seen, g.last = at, at.Add(time.Second) // of the look that failed
	g.count(customerdb.Waiting{Sessions: 1, Longest: 24 * time.Second}, at.Add(8*time.Second))
	if g.impact.Waited != 24*time.Second {
		t.Error(g.impact.Waited)
	}
}

// Where it cannot be told any more whether every row is shown, pg_dump does not read on for hours what is thrown away then, with nobody
// who looks whom it keeps waiting.
func TestAHiddenRowEndsTheDumpAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	pgtest.Exec(t, b.dbURL, "ALTER TABLE large ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON large FOR SELECT TO "+b.role(t)+" USING (true)")
	b.WatchEvery = 20 * time.Millisecond
	held := filepath.Join(t.TempDir(), "go")
	b.broken(t, "PG_DUMP | { while [ ! -e "+held+" ]; do sleep 0.05; done; head -c 3000000; sleep 600; cat; }")
	id := b.newest(t).ID
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- work(t, ctx, &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}) }()
	b.until(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'remora-backup/%' AND query LIKE 'COPY %'", 1) // it has read the catalog
	b.looked(t, 3)
	pgtest.Exec(t, b.dbURL, "REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC")
	if err := os.WriteFile(held, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got, err := b.Store.Backup(t.Context(), b.id, id); err != nil || ctx.Err() != nil || got.Reason != remora.ReasonPermission {
		t.Errorf("%+v %v %v", got, err, ctx.Err())
	}
	b.noSession(t)
}

// Nobody waits: the run says so.
func TestImpactOfAQuietRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	b.WatchEvery = time.Millisecond
	id := b.attempt(t).ID
	got, err := b.Store.Backup(t.Context(), b.id, id)
	if err != nil || got.State != remora.BackupVerified || got.Impact == nil || !got.Impact.Watched || got.Impact.Blocked != 0 || got.Impact.Waited != 0 || got.Impact.Held <= 0 {
		t.Errorf("%+v %+v %v", got, got.Impact, err)
	}
}

// own is a connection of the customer's to his database.
func (b *bundle) own(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.dbURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// dumping waits until pg_dump has its locks and asks on.
func (b *bundle) dumping(t *testing.T) {
	t.Helper()
	b.until(t, `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE relation = 'large'::regclass AND application_name LIKE 'remora-backup/%' AND a.state <> 'idle in transaction'`, 1)
}

// looked waits until our session has done something beside the snapshot so many times: the inventory, and then a look each.
func (b *bundle) looked(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := b.own(t)
	for seen := map[time.Time]bool{}; len(seen) < n; {
		rows, _ := conn.Query(ctx, "SELECT query_start FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'ROLLBACK TO SAVEPOINT%'", pgdump.AppName)
		at, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		if err != nil {
			t.Fatal(err)
		}
		for _, when := range at {
			seen[when] = true
		}
	}
}

// waits waits until so many sessions wait for a lock.
func (b *bundle) waits(t *testing.T, n int) {
	t.Helper()
	b.until(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'large'::regclass", n)
}

func (b *bundle) until(t *testing.T, sql string, least int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := b.own(t)
	for n := -1; n < least; {
		if err := conn.QueryRow(ctx, "SELECT ("+sql+"), pg_sleep(0.01)::text").Scan(&n, new(string)); err != nil {
			t.Fatal(err)
		}
	}
}
