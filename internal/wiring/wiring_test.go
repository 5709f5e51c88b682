package wiring

import (
	"context"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/s3test"
)

type both struct{ m *testing.M }

func (b both) Run() int { return pgtest.Main(b.m) }

func TestMain(m *testing.M) { os.Exit(s3test.Main(both{m})) }

// settings are an environment in which every process starts, with secrets that can be looked for.
func settings(t *testing.T) map[string]string {
	t.Helper()
	store := s3test.Config(t)
	return map[string]string{
		"DATABASE_URL": pgtest.URL(t), "KEYRING": keyring.Generate("k1").Reveal(), "LOG_TEXT": "true",
		"ADDON_PASSWORD": "hidden-1", "SSO_SALT": "hidden-2", "CLIENT_SECRET": "hidden-3", "SERVICE_TOKEN": "hidden-4", "SERVICE_ACCOUNT": "backups@remora.example",
		"PUBLIC_URL": "https://remora.example.com", "BIND": "127.0.0.1", "PORT": "0", "HEROKU_API_URL": "http://127.0.0.1:1", "HEROKU_ID_URL": "http://127.0.0.1:1",
		"S3_ENDPOINT": store.Endpoint, "S3_BUCKET": store.Bucket, "S3_ACCESS_KEY": store.AccessKey, "S3_SECRET_KEY": store.SecretKey.Reveal(), "S3_PATH_STYLE": "true",
	}
}

// What is wrong at the start ends the process with one sentence that names the setting and what to do, and with no secret.
func TestWhatIsWrongAtTheStartIsSaid(t *testing.T) { //nolint:paralleltest // the environment is the process's
	const database = "our database does not answer: check DATABASE_URL and that the server runs; the log above has its words"
	const bucket = "the bucket cannot be used: check S3_ENDPOINT, S3_BUCKET and the key: "
	for name, c := range map[string]struct {
		change map[string]string
		bare   bool // without any pg_dump, or with an outdated one alone
		want   string
		logged string // for the operator beside it
	}{
		"a missing setting":         {map[string]string{"CLIENT_SECRET": ""}, false, "settings are missing from the environment: CLIENT_SECRET. remora worker --help says what each is", ""},
		"a wrong setting":           {map[string]string{"LEASE": "1s"}, false, "LEASE must be between 10s and 1h0m0s", ""},
		"no database server":        {map[string]string{"DATABASE_URL": "postgres://remora:hidden-0@127.0.0.1:1/remora"}, false, database, "connection refused"},
		"a wrong database password": {nil, false, database, "password authentication failed"},
		"a database not migrated":   {nil, false, "our database is not at this release: run remora migrate first: ", ""},
		"a migration behind":        {nil, false, "our database is not at this release: run remora migrate first: it lacks 0", ""},
		"the queue behind":          {nil, false, "our database is not at this release: run remora migrate first: it lacks the queue's (Unapplied migrations: [", ""},
		"a superuser":               {nil, false, "row-level security does not hold for the role in DATABASE_URL, in ", ""},
		"no store":                  {map[string]string{"S3_ENDPOINT": "http://127.0.0.1:1"}, false, bucket, ""},
		"no such bucket":            {map[string]string{"S3_BUCKET": "nobodys"}, false, bucket, ""},
		"a wrong key":               {map[string]string{"S3_SECRET_KEY": "hidden-5"}, false, bucket, ""},
		"no pg_dump":                {nil, true, "there is no pg_dump on this machine: install postgresql-client, or name its folder in PG_CLIENT_DIRS", ""},
		"an outdated pg_dump":       {nil, true, "every pg_dump on this machine has known holes that a customer's server or archive can use (15.19): update postgresql-client, or set ALLOW_OUTDATED_PG=true where there are no strangers", ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := settings(t)
			for k, v := range c.change {
				env[k] = v
			}
			switch name {
			case "a wrong database password":
				env["DATABASE_URL"] = strings.Replace(pgtest.URL(t), ":remora_owner@", ":hidden-0@", 1)
			case "a database not migrated":
				env["DATABASE_URL"] = pgtest.Server(t).SuperuserURL("postgres")
			case "a migration behind":
				pgtest.Exec(t, env["DATABASE_URL"], "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
			case "the queue behind":
				pgtest.Exec(t, env["DATABASE_URL"], "DELETE FROM river.river_migration WHERE version = (SELECT max(version) FROM river.river_migration)")
			case "a superuser":
				own, err := url.Parse(pgtest.URL(t))
				if err != nil {
					t.Fatal(err)
				}
				env["DATABASE_URL"] = pgtest.Server(t).SuperuserURL(own.Path[1:])
			}
			for k, v := range env {
				t.Setenv(k, v)
			}
			find := pgdump.Find
			if c.bare {
				find = func(context.Context, []string, string) (found []pgdump.Client) {
					if name == "an outdated pg_dump" {
						found = []pgdump.Client{{Major: 15, Version: "15.19"}}
					}
					return found
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out, log logtest.Buffer
			err := run(ctx, []string{"worker"}, &out, &log, dialer.Strict(), find)
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it started: %s", log.String())
			}
			if !strings.HasPrefix(err.Error(), c.want) || strings.ContainsRune(err.Error(), '\n') || !strings.Contains(log.String(), c.logged) {
				t.Errorf("%v\n%s", err, log.String())
			}
			for _, text := range []string{err.Error(), log.String(), out.String()} {
				if strings.Contains(text, "hidden-") || strings.Contains(text, env["KEYRING"]) {
					t.Errorf("a secret is shown: %s", text)
				}
			}
		})
	}
}

// startWeb runs a web process until it is stopped, and waits until it serves.
func startWeb(t *testing.T, env map[string]string) (at string, log *logtest.Buffer, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	env["PORT"] = port
	for k, v := range env {
		t.Setenv(k, v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log = &logtest.Buffer{}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, []string{"web"}, log, log, dialer.Strict()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for !strings.Contains(log.String(), "msg=serving") {
		select {
		case err := <-ended:
			t.Fatal(err, log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Cleanup(stop)
	return "http://127.0.0.1:" + port, log, stop
}

// Without its bucket web starts, since all but downloads work, and tells the operator.
func TestWebStartsWithoutItsBucket(t *testing.T) { //nolint:paralleltest // the environment is the process's
	env := settings(t)
	env["S3_BUCKET"] = "nobodys"
	_, log, stop := startWeb(t, env)
	stop()
	if said := log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "the bucket cannot be read, so no download works: check S3_ENDPOINT, S3_BUCKET and the key") {
		t.Error(said)
	}
}

// Outdated programs are left out where there are others, and used where the operator says so, never without a word.
func TestOutdatedProgramsAreLeftOut(t *testing.T) {
	t.Parallel()
	old, good := pgdump.Client{Major: 15, Version: "15.19"}, pgdump.Client{Major: 17, Version: "17.12"}
	for name, c := range map[string]struct {
		found   []pgdump.Client
		allowed bool
		want    int
		said    string
		measure float64
	}{
		"none":        {[]pgdump.Client{good}, false, 1, "", 0},
		"one of two":  {[]pgdump.Client{old, good}, false, 1, "are not used: update them", 1},
		"all of them": {[]pgdump.Client{old}, false, 0, "", 1},
		"allowed":     {[]pgdump.Client{old, good}, true, 2, "are used all the same", 1},
	} {
		var log logtest.Buffer
		p := process{log: logger(&log, true), metrics: prometheus.NewRegistry()}
		got, err := p.current(t.Context(), c.found, c.allowed, "pg_dump", "update it")
		if len(got) != c.want || (err == nil) != (c.want > 0) || !strings.Contains(log.String(), c.said) || (c.said == "") != (log.String() == "") {
			t.Errorf("%s: %v %v %s", name, got, err, log.String())
		}
		all, err := p.metrics.Gather()
		if err != nil || len(all) != 1 || all[0].GetMetric()[0].GetGauge().GetValue() != c.measure {
			t.Errorf("%s: measured %v %v", name, all, err)
		}
	}
}
