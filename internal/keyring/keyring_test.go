package keyring_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
)

const (
	one = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	two = "k2:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
)

func ring(t *testing.T, setting string) *keyring.Keyring {
	t.Helper()
	r, err := keyring.Parse(redact.New(setting))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedValueOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	r := ring(t, one)
	sealed := r.Seal([]byte("token"), "resources", "access", "id-1")
	if bytes.Contains(sealed, []byte("token")) {
		t.Fatal("not sealed")
	}
	if plain, err := r.Open(sealed, "resources", "access", "id-1"); err != nil || string(plain) != "token" {
		t.Fatal(string(plain), err)
	}
	for _, context := range [][]string{{"resources", "access", "id-2"}, {"resources", "refresh", "id-1"}, {"resources", "accessid-1"}, {"resources", "access", "id-1", ""}, {}} {
		if _, err := r.Open(sealed, context...); !errors.Is(err, keyring.ErrCorrupt) {
			t.Errorf("opened as %v: %v", context, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(bad, "resources", "access", "id-1"); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := r.Open(sealed[:i], "resources", "access", "id-1"); err == nil {
			t.Errorf("opened cut at %d", i)
		}
	}
	if bytes.Equal(sealed, r.Seal([]byte("token"), "resources", "access", "id-1")) {
		t.Error("the nonce repeats")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, both, fresh := ring(t, one), ring(t, two+","+one), ring(t, two)
	sealed := old.Seal([]byte("x"), "c")
	if plain, err := both.Open(sealed, "c"); err != nil || string(plain) != "x" || !both.NeedsReseal(sealed) {
		t.Fatal(err)
	}
	again := both.Seal([]byte("x"), "c")
	if both.NeedsReseal(again) {
		t.Error("the first key does not seal")
	}
	if _, err := fresh.Open(again, "c"); err != nil {
		t.Error(err)
	}
	if _, err := fresh.Open(sealed, "c"); err == nil || !strings.Contains(err.Error(), "k1") {
		t.Errorf("must name the missing key: %v", err)
	}
}

// Known answers, so that a later release opens what this one sealed.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	r := ring(t, one)
	const sealed = "01026b315d17e525e6da5a8a37ac530a96c49b63e86def00e66a5b697c4096ca1c0128c7e4"
	const mac = "01026b31e34faedd183b989bc857f8b7fbe4aab2cf770a95f68b54776c5703c4416985d3"
	raw, _ := hex.DecodeString(sealed)
	if plain, err := r.Open(raw, "resources", "access"); err != nil || string(plain) != "token" {
		t.Errorf("Open: %q (%v)", plain, err)
	}
	got, err := r.MAC("manifest", []byte("abc"))
	if err != nil || hex.EncodeToString(got) != mac {
		t.Errorf("MAC %x (%v)", got, err)
	}
	if !r.CheckMAC("manifest", []byte("abc"), got) || r.CheckMAC("other", []byte("abc"), got) || r.CheckMAC("manifest", []byte("abd"), got) || ring(t, two).CheckMAC("manifest", []byte("abc"), got) || r.CheckMAC("manifest", []byte("abc"), nil) {
		t.Error("CheckMAC")
	}
}

func TestParseRefusesWithoutQuoting(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "k1", "k1:", "k1:AAAA", "K1:" + one[3:], one + "," + one, ":" + one[3:], one + ",", "k1:" + strings.Repeat("A", 500)} {
		if _, err := keyring.Parse(redact.New(bad)); err == nil || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := keyring.Parse(keyring.Generate("k9")); err != nil {
		t.Error(err)
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	r := ring(t, one)
	for _, v := range []any{r, struct{ R *keyring.Keyring }{r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(strings.ReplaceAll(out, " ", ""), "0405") || strings.Contains(out, "4 5 6 7") || strings.Contains(out, "0x4, 0x5") {
				t.Errorf("%s: %s", verb, out)
			}
		}
	}
}
