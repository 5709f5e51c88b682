package proof_test

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/randomdb"
	"github.com/remora-backup/remora/internal/proof"
)

var databases = flag.Int("databases", 4, "how many random databases are proven; -rapid.seed=N makes others")

// counted has the copy's objects counted as a worker counts the original's.
func counted(c *proof.Config) { c.TakeInventory = customerdb.Inventory }

// withInventory is the archive with the inventory of its database.
func (d database) withInventory(t *testing.T) proof.Archive {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	a := d.archive(t)
	if a.Inventory, err = customerdb.Inventory(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return a
}

// Whatever a database holds, a restore of it is equal to it: rows, sequences, large objects, and every object by its name.
func TestRandomDatabases(t *testing.T) {
	t.Parallel()
	c, err := customer()
	if err != nil {
		t.Fatal(err)
	}
	if err := run(c.SuperuserURL("postgres"), `CREATE ROLE "`+strings.ReplaceAll(randomdb.Role, `"`, `""`)+`"`); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(*databases), "rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if f := flag.Lookup("rapid.seed"); f.Value.String() == "0" {
		if err := flag.Set("rapid.seed", "1"); err != nil { // the same ones every time, so that a change is what breaks this
			t.Fatal(err)
		}
	}
	has := map[string]bool{}
	passed := 0
	rapid.Check(t, func(rt *rapid.T) {
		made := randomdb.Generator().Draw(rt, "database")
		d := newDatabase(t)
		if err := made.Fill(t.Context(), d.admin); err != nil {
			rt.Fatal(err)
		}
		r := prove(t, d.withInventory(t), counted)
		if r.Verdict == proof.Impossible && strings.Contains(r.Why[0], "row security") {
			has["what no plain role can fill"] = true
			return
		}
		if r.Verdict != proof.Passed || !r.Objects {
			rt.Errorf("%s: %q", r.Verdict, r.Why)
		}
		for what := range made.Has {
			has[what] = true
		}
		passed++
	})
	if passed < *databases/2 {
		t.Errorf("%d of %d databases were proven, so this proves little", passed, *databases)
	}
	t.Log("databases that had:", slices.Sorted(maps.Keys(has)))
}
