package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/everykind"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

var majorDirs = flag.String("majors", "", "folders of programs of more majors of PostgreSQL, separated by spaces, to try beside the installed one")

// customer is a server of a customer's, with a role that is no superuser, as on Heroku.
var customer = sync.OnceValues(func() (*localpg.Cluster, error) { return newCustomer("") })

func newCustomer(bin string) (*localpg.Cluster, error) {
	c, err := localpg.Start(context.Background(), localpg.Config{BinDir: bin, Settings: map[string]string{"wal_level": "logical"}})
	if err != nil {
		return nil, err
	}
	return c, run(c.SuperuserURL("postgres"), "CREATE ROLE shop LOGIN PASSWORD 'shop'", "CREATE ROLE reporting")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := customer(); err == nil {
		_ = c.Stop()
	}
	os.Exit(code)
}

func run(url string, statements ...string) error {
	ctx := context.Background()
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

var numbered atomic.Int64

// database is one of the customer's own.
type database struct {
	*localpg.Cluster
	name  string
	admin string // its address as a superuser
	owner string
}

func newDatabase(t *testing.T) database {
	t.Helper()
	c, err := customer()
	if err != nil {
		t.Fatal(err)
	}
	return databaseOn(t, c)
}

func databaseOn(t *testing.T, c *localpg.Cluster) database {
	t.Helper()
	d := database{Cluster: c, name: fmt.Sprintf("shop_%d", numbered.Add(1))}
	d.admin, d.owner = c.SuperuserURL(d.name), c.URL("shop", "shop", d.name)
	if err := run(c.SuperuserURL("postgres"), "CREATE DATABASE "+d.name+" OWNER shop"); err != nil {
		t.Fatal(err)
	}
	if err := run(d.admin, "ALTER SCHEMA public OWNER TO shop"); err != nil {
		t.Fatal(err)
	}
	return d
}

// archive is what a worker makes of the database.
func (d database) archive(t *testing.T) proof.Archive {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(d.BinDir(), "pg_dump"), "-Fc", "-Z0", "--no-acl", "--no-owner", "--quote-all-identifiers",
		"--exclude-schema=heroku_ext", "--exclude-schema=_heroku", "-d", d.admin)
	cmd.Env = []string{"PGTZ=UTC", "PGOPTIONS=-c bytea_output=hex"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return recoded(t, out)
}

func recoded(t *testing.T, dump []byte) proof.Archive {
	t.Helper()
	compress, err := pgarchive.NewCompressor(1, pgarchive.Fast)
	if err != nil {
		t.Fatal(err)
	}
	defer compress.Close()
	var body bytes.Buffer
	a, err := pgarchive.Recode(bytes.NewReader(dump), compress, pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil }, Body: func(p []byte) error { body.Write(p); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := slices.Concat(a.Raw, body.Bytes())
	return proof.Archive{Plain: bytes.NewReader(whole), Size: int64(len(whole)), Major: 15, Contents: a.Contents, Limit: 5 * time.Minute}
}

// prove proves, and sees that nothing is left.
func prove(t *testing.T, a proof.Archive, change ...func(*proof.Config)) proof.Result {
	t.Helper()
	dir, err := os.MkdirTemp("", "proof-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	cfg := proof.Config{
		Servers: pgdump.FindServers(t.Context(), nil, ""), Sandbox: sandbox.Detect(t.Context()), Dir: dir, Disk: 1 << 30, Memory: 512 << 20,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	p, err := proof.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r, err := p.Prove(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s in %v: %q, left out: %q", r.Verdict, time.Since(began).Round(time.Millisecond), r.Why, r.LeftOut)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the folder: %v %v", left, err)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, at := range lines {
		if line, err := os.ReadFile(at); err == nil && strings.Contains(string(line), dir) {
			t.Errorf("left running: %s", bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return r
}

// wants checks the verdict, and that the reasons have every one of the words.
func wants(t *testing.T, r proof.Result, verdict proof.Verdict, words ...string) {
	t.Helper()
	said := strings.Join(append(r.Why, r.LeftOut...), "\n")
	if r.Verdict != verdict {
		t.Errorf("%s instead of %s: %s", r.Verdict, verdict, said)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("does not say %q: %s", w, said)
		}
	}
}

// shop is what a role without power can make.
var shop = []string{
	`CREATE EXTENSION hstore`, `CREATE EXTENSION citext`, `CREATE SCHEMA extensions`, `CREATE EXTENSION pg_trgm SCHEMA extensions`,
	`COMMENT ON EXTENSION hstore IS 'mine'`, `CREATE SCHEMA "Odd ""Names"""`,
	`CREATE TYPE mood AS ENUM ('calm', 'it''s')`, `CREATE TYPE pair AS (a int, b text)`, `CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)`,
	`CREATE TYPE span AS RANGE (subtype = float8)`,
	`CREATE TABLE kinds (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, twice bigint GENERATED ALWAYS AS (3 * 2) STORED, mood mood, price positive, name citext,
		tags hstore, one pair, during span, raw bytea, real float8, list int[], at timestamptz, stay interval, "Line
feed" text)`,
	`INSERT INTO kinds (mood, price, name, tags, one, during, raw, real, list, at, stay, "Line
feed") SELECT 'it''s', g + 0.5, 'Näme ' || g, 'a=>1', ROW(g, E'x\t\\')::pair, span(g, g + 0.5), decode('00ff', 'hex'), CASE g % 3 WHEN 0 THEN float8 'NaN' WHEN 1 THEN '-Infinity' ELSE 1e-7 * g END,
		ARRAY[g, NULL], now() + g * interval '1 day', g * interval '1 hour', E'line\nfeed\r' FROM generate_series(1, 20000) g`,
	`CREATE INDEX ON kinds USING gin (name extensions.gin_trgm_ops)`,
	`CREATE TABLE orders (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
	`CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id)`,
	`CREATE TABLE orders_2025_0 PARTITION OF orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0)`,
	`CREATE TABLE orders_2025_1 PARTITION OF orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 1)`, `CREATE TABLE orders_rest PARTITION OF orders DEFAULT`,
	`INSERT INTO orders SELECT g, date '2025-01-01' + g FROM generate_series(1, 1000) g`,
	// Columns in another order than the parent's: the copy has them in the parent's.
	`CREATE TABLE parent (a int, b text)`, `CREATE TABLE child (b text, extra int, a int)`, `ALTER TABLE child INHERIT parent`,
	`INSERT INTO child SELECT 'b' || g, g * 2, g FROM generate_series(1, 50) g`,
	`CREATE TABLE dropped (a int, gone text, b int)`, `INSERT INTO dropped VALUES (1, 'x', 2)`, `ALTER TABLE dropped DROP gone`, `INSERT INTO dropped VALUES (3, 4)`,
	`CREATE TABLE "Odd ""Names"""."Table; with ""quotes""" ("select" text)`, `INSERT INTO "Odd ""Names"""."Table; with ""quotes""" VALUES ('x'), (NULL), ('')`,
	`CREATE TABLE columnless ()`, `INSERT INTO columnless SELECT FROM generate_series(1, 5)`, `CREATE TABLE nothing (id int)`,
	`CREATE SEQUENCE invoices START 1000 INCREMENT 7`, `SELECT nextval('invoices') FROM generate_series(1, 5)`, `CREATE SEQUENCE unused`,
	`CREATE TABLE secret (id int, who text)`, `INSERT INTO secret VALUES (1, 'a'), (2, 'b')`, `ALTER TABLE secret ENABLE ROW LEVEL SECURITY`,
	`ALTER TABLE secret FORCE ROW LEVEL SECURITY`, `CREATE POLICY own ON secret FOR SELECT TO reporting USING (id > 1)`, `CREATE POLICY "to all TO" ON secret USING (who = 'TO')`,
	`CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id = 7; RETURN NEW; END'`,
	`CREATE TRIGGER changing BEFORE INSERT ON secret FOR EACH ROW EXECUTE FUNCTION changed()`, `CREATE RULE quiet AS ON DELETE TO nothing DO INSTEAD NOTHING`,
	`CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM kinds`, `CREATE VIEW seen AS SELECT id, name FROM kinds`, `CREATE PUBLICATION several FOR TABLE kinds`,
	`SELECT lo_from_bytea(4000000000, 'large'), lo_from_bytea(7000, ''), lo_from_bytea(7001, decode(repeat('00ff', 700000), 'hex'))`,
	`COMMENT ON LARGE OBJECT 7001 IS 'of two bytes'`,
}

func fill(t *testing.T, url string, statements ...string) {
	t.Helper()
	if err := run(url, statements...); err != nil {
		t.Fatal(err)
	}
}

func TestPasses(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, shop...)
	a := d.archive(t)
	var told []string
	a.Progress = func(_ int64, what string) { told = append(told, what) }
	r := prove(t, a)
	wants(t, r, proof.Passed, "roles are in no dump", "reporting")
	if r.Rows != a.Contents.Rows() || r.Tables != len(a.Contents.Tables) || r.Bytes == 0 || r.ServerVersion == "" || len(told) == 0 {
		t.Errorf("%+v", r)
	}
}

// The same with other majors, each into a server of its own, and the older ones' into the newest.
func TestMajors(t *testing.T) {
	t.Parallel()
	dirs := strings.Fields(*majorDirs)
	servers := pgdump.FindServers(t.Context(), dirs, "")
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			t.Parallel()
			c, err := newCustomer(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Stop() })
			d := databaseOn(t, c)
			fill(t, d.owner, shop...)
			fill(t, d.admin, "SELECT lo_from_bytea(6999, 'another owner''s'), lo_from_bytea(4000000001, 'too')") // from 17 on, a block for each owner
			a := d.archive(t)
			if a.Major, err = strconv.Atoi(filepath.Base(filepath.Dir(dir))); err != nil {
				t.Fatal(err)
			}
			r := prove(t, a, func(c *proof.Config) { c.Servers = servers })
			wants(t, r, proof.Passed)
			if !strings.HasPrefix(r.ServerVersion, fmt.Sprint(a.Major)) {
				t.Errorf("restored into %s", r.ServerVersion)
			}
			newest := prove(t, a, func(c *proof.Config) { c.Servers = servers[len(servers)-1:] })
			wants(t, newest, proof.Passed)
		})
	}
}

// inventory is a little one: what tables, columns and functions there are.
func inventory(ctx context.Context, conn *pgx.Conn) (remora.Inventory, error) {
	rows, err := conn.Query(ctx, `SELECT kind, count(*), encode(sha256(string_agg(name, ',' ORDER BY name COLLATE "C")::bytea), 'hex') FROM (
		SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'f' THEN 'foreign table' ELSE 'view' END AS kind, relname::text AS name FROM pg_catalog.pg_class
			WHERE relkind IN ('r', 'f', 'v') AND relnamespace = 'public'::regnamespace
		UNION ALL SELECT 'function', proname FROM pg_catalog.pg_proc WHERE pronamespace = 'public'::regnamespace
		UNION ALL SELECT 'event trigger', evtname FROM pg_catalog.pg_event_trigger) x GROUP BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[remora.InventoryKind])
}

// Objects without rows are counted too, but for kinds of which some were left out.
func TestInventory(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.admin, "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'", "CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()",
		"CREATE FOREIGN DATA WRAPPER wrapper", "CREATE SERVER far FOREIGN DATA WRAPPER wrapper", "CREATE FOREIGN TABLE far_away (id int) SERVER far",
		"CREATE VIEW of_far_away AS SELECT * FROM far_away", "CREATE TABLE t (id int)", "CREATE VIEW of_t AS SELECT * FROM t")
	conn, err := pgx.Connect(t.Context(), d.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	a := d.archive(t)
	if a.Inventory, err = inventory(t.Context(), conn); err != nil || len(a.Inventory) != 5 {
		t.Fatal(a.Inventory, err)
	}
	counted := func(c *proof.Config) { c.TakeInventory = inventory }
	r := prove(t, a, counted)
	wants(t, r, proof.Passed, "event trigger watching", "foreign table public.far_away", "view public.of_far_away")
	if !r.Objects {
		t.Error("it was not compared")
	}
	for i, k := range a.Inventory {
		if k.Kind == "function" {
			a.Inventory[i].Count++
		}
	}
	a.Inventory = append(a.Inventory, remora.InventoryKind{Kind: "sequence", Count: 1})
	wants(t, prove(t, a, counted), proof.Differs, "1 objects of the kind function in the copy; there were 2", "no objects of the kind sequence")
	a.Inventory = slices.DeleteFunc(a.Inventory, func(k remora.InventoryKind) bool { return k.Kind == "function" })
	for i, k := range a.Inventory {
		if k.Kind == "table" {
			a.Inventory[i].SHA256 = strings.Repeat("0", 64)
		}
	}
	wants(t, prove(t, a, counted), proof.Differs, "1 objects of the kind function in the copy; there were none", "objects of the kind table have other names")
}

// What Heroku has in every database, and what only a superuser made, is left out by name, and nothing else with it.
func TestLeavesOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.admin, "CREATE SCHEMA heroku_ext", "CREATE EXTENSION pg_stat_statements SCHEMA heroku_ext", "CREATE SCHEMA _heroku",
		"CREATE FUNCTION _heroku.validate() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
		"CREATE EVENT TRIGGER validate_extension ON ddl_command_end EXECUTE FUNCTION _heroku.validate()", "COMMENT ON EVENT TRIGGER validate_extension IS 'theirs'",
		"CREATE PUBLICATION everything FOR ALL TABLES")
	fill(t, d.owner, "CREATE TABLE t AS SELECT generate_series(1, 10) AS id")
	wants(t, prove(t, d.archive(t)), proof.Passed, "event trigger validate_extension", "publication everything", "only a superuser")
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 10) g", "CREATE TABLE u (id int)", "CREATE SEQUENCE s", "SELECT lo_from_bytea(0, 'x')")
	a := d.archive(t)
	for name, c := range map[string]struct {
		change func(*pgarchive.Contents)
		words  []string
	}{
		"a row":           {func(c *pgarchive.Contents) { c.Tables[0].Rows++ }, []string{"table public.t has 10 rows in the copy; 11 were read"}},
		"a byte":          {func(c *pgarchive.Contents) { c.Tables[0].SHA256, c.Tables[0].RowSum = strings.Repeat("0", 64), "4711" }, []string{"table public.t has other contents"}},
		"a missing table": {func(c *pgarchive.Contents) { c.Tables[1].Name = "gone" }, []string{"table public.gone cannot be read"}},
		"a sequence":      {func(c *pgarchive.Contents) { c.Sequences[0].Value = 9 }, []string{"sequence public.s stands at 1"}},
		"what comes next": {func(c *pgarchive.Contents) { c.Sequences[0].Called = !c.Sequences[0].Called }, []string{"sequence public.s stands at 1"}},
		"a large object":  {func(c *pgarchive.Contents) { c.LargeObjects.SHA256 = "00" }, []string{"large objects have other contents"}},
		"one more":        {func(c *pgarchive.Contents) { c.LargeObjects.Count = 2 }, []string{"1 large objects are in the copy; 2 were read"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a
			text, _ := json.Marshal(a.Contents)
			b.Contents = &pgarchive.Contents{}
			if err := json.Unmarshal(text, b.Contents); err != nil {
				t.Fatal(err)
			}
			c.change(b.Contents)
			wants(t, prove(t, b), proof.Differs, c.words...)
		})
	}
}

// A server puts rows of different widths into room left on earlier pages: their order in the copy is another one, and
// nothing is wrong.
func TestRowsMayLieInAnotherOrder(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t AS SELECT g, repeat('x', (g * 7919) % 256) FROM generate_series(1, 6000) g")
	a := d.archive(t)
	wants(t, prove(t, a), proof.Passed)
	b := a
	c := *a.Contents
	c.Tables = append([]pgarchive.Table{}, c.Tables...)
	c.Tables[0].RowSum = "" // as where a row is too long for it
	b.Contents = &c
	wants(t, prove(t, b), proof.Impossible, "table public.t has a row of more than 64 KiB")
}

// So it is where a row is long.
func TestLongRowsMayLieInAnotherOrder(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t AS SELECT g, repeat('x', (g * 7919) % 256) || repeat('y', CASE g WHEN 3000 THEN 100000 ELSE 0 END) AS a FROM generate_series(1, 6000) g")
	a := d.archive(t)
	if c := a.Contents.Tables[0]; c.RowSum != "" || c.LongRowSum == "" {
		t.Fatalf("%+v", c)
	}
	wants(t, prove(t, a), proof.Passed)
	b := a
	c := *a.Contents
	c.Tables = append([]pgarchive.Table{}, c.Tables...)
	c.Tables[0].SHA256, c.Tables[0].LongRowSum = strings.Repeat("0", 64), "4711"
	b.Contents = &c
	wants(t, prove(t, b), proof.Differs, "table public.t has other contents")
}

// A dump that its owner could not restore either: a check that works only where it was made.
func TestDoesNotRestore(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE allowed (id int)", "INSERT INTO allowed VALUES (1)",
		"CREATE FUNCTION is_allowed(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT EXISTS (SELECT FROM allowed WHERE id = $1)'",
		"CREATE TABLE checked (secret int CHECK (is_allowed(secret)))", "INSERT INTO checked VALUES (1)")
	r := prove(t, d.archive(t))
	wants(t, r, proof.Differs, "pg_restore: table \"checked\": relation \"allowed\" does not exist")
}

func TestImpossible(t *testing.T) {
	t.Parallel()
	t.Run("extensions that reach out", func(t *testing.T) {
		t.Parallel()
		d := newDatabase(t)
		fill(t, d.admin, "CREATE EXTENSION dblink", "CREATE EXTENSION postgres_fdw")
		wants(t, prove(t, d.archive(t)), proof.Impossible, "dblink", "postgres_fdw", "reach beyond")
	})
	t.Run("every kind, of a superuser", func(t *testing.T) {
		t.Parallel()
		d := newDatabase(t)
		if err := everykind.Fill(t.Context(), d.admin); err != nil {
			t.Fatal(err)
		}
		wants(t, prove(t, d.archive(t)), proof.Impossible, "only a superuser", "CREATE OPERATOR CLASS")
	})
	t.Run("an extension that is not here", func(t *testing.T) {
		t.Parallel()
		d := newDatabase(t)
		fill(t, d.admin, "CREATE EXTENSION citext")
		a := d.archive(t)
		b := make([]byte, a.Size)
		if _, err := a.Plain.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		a.Plain = bytes.NewReader(bytes.ReplaceAll(b, []byte("citext"), []byte("absent")))
		wants(t, prove(t, a), proof.Impossible, "not installed here: absent")
	})
	t.Run("a newer server's", func(t *testing.T) {
		t.Parallel()
		a := newDatabase(t).archive(t)
		a.Major = 99
		wants(t, prove(t, a), proof.Impossible, "no PostgreSQL 99 server")
	})
	t.Run("uncounted", func(t *testing.T) {
		t.Parallel()
		a := newDatabase(t).archive(t)
		a.Contents = nil
		wants(t, prove(t, a), proof.Impossible, "not counted")
	})
}
