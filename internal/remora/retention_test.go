package remora_test

import (
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

// What a plan begins with is what it can keep: no rule reaches further back than the plan's days.
func TestADefaultPromisesNoMoreThanItsPlan(t *testing.T) {
	t.Parallel()
	for _, p := range remora.Plans() {
		r := remora.DefaultRetention(p)
		for name, days := range map[string]int{"days": r.Days, "daily": r.Daily, "weekly": 7 * r.Weekly, "monthly": 30 * r.Monthly, "yearly": 365 * r.Yearly} {
			if days > p.KeepDays {
				t.Errorf("plan %s keeps %d days, and its default's %s reach %d", p.Slug, p.KeepDays, name, days)
			}
		}
	}
}
