package jobworkers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
	"github.com/remora-backup/remora/internal/websession"
)

var customers = sync.OnceValues(func() (*localpg.Cluster, error) {
	return localpg.Start(context.Background(), localpg.Config{TLS: true})
})

type both struct{ m *testing.M }

func (b both) Run() int { return pgtest.Main(b.m) }

func TestMain(m *testing.M) {
	code := s3test.Main(both{m})
	if c, err := customers(); err == nil {
		_ = c.Stop()
	}
	os.Exit(code)
}

// bundle is the workers over real stores and servers, and a Heroku that answers with fixed bytes.
type bundle struct {
	*Workers
	Bucket *objectstore.Bucket // ours
	id     remora.ResourceID
	key    seal.Key
	url    atomic.Value // the config var's value
	heroku atomic.Value // func(w, r) bool: true where it has answered
	dbURL  string       // of the customer's database, as its superuser
	tokens atomic.Int32 // how often a token was asked for
}

func newBundle(t *testing.T, change ...func(*objectstore.Config)) *bundle {
	t.Helper()
	b := &bundle{}
	customer, err := customers()
	if err != nil {
		t.Fatal(err)
	}
	role := "r" + strings.ReplaceAll(string(remora.NewID[remora.DatabaseID]()), "-", "")
	pgtest.Exec(t, customer.SuperuserURL("postgres"), "CREATE DATABASE "+role, "CREATE ROLE "+role+" LOGIN PASSWORD 'pass-word'")
	b.dbURL = customer.SuperuserURL(role)
	pgtest.Exec(t, b.dbURL, "CREATE TABLE large AS SELECT g AS id, md5(g::text) || md5((g * 3)::text) || md5((g * 7)::text) AS text FROM generate_series(1, 250000) g",
		"GRANT USAGE ON SCHEMA public TO "+role, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role)
	_, port := customer.Addr()
	b.url.Store(fmt.Sprintf("postgres://%s:pass-word@127.0.0.1:%d/%s", role, port, role))
	b.heroku.Store(func(http.ResponseWriter, *http.Request) bool { return false })
	s := httptest.NewServer(http.HandlerFunc(b.answer))
	t.Cleanup(s.Close)

	cfg := s3test.Config(t)
	for _, c := range change {
		c(&cfg)
	}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys, RetryAfter: []time.Duration{time.Nanosecond, time.Nanosecond}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := herokuapi.New(herokuapi.Config{APIURL: s.URL, IDURL: s.URL, HTTP: s.Client(), Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	b.Bucket = s3test.Open(t, cfg)
	compress, err := pgarchive.NewCompressor(2, pgarchive.Fast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = compress.Close() })
	b.Workers, err = New(Config{
		Compress: compress,
		Name:     "test", Store: store, Heroku: client, Stores: storesOf(t, store, b.Bucket, false), Keys: keys, Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver,
		Clients: pgdump.Find(t.Context(), []string{customer.BinDir()}, ""), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Metrics: prometheus.NewRegistry(), ServiceToken: redact.New("service"), BeatEvery: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.key, err = seal.NewKey(); err != nil {
		t.Fatal(err)
	}
	b.id = remora.NewID[remora.ResourceID]()
	_, err = store.ProvisionResource(t.Context(), remora.Provision{ID: b.id, Plan: "mako", Grant: redact.New("grant")}, b.key.Secret(), b.key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// storesOf opens a test's bucket, and customers' own on loopback.
func storesOf(t *testing.T, store *postgres.Store, ours *objectstore.Bucket, deletes bool) *placement.Stores {
	t.Helper()
	s, err := placement.New(placement.Config{Ours: ours, Buckets: store, Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver, Deletes: deletes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is Heroku, in the bytes of its documentation.
func (b *bundle) answer(w http.ResponseWriter, r *http.Request) {
	if b.heroku.Load().(func(http.ResponseWriter, *http.Request) bool)(w, r) {
		return
	}
	switch path := r.URL.Path; {
	case path == "/oauth/token":
		_, _ = fmt.Fprintf(w, `{"access_token":"HRKU-%d","refresh_token":"r","expires_in":28799,"token_type":"Bearer"}`, b.tokens.Add(1))
	case strings.HasSuffix(path, "/addon-attachments"):
		_, _ = io.WriteString(w, `[{"id":"t0","name":"REMORA_BACKUP","namespace":null,"addon":{"id":"`+string(b.id)+`","name":"remora","app":{"id":"h","name":"helper"}},"app":{"id":"h","name":"helper"}},
			{"id":"t1","name":"REMORA_DB","namespace":"credential:remora_ro","addon":{"id":"p1","name":"postgresql-x","app":{"id":"s","name":"shop"}},"app":{"id":"h","name":"helper"}}]`)
	case strings.HasSuffix(path, "/config-vars"):
		_, _ = fmt.Fprintf(w, `{"REMORA_DB_URL":%q,"OTHER":"x"}`, b.url.Load())
	case strings.HasSuffix(path, "/config"):
		_, _ = io.WriteString(w, `[]`)
	default:
		_, _ = io.WriteString(w, `{"id":"`+string(b.id)+`","name":"remora","state":"provisioned","app":{"id":"h","name":"helper"}}`)
	}
}

// work runs one job as River would.
func work[T river.JobArgs](t *testing.T, ctx context.Context, w river.Worker[T], args T) error {
	t.Helper()
	return w.Work(ctx, &river.Job[T]{JobRow: &rivertype.JobRow{Attempt: 1}, Args: args})
}

func (b *bundle) connect(t *testing.T) {
	t.Helper()
	if err := work(t, t.Context(), &makeReady{Workers: b.Workers}, jobargs.MakeReady{Resource: b.id}); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), &findDatabases{Workers: b.Workers}, jobargs.FindDatabases{Resource: b.id}); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) newest(t *testing.T) remora.Backup {
	t.Helper()
	o, err := b.Store.Overview(t.Context(), b.id)
	if err != nil || len(o.Backups) == 0 {
		t.Fatalf("%+v %v", o, err)
	}
	return o.Backups[0]
}

// attempt runs the newest backup once and returns it.
func (b *bundle) attempt(t *testing.T) remora.Backup {
	t.Helper()
	id := b.newest(t).ID
	if err := work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}); err != nil {
		t.Fatal(err)
	}
	return b.newest(t)
}

// nothing checks that the bucket has no object of an archive and no open upload.
func (b *bundle) nothing(t *testing.T, bucket *objectstore.Bucket) {
	t.Helper()
	if err := bucket.List(t.Context(), archivestore.Prefix, func(o objectstore.Object) error { return errors.New(o.Key) }); err != nil {
		t.Errorf("left in the bucket: %v", err)
	}
	if open, err := bucket.OpenUploads(t.Context(), ""); err != nil || len(open) != 0 {
		t.Errorf("open uploads: %v %v", open, err)
	}
}

// restores has stock pg_restore read a backup's whole archive from the bucket, and compares what was counted.
func (b *bundle) restores(t *testing.T, x remora.Backup) {
	t.Helper()
	ref := archivestore.Ref{Resource: b.id, Backup: x.ID, Epoch: x.Epoch}
	r, err := archivestore.Open(t.Context(), b.Bucket, ref, b.key, b.Keys)
	if err != nil {
		t.Fatal(err)
	}
	var contents pgarchive.Contents
	stored, err := archivestore.Contents(t.Context(), b.Bucket, ref, b.key, b.Keys)
	if err := errors.Join(err, json.Unmarshal(stored, &contents)); err != nil || x.Rows != 250000 || contents.Rows() != x.Rows || contents.Tables[0].Name != "large" {
		t.Errorf("%d rows, %+v, %v", x.Rows, contents, err)
	}
	check, err := pgdump.StartCheck(t.Context(), b.Clients[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer check.Close()
	if _, err := io.Copy(check, io.NewSectionReader(r, 0, r.Size())); err != nil {
		t.Fatal(err)
	}
	if err := check.Finish(); err != nil {
		t.Error(err)
	}
}

// broken makes a client whose first pg_dumps are the real one, each killed in its own way; those after them are whole.
func (b *bundle) broken(t *testing.T, scripts ...string) {
	t.Helper()
	dir, real := t.TempDir(), b.Clients[0]
	text := "#!/bin/sh\n"
	for i, script := range scripts {
		text += fmt.Sprintf("if [ ! -e %[1]s/%[2]d ]; then\n: >%[1]s/%[2]d\n%[3]s\nfi\n", dir, i, strings.ReplaceAll(script, "PG_DUMP", real.Dir+`/pg_dump "$@"`))
	}
	text += "exec " + real.Dir + `/pg_dump "$@"` + "\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(text), 0o755), os.Symlink(real.Dir+"/pg_restore", filepath.Join(dir, "pg_restore"))); err != nil {
		t.Fatal(err)
	}
	b.Clients = []pgdump.Client{{Major: real.Major, Version: real.Version, Dir: dir}}
}

// The real pg_dump killed at 20 points, from before its first byte to after its last: no object, no upload, no
// session. Each backup is tried three times; the last of them ends well with the third.
func TestKilledDumps(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	whole, err := exec.CommandContext(t.Context(), filepath.Join(b.Clients[0].Dir, "pg_dump"), "-Fc", "-Z0", "-d", b.dbURL).Output()
	if err != nil {
		t.Fatal(err)
	}
	scripts := []string{"kill -9 $$", "PG_DUMP | head -c 700; kill -9 $$"} // before the first byte, in the table of contents
	for i := range 17 {
		scripts = append(scripts, fmt.Sprintf("PG_DUMP | head -c %d; kill -9 $$", (i+1)*len(whole)/17-1)) // the last lacks one byte
	}
	scripts = append(scripts, "PG_DUMP; kill -9 $$") // nothing is missing
	b.broken(t, scripts...)
	for i := range scripts {
		if i > 0 && i%3 == 0 {
			if _, err := b.Store.RequestBackup(t.Context(), b.id, b.newest(t).Database, "p"); err != nil {
				t.Fatal(err)
			}
		}
		want := remora.BackupQueued
		if i%3 == 2 {
			want = remora.BackupFailed
		}
		if got := b.attempt(t); got.State != want || got.Reason != remora.ReasonDumpFailed && got.Reason != remora.ReasonConnectionLost {
			t.Fatalf("%s: %+v", scripts[i], got)
		}
		b.nothing(t, b.Bucket)
		b.noSession(t)
	}
	got := b.attempt(t)
	if got.State != remora.BackupVerified || got.Attempts != 3 {
		t.Fatalf("%+v", got)
	}
	b.restores(t, got)
}

// The connection to the customer's server cut in the middle: the same.
func TestDroppedConnection(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
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
	for _, bytes := range []int64{2_000_000, 20_000_000} { // of 26 million
		proxy.CutAfter(bytes)
		if got := b.attempt(t); got.State != remora.BackupQueued || got.Reason != remora.ReasonConnectionLost {
			t.Fatalf("%+v", got)
		}
		b.nothing(t, b.Bucket)
		b.noSession(t)
	}
	proxy.CutAfter(0)
	got := b.attempt(t)
	if got.State != remora.BackupVerified {
		t.Fatalf("%+v", got)
	}
	b.restores(t, got)
}

func (b *bundle) noSession(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, b.dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for n := 1; n > 0; {
		if err := conn.QueryRow(ctx, "SELECT count(*), pg_sleep(0.05)::text FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1 || '%'", pgdump.AppName).Scan(&n, new(string)); err != nil {
			t.Fatalf("a session stays: %v", err)
		}
	}
}

// The real store behind a proxy that fails a part for good, in the ways that stores and networks do: nothing is left, the
// run is tried again and ends well. What the customer is told and whom the log calls follow from the reason.
func TestFailingStore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail faultproxy.Fault
		at   string // which part; empty: none, but the last objects
		want remora.Reason
	}{
		"an error":          {faultproxy.Answer(500, `<Error><Code>InternalError</Code></Error>`), "2", remora.ReasonStoreFailed},
		"a cut connection":  {faultproxy.Cut(1 << 20), "2", remora.ReasonStoreFailed},
		"a lost answer":     {faultproxy.DropReply(), "1", remora.ReasonStoreFailed},
		"a quota":           {faultproxy.Answer(403, `<Error><Code>QuotaExceeded</Code></Error>`), "2", remora.ReasonStoreFull},
		"no room":           {faultproxy.Answer(507, ``), "2", remora.ReasonStoreFull},
		"no room for MinIO": {faultproxy.Answer(507, `<Error><Code>XMinioStorageFull</Code></Error>`), "1", remora.ReasonStoreFull},
		"no room at last":   {faultproxy.Answer(507, ``), "", remora.ReasonStoreFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var direct objectstore.Config
			var proxy *faultproxy.HTTP
			b := newBundle(t, func(cfg *objectstore.Config) {
				direct = *cfg
				var err error
				if proxy, err = faultproxy.NewHTTP(cfg.Endpoint); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(proxy.Close)
				cfg.Endpoint, cfg.HTTP, cfg.Attempts = proxy.URL, dialer.HTTPClient(0), 3
				t.Cleanup(cfg.HTTP.CloseIdleConnections)
			})
			log := &logtest.Buffer{}
			b.Log = slog.New(slog.NewTextHandler(log, nil))
			b.connect(t)
			failed := make(chan struct{}, 1000)
			proxy.Add(faultproxy.Rule{
				Match: func(r *http.Request) bool {
					return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == c.at
				},
				Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					failed <- struct{}{}
					c.fail(w, r, next)
				},
			})
			if got := b.attempt(t); got.State != remora.BackupQueued || got.Reason != c.want {
				t.Fatalf("%+v", got)
			}
			if len(failed) == 0 {
				t.Error("the proxy failed nothing, so this proves nothing")
			}
			if said := log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "reason="+string(c.want)) {
				t.Errorf("the operator is not told: %s", said)
			}
			b.nothing(t, s3test.Open(t, direct))
			b.noSession(t)
			proxy.Clear()
			got := b.attempt(t)
			if got.State != remora.BackupVerified || got.Attempts != 2 {
				t.Fatalf("%+v", got)
			}
			b.restores(t, got)
		})
	}
}

// A database that has outgrown its plan since its last backup is asked for its size beside pg_dump, and nothing of it is kept.
func TestADatabaseOutgrowsItsPlan(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	first := b.attempt(t)
	if first.State != remora.BackupVerified {
		t.Fatalf("%+v", first)
	}
	pgtest.Exec(t, b.dbURL, "CREATE OR REPLACE FUNCTION pg_catalog.pg_database_size(name) RETURNS bigint LANGUAGE sql AS 'SELECT 1000000000000000'")
	if _, err := b.Store.RequestBackup(t.Context(), b.id, first.Database, "p"); err != nil {
		t.Fatal(err)
	}
	if got := b.attempt(t); got.State != remora.BackupFailed || got.Reason != remora.ReasonTooLarge || got.ID == first.ID || !strings.Contains(got.Detail, "plan") {
		t.Errorf("%+v", got)
	} else if got, err := b.Store.Backup(t.Context(), b.id, got.ID); err != nil || got.Impact == nil || got.Impact.Held <= 0 {
		t.Errorf("%+v %v", got.Impact, err)
	}
	err := b.Bucket.List(t.Context(), archivestore.Prefix, func(o objectstore.Object) error {
		if !strings.Contains(o.Key, string(first.ID)) {
			t.Errorf("%s was stored", o.Key)
		}
		return nil
	})
	if open, uerr := b.Bucket.OpenUploads(t.Context(), ""); err != nil || uerr != nil || len(open) != 0 {
		t.Errorf("%v %v %v", err, open, uerr)
	}
	b.noSession(t)
}

// One value that takes next to nothing of the customer's disk takes twice its length in pg_dump. It costs that customer an
// attempt, and others nothing; where the worker has the memory it is backed up, and the next time at once.
func TestALargeRow(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	pgtest.Exec(t, b.dbURL, "CREATE TABLE bomb AS SELECT repeat('x', 40000000) AS v", "GRANT SELECT ON bomb TO public")
	b.connect(t)
	if got := b.attempt(t); got.State != remora.BackupQueued || got.Reason != remora.ReasonMoreMemory || !strings.Contains(got.Detail, "memory") {
		t.Fatalf("%+v", got)
	}
	b.nothing(t, b.Bucket)
	if got := b.attempt(t); got.State != remora.BackupVerified || got.Attempts != 2 {
		t.Fatalf("%+v", got)
	}
	next, err := b.Store.RequestBackup(t.Context(), b.id, b.newest(t).Database, "p")
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.Store.History(t.Context(), next)
	if err != nil || h.PeakMemory < 80_000_000 || h.PeakMemory > 130_000_000 {
		t.Errorf("%+v %v", h, err)
	}
	if got := b.attempt(t); got.State != remora.BackupVerified || got.Attempts != 1 {
		t.Errorf("%+v", got)
	}

	small := newBundle(t)
	small.budget = newBudget(workerFixed+64<<20, time.Minute, small.metrics.held)
	pgtest.Exec(t, small.dbURL, "CREATE TABLE bomb AS SELECT repeat('x', 40000000) AS v", "GRANT SELECT ON bomb TO public")
	small.connect(t)
	if got := small.attempt(t); got.State != remora.BackupQueued || got.Reason != remora.ReasonMoreMemory {
		t.Fatalf("%+v", got)
	}
	if got := small.attempt(t); got.State != remora.BackupFailed || got.Reason != remora.ReasonTooMuchMemory || !strings.Contains(got.Detail, "49 MiB") {
		t.Errorf("%+v", got)
	}
	small.nothing(t, small.Bucket)
}

// A head that is longer than what a run may take is no broken archive either.
func TestALongHeadNeedsMemory(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	pgtest.Exec(t, b.dbURL, "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE large IS %L', repeat('x', 5000000)); END $$")
	b.connect(t)
	if got := b.attempt(t); got.State != remora.BackupQueued || got.Reason != remora.ReasonMoreMemory {
		t.Fatalf("%+v", got)
	}
	got := b.attempt(t)
	if got.State != remora.BackupVerified {
		t.Fatalf("%+v", got)
	}
	b.restores(t, got)
}

func TestRefusalsAreNamed(t *testing.T) {
	t.Parallel()
	refuse := func(suffix string, status int, body string) func(*bundle) {
		return func(b *bundle) {
			b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, suffix) {
					return false
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
				return true
			})
		}
	}
	for name, c := range map[string]struct {
		change func(*bundle)
		want   remora.Reason
		state  remora.BackupState
	}{
		"not shared":       {refuse("/addon-attachments", 403, `{"id":"forbidden"}`), remora.ReasonNotShared, remora.BackupFailed},
		"detached":         {refuse("/addon-attachments", 200, `[]`), remora.ReasonDetached, remora.BackupFailed},
		"owner credential": {refuse("/addon-attachments", 200, `[{"id":"t1","name":"REMORA_DB","namespace":null,"addon":{"id":"p1","name":"x","app":{}},"app":{}}]`), remora.ReasonOwnerCredential, remora.BackupFailed},
		"Heroku is down":   {refuse("/config-vars", 503, `x`), remora.ReasonHerokuUnavailable, remora.BackupQueued},
		"a bad URL":        {func(b *bundle) { b.url.Store("postgres://u:p@/db?host=/var/run/postgresql") }, remora.ReasonBadURL, remora.BackupFailed},
		"a private host":   {func(b *bundle) { b.url.Store("postgres://u:p@10.0.0.1/db") }, remora.ReasonHostRefused, remora.BackupFailed},
		"no such server":   {func(b *bundle) { b.url.Store("postgres://u:p@127.0.0.1:1024/db") }, remora.ReasonUnreachable, remora.BackupQueued},
		"no pg_dump":       {func(b *bundle) { b.Clients = nil }, remora.ReasonNoClient, remora.BackupFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			b.connect(t)
			c.change(b)
			if got := b.attempt(t); got.Reason != c.want || got.State != c.state || got.Reason.Sentence() == "" {
				t.Errorf("%+v", got)
			}
			b.nothing(t, b.Bucket)
		})
	}
}

func TestCancelAndStopEndARun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end   func(*bundle, *testing.T, context.CancelFunc)
		state remora.BackupState
	}{
		"canceled": {func(b *bundle, t *testing.T, _ context.CancelFunc) {
			if err := b.Store.CancelBackup(context.Background(), b.id, b.newest(t).ID, "p"); err != nil {
				t.Error(err)
			}
		}, remora.BackupCanceled},
		"stopped": {func(_ *bundle, _ *testing.T, stop context.CancelFunc) { stop() }, remora.BackupQueued},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			b.connect(t)
			conn, err := pgx.Connect(t.Context(), b.dbURL) // hold the table, so that the run lasts
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE large"); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			id := b.newest(t).ID
			go func() { ended <- work(t, ctx, &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}) }()
			for waiting := 0; waiting == 0; {
				if err := conn.QueryRow(t.Context(), "SELECT count(*), pg_sleep(0.05)::text FROM pg_locks WHERE NOT granted AND relation = 'large'::regclass").Scan(&waiting, new(string)); err != nil {
					t.Fatal(err)
				}
			}
			c.end(b, t, stop)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if got := b.newest(t); got.State != c.state || got.State == remora.BackupQueued && got.Attempts != 0 {
				t.Errorf("%+v", got)
			}
			b.nothing(t, b.Bucket)
			b.noSession(t)
		})
	}
}

// A run that was canceled and has not heard of it, between two beats, finds out before its archive's first object is stored.
func TestTheFenceIsBeforeTheCommit(t *testing.T) {
	t.Parallel()
	var stored atomic.Int32
	b := newBundle(t, behind(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/"+archivestore.Prefix) {
			stored.Add(1)
		}
		return next.RoundTrip(r)
	}))
	b.connect(t)
	b.BeatEvery = time.Hour
	conn, err := pgx.Connect(t.Context(), b.dbURL) // hold a table, so that the run lasts
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "TRUNCATE large; BEGIN; LOCK TABLE large"); err != nil { // small enough for one part
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	id := b.newest(t).ID
	go func() { ended <- work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}) }()
	b.until(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'large'::regclass", 1)
	if err := b.Store.CancelBackup(t.Context(), b.id, id, "p"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := b.newest(t); got.State != remora.BackupCanceled || stored.Load() != 0 {
		t.Errorf("%d requests to store it: %+v", stored.Load(), got)
	}
	b.nothing(t, b.Bucket)
}

// A run that meets its time limit has failed, once: it is not taken for a stop and begun again for ever.
func TestARunThatTakesTooLongFails(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	b.broken(t, "exec sleep 600")
	b.Longest = time.Second
	w := &runBackup{Workers: b.Workers}
	ctx, cancel := context.WithTimeout(t.Context(), w.Timeout(nil)) // as River does
	defer cancel()
	if err := work(t, ctx, w, jobargs.RunBackup{Backup: b.newest(t).ID}); err != nil {
		t.Error(err)
	}
	if got := b.newest(t); got.State != remora.BackupFailed || got.Reason != remora.ReasonTooLong || got.Attempts != 1 {
		t.Errorf("%+v", got)
	}
	b.nothing(t, b.Bucket)
}

// canceledAtCommit makes every archive's backup canceled as soon as its head is stored.
func canceledAtCommit(cancel *atomic.Value) func(*objectstore.Config) {
	cancel.Store(func() {})
	return behind(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/head") {
			cancel.Load().(func())()
		}
		return resp, err
	})
}

// transport is a function in the place of a connection.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// behind puts f before the store.
func behind(f func(http.RoundTripper, *http.Request) (*http.Response, error)) func(*objectstore.Config) {
	return func(cfg *objectstore.Config) {
		next := cfg.HTTP.Transport
		cfg.HTTP = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) { return f(next, r) })}
	}
}

// Canceled, or removed with its add-on, between the commit and its being written down: nothing of it stays.
func TestWhatIsCanceledAtTheCommitIsNotKept(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*bundle, remora.BackupID) error{
		"canceled": func(b *bundle, id remora.BackupID) error {
			return b.Store.CancelBackup(context.Background(), b.id, id, "p")
		},
		"removed": func(b *bundle, _ remora.BackupID) error {
			return b.Store.DeprovisionResource(context.Background(), b.id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var hook atomic.Value
			b := newBundle(t, canceledAtCommit(&hook))
			b.connect(t)
			id := b.newest(t).ID
			hook.Store(func() {
				if err := end(b, id); err != nil {
					t.Error(err)
				}
			})
			if err := work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: id}); err != nil {
				t.Error(err)
			}
			b.nothing(t, b.Bucket)
		})
	}
}

// The sweep deletes what runs have stored that no backup keeps, and nothing else: here a worker was killed right after
// its commit, another backup was kept, and a third archive is of a backup that our database does not know.
func TestTheSweepSparesWhatIsKept(t *testing.T) {
	t.Parallel()
	var deleting atomic.Bool
	b := newBundle(t, behind(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodDelete && !deleting.Load() {
			return &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader("<Error><Code>AccessDenied</Code></Error>")), Request: r}, nil
		}
		return next.RoundTrip(r)
	}))
	b.connect(t)
	store := func(ref archivestore.Ref) archivestore.Ref {
		t.Helper()
		w := archivestore.Create(t.Context(), b.Bucket, ref, b.key.Recipient())
		if _, err := w.Write([]byte("body")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit([]byte("head"), nil, archivestore.Manifest{}, b.Keys, time.Now()); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	killed, err := b.Store.ClaimBackup(t.Context(), b.newest(t).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	lost := store(refOf(killed))
	unknown := store(archivestore.Ref{Resource: b.id, Backup: remora.NewID[remora.BackupID](), Epoch: 1})
	d := newDeleter(t, b.Store, b.Bucket)
	stored := func(when string, want ...archivestore.Ref) {
		t.Helper()
		if err := work(t, t.Context(), &sweepArchives{Deleter: d}, jobargs.SweepArchives{}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		got := map[archivestore.Ref]bool{}
		err := archivestore.List(t.Context(), b.Bucket, archivestore.Ref{}, func(s archivestore.Stored) error { got[s.Ref] = true; return nil })
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v %v", when, got, err)
		}
		for _, ref := range want {
			if !got[ref] {
				t.Errorf("%s: %v was deleted", when, ref)
			}
		}
	}
	d.SweepAfter = time.Nanosecond
	d.Now = func() time.Time { return time.Now().Add(time.Hour) }
	stored("while the run lives", lost, unknown)
	if err := b.Store.ReleaseRun(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	kept := b.attempt(t)
	if kept.State != remora.BackupVerified || kept.Epoch != 2 {
		t.Fatalf("%+v", kept)
	}
	good := archivestore.Ref{Resource: b.id, Backup: kept.ID, Epoch: 2}
	stored("by a key that may not delete", lost, unknown, good)
	deleting.Store(true)
	d.Now = time.Now
	d.SweepAfter = time.Hour
	stored("too young", lost, unknown, good)
	d.SweepAfter = time.Nanosecond
	stored("at last", unknown, good)
	stored("again", unknown, good)
	if n := testutil.ToFloat64(d.discarder.count); n != 1 {
		t.Errorf("%v counted", n)
	}
	b.restores(t, kept)
}

// A job that waits for memory goes back to the queue before its backup is taken for one without a job, and no run is
// counted.
func TestAJobWithoutRoomGoesBackToTheQueue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	if b.budget.wait > b.Store.Lease/3 {
		t.Errorf("waits %v of a lease of %v", b.budget.wait, b.Store.Lease)
	}
	b.budget.wait = 10 * time.Millisecond
	release, err := b.budget.admit(t.Context(), "another", b.budget.size)
	if err != nil {
		t.Fatal(err)
	}
	w, args := &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: b.newest(t).ID}
	var snooze *river.JobSnoozeError
	if err := work(t, t.Context(), w, args); !errors.As(err, &snooze) || snooze.Duration != roomPause {
		t.Error(err)
	}
	if got := b.newest(t); got.State != remora.BackupQueued || got.Attempts != 0 {
		t.Errorf("%+v", got)
	}
	release()
	if got := b.attempt(t); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
}

// A pg_dump that ends well and says something that nobody can explain: the archive is kept and nowhere called verified,
// from the worker's log and metrics to the backup's page.
func TestWhatIsUnexplainedIsNotCalledVerified(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	log := &logtest.Buffer{}
	b.Log = slog.New(slog.NewTextHandler(log, nil))
	b.connect(t)
	b.broken(t, "PG_DUMP || exit\necho 'pg_dump: warning: the moon is full' >&2\nexit 0")
	got := b.attempt(t)
	if got.State != remora.BackupIncomplete || got.Reason != remora.ReasonUnexplainedOutput || got.Detail != "pg_dump: warning: the moon is full" {
		t.Fatalf("%+v", got)
	}
	b.restores(t, got)
	for labels, want := range map[[2]string]float64{{"incomplete", "unexplained_output"}: 1, {"verified", ""}: 0} {
		if n := testutil.ToFloat64(b.metrics.runs.WithLabelValues(labels[:]...)); n != want {
			t.Errorf("%v: %v counted", labels, n)
		}
	}
	if text := log.String(); !strings.Contains(text, `level=WARN msg="backup incomplete"`) || strings.Contains(text, "verified") {
		t.Error(text)
	}
	page := b.page(t, log, "/dashboard/backups/"+string(got.ID))
	for _, says := range []string{`<span class="state incomplete">incomplete</span>`, "the moon is full", "/restore", "Checked by"} {
		if !strings.Contains(page, says) {
			t.Errorf("does not say %q: %s", says, page)
		}
	}
	if strings.Contains(page, "Verified by") {
		t.Error(page)
	}
}

// page is one of the dashboard's, as somebody of the app sees it.
func (b *bundle) page(t *testing.T, log io.Writer, path string) string {
	t.Helper()
	pages, err := dashboard.New(dashboard.Config{
		Store: b.Store, Cookie: websession.Cookie{Plain: true}, BaseURL: "http://x", ServiceAccount: "s@example.com", Now: b.Now,
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Open: func(context.Context, remora.ResourceID, remora.Backup, []string) (dashboard.Archive, error) {
			return nil, nil
		},
		Contents: func(context.Context, remora.ResourceID, remora.Backup) (dashboard.Archive, error) { return nil, nil },
		Script:   pgarchive.WriteScript, Sealer: struct{ dashboard.Sealer }{},
		Sealed: func(context.Context, remora.ResourceID, remora.Backup, string) (dashboard.Archive, error) {
			return nil, nil
		},
		Probe: func(context.Context, remora.ResourceID, remora.Place, remora.BucketKeys) (remora.Probed, error) {
			return remora.Probed{}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	token := remora.NewToken()
	if err := b.Store.OpenSession(t.Context(), remora.Session{Resource: b.id}, token, "sso"); err != nil {
		t.Fatal(err)
	}
	mux := chi.NewMux()
	pages.Routes(mux)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Cookie", "remora="+token)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	return w.Body.String()
}

func TestOneRefreshForMany(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	if err := b.Store.SaveTokens(t.Context(), b.id, redact.New("old"), redact.New("r"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	before := b.tokens.Load()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if tok, _, err := b.token(t.Context(), b.id, time.Time{}); err != nil || tok.Reveal() == "old" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := b.tokens.Load() - before; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	// One that Heroku has ended before its time is refreshed, once.
	before = b.tokens.Load()
	var refused atomic.Int32
	b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" || !strings.HasSuffix(r.Header.Get("Authorization"), fmt.Sprint("HRKU-", before)) {
			return false
		}
		refused.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if err := work(t, t.Context(), &findDatabases{Workers: b.Workers}, jobargs.FindDatabases{Resource: b.id}); err != nil || refused.Load() != 1 || b.tokens.Load() != before+1 {
		t.Errorf("%d refused, %d refreshes, %v", refused.Load(), b.tokens.Load()-before, err)
	}
	// Revoked: said once, and not asked again.
	if err := b.Store.SaveTokens(t.Context(), b.id, redact.New("old"), redact.New("r"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/oauth/token" {
			return false
		}
		asked.Add(1)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
		return true
	})
	for range 3 {
		if err := work(t, t.Context(), &findDatabases{Workers: b.Workers}, jobargs.FindDatabases{Resource: b.id}); err != nil {
			t.Error(err)
		}
	}
	r, err := b.Store.Resource(t.Context(), b.id)
	if err != nil || r.State != remora.ResourceNeedsAttention || r.Attention != remora.ReasonTokenRevoked || asked.Load() != 1 {
		t.Errorf("%+v %v, asked %d times", r, err, asked.Load())
	}
}

func TestTheSweepSparesLiveUploads(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	c, err := b.Store.ClaimBackup(t.Context(), b.newest(t).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, objectstore.MinPartSize)
	for _, ref := range []archivestore.Ref{{Resource: b.id, Backup: c.Backup, Epoch: c.Epoch}, {Resource: b.id, Backup: c.Backup, Epoch: 99}} {
		w := archivestore.Create(t.Context(), b.Bucket, ref, b.key.Recipient())
		for range 2 {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		defer w.Abort()
	}
	// And what a worker that was killed while it tried the bucket has left.
	probe := b.Bucket.Create(t.Context(), objectstore.ProbePrefix+"x")
	if _, err := probe.Write(make([]byte, objectstore.MinPartSize+1)); err != nil {
		t.Fatal(err)
	}
	defer probe.Abort() //nolint:errcheck // it is gone by then
	for {
		open, err := b.Bucket.OpenUploads(t.Context(), objectstore.ProbePrefix)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 1 {
			break
		}
	}
	b.SweepAfter = time.Nanosecond
	b.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := work(t, t.Context(), &sweepUploads{Workers: b.Workers}, jobargs.SweepUploads{}); err != nil {
		t.Fatal(err)
	}
	open, err := b.Bucket.OpenUploads(t.Context(), "")
	if err != nil || len(open) != 1 || !strings.Contains(open[0].Key, fmt.Sprintf("/%d/", c.Epoch)) {
		t.Errorf("%v %v", open, err)
	}
}
