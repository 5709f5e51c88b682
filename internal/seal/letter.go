package seal

import (
	"bytes"
	"fmt"

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
