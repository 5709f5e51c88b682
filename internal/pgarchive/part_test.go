package pgarchive_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// written is a head as pg_dump of 15 writes it, made by hand.
type written struct{ bytes.Buffer }

func (w *written) int(v int) {
	sign := byte(0)
	if v < 0 {
		sign, v = 1, -v
	}
	w.WriteByte(sign)
	_ = binary.Write(w, binary.LittleEndian, uint32(v)) //nolint:gosec // small numbers
}

func (w *written) text(s string) {
	w.int(len(s))
	w.WriteString(s)
}

// begin writes what comes before the entries.
func (w *written) begin(entries int) {
	w.WriteString("PGDMP\x01\x0e\x00\x04\x08\x01")
	for range 8 { // no compression, and a time
		w.int(0)
	}
	for _, s := range []string{"db", "15", "15"} {
		w.text(s)
	}
	w.int(entries)
}

// entry writes one, with a block of its own at that offset where it is not zero.
func (w *written) entry(id int, kind, schema, tag, definition string, at uint64) {
	w.int(id)
	w.int(int(min(at, 1))) //nolint:gosec // one or zero
	w.text("0")
	w.text("0")
	w.text(tag)
	w.text(kind)
	w.int(2)
	w.text(definition)
	w.text("")
	if kind == "TABLE DATA" {
		w.text("COPY t FROM stdin;\n")
	} else {
		w.int(-1)
	}
	w.text(schema)
	w.int(-1)
	w.int(-1)
	w.text("owner")
	w.text("false")
	w.int(-1)
	state := byte(3)
	if at > 0 {
		state = 2
	}
	w.WriteByte(state)
	_ = binary.Write(w, binary.LittleEndian, at)
}

// block writes the data of an entry.
func (w *written) block(id int, text string) {
	w.WriteByte(1)
	w.int(id)
	w.text(text)
	w.int(0)
}

// manyEntries is an archive of n comments and one table after them.
func manyEntries(n int) []byte {
	made := func(at uint64) *written {
		w := &written{}
		w.begin(n + 1)
		for i := range n {
			w.entry(i+1, "COMMENT", "public", fmt.Sprintf("COLUMN t.c%d", i), fmt.Sprintf("COMMENT ON COLUMN \"public\".\"t\".\"c%d\" IS 'what it is for';\n", i), 0)
		}
		w.entry(n+1, "TABLE DATA", "public", "t", "", at)
		return w
	}
	w := made(uint64(made(1).Len())) //nolint:gosec // a length
	w.block(n+1, "1\n\\.\n\n\n")
	return w.Bytes()
}

// A head of many entries is read through, not kept: somebody may ask for a part of it at the web process often.
func TestSelectKeepsNoHead(t *testing.T) { //nolint:paralleltest // it measures what is allocated
	in := manyEntries(330_000)
	var before, after, kept runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	part, err := pgarchive.Select(bytes.NewReader(in), int64(len(in)), "public.t")
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	runtime.GC()
	runtime.ReadMemStats(&kept)
	made := (after.TotalAlloc - before.TotalAlloc) >> 20
	left := (int64(kept.HeapAlloc) - int64(before.HeapAlloc)) >> 10
	t.Logf("a head of %d MiB: %d MiB allocated, %d KiB kept", len(in)>>20, made, left)
	if made > 32 || left > 1024 {
		t.Errorf("selecting allocates %d MiB and keeps %d KiB", made, left)
	}
	whole, err := io.ReadAll(io.NewSectionReader(part, 0, part.Size()))
	if err != nil || !bytes.Equal(whole, in) { // all of its data was asked for
		t.Errorf("%d bytes of %d: %v", len(whole), len(in), err)
	}
}

// Many names are looked for at once.
func TestSelectOfManyTables(t *testing.T) {
	t.Parallel()
	const tables = 20_000
	made := func(body int) (*written, []string) {
		w, names := &written{}, []string(nil)
		w.begin(tables)
		for i := range tables {
			name := fmt.Sprintf("a_table_with_a_long_and_common_beginning_%d", i)
			names = append(names, "public."+name)
			w.entry(i+1, "TABLE DATA", "public", name, "", uint64(body+i*21)) //nolint:gosec // small
		}
		return w, names
	}
	w, _ := made(1)
	w, names := made(w.Len())
	for i := range tables {
		w.block(i+1, "\\.\n\n\n")
	}
	in := w.Bytes()
	part, err := pgarchive.Select(bytes.NewReader(in), int64(len(in)), names[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	some, err := io.ReadAll(io.NewSectionReader(part, 0, part.Size()))
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := walk(bytes.NewReader(some))
	if err != nil || a.Tables != tables {
		t.Fatalf("a part is no archive: %v", err)
	}
	with := 0
	for _, e := range a.Entries {
		if e.HasData {
			with++
		}
	}
	if with != tables-1 {
		t.Errorf("%d tables have data", with)
	}
}
