// Package redact holds values that must never be printed.
//
// A Secret shows "[redacted]" to every fmt verb, to slog, to encoding/json and to text encoders, so that a
// password which strays into a log line, an error or a page arrives there as a harmless word. The plain
// value leaves only through Reveal, whose callers are few and easy to list.
package redact

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Shown is what stands in a secret's place wherever it is printed.
const Shown = "[redacted]"

// Secret is a string that cannot be printed. The zero Secret is empty. Secrets are not comparable with ==
// by intent; they may be copied.
type Secret struct {
	_ [0]func()
	// A pointer, because fmt does not ask the methods below in two cases, the verb %p and a Secret in
	// somebody's unexported field: there it prints an address instead of the value.
	v *string
}

// New hides plain.
func New(plain string) Secret { return Secret{v: &plain} }

// Reveal returns the plain value. Call it only where the value is used, never to build a message.
func (s Secret) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero tells whether there is nothing to hide.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (Secret) String() string { return Shown }

// GoString implements fmt.GoStringer, for %#v.
func (Secret) GoString() string { return Shown }

// Format implements fmt.Formatter, so that no verb (%x, %q, %d) reaches the field.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Shown) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(Shown) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(Shown), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(Shown) }

// UnmarshalJSON reads a JSON string; null leaves the secret empty.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var v *string
	if json.Unmarshal(b, &v) != nil {
		return errNotString // the decoder's own error would quote the input
	}
	s.v = v
	return nil
}

// UnmarshalText reads a setting.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = New(string(b))
	return nil
}

type constError string

func (e constError) Error() string { return string(e) }

const errNotString = constError("a secret must be a JSON string")
