package customerdb_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// cluster is a customers' server; one database of it for each test, made from a template.
var cluster = sync.OnceValues(func() (*localpg.Cluster, error) {
	ctx := context.Background()
	c, err := localpg.Start(ctx, localpg.Config{TLS: true, Settings: map[string]string{"max_connections": "200", "max_prepared_transactions": "2"}})
	if err != nil {
		return nil, err
	}
	return c, fill(ctx, c)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := cluster(); err == nil {
		_ = c.Stop()
	}
	os.Exit(code)
}

// fill makes the template: what a customer has, owned by a role that is no superuser, beside what Heroku has.
func fill(ctx context.Context, c *localpg.Cluster) error {
	err := run(ctx, c.SuperuserURL("postgres"), "CREATE ROLE owner LOGIN PASSWORD 'owner' CREATEROLE", "CREATE ROLE stranger", "CREATE DATABASE shop OWNER owner",
		"REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
	if err != nil {
		return err
	}
	if err := run(ctx, c.SuperuserURL("shop"), append(herokusim.OwnObjects("owner"), "CREATE EXTENSION citext", "CREATE FOREIGN DATA WRAPPER far", "GRANT USAGE ON FOREIGN DATA WRAPPER far TO owner")...); err != nil {
		return err
	}
	return run(
		ctx, c.URL("owner", "owner", "shop"),
		"CREATE TABLE t (id int PRIMARY KEY, secret text)", "INSERT INTO t SELECT g, 'secret ' || g FROM generate_series(1, 1000) g",
		`CREATE TABLE p (id int, at date) PARTITION BY RANGE (at)`, `CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`,
		"INSERT INTO p VALUES (1, '2026-02-03')",
		"CREATE VIEW v AS SELECT * FROM t", "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t", "CREATE SEQUENCE s",
		`CREATE SCHEMA "Odd ""one"`, `CREATE TABLE "Odd ""one"."Table; it's" (a int)`,
		"CREATE FUNCTION definer() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (-1)'", "REVOKE EXECUTE ON FUNCTION definer() FROM PUBLIC",
		"CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"CREATE SERVER far FOREIGN DATA WRAPPER far", "CREATE FOREIGN TABLE f (line text) SERVER far",
		"SELECT lo_from_bytea(4711, 'large')",
	)
}

// grants are what a customer is told to run, for every schema.
const grants = `GRANT USAGE ON SCHEMA public, "Odd ""one" TO $me; GRANT SELECT ON ALL TABLES IN SCHEMA public, "Odd ""one" TO $me;
	GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, "Odd ""one" TO $me; GRANT SELECT ON LARGE OBJECT 4711 TO $me;
	ALTER DEFAULT PRIVILEGES IN SCHEMA public, "Odd ""one" GRANT SELECT ON TABLES TO $me; ALTER DEFAULT PRIVILEGES IN SCHEMA public, "Odd ""one" GRANT SELECT ON SEQUENCES TO $me`

// patient is a database of the template's and a role of the same name that may read it.
type patient struct {
	name   string
	target customerdb.Target
}

const password = "canary-pw"

// admit makes a patient, after whom the database is changed: $me in a statement is its name, and a statement after
// "owner: " is run as the database's owner, one after "elsewhere: " in another database.
func admit(t *testing.T, name string, statements ...string) patient {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	p := patient{name, admitTo(c, name, name)}
	creating.Lock() // a template must be nobody's else meanwhile
	err = run(t.Context(), c.SuperuserURL("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE shop OWNER owner", name), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, password))
	creating.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run(context.Background(), c.SuperuserURL("postgres"), "DROP DATABASE "+name+" WITH (FORCE)")
	}) // for room; all of it goes in the end
	for _, sql := range append([]string{"owner: " + grants}, statements...) {
		url := c.SuperuserURL(name)
		if s, ok := strings.CutPrefix(sql, "owner: "); ok {
			sql, url = s, c.URL("owner", "owner", name)
		}
		if s, ok := strings.CutPrefix(sql, "elsewhere: "); ok {
			sql, url = s, c.SuperuserURL("postgres")
		}
		runOK(t, url, strings.ReplaceAll(sql, "$me", name))
	}
	return p
}

// admitTo is how a role of that password connects.
func admitTo(c *localpg.Cluster, role, db string) customerdb.Target {
	_, port := c.Addr()
	return customerdb.Target{
		Credential: credential.Credential{Host: "db.example", Port: uint16(port), User: role, Password: redact.New(password), Database: db},
		Addr:       netip.MustParseAddr("127.0.0.1"), AppName: pgdump.AppName,
	}
}

var creating sync.Mutex

// seen is a session in which the doctor has asked.
type seen struct {
	*customerdb.Session
	audit remora.Audit
}

func (p patient) open(t *testing.T) seen {
	t.Helper()
	s, err := customerdb.Open(t.Context(), p.target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	audit, err := s.Ask(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return seen{s, audit}
}

// dump runs the real pg_dump in a session's snapshot, as a run does, and returns its error.
func (p patient) dump(t *testing.T, s seen) error {
	t.Helper()
	return readAll(t, pgdump.Config{
		Client: client(t), Credential: p.target.Credential, Addr: p.target.Addr, ServerMajor: s.Server().Major,
		Snapshot: s.Snapshot(), OpenRows: s.audit.OpenRows(),
	})
}

func (p patient) admin(t *testing.T, statements ...string) {
	t.Helper()
	c, _ := cluster()
	runOK(t, c.SuperuserURL(p.name), statements...)
}

func (p patient) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	c, _ := cluster()
	cfg, err := pgx.ParseConfig(c.URL(p.name, password, p.name))
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["statement_timeout"] = "60000" // ms, whatever the role has set: a SET could itself take longer than that
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// codes are a report's, but for the inherent ones and what the template has for everybody.
func codes(a remora.Audit) string {
	var out []string
	for _, f := range a.Findings {
		name := f.Code + " " + string(f.Severity)
		if f.Severity == remora.SeverityInherent || f.Code == "foreign_table" || f.Code == "heroku_event_trigger" || slices.Contains(out, name) {
			continue
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}
