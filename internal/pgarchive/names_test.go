package pgarchive_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// Names come in the database's encoding. What is stored says them so that people, ?table= and the script can use them, and
// keeps the bytes; the script checks what can be asked for, and says of the rest that it is not checked.
func TestNamesInOtherEncodings(t *testing.T) {
	t.Parallel()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	m := &major{number: 15, dir: c.BinDir(), pg: c}
	for _, e := range []struct{ encoding, client, table, column, sequence, text string }{
		{"LATIN1", "UTF8", "Müller \\ \"x\"", "Straße", "zähler", "é"},
		{"EUC_JP", "UTF8", "顧客", "住所", "番号", "東京"},
		{"UTF8", "UTF8", "Müller €", "Straße", "zähler", "é"},
		{"SQL_ASCII", "SQL_ASCII", "Müller", "Straße", "zähler", "é"},             // somebody's UTF-8
		{"SQL_ASCII", "SQL_ASCII", "M\xfcller", "Stra\xdfe", "z\xe4hler", "\xe9"}, // somebody's LATIN1
	} {
		readable := e.table != "M\xfcller"
		name := "names_" + strings.ToLower(e.encoding)
		if !readable {
			name += "_raw"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(db, sql string) {
				t.Helper()
				cmd := m.program("psql", "-X", "-v", "ON_ERROR_STOP=1", "-qf", "-", "-d", c.SuperuserURL(db))
				cmd.Stdin = strings.NewReader(sql)
				cmd.Env = append(os.Environ(), "PGCLIENTENCODING="+e.client)
				output(t, cmd)
			}
			quoted := `"` + strings.ReplaceAll(e.table, `"`, `""`) + `"`
			for _, db := range []string{name, name + "_copy"} {
				run("postgres", "CREATE DATABASE "+db+" TEMPLATE template0 ENCODING '"+e.encoding+"' LOCALE 'C'")
			}
			run(name, `CREATE TABLE `+quoted+` (id int, "`+e.column+`" text); INSERT INTO `+quoted+` SELECT n, repeat('`+e.text+`', n) FROM generate_series(1, 9) n;
				CREATE TABLE "long_`+e.column+`" ("`+e.column+`" text); INSERT INTO "long_`+e.column+`" VALUES (repeat('`+e.text+`', 70000));
				CREATE TABLE plain AS SELECT 1 AS id; CREATE SEQUENCE "`+e.sequence+`"; SELECT setval('"`+e.sequence+`"', 12)`)
			a, _, full, err := recode(compressor(t, 1, pgarchive.Fast), bytes.NewReader(m.dump(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(file, full, 0o600); err != nil {
				t.Fatal(err)
			}
			output(t, m.program("pg_restore", "-d", c.SuperuserURL(name+"_copy"), file))

			stored := encoded(t, a.Contents)
			var back pgarchive.Contents
			if err := json.Unmarshal(stored, &back); err != nil || !reflect.DeepEqual(&back, a.Contents) {
				t.Errorf("what is stored is something else: %v\n%s", err, stored)
			}
			i := slices.IndexFunc(back.Tables, func(x pgarchive.Table) bool { return x.Rows == 9 })
			shown := back.Tables[i].Name
			_, raw := back.Tables[i].Stored()
			if readable && shown != e.table || !readable && shown != "M\uFFFDller" {
				t.Errorf("%q is called %q", e.table, shown)
			}
			for _, name := range []string{shown, raw} {
				if part, err := pgarchive.Select(bytes.NewReader(full), int64(len(full)), "public."+name); readable || name == raw {
					if err != nil || part.Size() >= int64(len(full)) {
						t.Errorf("%q is not found: %v", name, err)
					}
				}
			}

			var script bytes.Buffer
			if err := pgarchive.WriteScript(&script, bytes.NewReader(stored)); err != nil || script.String() != back.Script() {
				t.Fatal(err)
			}
			says := func(lines ...string) {
				t.Helper()
				lines = append(lines, "equal     public.plain (1 rows)", "equal     large objects (0)")
				got := strings.Split(strings.TrimSpace(m.checked(t, name+"_copy", script.String(), "PGCLIENTENCODING="+e.encoding)), "\n")
				got = got[:len(got)-1] // what all comes to
				slices.Sort(got)
				slices.Sort(lines)
				if !slices.Equal(got, lines) {
					t.Errorf("%q,\nnot %q", got, lines)
				}
			}
			if !readable {
				const why = " has a name that cannot be read; its encoding is SQL_ASCII"
				says("not checked: public.M\uFFFDller"+why, "not checked: public.long_Stra\uFFFDe"+why, "not checked: public.z\uFFFDhler (sequence)"+why)
				return
			}
			table, long, sequence := "public."+e.table+" (9 rows)", "public.long_"+e.column+" (1 rows)", "public."+e.sequence+" (sequence)"
			says("equal     "+table, "equal     "+long, "equal     "+sequence)
			run(name+"_copy", `UPDATE `+quoted+` SET "`+e.column+`" = 'x' WHERE id = 2; UPDATE "long_`+e.column+`" SET "`+e.column+`" = 'x'; SELECT nextval('"`+e.sequence+`"')`)
			says("DIFFERENT "+table, "DIFFERENT "+long, "DIFFERENT "+sequence)
		})
	}
}

// What an earlier release stored has no bytes, and U+FFFD for what was not UTF-8.
func TestNamesOfEarlierReleases(t *testing.T) {
	t.Parallel()
	c := &pgarchive.Contents{
		Tables: []pgarchive.Table{{Schema: "public", Name: "M\uFFFDller", Rows: 1, SHA256: "x"}}, Sequences: []pgarchive.Sequence{{Schema: "public", Name: "z\uFFFDhler"}},
	}
	for _, line := range []string{
		"\\echo 'not checked:' 'public.M\uFFFDller' 'has a name that cannot be read; its encoding is' 'not known'\n",
		"\\echo 'not checked:' 'public.z\uFFFDhler (sequence)' 'has a name that cannot be read; its encoding is' 'not known'\n",
	} {
		if script := c.Script(); !strings.Contains(script, line) {
			t.Errorf("%s is not in %s", line, script)
		}
	}
}
