package pgdump

import (
	"strings"
	"sync"

	"github.com/remora-backup/remora/internal/redact"
)

// What is kept of a child's standard error: its beginning, where the cause is, and its end.
const (
	keptHead = 48 << 10
	keptTail = 16 << 10
	maxLine  = 4 << 10
)

// words collects a child's standard error, line by line: secrets are removed from a line before anything of
// it is kept, and a child that talks without end costs no more than 64 KiB.
type words struct {
	mu      sync.Mutex
	scrub   *redact.Scrubber
	line    []byte
	head    strings.Builder
	tail    []byte
	dropped bool
}

func newWords(secrets []redact.Secret) *words {
	return &words{scrub: redact.NewScrubber(secrets...)}
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '\n':
			w.flush()
		case len(w.line) < maxLine:
			w.line = append(w.line, b)
		}
	}
	return len(p), nil
}

func (w *words) flush() {
	line := w.scrub.Scrub(strings.ToValidUTF8(string(w.line), "?")) + "\n"
	w.line = w.line[:0]
	if w.head.Len()+len(line) <= keptHead && !w.dropped {
		w.head.WriteString(line)
		return
	}
	w.dropped = true
	w.tail = append(w.tail, line...)
	if len(w.tail) > 2*keptTail {
		w.tail = append(w.tail[:0], w.tail[len(w.tail)-keptTail:]...)
	}
}

// String is what was said so far, scrubbed and bounded.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 {
		w.flush()
	}
	if !w.dropped {
		return strings.TrimRight(w.head.String(), "\n")
	}
	tail := w.tail[max(len(w.tail)-keptTail, 0):]
	return w.head.String() + "…\n" + strings.TrimRight(string(tail), "\n")
}
