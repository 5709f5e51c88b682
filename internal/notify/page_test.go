package notify

import (
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

// What there is to do is done on the page that a message leads to.
func TestAMessageLeadsToWhatItIsAbout(t *testing.T) {
	t.Parallel()
	const db = "https://remora.example.com/dashboard/databases/11111111-89ab-4def-8123-456789abcdef"
	for kind, want := range map[remora.EventKind]string{
		remora.EventPaused: db + "#schedule", remora.EventResumed: db + "#schedule", remora.EventLate: db,
	} {
		n := news(kind)
		n.Event.Backup = ""
		if got := (about{site: &site, news: n}).page(); got != want {
			t.Errorf("%s leads to %s", kind, got)
		}
	}
}
