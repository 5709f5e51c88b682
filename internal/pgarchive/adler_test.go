package pgarchive

import (
	"bytes"
	"hash/adler32"
	"math/rand/v2"
	"testing"
)

func TestAdler(t *testing.T) {
	t.Parallel()
	random := make([]byte, 3*adlerRun+77)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	for name, text := range map[string][]byte{"random": random, "largest": bytes.Repeat([]byte{255}, len(random)), "zero": make([]byte, len(random))} {
		for _, n := range []int{0, 1, 7, 8, 127, 128, 129, 255, 256, 1000, pieceSize, adlerRun - 1, adlerRun, adlerRun + 1, len(text)} {
			want := adler32.Checksum(text[:n])
			if got := adler(text[:n]); got != want {
				t.Errorf("%d bytes, %s: %08x, want %08x", n, name, got, want)
			}
			if got := joinAdler(adler(text[:n/3]), adler(text[n/3:n]), n-n/3); got != want {
				t.Errorf("%d bytes, %s, joined: %08x, want %08x", n, name, got, want)
			}
		}
	}
}

func BenchmarkAdler(b *testing.B) {
	text := make([]byte, pieceSize)
	for name, sum := range map[string]func([]byte) uint32{"ours": adler, "hash-adler32": adler32.Checksum} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				sum(text)
			}
		})
	}
}
