package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
)

// MaxRecipients is how many a customer may name.
const MaxRecipients = 10

// RecipientError says, to whom pasted it, what is wrong with a list of recipients. It quotes nothing of it.
type RecipientError struct {
	Says   string
	Secret bool // what was pasted holds a secret key
}

// Error implements error.
func (e *RecipientError) Error() string { return e.Says }

// ParseRecipients reads what a person pasted: a recipient age1… a line, in the form that is kept. Only X25519 recipients
// are taken: a plugin would be a program to run, an SSH key is told from its outside by whoever sees the archive, and
// age does not mix post-quantum recipients with others. Errors: *RecipientError.
func ParseRecipients(pasted string) ([]string, error) {
	upper := strings.ToUpper(pasted)
	if strings.Contains(upper, "AGE-SECRET-KEY") || strings.Contains(upper, "AGE-PLUGIN-") || strings.Contains(upper, "PRIVATE KEY") {
		return nil, &RecipientError{Secret: true, Says: "What you pasted holds a secret key, which opens archives and is for nobody but you. It was neither stored nor logged, but it has left your machine: make a new one with age-keygen, and paste its public key here, which begins with age1."}
	}
	var out []string
	for i, line := range strings.Split(pasted, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "Public key:")) // as age-keygen says it
		says := ""
		switch r, err := age.ParseX25519Recipient(line); {
		case err == nil && slices.Contains(out, r.String()):
		case err == nil:
			out = append(out, r.String())
		case strings.HasPrefix(line, "ssh-"):
			says = "is an SSH key. Make a key with age-keygen and paste its public half"
		case strings.HasPrefix(line, "age1pq1"):
			says = "is a post-quantum recipient, which our age does not take beside others. Make an ordinary key with age-keygen"
		case strings.HasPrefix(line, "age1") && strings.Count(line, "1") > 1 && !strings.ContainsAny(line, " \t") && len(line) != 62:
			says = "is cut short, too long, or a plugin’s recipient. A public key that age-keygen makes has 62 characters"
		case strings.HasPrefix(line, "age1"):
			says = "has a wrong character: its checksum does not fit. Copy it again"
		default:
			says = "is no age recipient. One begins with age1"
		}
		if says != "" {
			return nil, &RecipientError{Says: fmt.Sprintf("Line %d %s.", i+1, says)}
		}
	}
	switch {
	case len(out) == 0:
		return nil, &RecipientError{Says: "Paste at least one public key, which begins with age1."}
	case len(out) > MaxRecipients:
		return nil, &RecipientError{Says: fmt.Sprintf("These are %d public keys; an archive is sealed to %d at most.", len(out), MaxRecipients)}
	}
	return out, nil
}

// Fingerprint names a recipient in a manifest and on a page: the first 16 digits of the SHA-256 of its text, in
// hexadecimal, as printf %s age1… | sha256sum gives them.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:8])
}

func parse(recipients []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, text := range recipients {
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("seal: recipient: %w", err)
		}
		out = append(out, r)
	}
	return out, nil // age refuses an empty list
}
