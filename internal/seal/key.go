package seal

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/remora-backup/remora/internal/redact"
)

// Errors of this package, for errors.Is.
var (
	ErrKey      = errors.New("seal: this is not an age X25519 key")
	ErrWrongKey = errors.New("seal: the file is sealed to another key")
	ErrForged   = errors.New("seal: the file is not the one that was written")
)

// Key opens what is sealed to its recipient. The zero Key opens nothing.
type Key struct {
	secret    redact.Secret
	recipient string
}

// NewKey makes a key from the system's randomness.
func NewKey() (Key, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	return Key{secret: redact.New(id.String()), recipient: id.Recipient().String()}, nil
}

// ParseKey reads AGE-SECRET-KEY-1…, which is what Secret gives.
func ParseKey(secret redact.Secret) (Key, error) {
	id, err := age.ParseX25519Identity(secret.Reveal())
	if err != nil {
		return Key{}, ErrKey // err could quote the key
	}
	return Key{secret: secret, recipient: id.Recipient().String()}, nil
}

// Secret is what is kept, itself sealed, to make the key again.
func (k Key) Secret() redact.Secret { return k.secret }

// Recipient is the public half, age1…, to which files are sealed.
func (k Key) Recipient() string { return k.recipient }

// String is the public half.
func (k Key) String() string { return k.recipient }

// Format is String, for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.recipient) }

func identities(keys []Key) ([]age.Identity, error) {
	var out []age.Identity
	for _, k := range keys {
		id, err := age.ParseX25519Identity(k.secret.Reveal())
		if err != nil {
			return nil, ErrKey
		}
		out = append(out, id)
	}
	if out == nil {
		return nil, ErrKey
	}
	return out, nil
}

// ParseKeys reads a file of keys as age-keygen writes it: a key a line, empty lines and those that begin with # aside.
func ParseKeys(file redact.Secret) ([]Key, error) {
	var out []Key
	for line := range strings.Lines(file.Reveal()) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseKey(redact.New(line))
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	if out == nil {
		return nil, ErrKey
	}
	return out, nil
}
