package redact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
)

const canary = "c4n4ry-pa$$/word'x"

// A secret is printed in every way this code base prints anything, inside and outside of a struct; the
// search itself is shown to work by finding the same value when it is not a Secret.
func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type holder struct {
		Name string
		S    redact.Secret
		P    *redact.Secret
		s    redact.Secret
	}
	s := redact.New(canary)
	for name, v := range map[string]any{
		"value": s, "pointer": &s, "struct": holder{"n", s, &s, s}, "slice": []redact.Secret{s},
		"map": map[string]redact.Secret{"k": s},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
				if out := fmt.Sprintf(verb, v); leaks(out) {
					t.Errorf("%s printed %s", verb, out)
				}
			}
			out, err := json.Marshal(v)
			if err != nil || leaks(string(out)) {
				t.Errorf("json printed %s (%v)", out, err)
			}
			for _, h := range []func(*bytes.Buffer) slog.Handler{
				func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
				func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(h(&b)).Info("m", "v", v)
				if leaks(b.String()) {
					t.Errorf("slog printed %s", b.String())
				}
			}
		})
	}
	if !leaks(fmt.Sprintf("%+v", struct{ S string }{canary})) {
		t.Error("the search finds nothing even where the value is plain")
	}
}

func leaks(out string) bool {
	return strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) ||
		strings.Contains(out, fmt.Sprintf("%X", canary))
}

func TestSecretReadsSettingsAndJSON(t *testing.T) {
	t.Parallel()
	var s redact.Secret
	if err := s.UnmarshalText([]byte(canary)); err != nil || s.Reveal() != canary {
		t.Fatalf("text: %v", err)
	}
	var v struct{ Token redact.Secret }
	if err := json.Unmarshal([]byte(`{"token":"abc"}`), &v); err != nil || v.Token.Reveal() != "abc" {
		t.Fatalf("json: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"token":{"x":"`+canary+`"}}`), &v); err == nil || leaks(err.Error()) {
		t.Fatalf("a wrong type must be refused without quoting it: %v", err)
	}
}

func TestScrubber(t *testing.T) {
	t.Parallel()
	s := redact.NewScrubber(redact.New(canary), redact.Secret{}, redact.New("ab"))
	for _, in := range []string{
		"password " + canary + " refused", "postgres://u:c4n4ry-pa$$%2Fword%27x@h/db",
		"x c4n4ry-pa%24%24%2Fword%27x y", "'c4n4ry-pa$$/word''x'",
	} {
		if out := s.Scrub(in); strings.Contains(out, "c4n4ry") || !strings.Contains(out, redact.Shown) {
			t.Errorf("%q became %q", in, out)
		}
	}
	if out := s.Scrub("a table ab"); out != "a table ab" {
		t.Errorf("short and empty secrets must not be searched for: %q", out)
	}
}
