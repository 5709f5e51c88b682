package proof_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/proof"
)

// icu makes a database whose texts are ordered by ICU, where a small letter stands beside its capital, and not behind all of them.
func icu(t *testing.T) database {
	t.Helper()
	d := newDatabase(t)
	fill(t, d.SuperuserURL("postgres"), "DROP DATABASE "+d.name, "CREATE DATABASE "+d.name+" OWNER shop TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'")
	fill(t, d.admin, "ALTER SCHEMA public OWNER TO shop")
	fill(t, d.owner, "CREATE TABLE words (word text) PARTITION BY RANGE (word)", "CREATE TABLE words_a PARTITION OF words FOR VALUES FROM ('a') TO ('m')",
		"CREATE TABLE words_z PARTITION OF words FOR VALUES FROM ('m') TO ('zz')", "INSERT INTO words VALUES ('Berlin'), ('berry'), ('Zoo')")
	return d
}

func TestOrderedByICU(t *testing.T) {
	t.Parallel()
	wants(t, prove(t, icu(t).withInventory(t), counted), proof.Passed)
}

// Where a locale is not installed, what goes wrong for the order of texts says nothing of the archive.
func TestALocaleThatIsNotHere(t *testing.T) {
	t.Parallel()
	a := icu(t).archive(t)
	b := make([]byte, a.Size)
	if _, err := a.Plain.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	a.Plain = bytes.NewReader(bytes.Replace(b, []byte("'C.UTF-8'"), []byte("'C.UTF-9'"), 1))
	wants(t, prove(t, a), proof.Impossible, "ordered by their bytes", "partition constraint")
}

// A statement may lock as many objects as PostgreSQL's own settings let it, as one that reads thousands of partitions does.
func TestManyLocks(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE MATERIALIZED VIEW locking AS SELECT count(pg_advisory_xact_lock(g)) FROM generate_series(1, 5000) g")
	wants(t, prove(t, d.archive(t)), proof.Passed)
}

// Roles are in no dump, so that a row that names one cannot be restored here, and could be where there are all of them.
func TestRowsThatNameRoles(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE who (may regrole)", "INSERT INTO who VALUES ('shop')")
	wants(t, prove(t, d.archive(t)), proof.Impossible, "roles are in no dump", "shop")
}

// A materialized view of a table whose row security is forced is filled by whoever passes it: pg_restore will not be shown a part.
func TestAViewOfForcedRowSecurity(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t AS SELECT 1 AS id", "CREATE MATERIALIZED VIEW v AS SELECT * FROM t", "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
	wants(t, prove(t, d.archive(t)), proof.Impossible, "only a role that passes row security")
}

// What a server says of a value has the value in it, which goes into no report.
func TestNoValueIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, words string }{
		"a text":           {"PERFORM $1::int", "invalid input syntax for type integer"},
		"one of two lines": {"PERFORM ($1 || E'\\n4111')::int", "invalid input syntax for type integer"},
		"a number":         {"PERFORM replace($1, '-', '')::smallint", "out of range for type smallint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			fill(t, d.admin, "CREATE FUNCTION cast_it(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'", "CREATE TABLE t (card text CHECK (cast_it(card)))",
				"INSERT INTO t VALUES ('4111-1111')", "CREATE OR REPLACE FUNCTION cast_it(text) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN "+c.body+"; RETURN true; END $f$")
			r := prove(t, d.archive(t))
			wants(t, r, proof.Differs, c.words)
			if said := strings.Join(r.Why, "\n"); strings.Contains(said, "4111") {
				t.Errorf("a row's value is told: %s", said)
			}
		})
	}
}
