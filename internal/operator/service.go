package operator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// frame is what stands around every page.
type frame struct {
	Title string
	Nav   string // where in the navigation the page is: service or addons
}

// servicePage is how the service stands.
type servicePage struct {
	Frame frame
	remora.ServiceView
	Trouble string // what is to be looked at, in words; empty where nothing is
	Sums    []sum
}

// sum is how many there are of something, and in which states.
type sum struct {
	Title string
	N     int64
	Says  string
}

func serviceOf(v remora.ServiceView) servicePage {
	var stuck []string
	if n := len(v.Stuck); n > 0 {
		stuck = append(stuck, areOrIs(n, "run", "is stuck", "are stuck"))
	}
	if n := len(v.Undeleted); n > 0 {
		stuck = append(stuck, areOrIs(n, "deletion", "fails or is late", "fail or are late"))
	}
	if v.Hold.InForce() {
		stuck = append(stuck, "deletions are held")
	}
	return servicePage{
		Frame: frame{"Service", "service"}, ServiceView: v, Trouble: strings.Join(stuck, ", "),
		Sums: []sum{sumOf("Add-ons", v.Resources), sumOf("Databases", v.Databases), sumOf("Backups of the last day", v.Backups), sumOf("Jobs that are not done", v.Jobs)},
	}
}

func areOrIs(n int, noun, is, are string) string {
	if n == 1 {
		are = is
	}
	return remora.Count(n, noun) + " " + are
}

// sumOf adds up what is counted by something else as well; the state that most are in comes first.
func sumOf(title string, counts []remora.Counted) sum {
	out := sum{Title: title, Says: "none"}
	by := map[string]int64{}
	var states []string
	for _, c := range counts {
		if by[c.State] == 0 {
			states = append(states, c.State)
		}
		by[c.State] += c.N
		out.N += c.N
	}
	slices.SortStableFunc(states, func(a, b string) int { return int(by[b] - by[a]) })
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = fmt.Sprintf("%d %s", by[s], s)
	}
	if len(words) > 0 {
		out.Says = strings.Join(words, ", ")
	}
	return out
}

// counted is a table of counts.
type counted struct {
	ID, Title string
	By        string // what they are counted by beside their state; empty where by nothing
	Counts    []remora.Counted
}

func countedBy(title, by string, c []remora.Counted) counted {
	return counted{strings.ReplaceAll(strings.ToLower(title), " ", "-"), title, by, c}
}

// tones are the states that have no look of their own: those of add-ons and of jobs.
var tones = map[string]string{"active": "good", "needs_attention": "warn", "provisioning": "running", "deprovisioned": "deleted", "retryable": "warn", "available": "queued", "pending": "queued", "scheduled": "queued"}

func toneOf(state any) string {
	s := fmt.Sprint(state)
	if t, ok := tones[s]; ok {
		return t
	}
	return s
}
