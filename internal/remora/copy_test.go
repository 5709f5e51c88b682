package remora_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// What docs/plans.md says of each plan that is a number or a yes is what the plan has.
func TestThePageOfPlansIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "plans.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string][]string{} // by the first words of a row
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.TrimSpace(line), "|"); len(cells) == len(remora.Plans())+3 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			name, _, _ := strings.Cut(cells[1], " [")
			said[name] = cells[2 : len(cells)-1]
		}
	}
	yes := func(is bool) string { return map[bool]string{true: "yes", false: "–"}[is] }
	every := func(d time.Duration) string {
		return strings.TrimPrefix(remora.Count(int(d/(24*time.Hour)), "day"), "1 ")
	}
	for i, p := range remora.Plans() {
		for row, want := range map[string]string{
			"": p.Slug, "databases": strconv.Itoa(p.Databases), "at the same time": strconv.Itoa(p.Parallel), "a copy in": yes(p.SecondPlace),
			"the newest backup": every(p.ProveEvery), "what is stored read again every": every(p.RereadEvery),
			"stored in all": remora.Bytes(p.StoredBytes), "largest database": remora.Bytes(p.LargestDatabase),
		} {
			if len(said[row]) <= i || said[row][i] != want {
				t.Errorf("%s, %q: it says %q, and not %q", p.Slug, row, said[row], want)
			}
		}
	}
}

// A plan without a second place names the first that has one; in the grace of a smaller plan the larger one's holds on.
func TestASecondPlace(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range remora.Plans() {
		err := p.Copies()
		if p.SecondPlace != (err == nil) || err != nil && (remora.KindOf(err) != remora.KindPlanLimit || !strings.Contains(remora.Public(err, ""), "remora-backup:hammerhead.")) {
			t.Errorf("%s: %v", p.Slug, err)
		}
	}
	r := remora.Resource{Plan: "mako", ShrinksFrom: "hammerhead", ShrinksAt: now}
	for at, want := range map[time.Time]bool{now.Add(-time.Second): true, now: false} {
		if p, err := r.Limits(at); err != nil || p.SecondPlace != want {
			t.Errorf("%v: %v %v", at, p.SecondPlace, err)
		}
	}
}

// Whatever a copy failed by, its owner is told in words about copies, and a person acts where the store has refused.
func TestWhyACopyFailed(t *testing.T) {
	t.Parallel()
	for _, reason := range remora.Reasons() {
		f := remora.CopyFailure(remora.Failure{Reason: reason, Detail: "details"})
		says := remora.Copy{Reason: f.Reason}.Says()
		if says == "" || !strings.HasSuffix(says, ".") || strings.Contains(says, "back up again") || f.Reason == remora.ReasonInternal && f.Detail != "" {
			t.Errorf("%s: %+v: %s", reason, f, says)
		}
		if f.Reason.CopyAgain() == (reason == remora.ReasonOwnBucketRefused || reason == remora.ReasonObjectDamaged) {
			t.Errorf("%s is tried again: %v", reason, f.Reason.CopyAgain())
		}
	}
	if said := (remora.Copy{}).Says(); said != "" {
		t.Error(said)
	}
}

// A page follows a copy that somebody is at, or is to be now.
func TestALiveCopy(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		remora.Copy
		live bool
	}{
		"due": {remora.Copy{State: remora.CopyQueued, DueAt: now}, true}, "later": {remora.Copy{State: remora.CopyQueued, DueAt: now.Add(1)}, false},
		"under way": {remora.Copy{State: remora.CopyQueued, DueAt: now.Add(1), Running: true}, true}, "made": {remora.Copy{State: remora.CopyMade}, false},
	} {
		if got := c.Live(now); got != c.live {
			t.Errorf("%s: %v", name, got)
		}
	}
}
