// Package seal encrypts archives while they stream, to the key of the resource they belong to, in the age
// format (https://age-encryption.org/v1): with the key, anybody's age opens them without us.
//
// age authenticates every 64 KiB chunk, their order and the end of the file, and lets any part be read without
// the rest. It does not authenticate who sealed something: that a file belongs to a certain backup is what the
// manifest's MAC is for.
package seal

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/remora-backup/remora/internal/redact"
)

// Key opens what was sealed to it.
type Key struct{ identity *age.X25519Identity }

// NewKey makes a key. Its secret is for the keyring, its recipient for everybody.
func NewKey() (Key, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	return Key{id}, nil
}

// ParseKey reads what Secret returned.
func ParseKey(secret redact.Secret) (Key, error) {
	id, err := age.ParseX25519Identity(secret.Reveal())
	if err != nil { // the cause could quote the key
		return Key{}, errors.New("seal: this is no age key")
	}
	return Key{id}, nil
}

// Secret is the key in age's own form, AGE-SECRET-KEY-1….
func (k Key) Secret() redact.Secret { return redact.New(k.identity.String()) }

// Recipient is the key's public half, age1….
func (k Key) Recipient() string { return k.identity.Recipient().String() }

// String is the public half, for every verb; the identity is behind a pointer.
func (k Key) String() string { return k.Recipient() }

// Format is String.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// NewWriter seals to a recipient. The caller must Close the writer, which writes the last chunk: without it
// what was written does not open. w is not closed.
func NewWriter(w io.Writer, recipient string) (io.WriteCloser, error) {
	r, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	sealed, err := age.Encrypt(w, r)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// OpenAt opens a sealed file of size bytes for reading anywhere, and returns its plain size. What was changed,
// cut or sealed to another key is an error.
func OpenAt(r io.ReaderAt, size int64, k Key) (io.ReaderAt, int64, error) {
	plain, n, err := age.DecryptReaderAt(r, size, k.identity)
	if err != nil {
		return nil, 0, fmt.Errorf("unseal: %w", err)
	}
	return plain, n, nil
}

// Open opens a sealed stream. Its end is checked: a stream that was cut ends with an error, not with EOF.
func Open(r io.Reader, k Key) (io.Reader, error) {
	plain, err := age.Decrypt(r, k.identity)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	return plain, nil
}
