package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/seal"
)

const chunk = 64 << 10

func newKey(t testing.TB) seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, k seal.Key, plain []byte) ([]byte, seal.File) {
	t.Helper()
	var out bytes.Buffer
	w, err := seal.NewWriter(&out, k.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyBuffer(w, io.MultiReader(bytes.NewReader(plain)), make([]byte, 10_007)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), w.File()
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestWhatIsSealedOpens(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5*chunk + 77} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			plain := random(size)
			data, f := sealed(t, k, plain)
			if f.Size != int64(len(data)) || f.PlainSize != int64(size) {
				t.Fatalf("%d bytes of %d: %+v", len(data), size, f)
			}
			r, err := seal.OpenAt(bytes.NewReader(data), f, k)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				off := rand.Int64N(int64(size) + 1)
				n := rand.Int64N(int64(size) - off + 1)
				got := make([]byte, n)
				if m, err := r.ReadAt(got, off); m != len(got) || (err != nil && err != io.EOF) {
					t.Fatalf("read %d at %d: %d, %v", n, off, m, err)
				}
				if !bytes.Equal(got, plain[off:off+n]) {
					t.Fatalf("%d bytes at %d differ", n, off)
				}
			}
			id, _ := age.ParseX25519Identity(k.Secret().Reveal())
			std, err := age.Decrypt(bytes.NewReader(data), id)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(std); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("the age library reads something else: %v", err)
			}
		})
	}
}

// Every flipped bit is an error or leaves what is read as it was.
func TestNoFlippedByteIsRead(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	plain := random(3*chunk + 500)
	data, f := sealed(t, k, plain)
	for at := 0; at < len(data); at += 1 + at/300 {
		bad := bytes.Clone(data)
		bad[at] ^= 1 << (at % 8)
		r, err := seal.OpenAt(bytes.NewReader(bad), f, k)
		if err != nil {
			continue
		}
		got := make([]byte, len(plain))
		n, err := r.ReadAt(got, 0)
		if err == nil || err == io.EOF || !bytes.Equal(got[:n], plain[:n]) {
			t.Fatalf("byte %d: %d bytes were read: %v", at, n, err)
		}
	}
}

func TestAnotherFileDoesNotOpen(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	plain := random(chunk * 2)
	data, f := sealed(t, k, plain)
	other, _ := sealed(t, k, plain) // the same bytes to the same recipient
	if _, err := seal.OpenAt(bytes.NewReader(other), f, k); !errors.Is(err, seal.ErrForged) {
		t.Errorf("another file: %v", err)
	}
	if _, err := seal.OpenAt(bytes.NewReader(data), f, newKey(t)); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := seal.OpenAt(bytes.NewReader(data), f, seal.Key{}); !errors.Is(err, seal.ErrKey) {
		t.Errorf("no key: %v", err)
	}
	spliced := append(bytes.Clone(data[:len(data)-100]), other[len(data)-100:]...)
	if _, err := seal.OpenAt(bytes.NewReader(spliced), f, k); err == nil {
		t.Error("a spliced file opens")
	}
	for _, size := range []int64{0, 1, 100, f.Size - 1, f.Size + 1} {
		wrong := f
		wrong.Size = size
		if _, err := seal.OpenAt(bytes.NewReader(append(bytes.Clone(data), 0)), wrong, k); err == nil {
			t.Errorf("opens at size %d of %d", size, f.Size)
		}
	}
	if _, err := seal.OpenAt(bytes.NewReader(data[:f.Size-20]), f, k); err == nil {
		t.Error("a truncated file opens")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	again, err := seal.ParseKey(k.Secret())
	if err != nil || again.Recipient() != k.Recipient() {
		t.Errorf("%v, %v", again, err)
	}
	for _, bad := range []string{"", "canary", strings.ToLower(k.Secret().Reveal()), k.Secret().Reveal() + "Q"} {
		if _, err := seal.ParseKey(redact.New(bad)); !errors.Is(err, seal.ErrKey) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if all := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(all, "AGE-SECRET") {
		t.Errorf("a key prints itself: %s", all)
	}
	if _, err := seal.NewWriter(io.Discard, "age1nonsense"); err == nil {
		t.Error("sealed to nobody")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestAFailedWriteIsTold(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	if _, err := seal.NewWriter(failing{full}, newKey(t).Recipient()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
