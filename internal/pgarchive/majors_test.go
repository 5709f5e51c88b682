package pgarchive_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/everykind"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgarchive"
)

var majorDirs = flag.String("majors", "", "folders of programs of more majors of PostgreSQL, separated by spaces, to try beside the installed one")

// major is one PostgreSQL with a server of its own, filled with every kind of object.
type major struct {
	number int
	dir    string
	pg     *localpg.Cluster
	in     []byte // pg_dump's archive without compression
}

func (m *major) program(name string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(m.dir, name), args...)
}

// dump is a database's archive without compression.
func (m *major) dump(t *testing.T, db string) []byte {
	t.Helper()
	return output(t, m.program("pg_dump", "-Fc", "-Z0", "-d", m.pg.SuperuserURL(db)))
}

func (m *major) exec(t *testing.T, db, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), m.pg.SuperuserURL(db))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// unlike are the lines in which two dumps of one content differ: a key that newer programs make up for each.
var unlike = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return out
}

// text is a dump's, without what differs between two of one content.
func text(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return string(unlike.ReplaceAll(output(t, cmd), nil))
}

func majors(t *testing.T) []*major {
	t.Helper()
	var all []*major
	for _, dir := range append([]string{""}, strings.Fields(*majorDirs)...) {
		pg, err := localpg.Start(t.Context(), localpg.Config{BinDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pg.Stop() })
		m := &major{dir: pg.BinDir(), pg: pg}
		version := text(t, m.program("pg_dump", "--version")) // pg_dump (PostgreSQL) 15.18 (…)
		number, _, _ := strings.Cut(strings.Fields(version)[2], ".")
		if m.number, err = strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(number)); err != nil {
			t.Fatal(err)
		}
		m.exec(t, "postgres", "CREATE DATABASE everykind")
		if err := everykind.Fill(t.Context(), pg.SuperuserURL("everykind")); err != nil {
			t.Fatal(m.number, err)
		}
		m.in = m.dump(t, "everykind")
		all = append(all, m)
	}
	return all
}

// Every kind of object comes through: what any pg_restore that knows the version reads is what it reads of pg_dump's
// own archive, and what is restored dumps as the original does.
func TestEveryKindOfObject(t *testing.T) {
	t.Parallel()
	all := majors(t)
	readers := 0
	for _, m := range all {
		a, piped, full, err := recode(compressor(t, 2, pgarchive.Small), bytes.NewReader(m.in))
		if err != nil {
			t.Fatal(m.number, err)
		}
		var kinds []string
		for _, e := range a.Entries {
			kinds = append(kinds, e.Kind)
		}
		for _, k := range everykind.Kinds(m.number) {
			if !slices.Contains(kinds, k) {
				t.Errorf("%d: no entry is of the kind %s", m.number, k)
			}
		}
		for _, k := range kinds {
			if !slices.Contains(everykind.Kinds(m.number), k) {
				t.Errorf("%d: the kind %s is on no list", m.number, k)
			}
		}
		file := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(file, full, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, reader := range all {
			if reader.number < m.number && reader.number < 17 && m.number >= 16 { // 1.15 and 1.16 are unknown to older ones
				continue
			}
			readers++
			read := func(in []byte, args ...string) string {
				cmd := reader.program("pg_restore", append([]string{"-f", "-"}, args...)...)
				cmd.Stdin = bytes.NewReader(in)
				return text(t, cmd)
			}
			want := read(m.in)
			if read(piped) != want || read(full) != want || read(nil, file) != want {
				t.Errorf("%d's archive: pg_restore %d reads something else", m.number, reader.number)
			}
			if read(nil, "-l", file) == "" {
				t.Error("no list")
			}
		}
		m.exec(t, "postgres", "CREATE DATABASE copy")
		output(t, m.program("pg_restore", "-j2", "--exit-on-error", "-d", m.pg.SuperuserURL("copy"), file))
		plain := func(db string) string {
			return text(t, m.program("pg_dump", "--quote-all-identifiers", "-d", m.pg.SuperuserURL(db)))
		}
		if plain("copy") != plain("everykind") {
			t.Errorf("%d: what is restored dumps differently", m.number)
		}
		again, _, _, err := recode(compressor(t, 1, pgarchive.Fast), bytes.NewReader(m.dump(t, "copy")))
		if err != nil {
			t.Fatal(err)
		}
		sums := func(a *pgarchive.Archive) map[string]pgarchive.Table {
			tables := map[string]pgarchive.Table{}
			for _, table := range a.Contents.Tables {
				tables[table.Schema+"."+table.Name] = table
			}
			return tables
		}
		got, want := sums(again), sums(a)
		if len(got) != len(want) || again.Contents.LargeObjects != a.Contents.LargeObjects {
			t.Errorf("%d: %+v, not %+v", m.number, again.Contents, a.Contents)
		}
		for name, table := range want {
			if !reflect.DeepEqual(got[name], table) {
				t.Errorf("%d: %s: %+v, not %+v", m.number, name, got[name], table)
			}
		}
	}
	t.Logf("%d archives, %d pairs of archive and pg_restore", len(all), readers)
}
