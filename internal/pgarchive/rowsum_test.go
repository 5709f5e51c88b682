package pgarchive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// serverHashes are a PostgreSQL 15 server's answers to SELECT hashtextextended(left(repeat('abcdefghijklm', 3), n), 0).
func TestHashExtended(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("abcdefghijklm", 3)
	for n, want := range serverHashes {
		if got := int64(hashExtended([]byte(text[:n]))); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
}

func TestRowSum(t *testing.T) {
	t.Parallel()
	sum := func(text string, piece int) string {
		var s RowSum
		for p := range slices.Chunk([]byte(text), piece) {
			_, _ = s.Write(p)
		}
		return s.String()
	}
	if got := sum("", 1); got != "0" {
		t.Errorf("nothing: %s", got)
	}
	rows := []string{"", "a", "b\tc", strings.Repeat("x", longestRow), "", "\\N", "last"}
	want := sum(strings.Join(rows, "\n")+"\n", 1<<20)
	for range 20 {
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		if got := sum(strings.Join(rows, "\n")+"\n", 1+rand.IntN(longestRow)); got != want {
			t.Errorf("in another order: %s, want %s", got, want)
		}
	}
	for _, other := range [][]string{rows[1:], append(slices.Clone(rows[1:]), rows[0]+"x"), append(slices.Clone(rows), "")} {
		if got := sum(strings.Join(other, "\n")+"\n", 4096); got == want {
			t.Errorf("%d other rows have the same sum", len(other))
		}
	}
}

// A row that is too long to be kept counts by its SHA-256, wherever it lies and however it is read.
func TestLongRows(t *testing.T) {
	t.Parallel()
	sum := func(piece int, rows ...string) string {
		var s RowSum
		for p := range slices.Chunk([]byte(strings.Join(rows, "\n")+"\n"), piece) {
			_, _ = s.Write(p)
		}
		if s.String() != "" {
			t.Errorf("with a row that is too long: %s", s.String())
		}
		return s.Long()
	}
	long, other := strings.Repeat("x", longestRow+1), strings.Repeat("x", 3*longestRow)+"y"
	want := sum(1<<20, "a", long, "b", other)
	digests := new(big.Int)
	for _, row := range []string{"a", fmt.Sprintf("%x", sha256.Sum256([]byte(long))), "b", fmt.Sprintf("%x", sha256.Sum256([]byte(other)))} {
		digests.Add(digests, big.NewInt(int64(hashExtended([]byte(row)))))
	}
	if want != digests.String() {
		t.Errorf("%s, and of digests %s", want, digests)
	}
	for _, piece := range []int{1, 1 << 10, longestRow, longestRow + 1, longestRow + 2, 1 << 20} {
		if got := sum(piece, other, "b", long, "a"); got != want {
			t.Errorf("in pieces of %d bytes: %s, want %s", piece, got, want)
		}
	}
	if got := sum(1<<20, "a", long, "b", other[1:]); got == want {
		t.Error("another row has the same sum")
	}
	var s RowSum
	if _, _ = s.Write([]byte("a\n")); s.Long() != "" {
		t.Errorf("of short rows: %s", s.Long())
	}
}

func BenchmarkRowSum(b *testing.B) {
	text := bytes.Repeat(append(digits(80), '\n'), pieceSize/161)
	b.SetBytes(int64(len(text)))
	var s RowSum
	for b.Loop() {
		_, _ = s.Write(text)
	}
}

var serverHashes = map[int]int64{
	0: -6939563903564495251, 1: 3591986179850072241, 2: 2833316173711343549, 3: -6747756470228489321, 4: -1038429303365892052,
	5: 3076356108696143428, 6: 290958262752763840, 7: -6158032784613548338, 8: -8882191227074733005, 9: -3278210106038014113,
	10: -3183301415634409076, 11: 3112909444737856467, 12: -7556637188122330412, 13: 8871624171452417744, 14: 16778769042899075,
	15: -191964161566681216, 16: -7682906055719680435, 23: 3730531818873478741, 24: 2484696716426032814, 25: -5489879015397070730,
	35: -515467513674272110, 36: -7848221708710069623, 37: 4676328329178650164, 38: 1273691578670037043, 39: -8616904929776441315,
}
