package pgarchive_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// comments makes an archive of n comments on columns, as pg_dump writes them, and one table of one row.
func comments(n int, comment string) []byte {
	b := bytes.NewBufferString("PGDMP\x01\x0e\x00\x04\x08\x01")
	num := func(v int) {
		sign := byte(0)
		if v < 0 {
			sign, v = 1, -v
		}
		b.Write([]byte{sign, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
	}
	text := func(s string) { num(len(s)); b.WriteString(s) }
	entry := func(id, dumper int, tag, kind, definition, copied string, offset byte) {
		num(id)
		num(dumper)
		for _, s := range []string{"0", "0", tag, kind} {
			text(s)
		}
		num(2) // its section
		text(definition)
		text("")
		if copied == "" {
			num(-1)
		} else {
			text(copied)
		}
		text("public")
		num(-1) // tablespace
		num(-1) // access method
		text("o")
		text("false")
		num(-1) // no dependencies
		b.WriteByte(offset)
		b.Write(make([]byte, 8))
	}
	num(0) // no compression
	for range 7 {
		num(1)
	}
	text("db")
	text("15")
	text("15")
	num(n + 1)
	for i := range n {
		entry(i+1, 0, fmt.Sprintf("COLUMN t.c%d", i), "COMMENT", fmt.Sprintf("COMMENT ON COLUMN \"public\".\"t\".\"c%d\" IS '%s';\n", i, comment), "", 3)
	}
	entry(n+1, 1, "t", "TABLE DATA", "", "COPY t FROM stdin;\n", 1)
	b.WriteByte(1)
	num(n + 1)
	text("1\n\\.\n\n\n")
	num(0)
	return b.Bytes()
}

// A table of contents may be as long as its reader allows, and a longer one is not taken for a broken archive.
func TestLongHeads(t *testing.T) {
	t.Parallel()
	in := comments(3, strings.Repeat("x", 30<<20)) // beyond the default
	c := compressor(t, 1, pgarchive.Fast)
	to := func(most int) pgarchive.Handlers {
		return pgarchive.Handlers{
			HeadMost: most,
			Head:     func(*pgarchive.Head, []byte) error { return nil }, Body: func([]byte) error { return nil },
		}
	}
	for name, read := range map[string]func(pgarchive.Handlers) (*pgarchive.Archive, error){
		"walk": func(h pgarchive.Handlers) (*pgarchive.Archive, error) { return pgarchive.Walk(bytes.NewReader(in), h) },
		"recode": func(h pgarchive.Handlers) (*pgarchive.Archive, error) {
			return pgarchive.Recode(bytes.NewReader(in), c, h)
		},
	} {
		a, err := read(to(len(in)))
		if err != nil || a.Tables != 1 || len(a.Entries) != 4 {
			t.Errorf("%s: %v", name, err)
		}
		for _, most := range []int{0, len(in) / 2} {
			var long *pgarchive.LongHeadError
			if _, err := read(to(most)); !errors.As(err, &long) || long.Most != cmp.Or(most, pgarchive.DefaultHead) {
				t.Errorf("%s of at most %d: %v", name, most, err)
			}
		}
	}
}

// What no COPY statement takes, as with pg_dump --inserts, is nothing that is counted: it is passed, and not recoded.
func TestOnlyCopyIsRecoded(t *testing.T) {
	t.Parallel()
	const statement = "COPY t FROM stdin;\n"
	in := bytes.Replace(comments(1, "x"), append([]byte{0, byte(len(statement)), 0, 0, 0}, statement...), []byte{1, 1, 0, 0, 0}, 1)
	if a, out, err := walk(bytes.NewReader(in)); err != nil || a.Tables != 1 || !bytes.Equal(out, in) {
		t.Errorf("walked: %v", err)
	}
	var corrupt *pgarchive.CorruptError
	if _, _, _, err := recode(compressor(t, 1, pgarchive.Fast), bytes.NewReader(in)); !errors.As(err, &corrupt) {
		t.Errorf("recoded: %v", err)
	}
}

// A number that lies is a broken archive, not a long one: the bytes that it announces never come.
func TestALieIsNoLongHead(t *testing.T) {
	t.Parallel()
	in := comments(3, "x")
	at := bytes.Index(in, []byte("COMMENT"))
	copy(in[at-4:], "\xff\xff\xff\x7f")
	var corrupt *pgarchive.CorruptError
	if _, _, err := walk(bytes.NewReader(in)); !errors.As(err, &corrupt) || corrupt.Offset != int64(len(in)) {
		t.Error(err)
	}
}

// What is held of a head, while the data passes, is it once and what its entries say.
func TestAHeadIsHeldOnce(t *testing.T) {
	in := comments(100_000, "x")
	c := compressor(t, 1, pgarchive.Fast)
	live := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	var before, during int
	before = live()
	_, err := pgarchive.Recode(bytes.NewReader(in), c, pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil },
		Body: func([]byte) error { during = live(); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes for a head of %d", during-before, len(in))
	if during-before > 2*len(in)+(4<<20) {
		t.Errorf("%d bytes for a head of %d", during-before, len(in))
	}
}
