package opstest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// prometheus is where Prometheus's programs are. make ops-test unpacks them.
var prometheus = flag.String("prometheus", "", "the folder of prometheus and promtool, to try the rules with them")

const (
	root      = "../../.."
	rulesFile = "deploy/prometheus/remora.rules.yml"
	dashboard = "deploy/grafana/remora.json"
	ourPages  = "https://github.com/remora-backup/remora/blob/main/"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type alert struct{ name, expr, severity, runbook string }

var alertText = regexp.MustCompile(`(?s)- alert: (\w+)\n +expr: >-\n +([^\n]+)\n.*?severity: (\w+)\}.*?runbook_url: (\S+)`)

func alerts(t *testing.T) []alert {
	t.Helper()
	text := read(t, rulesFile)
	var all []alert
	for _, m := range alertText.FindAllStringSubmatch(text, -1) {
		all = append(all, alert{m[1], m[2], m[3], m[4]})
	}
	if n := strings.Count(text, "- alert:"); n != len(all) || n == 0 {
		t.Fatalf("%d alerts were read of %d", len(all), n)
	}
	return all
}

// Whoever is woken finds the page that says what to type, and every page belongs to an alert. Each alert has a test in which
// it fires.
func TestEveryAlertHasARunbookAndATest(t *testing.T) {
	t.Parallel()
	list := read(t, "docs/runbooks/README.md")
	tests := read(t, "deploy/prometheus/remora.rules.test.yml")
	pages := map[string]bool{"README.md": true}
	for _, a := range alerts(t) {
		page, ours := strings.CutPrefix(a.runbook, ourPages+"docs/runbooks/")
		if !ours {
			t.Errorf("%s: its runbook is at %s", a.name, a.runbook)
			continue
		}
		pages[page] = true
		row := regexp.MustCompile(`(?m)^\| \[[a-z-]+\]\(` + regexp.QuoteMeta(page) + `\) \|.*\b` + a.name + `\b`)
		if !row.MatchString(list) {
			t.Errorf("%s: docs/runbooks/README.md does not list it beside %s", a.name, page)
		}
		if a.severity != "page" && a.severity != "ticket" {
			t.Errorf("%s: severity %s", a.name, a.severity)
		}
		if !regexp.MustCompile(`alertname: ` + a.name + `\n +exp_alerts:\n +- exp_labels`).MatchString(tests) {
			t.Errorf("%s: in no test it fires", a.name)
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "docs/runbooks/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !pages[filepath.Base(f)] {
			t.Errorf("%s belongs to no alert", f)
		}
		delete(pages, filepath.Base(f))
	}
	for page := range pages {
		t.Errorf("there is no runbook %s", page)
	}
}

var (
	measureName = regexp.MustCompile(`\bName:\s+"(remora_\w+)"`)
	usedName    = regexp.MustCompile(`\b(remora_[a-z_]+|process_[a-z_]+)`)
	standard    = []string{"process_resident_memory_bytes"} // of Prometheus's own library
)

// measures are those that the product has, as its source names them.
func measures(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range measureName.FindAllStringSubmatch(string(text), -1) {
			all[m[1]] = true
		}
		return err
	})
	if err != nil || len(all) < 15 {
		t.Fatal(len(all), err)
	}
	return all
}

// exprs is every expression of the rules and of the dashboard.
func exprs(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, a := range alerts(t) {
		out.WriteString(a.expr + "\n")
	}
	for _, p := range panels(t) {
		for _, x := range p.Targets {
			out.WriteString(x.Expr + "\n")
		}
	}
	return out.String()
}

// Rules and dashboard speak of measures that the product has, and each of its measures is looked at somewhere.
func TestRulesAndDashboardSpeakOfMeasuresThatExist(t *testing.T) {
	t.Parallel()
	have := measures(t)
	used := map[string]bool{}
	for _, name := range usedName.FindAllString(exprs(t), -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && have[base] {
				name = base
			}
		}
		if !have[name] && !slices.Contains(standard, name) {
			t.Errorf("nothing measures %s", name)
		}
		used[name] = true
	}
	for name := range have {
		if !used[name] {
			t.Errorf("nobody looks at %s", name)
		}
	}
}

var matcher = regexp.MustCompile(`(\w+)(?:=~|=|!=|!~)"([^"]*)"`)

// What a rule or panel matches a label with is what the product puts there.
func TestLabelsAreThoseOfTheProduct(t *testing.T) {
	t.Parallel()
	known := map[string][]string{
		"queue": jobargs.Queues(), "operation": objectstore.Operations(), "kind": {string(remora.ProofRestore), string(remora.ProofReread)},
		"outcome": append(objectstore.Outcomes(), "failed", "verified", "incomplete", "secret", "revoked", "sent", "queued"),
		"channel": {string(remora.ChannelLogStream), string(remora.ChannelEmail), string(remora.ChannelWebhook), string(remora.ChannelSlack)},
	}
	for _, s := range remora.FreshnessStates() {
		known["freshness"] = append(known["freshness"], string(s))
	}
	for _, r := range remora.Reasons() {
		known["reason"] = append(known["reason"], string(r))
	}
	for _, m := range matcher.FindAllStringSubmatch(exprs(t), -1) {
		if slices.Contains([]string{"job", "route", "status"}, m[1]) {
			continue
		}
		for value := range strings.SplitSeq(m[2], "|") {
			if !slices.ContainsFunc(known[m[1]], regexp.MustCompile("^(?:"+value+")$").MatchString) {
				t.Errorf("%s is never %q", m[1], value)
			}
		}
	}
}

// The alert on runs is about the reasons for which the operator must act, and about no customer's.
func TestRunsAreAlertedForOurReasons(t *testing.T) {
	t.Parallel()
	var ours []string
	for _, r := range remora.Reasons() {
		if r.Actor() == remora.ActorUs {
			ours = append(ours, string(r))
		}
	}
	sort.Strings(ours)
	want := `reason=~"` + strings.Join(ours, "|") + `"`
	for _, a := range alerts(t) {
		if a.name == "RemoraRunsFailOnOurSide" && strings.Count(a.expr, want) != 2 {
			t.Errorf("%s, and not %s", a.expr, want)
		}
	}
}

type panel struct {
	Title, Description string
	GridPos            struct{ X, Y, W, H int }
	Targets            []struct{ Expr, LegendFormat string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var d struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, dashboard)), &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

func TestDashboardIsWhole(t *testing.T) {
	t.Parallel()
	all := panels(t)
	if len(all) < 15 {
		t.Errorf("%d panels", len(all))
	}
	for i, p := range all {
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%+v", p)
		}
		for _, other := range all[:i] {
			a, b := p.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies on %s", p.Title, other.Title)
			}
		}
	}
}

// promtool says what Prometheus would: the rules are read, each alert fires when it should and not when it should not, and
// every expression of the dashboard is one.
func TestPromtool(t *testing.T) {
	t.Parallel()
	if *prometheus == "" {
		return // make ops-test has it
	}
	dir := filepath.Join(root, "deploy/prometheus")
	var asRules bytes.Buffer
	asRules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, p := range panels(t) {
		for _, x := range p.Targets {
			quoted, err := json.Marshal(x.Expr)
			if err != nil {
				t.Fatal(err)
			}
			asRules.WriteString("  - record: panel\n    labels: {title: " + strings.ReplaceAll(strings.ReplaceAll(p.Title, " ", "_"), ":", "") + "}\n    expr: " + string(quoted) + "\n")
		}
	}
	shown := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(shown, asRules.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "remora.rules.yml"},
		{"check", "config", "--syntax-only", "prometheus.yml"},
		{"test", "rules", "remora.rules.test.yml"},
		{"check", "rules", "--lint=none", shown},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(*prometheus, "promtool"), args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
