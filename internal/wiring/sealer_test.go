package wiring

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// A message is answered by whoever holds one of the keys that it is sealed to, of this add-on and for these keys alone.
func TestAMessageShowsWhoHoldsAKey(t *testing.T) {
	t.Parallel()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	mine, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := sealer{keys}
	id, to := remora.NewID[remora.ResourceID](), []string{other.Recipient(), mine.Recipient()}
	message, ticket, err := s.Challenge(id, to)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.ParseX25519Identity(mine.Secret().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(armor.NewReader(strings.NewReader(message)), identity) // as the age command does
	if err != nil {
		t.Fatal(err)
	}
	word, err := io.ReadAll(plain)
	if err != nil || !bytes.HasSuffix(word, []byte("\n")) {
		t.Fatalf("%q %v", word, err)
	}
	said := string(word)
	if !s.Answered(id, to, ticket, " "+strings.ToUpper(said)) {
		t.Error("what it says is no answer")
	}
	again, next, err := s.Challenge(id, to)
	if err != nil || again == message || s.Answered(id, to, next, said) {
		t.Error("two messages say the same", err)
	}
	for name, answered := range map[string]bool{
		"another word": s.Answered(id, to, ticket, "open"), "no ticket": s.Answered(id, to, "", said), "another add-on": s.Answered(remora.NewID[remora.ResourceID](), to, ticket, said),
		"other keys": s.Answered(id, to[1:], ticket, said), "the ticket itself": s.Answered(id, to, ticket, ticket),
	} {
		if answered {
			t.Error(name, "is taken for an answer")
		}
	}
	if strings.Contains(ticket+message, strings.TrimSpace(said)) {
		t.Error("the page says what the message says")
	}
}

func TestWhatIsWrongWithKeysIsSaid(t *testing.T) {
	t.Parallel()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for pasted, kind := range map[string]remora.Kind{"x": remora.KindInvalid, key.Secret().Reveal(): remora.KindForbidden, key.Recipient(): remora.KindOf(nil)} {
		if _, err := (sealer{}).Recipients(pasted); remora.KindOf(err) != kind {
			t.Errorf("%v", err)
		}
	}
}
