package pgarchive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/remora-backup/remora/internal/pgarchive"
)

func stored(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".dump"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryKnownVersionIsWalked(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]pgarchive.Compression{
		"1.14-gzip": pgarchive.Gzip, "1.14-none": pgarchive.None, "1.15-gzip": pgarchive.Gzip, "1.15-none": pgarchive.None,
		"1.16-gzip": pgarchive.Gzip, "1.16-none": pgarchive.None, "1.16-lz4": pgarchive.LZ4, "1.16-zstd": pgarchive.Zstd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := stored(t, name)
			a, out, err := walk(bytes.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(in, out) || a.Size() != int64(len(in)) {
				t.Errorf("%d bytes in, %d out, size %d", len(in), len(out), a.Size())
			}
			if v, _, _ := strings.Cut(name, "-"); a.Version.String() != v || a.Compression != want || a.Database != "shop" || a.Tables != 3 {
				t.Errorf("%s %s, database %s, %d tables", a.Version, a.Compression, a.Database, a.Tables)
			}
			objects := "BLOBS"
			if a.Version.Minor >= 16 { // from 17 on a block holds the objects of one owner, and is named by their numbers
				objects = "16405..4000000000"
			}
			if got := strings.Join(withData(a), ", "); got != "Odd one.it; is, public.empty, public.parts_1, ."+objects {
				t.Errorf("entries with data: %s", got)
			}
			// With the offsets it is an archive too, and says of itself what was found the first time.
			full := append(bytes.Clone(a.Raw), out[len(a.Raw):]...)
			again, _, err := walk(bytes.NewReader(full))
			if err != nil || !bytes.Equal(again.Raw, a.Raw) || bytes.Equal(full, in) {
				t.Errorf("read back: %v", err)
			}
		})
	}
}

func withData(a *pgarchive.Archive) []string {
	var out []string
	for _, e := range a.Entries {
		if e.HasData {
			out = append(out, e.Namespace+"."+e.Tag)
		}
	}
	return out
}

// pg_dump fills in the offsets where it can seek: ours are the same, and a wrong one is found.
func TestOffsetsAreThoseOfPgDump(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "archive")
	if _, err := dump("seekable", "-f", file); err != nil {
		t.Fatal(err)
	}
	in, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := walk(bytes.NewReader(in))
	if err != nil || !bytes.Equal(a.Raw, in[:len(a.Raw)]) {
		t.Fatalf("the head came out changed: %v", err)
	}
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	piped, err := exec.Command(filepath.Join(c.BinDir(), "pg_dump"), "-Fc", "-d", c.SuperuserURL("seekable")).Output()
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := walk(bytes.NewReader(piped))
	if err != nil {
		t.Fatal(err)
	}
	const made = 11 + 5 // the first field that two dumps differ in: when, as seven numbers
	if !bytes.Equal(a.Raw[made+7*5:], b.Raw[made+7*5:]) {
		t.Error("a head from a pipe, filled in by us, differs from pg_dump's own")
	}
	moved := append(append(bytes.Clone(a.Raw), in[len(a.Raw):]...), 0)[:len(in)]
	at := bytes.LastIndexByte(a.Raw, 2) // the state of the last offset in the head
	moved[at+1]++
	var corrupt *pgarchive.CorruptError
	if _, _, err := walk(bytes.NewReader(moved)); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "where the head says") {
		t.Errorf("a wrong offset: %v", err)
	}
}

func TestNoByteCanBeMissing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"1.14-gzip", "1.16-zstd"} {
		in := stored(t, name)
		for n := range in {
			var corrupt *pgarchive.CorruptError
			if _, _, err := walk(bytes.NewReader(in[:n])); !errors.As(err, &corrupt) || corrupt.Offset > int64(n) {
				t.Fatalf("%s cut at %d of %d: %v", name, n, len(in), err)
			}
		}
	}
}

// A changed byte either is refused or passes as it is; digests find the latter. It never makes us fail.
func TestChangedBytesDoNoHarm(t *testing.T) {
	t.Parallel()
	in := stored(t, "1.16-gzip")
	refused := 0
	for at := range in {
		for _, mask := range []byte{0x01, 0xff} {
			bad := bytes.Clone(in)
			bad[at] ^= mask
			a, out, err := walk(bytes.NewReader(bad))
			switch {
			case err != nil:
				refused++
			case !bytes.Equal(out, bad) || a.Size() != int64(len(bad)):
				t.Fatalf("byte %d changed by %x: accepted and not passed on whole", at, mask)
			}
		}
	}
	if refused < len(in)/4 {
		t.Errorf("only %d changes were refused", refused)
	}
}

// Whole blocks that are missing, doubled or foreign leave every border where one is expected.
func TestEveryBlockIsThereOnce(t *testing.T) {
	t.Parallel()
	in := stored(t, "1.16-gzip")
	var borders []int
	var current []string
	a, err := pgarchive.Walk(bytes.NewReader(in), pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil },
		Body: func([]byte) error { return nil },
		Progress: func(p pgarchive.Progress) {
			if p.Current != "" {
				current = append(current, p.Current)
				borders = append(borders, int(p.Bytes)-6) // told once its type and id are read
			}
		},
	})
	if err != nil || len(borders) != 4 || borders[0] != len(a.Raw) {
		t.Fatal(borders, err)
	}
	borders = append(borders, len(in))
	if last := current[3]; last != "large objects" {
		t.Errorf("the last block is called %q", last)
	}
	for i := range 4 {
		block := in[borders[i]:borders[i+1]]
		for what, bad := range map[string][]byte{
			"missing": append(bytes.Clone(in[:borders[i]]), in[borders[i+1]:]...),
			"doubled": append(bytes.Clone(in), block...),
			"foreign": append(append(bytes.Clone(in), block[0], 0, 0xff, 0xff, 0, 0), block[6:]...),
		} {
			var corrupt *pgarchive.CorruptError
			if _, _, err := walk(bytes.NewReader(bad)); !errors.As(err, &corrupt) {
				t.Errorf("block %d %s: %v", i, what, err)
			}
		}
	}
}

// Only io.EOF itself is the end. A failure that has one inside, as a lost connection may, is a failure, also
// where an archive could end.
func TestAWrappedEndIsNoEnd(t *testing.T) {
	t.Parallel()
	in := stored(t, "1.14-gzip")
	for _, lost := range []error{fmt.Errorf("connection: %w", io.EOF), fmt.Errorf("connection: %w", io.ErrUnexpectedEOF)} {
		for _, n := range []int{3, 100, len(in) - 1, len(in)} {
			a, _, err := walk(io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(lost)))
			var corrupt *pgarchive.CorruptError
			if a != nil || !errors.Is(err, lost) || errors.As(err, &corrupt) {
				t.Errorf("after %d of %d bytes: %v", n, len(in), err)
			}
		}
	}
}

// A head that claims more than it brings costs what it brings.
func TestLiesCostNoMemory(t *testing.T) {
	in := stored(t, "1.14-gzip")
	bad := bytes.Clone(in[:51]) // up to the length of the database's name
	bad = append(bad, 0, 0xff, 0xff, 0xff, 0x7f)
	bad = append(bad, in[56:]...)
	used := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, _, err := walk(bytes.NewReader(bad)); err == nil {
				b.Fatal("accepted")
			}
		}
	}).AllocedBytesPerOp()
	if used > 1<<20 {
		t.Errorf("%d bytes", used)
	}
}

func BenchmarkWalk(b *testing.B) {
	in := stored(b, "1.14-none")
	a, _, err := walk(bytes.NewReader(in))
	if err != nil {
		b.Fatal(err)
	}
	// the last table's block, with 64 MiB of rows in chunks as pg_dump writes them
	chunk := append([]byte{0, 0, 0x10, 0, 0}, make([]byte, 4096)...)
	data := bytes.Index(in[len(a.Raw):], []byte("1\trow 1\n")) + len(a.Raw) - 5
	long := append(bytes.Clone(in[:data]), bytes.Repeat(chunk, 16<<10)...)
	long = append(long, in[data:]...)
	b.SetBytes(int64(len(long)))
	for b.Loop() {
		_, err := pgarchive.Walk(bytes.NewReader(long), pgarchive.Handlers{
			Head: func(*pgarchive.Head, []byte) error { return nil }, Body: func([]byte) error { return nil },
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
