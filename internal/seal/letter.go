package seal

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Letter seals a short message to recipients, in letters that can be copied, and ends it with a line feed. It has no
// opening that anybody keeps: it proves nothing about who wrote it.
func Letter(message []byte, recipients ...string) (string, error) {
	var out bytes.Buffer
	letters := armor.NewWriter(&out)
	w, err := NewWriter(letters, recipients...)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(message); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	if err := letters.Close(); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return out.String(), nil
}

// maxLetter bounds what is read of a letter, in bytes.
const maxLetter = 1 << 20

// OpenLetter reads what Letter has sealed to a key. That it was ours to write must be known otherwise. Errors: ErrWrongKey,
// ErrForged.
func OpenLetter(letter string, key Key) ([]byte, error) {
	ids, err := identities([]Key{key})
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(armor.NewReader(strings.NewReader(letter)), ids...)
	if err != nil {
		return nil, notOpened(err)
	}
	message, err := io.ReadAll(io.LimitReader(plain, maxLetter))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return message, nil
}
