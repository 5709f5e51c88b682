package pgarchive_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/pgarchive"
)

// Event triggers of schemas that the dump leaves out are left out with what is said of them, and nothing else is: what
// is left restores as a role that is no superuser.
func TestOrphanedEventTriggersAreLeftOut(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	run := func(url string, statements ...string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	run(c.SuperuserURL("postgres"), "CREATE ROLE owner LOGIN PASSWORD 'owner'", "CREATE DATABASE shop OWNER owner", "CREATE DATABASE copy OWNER owner", "CREATE DATABASE bare OWNER owner")
	for _, db := range []string{"shop", "copy"} {
		run(c.SuperuserURL(db), herokusim.OwnObjects("owner")...)
	}
	run(c.URL("owner", "owner", "shop"), "CREATE TABLE t AS SELECT g, repeat('x', g) FROM generate_series(1, 1000) g", "COMMENT ON TABLE t IS 'kept'", "SELECT lo_from_bytea(4711, 'x')",
		"CREATE FUNCTION own() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
	flags := []string{"--format=custom", "--compress=0", "--no-acl", "--no-owner", "--quote-all-identifiers", "-N", "_heroku", "-N", "heroku_ext", "-d", c.SuperuserURL("shop")}
	dump := func() []byte { return output(t, exec.Command(filepath.Join(c.BinDir(), "pg_dump"), flags...)) }
	before := dump()
	compress := compressor(t, 2, pgarchive.Fast)
	var whole bytes.Buffer
	take := func(in []byte, excluded ...string) *pgarchive.Archive {
		t.Helper()
		whole.Reset()
		var body bytes.Buffer
		a, err := pgarchive.Recode(bytes.NewReader(in), compress, pgarchive.Handlers{
			Head:     func(*pgarchive.Head, []byte) error { return nil },
			Body:     func(p []byte) error { body.Write(p); return nil },
			Excluded: excluded,
		})
		if err != nil {
			t.Fatal(err)
		}
		whole.Write(a.Raw)
		whole.Write(body.Bytes())
		return a
	}
	list := func() []string {
		t.Helper()
		cmd := exec.Command(filepath.Join(c.BinDir(), "pg_restore"), "-l")
		cmd.Stdin = bytes.NewReader(whole.Bytes())
		return slices.DeleteFunc(strings.Split(string(output(t, cmd)), "\n"), func(l string) bool { return strings.HasPrefix(l, ";") })
	}
	restore := func(db string) error {
		cmd := exec.Command(filepath.Join(c.BinDir(), "pg_restore"), "--no-owner", "--no-acl", "--exit-on-error", "-d", c.URL("owner", "owner", db))
		cmd.Stdin = bytes.NewReader(whole.Bytes())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}

	if a := take(before); len(a.LeftOut) != 0 || restore("copy") == nil {
		t.Errorf("left out without being asked: %v; and yet it restores", a.LeftOut)
	}
	run(c.SuperuserURL("postgres"), "DROP DATABASE copy", "CREATE DATABASE copy OWNER owner")
	run(c.SuperuserURL("copy"), herokusim.OwnObjects("owner")...)
	all := list()
	a := take(before, "heroku_ext", "_heroku")
	if len(a.LeftOut) != 5 || !slices.Contains(a.LeftOut, "01_extension_before_drop") || a.Contents.Rows() != 1000 {
		t.Errorf("%v", a.LeftOut)
	}
	want := slices.DeleteFunc(all, func(l string) bool { return strings.Contains(l, "EVENT TRIGGER") })
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, db := range []string{"copy", "bare"} { // one of Heroku's, and any other
		if err := restore(db); err != nil {
			t.Errorf("%s: %v", db, err)
		}
	}
	walked, err := pgarchive.Walk(bytes.NewReader(whole.Bytes()), pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil }, Body: func([]byte) error { return nil },
	})
	if err != nil || walked.Size() != int64(whole.Len()) {
		t.Error(err)
	}
	if part, err := pgarchive.Select(bytes.NewReader(whole.Bytes()), int64(whole.Len()), "public.t"); err != nil || part.Size() == 0 {
		t.Error(err)
	}

	// The customer's own stay, whatever they are called; they are for a superuser to restore, as anywhere.
	run(c.SuperuserURL("shop"), `CREATE EVENT TRIGGER "mine
   EXECUTE FUNCTION _heroku.x();
" ON sql_drop EXECUTE FUNCTION public.own()`, `CREATE EVENT TRIGGER "00_validate" ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION public.own()`,
		`ALTER EVENT TRIGGER "01_extension_before_drop" ENABLE ALWAYS`, `ALTER EVENT TRIGGER "00_validate" DISABLE`)
	a = take(dump(), "heroku_ext", "_heroku")
	if left := strings.Join(list(), "\n"); len(a.LeftOut) != 5 || strings.Count(left, "EVENT TRIGGER") != 2 || !strings.Contains(left, "00_validate ") {
		t.Errorf("%v: %s", a.LeftOut, left)
	}
}
