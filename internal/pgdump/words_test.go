package pgdump

import (
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
)

const planted = `c4n4ry-"word'-of-some-length`

// However the child's writes and our limits cut a line, no part of the secret is kept: not even its first
// characters. The search itself finds a secret that nobody was told of.
func TestWordsKeepNoPartOfASecret(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 1, maxLine - len(planted), maxLine - 5, maxLine, maxLine + 2*len(planted), maxLine + 3*len(planted) - 5} {
		for _, split := range []int{0, 5, len(planted)} {
			for name, after := range map[string]string{"line": "\n", "long": strings.Repeat("y", maxLine) + "\n", "unfinished": ""} {
				w := newWords([]redact.Secret{redact.New(planted)})
				text := strings.Repeat(planted, 3) + strings.Repeat("x", before) + planted + after
				cut := len(text) - len(after) - len(planted) + split
				for _, part := range []string{text[:cut], text[cut:]} {
					_, _ = w.Write([]byte(part))
					if strings.Contains(w.String(), "c4n4") {
						t.Fatalf("%d before, split at %d, %s: %q", before, split, name, w.String())
					}
				}
				w.end(true)
				if strings.Contains(w.String(), "c4n4") {
					t.Errorf("%d before, split at %d, %s: %q", before, split, name, w.String())
				}
			}
		}
	}
	w := newWords([]redact.Secret{redact.New(planted)})
	_, _ = w.Write([]byte("refused: c4n4"))
	w.end(true) // killed while it wrote
	if strings.Contains(w.String(), "c4n4") {
		t.Errorf("an interrupted line: %q", w.String())
	}
	w = newWords(nil)
	_, _ = w.Write([]byte("refused " + planted))
	w.end(false)
	if w.String() != "refused "+planted {
		t.Errorf("the search finds nothing even where nothing is hidden: %q", w.String())
	}
}

func TestWordsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWords([]redact.Secret{redact.New(planted)})
	_, _ = w.Write([]byte("first\n"))
	for range 1000 {
		_, _ = w.Write([]byte(strings.Repeat("z\xff", 200) + "\n"))
		_, _ = w.Write([]byte(strings.Repeat("e", 10<<10)))
	}
	_, _ = w.Write([]byte("\nlast\n"))
	w.end(false)
	said := w.String()
	if len(said) > 64<<10+10 || !strings.HasPrefix(said, "first\n") || !strings.HasSuffix(said, "\nlast") {
		t.Errorf("%d bytes: %.40q … %q", len(said), said, said[len(said)-40:])
	}
}
