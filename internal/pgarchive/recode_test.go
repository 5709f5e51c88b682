package pgarchive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/pgarchive"
)

func compressor(t testing.TB, workers, level int) *pgarchive.Compressor {
	t.Helper()
	c, err := pgarchive.NewCompressor(workers, level)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// recode returns the archive as it came to its taker, and as it is with its head last.
func recode(c *pgarchive.Compressor, r io.Reader) (a *pgarchive.Archive, piped, full []byte, err error) {
	var whole bytes.Buffer
	head := 0
	a, err = pgarchive.Recode(r, c, pgarchive.Handlers{
		Head: func(_ *pgarchive.Head, raw []byte) error { head, _ = whole.Write(raw); return nil },
		Body: func(p []byte) error { whole.Write(p); return nil },
	})
	if err != nil {
		return nil, nil, nil, err
	}
	return a, whole.Bytes(), append(bytes.Clone(a.Raw), whole.Bytes()[head:]...), nil
}

func TestRecodedArchivesReadTheSame(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"1.14-none", "1.15-none", "1.16-none"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := stored(t, name)
			for size, r := range map[string]io.Reader{"whole": bytes.NewReader(in), "by the byte": iotest.OneByteReader(bytes.NewReader(in))} {
				a, piped, full, err := recode(compressor(t, 2, pgarchive.Small), r)
				if err != nil {
					t.Fatal(size, err)
				}
				if a.Compression != pgarchive.Gzip || a.Size() != int64(len(full)) || len(a.Contents.Tables) != a.Tables || a.Contents.LargeObjects.Count != 2 {
					t.Errorf("%s: %+v", size, a.Contents)
				}
				for _, out := range [][]byte{piped, full} {
					b, again, err := walk(bytes.NewReader(out))
					if err != nil || b.Compression != pgarchive.Gzip || !bytes.Equal(again, out) || b.Contents != nil {
						t.Errorf("%s: what was recoded is no archive: %v", size, err)
					}
				}
				if name == "1.14-none" { // every pg_restore reads this version
					if restore(t, piped) != restore(t, in) {
						t.Errorf("%s: pg_restore reads something else", size)
					}
				}
			}
		})
	}
}

// rich is a database whose data ends at every border there is.
var rich = sync.OnceValues(func() ([]byte, error) {
	c, err := cluster()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	for _, s := range []struct{ db, sql string }{
		{"postgres", `CREATE DATABASE rich`},
		{"rich", `CREATE SCHEMA "Odd one";
			CREATE TABLE nothing (id int); CREATE TABLE columnless (); INSERT INTO columnless SELECT FROM generate_series(1, 7);
			CREATE TABLE "Odd one"."semi;colon" (id int GENERATED ALWAYS AS IDENTITY, "Line
feed" text, twice int GENERATED ALWAYS AS (id * 2) STORED);
			INSERT INTO "Odd one"."semi;colon" ("Line
feed") SELECT repeat(E'line\n\\.\ttab\\', g % 40) FROM generate_series(1, 20000) g;
			CREATE TABLE wide AS SELECT 1 AS id, repeat('x', 6000000) AS text;
			CREATE TABLE exact AS SELECT repeat('e', 131069 - 2) AS text FROM generate_series(1, 3);
			CREATE TABLE hex AS SELECT g AS id, string_agg(sha256((g * 100 + k)::text::bytea), '') AS b FROM generate_series(1, 3000) g, generate_series(1, 32) k GROUP BY g;
			CREATE TABLE nulls AS SELECT NULL::int AS a, NULL::text AS b FROM generate_series(1, 5);
			CREATE SEQUENCE used; SELECT setval('used', 4711); CREATE SEQUENCE "never;used" START -3 MINVALUE -5;
			SELECT lo_from_bytea(1000 + g, repeat(md5(g::text), g)::bytea) FROM generate_series(0, 600) g`},
	} {
		conn, err := pgx.Connect(ctx, c.SuperuserURL(s.db))
		if err != nil {
			return nil, err
		}
		_, err = conn.Exec(ctx, s.sql)
		_ = conn.Close(ctx)
		if err != nil {
			return nil, err
		}
	}
	return exec.Command(filepath.Join(c.BinDir(), "pg_dump"), "-Fc", "-Z0", "-d", c.SuperuserURL("rich")).Output()
})

func TestRecodedDataIsTheSame(t *testing.T) {
	t.Parallel()
	in, err := rich()
	if err != nil {
		t.Fatal(err)
	}
	want := restore(t, in)
	for name, c := range map[string]*pgarchive.Compressor{
		"one, fast": compressor(t, 1, pgarchive.Fast), "many, small": compressor(t, runtime.GOMAXPROCS(0)+2, pgarchive.Small),
	} {
		a, piped, full, err := recode(c, bytes.NewReader(in))
		if err != nil {
			t.Fatal(name, err)
		}
		file := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(file, full, 0o600); err != nil {
			t.Fatal(err)
		}
		if restore(t, piped) != want || restore(t, nil, file) != want {
			t.Errorf("%s: pg_restore reads something else", name)
		}
		if restore(t, nil, "-t", "wide", file) != restore(t, in, "-t", "wide") {
			t.Errorf("%s: one table by its offset reads something else", name)
		}
		part, err := pgarchive.Select(bytes.NewReader(full), int64(len(full)), "public.hex", "Odd one.semi;colon")
		if err != nil {
			t.Fatal(err)
		}
		some, err := io.ReadAll(iotest.OneByteReader(io.NewSectionReader(part, 0, part.Size())))
		if err != nil || int64(len(some)) != part.Size() {
			t.Error(len(some), err)
		}
		if err := os.WriteFile(file, some, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"hex", "semi;colon"} {
			if restore(t, nil, "-t", table, file) != restore(t, in, "-t", table) || restore(t, some, "-t", table) != restore(t, in, "-t", table) {
				t.Errorf("%s: %s of a part reads something else", name, table)
			}
		}
		if got := restore(t, some); strings.Contains(got, "xxxxx") {
			t.Errorf("%s: a part holds what was not asked for", name)
		}
		if a, _, err := walk(bytes.NewReader(some)); err != nil || a.Size() != part.Size() {
			t.Errorf("%s: a part is no archive: %v", name, err)
		}
		if _, err := pgarchive.Select(bytes.NewReader(full), int64(len(full)), "public.nowhere"); !errors.Is(err, pgarchive.ErrNoTable) {
			t.Error(err)
		}
		if _, err := pgarchive.Select(bytes.NewReader(in), int64(len(in)), "public.hex"); !errors.Is(err, pgarchive.ErrNoOffsets) {
			t.Error(err)
		}
		if len(full) >= len(in)/2 {
			t.Errorf("%s: %d bytes of %d", name, len(full), len(in))
		}
		if l := a.Contents.LargeObjects; l.Count != 601 || l.Bytes != 32*600*601/2 {
			t.Errorf("%+v", a.Contents.LargeObjects)
		}
	}
}

// What is counted on the way is what the server itself counts.
func TestContentsAreTheServers(t *testing.T) {
	t.Parallel()
	in, err := rich()
	if err != nil {
		t.Fatal(err)
	}
	a, _, _, err := recode(compressor(t, 2, pgarchive.Fast), bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := cluster()
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("rich"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if len(a.Contents.Tables) != 7 {
		t.Errorf("%d tables", len(a.Contents.Tables))
	}
	for _, table := range a.Contents.Tables {
		name := pgx.Identifier{table.Schema, table.Name}.Sanitize()
		columns := ""
		if table.Name == "semi;colon" { // pg_dump names the columns, and leaves the generated one out
			columns = "(id, \"Line\nfeed\")"
		}
		sum := sha256.New()
		tag, err := conn.PgConn().CopyTo(t.Context(), sum, "COPY "+name+columns+" TO STDOUT")
		if err != nil {
			t.Fatal(err)
		}
		if tag.RowsAffected() != table.Rows || hex.EncodeToString(sum.Sum(nil)) != table.SHA256 {
			t.Errorf("%s: %+v, the server has %d rows", name, table, tag.RowsAffected())
		}
	}
	sum := sha256.New()
	for g := range 601 {
		var content []byte
		if err := conn.QueryRow(t.Context(), "SELECT lo_get($1::oid)", 1000+g).Scan(&content); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(sum, "%d\n%s", 1000+g, content)
	}
	if a.Contents.LargeObjects.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%+v", a.Contents.LargeObjects)
	}
	if got := a.Contents.Rows(); got != 7+20000+1+3+3000+5 {
		t.Errorf("%d rows", got)
	}
	got := map[string]pgarchive.Sequence{}
	for _, s := range a.Contents.Sequences {
		got[s.Name] = s
	}
	if s := got["used"]; s.Value != 4711 || !s.Called || s.Schema != "public" {
		t.Errorf("%+v", s)
	}
	if s := got["never;used"]; s.Value != -3 || s.Called {
		t.Errorf("%+v", s)
	}
}

func TestRecodingFailsAsWalkingDoes(t *testing.T) {
	t.Parallel()
	in, err := rich()
	if err != nil {
		t.Fatal(err)
	}
	c := compressor(t, 2, pgarchive.Fast)
	died := errors.New("pg_dump died")
	for _, n := range []int{0, 10, len(in) / 2, len(in) - 1, len(in)} {
		if _, _, _, err := recode(c, io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(died))); !errors.Is(err, died) {
			t.Errorf("after %d of %d bytes: %v", n, len(in), err)
		}
		var corrupt *pgarchive.CorruptError
		if _, _, _, err := recode(c, bytes.NewReader(in[:n])); n < len(in) && !errors.As(err, &corrupt) {
			t.Errorf("cut at %d of %d: %v", n, len(in), err)
		}
	}
	full := errors.New("store is full")
	_, err = pgarchive.Recode(bytes.NewReader(in), c, pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil }, Body: func([]byte) error { return full },
	})
	if !errors.Is(err, full) {
		t.Error(err)
	}
	// Rows that do not end as COPY's text ends are no table's, whatever the framing says.
	bad := bytes.Replace(in, []byte("\\.\n\n\n"), []byte("\\.\n\n "), 1)
	var corrupt *pgarchive.CorruptError
	if _, _, _, err := recode(c, bytes.NewReader(bad)); !errors.As(err, &corrupt) {
		t.Error(err)
	}
}

// An archive of a version that came later is passed as it is.
func TestNewerVersionsPassThrough(t *testing.T) {
	t.Parallel()
	in := stored(t, "1.16-gzip")
	in[6] = 17
	a, piped, full, err := recode(compressor(t, 1, pgarchive.Fast), bytes.NewReader(in))
	if err != nil || !bytes.Equal(piped, in) || !bytes.Equal(full, in) || a.Size() != int64(len(in)) || a.Contents != nil || a.Version.Minor != 17 {
		t.Errorf("%+v %v", a, err)
	}
	if _, _, err := walk(bytes.NewReader(in)); !errors.Is(err, pgarchive.ErrUnsupported) {
		t.Error(err)
	}
	died := errors.New("pg_dump died")
	if _, _, _, err := recode(compressor(t, 1, pgarchive.Fast), io.MultiReader(bytes.NewReader(in), iotest.ErrReader(died))); !errors.Is(err, died) {
		t.Error(err)
	}
}

// mutantMemory bounds what reading one mutant of a few KiB takes in all, in bytes: a lie about a length or a number costs
// nothing like what it claims.
const mutantMemory = 1 << 20

// Ten thousand archives that something has happened to: each is refused, or what comes of it is an archive. One that
// is cut or wrong in its structure is always refused, one whose data was changed has other digests, and none takes more
// memory than an archive of its size does. It runs alone, since memory is counted for the whole process.
func TestMutatedArchives(t *testing.T) { //nolint:paralleltest // see above
	c := compressor(t, 1, pgarchive.Fast)
	random := rand.New(rand.NewPCG(1, 2))
	archives := map[string][]byte{"1.16-none, small offsets and large integers": resized(stored(t, "1.16-none"), 8, 4)}
	for _, name := range []string{"1.14-none", "1.15-none", "1.16-none", "1.14-gzip"} {
		archives[name] = stored(t, name)
	}
	const each = 2000
	refused, changed, kinds, most := 0, 0, map[string]int{}, uint64(0)
	var before, after runtime.MemStats
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		in := archives[name]
		whole, _, _, err := recode(c, bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		for i := range each {
			change := mutate
			if i%4 == 0 {
				change = broken
			}
			bad, what := change(random, in)
			kinds[what]++
			runtime.ReadMemStats(&before)
			a, piped, full, err := recode(c, bytes.NewReader(bad))
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > mutantMemory {
				t.Errorf("%s %s: %d bytes of memory for %d", name, what, took, len(bad))
			} else {
				most = max(most, took)
			}
			if err != nil {
				refused++
				continue
			}
			for _, out := range [][]byte{piped, full} {
				if b, _, err := walk(bytes.NewReader(out)); err != nil || b.Size() != a.Size() {
					t.Fatalf("%s %s: accepted, and what came of it is no archive: %v", name, what, err)
				}
			}
			switch {
			case bytes.Equal(bad, in):
			case what == "cut", i%4 == 0:
				t.Errorf("%s: %s and accepted", name, what)
			case a.Contents != nil && bytes.Equal(bad[:len(whole.Raw)], in[:len(whole.Raw)]):
				changed++
				if reflect.DeepEqual(a.Contents, whole.Contents) {
					t.Errorf("%s: %s after the head, and the same digests", name, what)
				}
			}
		}
	}
	if refused < 4*each/4 || changed == 0 || len(kinds) != 6+7 {
		t.Errorf("of %d, %d were refused and %d found changed, of %v: the test mutates too little", 5*each, refused, changed, kinds)
	}
	t.Logf("of %d mutants %d were refused; the most memory that one took: %d KiB", 5*each, refused, most>>10)
}

func mutate(random *rand.Rand, in []byte) (out []byte, what string) {
	at := random.IntN(len(in))
	n := 1 + random.IntN(min(64, len(in)-at))
	switch random.IntN(6) {
	case 0:
		return in[:at], "cut"
	case 1:
		return append(bytes.Clone(in[:at]), in[at+n:]...), "missing"
	case 2:
		return append(append(bytes.Clone(in[:at+n]), in[at:at+n]...), in[at+n:]...), "doubled"
	case 3: // a length, or the like
		out = bytes.Clone(in)
		for i := range min(4, len(in)-at) {
			out[at+i] = byte(random.Uint32())
		}
		return out, "overwritten"
	case 4:
		out = bytes.Clone(in)
		out[at] ^= 1 << random.IntN(8)
		return out, "flipped"
	default:
		other := random.IntN(len(in))
		out = bytes.Clone(in)
		copy(out[other:], in[at:at+n])
		return out, "copied"
	}
}
