package seal_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/seal"
)

// Each of the keys that a file is sealed to opens it alone, and nobody else's does; at any offset and as a stream.
func TestEachOfSeveralKeysOpens(t *testing.T) {
	t.Parallel()
	ours, theirs, stranger := newKey(t), newKey(t), newKey(t)
	plain := random(2*chunk + 77)
	var out bytes.Buffer
	w, err := seal.NewWriter(&out, ours.Recipient(), theirs.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := w.File()
	for _, keys := range [][]seal.Key{{ours}, {theirs}, {stranger, theirs}} {
		r, err := seal.OpenAt(bytes.NewReader(out.Bytes()), f, keys...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(io.NewSectionReader(r, 0, f.PlainSize)); err != nil || !bytes.Equal(got, plain) {
			t.Error(err)
		}
		s, err := seal.Open(bytes.NewReader(out.Bytes()), f, keys...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, plain) {
			t.Error(err)
		}
	}
	if _, err := seal.OpenAt(bytes.NewReader(out.Bytes()), f, stranger); !errors.Is(err, seal.ErrWrongKey) {
		t.Error(err)
	}
	if _, err := seal.Open(bytes.NewReader(out.Bytes()), f, stranger); !errors.Is(err, seal.ErrWrongKey) {
		t.Error(err)
	}
	if _, err := seal.OpenAt(bytes.NewReader(out.Bytes()), f); !errors.Is(err, seal.ErrKey) {
		t.Error(err)
	}
	if _, err := seal.NewWriter(io.Discard); err == nil {
		t.Error("sealed to nobody")
	}
}

// A stream of another file, of a changed one, or of one that is shorter or longer ends with an error.
func TestAStreamIsTheOneThatWasWritten(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	plain := random(2*chunk + 500)
	data, f := sealed(t, k, plain)
	read := func(data []byte, f seal.File) error {
		r, err := seal.Open(bytes.NewReader(data), f, k)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r)
		if !bytes.HasPrefix(plain, got) {
			t.Error("other bytes were read")
		}
		return err
	}
	for at := 0; at < len(data); at += 1 + at/40 {
		bad := bytes.Clone(data)
		bad[at] ^= 1
		if read(bad, f) == nil {
			t.Fatalf("byte %d", at)
		}
	}
	other, _ := sealed(t, k, plain)
	if err := read(other, f); !errors.Is(err, seal.ErrForged) {
		t.Error(err)
	}
	for _, cut := range [][]byte{data[:len(data)-1], data[:len(data)-600], data[:300], append(bytes.Clone(data), 0)} {
		if read(cut, f) == nil {
			t.Error(len(cut), "of", len(data), "bytes were read")
		}
	}
	short := f
	short.PlainSize, short.Size = short.PlainSize-1, short.Size-1
	if read(data, short) == nil {
		t.Error("longer than it says")
	}
}

func TestWhatAPersonPastes(t *testing.T) {
	t.Parallel()
	a, b := newKey(t), newKey(t)
	for pasted, want := range map[string][]string{
		a.Recipient(): {a.Recipient()},
		"# mine\r\n  " + a.Recipient() + "\r\n\n" + b.Recipient() + "\n" + a.Recipient(): {a.Recipient(), b.Recipient()},
		"Public key: " + b.Recipient(): {b.Recipient()},
	} {
		got, err := seal.ParseRecipients(pasted)
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q: %v, %v", pasted, got, err)
		}
	}
	var many []string
	for range seal.MaxRecipients + 1 {
		many = append(many, newKey(t).Recipient())
	}
	for pasted, want := range map[string]string{
		"":                               "at least one",
		"# nothing":                      "at least one",
		strings.Join(many, "\n"):         "11 public keys",
		a.Recipient() + "\nhello canary": "Line 2 is no age recipient",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 canary": "is an SSH key",
		"age1pq1canary":                             "post-quantum",
		"age1yubikey1qcanary":                       "a plugin",
		a.Recipient()[:40]:                          "",
		strings.ToUpper(a.Recipient()[:20]) + "0aa": "",
		a.Recipient()[:61] + flipped(a.Recipient()): "checksum",
	} {
		_, err := seal.ParseRecipients(pasted)
		var wrong *seal.RecipientError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Says, want) || wrong.Secret || strings.Contains(wrong.Says, "canary") {
			t.Errorf("%q: %v", pasted, err)
		}
	}
	for _, secret := range []string{
		a.Secret().Reveal(), "# created: today\n# public key: " + a.Recipient() + "\n" + strings.ToLower(a.Secret().Reveal()),
		a.Recipient() + "\nAGE-PLUGIN-YUBIKEY-1CANARY", "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary",
	} {
		_, err := seal.ParseRecipients(secret)
		var wrong *seal.RecipientError
		if !errors.As(err, &wrong) || !wrong.Secret || strings.Contains(wrong.Says, secret) {
			t.Errorf("a secret key was taken: %v", err)
		}
	}
}

func flipped(s string) string {
	if s[len(s)-1] == 'q' {
		return "p"
	}
	return "q"
}

func TestAFileOfKeys(t *testing.T) {
	t.Parallel()
	a, b := newKey(t), newKey(t)
	got, err := seal.ParseKeys(redact.New("# created: today\n# public key: " + a.Recipient() + "\n" + a.Secret().Reveal() + "\r\n\n" + b.Secret().Reveal()))
	if err != nil || len(got) != 2 || got[0].Recipient() != a.Recipient() || got[1].Recipient() != b.Recipient() {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "# only words", a.Recipient(), a.Secret().Reveal() + "\ncanary"} {
		if _, err := seal.ParseKeys(redact.New(bad)); !errors.Is(err, seal.ErrKey) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A fingerprint is what anybody's sha256sum gives, for ever: manifests and pages name keys by it.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	if got := seal.Fingerprint("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"); got != "cf7e568231315068" {
		t.Error(got)
	}
}
