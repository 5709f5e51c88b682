package wiring

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// sealer is dashboard.Sealer, and api.Sealer.
type sealer struct{ keys *keyring.Keyring }

func (sealer) Recipients(pasted string) ([]string, error) {
	out, err := seal.ParseRecipients(pasted)
	var wrong *seal.RecipientError
	if !errors.As(err, &wrong) {
		return out, err
	}
	kind := remora.KindInvalid
	if wrong.Secret {
		kind = remora.KindForbidden
	}
	return nil, &remora.Error{Kind: kind, Public: wrong.Says}
}

func (sealer) Fingerprint(recipient string) string { return seal.Fingerprint(recipient) }

// challengePurpose keeps a ticket from being good for anything else.
const challengePurpose = "key challenge"

// Challenge seals a random word. The ticket is the word's MAC with whom and what it is for, so that nothing is stored.
func (s sealer) Challenge(id remora.ResourceID, recipients []string) (message, ticket string, err error) {
	word := strings.ToLower(rand.Text()) // 130 random bits
	if message, err = seal.Letter([]byte(word+"\n"), recipients...); err != nil {
		return "", "", err
	}
	mac, err := s.keys.MAC(challengePurpose, challenged(id, recipients, word))
	return message, hex.EncodeToString(mac), err
}

func (s sealer) Answered(id remora.ResourceID, recipients []string, ticket, answer string) bool {
	mac, err := hex.DecodeString(ticket)
	return err == nil && s.keys.CheckMAC(challengePurpose, challenged(id, recipients, strings.ToLower(strings.TrimSpace(answer))), mac)
}

// challenged is what a ticket is the MAC of; none of the parts has a line feed.
func challenged(id remora.ResourceID, recipients []string, word string) []byte {
	return []byte(string(id) + "\n" + strings.Join(recipients, "\n") + "\n" + strings.ReplaceAll(word, "\n", " "))
}
