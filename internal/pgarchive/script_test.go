package pgarchive_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

func encoded(t *testing.T, c *pgarchive.Contents) []byte {
	t.Helper()
	list, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// readerFunc is called for more.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A script is written while its list is read: a list may be hundreds of MB, and the web process is shared.
func TestScriptIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	c := &pgarchive.Contents{Sequences: []pgarchive.Sequence{{Schema: "public", Name: "s", Value: 7, Called: true}}}
	for i := range 20_000 {
		c.Tables = append(c.Tables, pgarchive.Table{Schema: "public", Name: fmt.Sprintf("events_%d", i), Columns: []string{"id"}, Rows: 1, Bytes: 2, RowSum: "1"})
	}
	list := encoded(t, c)
	var out bytes.Buffer
	seen := 0
	half := readerFunc(func([]byte) (int, error) {
		seen = strings.Count(out.String(), "SAVEPOINT")
		return 0, io.EOF
	})
	if err := pgarchive.WriteScript(&out, io.MultiReader(bytes.NewReader(list[:len(list)/2]), half, bytes.NewReader(list[len(list)/2:]))); err != nil {
		t.Fatal(err)
	}
	if seen < 9_000 {
		t.Errorf("half of the list was read, and %d tables of 20000 were written", seen)
	}
	if out.String() != c.Script() {
		t.Error("the script is another one")
	}
	out.Reset()
	if err := pgarchive.WriteScript(&out, bytes.NewReader(encoded(t, &pgarchive.Contents{}))); err != nil || out.String() != (&pgarchive.Contents{}).Script() {
		t.Errorf("of nothing: %v", err)
	}
}

// What is no whole list makes no script that looks whole.
func TestScriptOfNoList(t *testing.T) {
	t.Parallel()
	list := encoded(t, &pgarchive.Contents{Tables: []pgarchive.Table{{Schema: "a", Name: "b"}}, Sequences: []pgarchive.Sequence{{Schema: "a", Name: "s"}}})
	for n := range list {
		if err := pgarchive.WriteScript(io.Discard, bytes.NewReader(list[:n])); err == nil {
			t.Errorf("a list cut at %d makes a script", n)
		}
	}
	for _, bad := range []string{"", "[]", "1", "null", "{}", `{"tables":1}`, `{"tables":[1]}`, `{"tables":[],"large_objects":[]}`} {
		if err := pgarchive.WriteScript(io.Discard, strings.NewReader(bad)); err == nil {
			t.Errorf("%s makes a script", bad)
		}
	}
	if err := pgarchive.WriteScript(io.Discard, strings.NewReader(`{"newer":{"a":[1,{}]},"tables":null,"large_objects":{}}`)); err != nil {
		t.Error(err)
	}
	if err := pgarchive.WriteScript(failing{}, bytes.NewReader(list)); err == nil {
		t.Error("a writer that fails is not told")
	}
}

// Whoever can replace an archive's files makes no command of the list of what was counted: psql runs a shell's.
func TestScriptOfAPlantedList(t *testing.T) {
	t.Parallel()
	const command = "1\n\\! touch planted\n"
	for name, c := range map[string]pgarchive.Contents{
		"row sum":      {Tables: []pgarchive.Table{{Schema: "a", Name: "b", Columns: []string{"c"}, RowSum: command}}},
		"long row sum": {Tables: []pgarchive.Table{{Schema: "a", Name: "b", Columns: []string{"c"}, LongRowSum: command}}},
		"digest":       {Tables: []pgarchive.Table{{Schema: "a", Name: "b", SHA256: "$(touch planted)"}}},
		"line":         {Tables: []pgarchive.Table{{Schema: "a", Name: "b", SHA256: strings.Repeat("0", 64) + "\n"}}},
		"sum":          {LargeObjects: pgarchive.LargeObjects{Count: 1, Sum: command}},
		"old sum":      {LargeObjects: pgarchive.LargeObjects{Count: 1, OldSum: command}},
		"table":        {Tables: []pgarchive.Table{{Schema: "a\x00", Name: command}}},
		"column":       {Tables: []pgarchive.Table{{Schema: "a", Name: "b", Columns: []string{"c\x00", command}, RowSum: "1"}}},
		"way":          {Tables: []pgarchive.Table{{Schema: "a", Name: "b", Via: "c\x00"}}},
		"sequence":     {Sequences: []pgarchive.Sequence{{Schema: "a", Name: "b\x00"}, {Schema: command, Name: "c"}}},
		"encoding":     {Encoding: "UTF8\x00"},
	} {
		if err := pgarchive.WriteScript(io.Discard, bytes.NewReader(encoded(t, &c))); err == nil {
			t.Errorf("%s: a script was made", name)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// checked runs a script with the psql of that server and returns what it says, errors among it. psql must end with 0
// exactly where it says that all is equal.
func (m *major) checked(t *testing.T, db, script string, env ...string) string {
	t.Helper()
	said, err := m.psql(db, script, env...)
	var exit *exec.ExitError
	if equal := strings.Contains(string(said), "EQUAL: all "); equal != (err == nil) || err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		t.Errorf("%v: %s", err, said)
	}
	return string(said)
}

func (m *major) psql(db, script string, env ...string) ([]byte, error) {
	cmd := m.program("psql", "-X", "-f", "-", "-d", m.pg.SuperuserURL(db))
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), env...)
	return cmd.CombinedOutput()
}

// equal is the line that ends a script which found nothing; differ is that of one which did.
func equal(n int) string { return fmt.Sprintf("EQUAL: all %d that were checked", n) }

func differ(d, n int) string { return fmt.Sprintf("ERROR:  %d of %d are DIFFERENT or MISSING", d, n) }

// A program is told by psql's status, and a person by one line for each and one for all: what is missing too, and what
// cannot be read.
func TestScriptTellsByItsStatus(t *testing.T) {
	t.Parallel()
	for _, m := range majors(t) {
		m.exec(t, "postgres", "CREATE DATABASE told")
		m.exec(t, "told", `CREATE TABLE one AS SELECT g, repeat('x', g * 100) FROM generate_series(1, 1000) g; CREATE TABLE "it's \ two" (id int); CREATE SEQUENCE three;
			CREATE TABLE long AS SELECT g, repeat(chr(64 + g), 50000 + g * 1000) AS a FROM generate_series(1, 40) g; CREATE TABLE wide AS SELECT repeat('x', 70000) AS a`)
		a, _, _, err := recode(compressor(t, 2, pgarchive.Fast), bytes.NewReader(m.dump(t, "told")))
		if err != nil {
			t.Fatal(err)
		}
		said := func(want ...string) {
			t.Helper()
			got := m.checked(t, "told", a.Contents.Script())
			for _, line := range want {
				if !strings.Contains(got, line+"\n") {
					t.Errorf("%d: it does not say %q:\n%s", m.number, line, got)
				}
			}
			if n := strings.Count(got, "ERROR:"); n > 1 && !strings.Contains(got, "does not exist") || n > 2 {
				t.Errorf("%d: %d errors:\n%s", m.number, n, got)
			}
		}
		said("equal     public.one (1000 rows)", `equal     public.it's \ two (0 rows)`, "equal     public.long (40 rows)", "equal     public.three (sequence)", equal(6))
		old := *a.Contents
		old.Tables = slices.Clone(old.Tables)
		for i := range old.Tables {
			old.Tables[i].RowSum, old.Tables[i].LongRowSum = "", ""
		}
		if got := m.checked(t, "told", old.Script()); strings.Count(got, "equal     public.") != 5 || !strings.Contains(got, equal(6)) {
			t.Errorf("%d, by digests: %s", m.number, got)
		}
		m.exec(t, "told", "UPDATE wide SET a = 'y'")
		if got := m.checked(t, "told", old.Script()); !strings.Contains(got, "DIFFERENT public.wide (1 rows)\n") || !strings.Contains(got, differ(1, 6)) {
			t.Errorf("%d, by digests: %s", m.number, got)
		}
		m.exec(t, "told", "UPDATE wide SET a = repeat('x', 70000)")
		m.exec(t, "told", "UPDATE long SET g = g; DELETE FROM one WHERE g = 7; INSERT INTO one VALUES (7, repeat('x', 700))")
		said("equal     public.long (40 rows)", equal(6)) // in another order
		m.exec(t, "told", "UPDATE long SET a = left(a, -1) || 'y' WHERE g = 40; SELECT nextval('three')")
		said("DIFFERENT public.long (40 rows)", "DIFFERENT public.three (sequence)", differ(2, 6))
		m.exec(t, "told", `DROP TABLE "it's \ two"; ALTER TABLE one DROP g; DROP SEQUENCE three`)
		said("MISSING   public.three (sequence)", `MISSING   public.it's \ two (0 rows)`, "DIFFERENT public.one (1000 rows)", differ(4, 6))
		// Half of it is no word that all is well, wherever it ends.
		script := a.Contents.Script()
		for n := len(script) / 10; n < len(script)-3; n += len(script) / 20 {
			if got, _ := m.psql("postgres", script[:n]); bytes.Contains(got, []byte("EQUAL")) {
				t.Errorf("%d of %d bytes: %s", n, len(script), got)
			}
		}
	}
}

// Large objects are compared by what they hold, in any order: from version 17 on pg_dump writes them by owner, and groups
// of them by their names as text.
func TestScriptComparesLargeObjects(t *testing.T) {
	t.Parallel()
	for _, m := range majors(t) {
		m.exec(t, "postgres", "CREATE DATABASE objects")
		m.exec(t, "postgres", "CREATE ROLE another")
		m.exec(t, "objects", `
			SELECT lo_from_bytea(n, convert_to(repeat('x' || n, 1 + n % 50), 'UTF8')) FROM generate_series(900, 3100) n;
			SELECT lo_from_bytea(n::oid, convert_to(repeat('0123456789abcdef', 1024) || repeat('y', n - 50000 - 1), 'UTF8')) FROM generate_series(50001, 50002) n; -- 16 KiB and a byte more
			SELECT lo_from_bytea(60000, ''), lo_from_bytea(60001, ''), lo_from_bytea(4100000000, decode(repeat('00ff7f', 400000), 'hex'));
			SELECT lo_put(60001, 100000, 'after a hole');
			DO $$ BEGIN FOR n IN 900..3100 LOOP IF n % 3 = 0 THEN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO another', n); END IF; END LOOP; END $$`)
		a, _, full, err := recode(compressor(t, 2, pgarchive.Fast), bytes.NewReader(m.dump(t, "objects")))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(file, full, 0o600); err != nil {
			t.Fatal(err)
		}
		m.exec(t, "postgres", "CREATE DATABASE objects_copy")
		output(t, m.program("pg_restore", "--no-owner", "-d", m.pg.SuperuserURL("objects_copy"), file))
		script := a.Contents.Script()
		says := func(want string) {
			t.Helper()
			if got := m.checked(t, "objects_copy", script); !strings.HasPrefix(got, want+"large objects (2206)\n") || strings.Count(got, "\n") != 2 {
				t.Errorf("%d: %s", m.number, got)
			}
		}
		says("equal     ")
		for undo, change := range map[string]string{
			`SELECT lo_put(50002, 16384, 'y')`:                          `SELECT lo_put(50002, 16384, 'z')`, // a byte, which no length tells
			`SELECT lo_put(60001, 5000, '\x00')`:                        `SELECT lo_put(60001, 5000, '\x01')`,
			`SELECT lo_put(901, 0, 'x901')`:                             `SELECT lo_put(901, 0, 'x109')`,
			`SELECT lo_from_bytea(60000, '')`:                           `SELECT lo_unlink(60000)`,
			`SELECT lo_unlink(60002)`:                                   `SELECT lo_from_bytea(60002, '')`,
			`SELECT lo_put(1000, 0, 'x1000'), lo_put(1001, 0, 'x1001')`: `SELECT lo_put(1000, 0, 'x1001'), lo_put(1001, 0, 'x1000')`,
		} {
			m.exec(t, "objects_copy", change)
			says("DIFFERENT ")
			m.exec(t, "objects_copy", undo)
			says("equal     ")
		}
		// Earlier releases summed up the bytes themselves, and the first of them nothing.
		old := *a.Contents
		old.LargeObjects.Sum, old.LargeObjects.OldSum = "", "14256288877488611126"
		script = old.Script()
		says("equal     ")
		m.exec(t, "objects_copy", `SELECT lo_put(901, 0, 'x109')`)
		says("DIFFERENT ")
		m.exec(t, "objects_copy", `SELECT lo_put(901, 0, 'x901')`)
		old.LargeObjects.OldSum = ""
		script = old.Script()
		says("not checked: the bytes of as many and as long ")
		m.exec(t, "objects_copy", `SELECT lo_put(901, 0, repeat('x', 1000)::bytea)`)
		says("DIFFERENT ")
	}
}
