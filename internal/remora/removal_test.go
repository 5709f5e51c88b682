package remora_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

func TestWhatIsSaidOfARemovedAddOn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for undo, within := range map[time.Time]bool{now.Add(time.Hour): true, now: false, now.Add(-time.Hour): false, {}: false} {
		says := remora.RemovedSays(now, undo)
		if strings.Contains(says, "write to us before 2 January 2026, 04:04 UTC") != within || strings.Contains(says, "undo") != within || !strings.Contains(says, "receipt") {
			t.Errorf("%s: %s", undo, says)
		}
	}
}
