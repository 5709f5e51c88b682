package remora_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// Of a lock something is said for as long as it holds, of a backup that is there.
func TestLockSays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		state remora.BackupState
		mode  remora.LockMode
		until time.Time
		want  string // within what is said; empty where nothing is
	}{
		"compliance": {remora.BackupVerified, remora.LockCompliance, now.Add(time.Hour), "the store said that nobody can delete or change it until 2026-11-26 13:00 UTC"},
		"governance": {remora.BackupProven, remora.LockGovernance, now.Add(time.Hour), "nobody without the right to override that"},
		"over":       {remora.BackupVerified, remora.LockCompliance, now, ""},
		"none":       {state: remora.BackupVerified},
		"deleted":    {remora.BackupDeleted, remora.LockCompliance, now.Add(time.Hour), ""},
		"damaged":    {remora.BackupFailed, remora.LockCompliance, now.Add(time.Hour), ""},
	} {
		b := remora.Backup{State: c.state, ObjectLock: remora.ObjectLock{Mode: c.mode, Until: c.until}}
		if got := b.LockSays(now); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
