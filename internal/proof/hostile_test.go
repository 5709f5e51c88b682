package proof_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/proof"
)

// Dumps that were made to harm whoever restores them. Each is made by a superuser of the customer's server, who can
// write into a dump whatever he likes. The verifier survives, says why, and leaves no process, no folder and no file
// (prove looks).
func TestHostileDumps(t *testing.T) {
	t.Parallel()
	canary := filepath.Join(os.TempDir(), fmt.Sprintf("pwned-%d", os.Getpid()))
	// check makes a table with one row whose check runs body when the row is restored. It can be made only where it
	// does no harm, so it is put in place afterwards.
	check := func(body string) []string {
		return []string{
			"CREATE FUNCTION harm(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'", "CREATE TABLE t (id int CHECK (harm(id)))",
			"INSERT INTO t VALUES (1)", "CREATE OR REPLACE FUNCTION harm(int) RETURNS boolean LANGUAGE plpgsql AS " + "$harm$ BEGIN " + body + "; RETURN true; END $harm$",
		}
	}
	for name, c := range map[string]struct {
		statements []string
		verdict    proof.Verdict
		words      string
		change     func(*proof.Config)
		limit      time.Duration
	}{
		"sleeps in a check": {statements: check("PERFORM pg_sleep(1e9)"), verdict: proof.Impossible, words: "longer than the 5s", limit: 5 * time.Second},
		"never ends":        {statements: check("LOOP END LOOP"), verdict: proof.Impossible, words: "longer than the 5s", limit: 5 * time.Second},
		"ignores a cancel": {
			statements: check("LOOP BEGIN PERFORM pg_sleep(1e9); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP"),
			verdict:    proof.Impossible, words: "longer than the 5s", limit: 5 * time.Second,
		},
		"calls itself without end": {statements: check("RETURN public.harm($1)"), verdict: proof.Differs, words: "stack depth limit exceeded"},
		"counts without end": {
			// It fills what temporary files may take, and on a slow disk its time ends before.
			statements: check("PERFORM count(*) FROM generate_series(1, 1000000000000)"), verdict: proof.Impossible, words: "may take here", limit: 5 * time.Second,
		},
		"takes all memory": {
			statements: check("PERFORM array_agg(repeat('x', 1000000)) FROM generate_series(1, 1000)"), verdict: proof.Impossible, words: "memory",
		},
		"runs a program": {
			statements: check("EXECUTE $$COPY (SELECT 1) TO PROGRAM 'touch " + canary + "'$$"), verdict: proof.Impossible, words: "only a superuser",
		},
		"writes a file": {statements: check("PERFORM lo_export(lo_from_bytea(0, 'x'), '" + canary + "')"), verdict: proof.Impossible, words: "only a superuser"},
		"reads a file":  {statements: check("PERFORM pg_read_file('/etc/passwd')"), verdict: proof.Impossible, words: "only a superuser"},
		"calls our hosts by dblink": {
			statements: append([]string{"CREATE EXTENSION dblink"}, check("PERFORM public.dblink_connect('host=127.0.0.1 user=postgres')")...),
			verdict:    proof.Impossible, words: "dblink",
		},
		"brings dblink without the extension": {
			statements: []string{
				"CREATE FUNCTION call(text) RETURNS text LANGUAGE c AS '$libdir/dblink', 'dblink_connect'",
				"CREATE TABLE t (id int)", "CREATE VIEW calling AS SELECT public.call('host=127.0.0.1')",
			},
			verdict: proof.Impossible, words: "permission denied for language c",
		},
		"makes a huge materialized view": {
			statements: []string{"CREATE MATERIALIZED VIEW huge AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 1000000000) g WITH NO DATA"},
			verdict:    proof.Passed, // pg_dump fills only what was filled
		},
		"becomes superuser": {statements: check("ALTER ROLE remora_owner SUPERUSER"), verdict: proof.Impossible, words: "only a superuser"},
		"speaks like pg_restore": {
			statements: check(`RAISE EXCEPTION E'x\npg_restore: from TOC entry 1; 1 1 TABLE public fake owner\npg_restore: error: out of memory'`),
			verdict:    proof.Impossible,
		},
		"lets nobody in any more":         {statements: check("ALTER DATABASE scratch CONNECTION LIMIT 0"), verdict: proof.Impossible, words: "too many connections"},
		"makes us somebody else":          {statements: check("ALTER DATABASE scratch SET role = remora_owner"), verdict: proof.Passed},
		"fails only while it is restored": {statements: check("RAISE EXCEPTION 'not here'"), verdict: proof.Differs, words: "not here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			fill(t, d.admin, c.statements...)
			a := d.archive(t)
			if c.limit > 0 {
				a.Limit = c.limit
			}
			var change []func(*proof.Config)
			if c.change != nil {
				change = append(change, c.change)
			}
			wants(t, prove(t, a, change...), c.verdict, c.words)
		})
	}
	t.Cleanup(func() {
		if _, err := os.Stat(canary); err == nil {
			t.Error("a program ran, or a file was written")
		}
	})
}

// A materialized view that is small where it was made and huge where it is restored fills the disk it may take.
func TestHugeMaterializedView(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.admin, "CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'SELECT 10::bigint'",
		"CREATE MATERIALIZED VIEW huge AS SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, public.n()) g",
		"CREATE OR REPLACE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'SELECT 1000000000::bigint'")
	r := prove(t, d.archive(t), func(c *proof.Config) { c.Disk = 300 << 20 })
	wants(t, r, proof.Impossible, "disk")
}

// Lengths that lie, in the counts, in the head and in a block.
func TestClaims(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	fill(t, d.owner, "CREATE TABLE t AS SELECT repeat(g::text, 100) FROM generate_series(1, 1000) g")
	a := d.archive(t)
	whole := make([]byte, a.Size)
	if _, err := a.Plain.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	head, err := pgarchive.ReadHead(bytes.NewReader(whole))
	if err != nil || len(head.Entries) == 0 {
		t.Fatal(err)
	}
	changed := func(at int) proof.Archive {
		b := a
		text := bytes.Clone(whole)
		text[at] = 0
		binary.LittleEndian.PutUint32(text[at+1:], 1<<31-1)
		b.Plain = bytes.NewReader(text)
		return b
	}
	t.Run("10 GiB of rows", func(t *testing.T) {
		t.Parallel()
		b := a
		c := *a.Contents
		c.Tables = append([]pgarchive.Table{}, c.Tables...)
		c.Tables[0].Bytes = 10 << 30
		b.Contents = &c
		wants(t, prove(t, b), proof.Impossible, "10737 MB of rows")
	})
	t.Run("a name of 2 GiB", func(t *testing.T) {
		t.Parallel()
		at := bytes.Index(whole, []byte(d.name)) - 5
		wants(t, prove(t, changed(at)), proof.Differs, "makes no sense")
	})
	t.Run("a chunk of 2 GiB", func(t *testing.T) {
		t.Parallel()
		// The first block's first chunk: after the head, the block's type and its entry's number.
		block := bytes.LastIndex(whole[:len(whole)-100], []byte{1, 0, byte(dataID(head))}) // type, sign, lowest byte of the number
		wants(t, prove(t, changed(block+6)), proof.Impossible, "out of memory")
	})
}

func dataID(h *pgarchive.Head) int {
	for _, e := range h.Entries {
		if e.Kind == "TABLE DATA" {
			return e.DumpID
		}
	}
	return 0
}
