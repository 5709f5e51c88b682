package proof_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/proof"
)

// Values that name objects are written with quotes in a dump, as pg_dump is told to quote all names.
func TestNamesAsValues(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TYPE mood AS ENUM ('calm')", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE TABLE named (a regclass, b regtype, c regprocedure, d regnamespace)", "INSERT INTO named VALUES ('named', 'mood', 'f(int)', 'public'), ('pg_class', 'int', 'now()', 'pg_catalog')")
	wants(t, prove(t, d.archive(t)), proof.Passed)
}

// The hash of an enum's value is that of its number, which is another one in a copy: rows go to other partitions there, and
// none is missing.
func TestRowsMayLieInOtherPartitions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h')", "CREATE TABLE feels (id int, mood mood) PARTITION BY HASH (mood)",
		"CREATE TABLE feels_0 PARTITION OF feels FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "CREATE TABLE feels_1 PARTITION OF feels FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
		"INSERT INTO feels SELECT g, (enum_range(NULL::mood))[1 + g * g % 8] FROM generate_series(1, 1000) g")
	a := d.archive(t)
	if a.Contents.Tables[0].Via == "" {
		t.Fatalf("%+v", a.Contents.Tables)
	}
	wants(t, prove(t, a), proof.Passed)
	for words, change := range map[string]func(*pgarchive.Table){
		"1000 rows in the copy; 1001 were read": func(t *pgarchive.Table) { t.Rows++ },
		"1000 rows in the copy; 999 were read":  func(t *pgarchive.Table) { t.Rows-- },
		"other contents":                        func(t *pgarchive.Table) { t.RowSum = "4711" },
		"cannot be told":                        func(t *pgarchive.Table) { t.RowSum = "" },
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			b, c := a, *a.Contents
			c.Tables = slices.Clone(c.Tables)
			c.Tables[0].SHA256 = "" // as where a row lies elsewhere, which is up to the numbers that the copy's values get
			change(&c.Tables[0])
			b.Contents = &c
			verdict := proof.Differs
			if words == "cannot be told" {
				verdict = proof.Impossible
			}
			wants(t, prove(t, b), verdict, words)
		})
	}
}

// What needs something that is left out is left out too: a table with rows cannot be, or an archive would pass in part.
func TestATableThatIsLeftOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.admin, "CREATE FOREIGN DATA WRAPPER wrapper", "CREATE SERVER far FOREIGN DATA WRAPPER wrapper", "CREATE FOREIGN TABLE far_away (id int) SERVER far",
		"CREATE TABLE kept (was far_away)", "INSERT INTO kept VALUES (ROW(1))")
	wants(t, prove(t, d.archive(t)), proof.Impossible, "table public.kept")
}

// A server may say anything of its encoding.
func TestAnUnknownEncoding(t *testing.T) {
	t.Parallel()
	a := newDatabase(t).archive(t)
	b := make([]byte, a.Size)
	if _, err := a.Plain.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	a.Plain = bytes.NewReader(bytes.Replace(b, []byte("ENCODING = 'UTF8'"), []byte("ENCODING = 'UTF9'"), 1))
	wants(t, prove(t, a), proof.Impossible, "UTF9")
}

// A policy may name roles that every server has.
func TestPredefinedRoles(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t (id int)", "CREATE POLICY p ON t TO pg_read_all_data USING (true)")
	wants(t, prove(t, d.archive(t)), proof.Passed)
}

// What is restored and cannot be looked at says nothing of the archive.
func TestACopyThatCannotBeReadInTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.admin, "CREATE TABLE large AS SELECT g, repeat('x', 100) FROM generate_series(1, 100000) g",
		"CREATE FUNCTION late(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'", "CREATE TABLE t (id int CHECK (late(id)))", "INSERT INTO t VALUES (1)",
		"CREATE OR REPLACE FUNCTION late(int) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN ALTER DATABASE scratch SET statement_timeout = 5; RETURN true; END $f$")
	wants(t, prove(t, d.archive(t)), proof.Impossible, "canceling statement")
}
