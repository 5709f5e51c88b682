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

// words collects a child's standard error, line by line: secrets are removed from a whole line before
// anything of it is kept, and a child that talks without end costs no more than 64 KiB and a line.
type words struct {
	mu      sync.Mutex
	scrub   *redact.Scrubber
	margin  int // no form of a secret is longer
	line    []byte
	cut     bool // the line was longer than is kept
	head    strings.Builder
	tail    []byte
	dropped bool
}

func newWords(secrets []redact.Secret) *words {
	w := &words{scrub: redact.NewScrubber(secrets...)}
	for _, s := range secrets {
		w.margin = max(w.margin, 3*len(s.Reveal())) // percent-encoded
	}
	return w
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '\n':
			w.flush()
		case len(w.line) < maxLine+w.margin:
			w.line = append(w.line, b)
		default:
			w.cut = true
		}
	}
	return len(p), nil
}

// end says that nothing more comes, so that an unfinished line counts as a line. One that a signal
// interrupted may have been cut anywhere.
func (w *words) end(interrupted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 {
		w.cut = w.cut || interrupted
		w.flush()
	}
}

func (w *words) flush() {
	line := w.scrub.Scrub(strings.ToValidUTF8(string(w.line), "?"))
	if w.cut {
		// The cut may have gone through a secret, which is then whole nowhere and was not found: drop as much
		// of the end as could be one.
		line = strings.ToValidUTF8(line[:max(len(line)-w.margin, 0)], "") + "…"
	}
	line += "\n"
	w.line, w.cut = w.line[:0], false
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

// String is what was said so far in whole lines, scrubbed and bounded.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dropped {
		return strings.TrimRight(w.head.String(), "\n")
	}
	tail := string(w.tail)
	if len(tail) >= keptTail { // it may begin inside of a line
		_, tail, _ = strings.Cut(tail[len(tail)-keptTail:], "\n")
	}
	return w.head.String() + "…\n" + strings.TrimRight(tail, "\n")
}
