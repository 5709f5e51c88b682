package remora_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// The settings say what a smaller plan will take away while it has not, and what is over the plan.
func TestPlanNotices(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	mako, _ := remora.PlanOf("mako")
	r := remora.Resource{Plan: "mako", ShrinksFrom: "hammerhead", ShrinksAt: now.Add(time.Hour), OverSince: now}
	all := strings.Join(mako.Notices(r, now), "\n")
	for _, want := range []string{"25 November 2026 13:00 UTC", "35 days", "9 December 2026 12:00 UTC", "200 GB"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	r.ShrinksAt, r.OverSince = now, time.Time{}
	if got := mako.Notices(r, now); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
