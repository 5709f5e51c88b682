package opstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// The whole way from a stopped worker to a firing alert: a real Prometheus scrapes a running web and worker by the rules that
// operators get, of which only the times are shorter.
func TestStoppedWorkersAreAlerted(t *testing.T) {
	t.Parallel()
	if *prometheus == "" {
		return // make ops-test has it
	}
	ctx := t.Context()
	logs := &logtest.Buffer{}
	program, err := filepath.Abs(filepath.Join(root, "bin", "remora-demo"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.Start(ctx, stack.Config{Root: root, Program: []string{program}, Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	if err := s.Fill(ctx, 10); err != nil {
		t.Fatal(err)
	}
	web, worker := spawn(t, s, "web"), spawn(t, s, "worker")
	if err := s.AwaitWeb(ctx, web); err != nil {
		t.Fatal(err)
	}
	visitor, err := s.Connect(ctx, func(_ string, do func() error) error { return do() })
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Await(ctx, func(b remora.Backup) bool { return b.State.Ended() }, nil)
	if err != nil || !first.State.Good() {
		t.Fatal(first.State, err)
	}
	at := watch(t, s)
	at.await(t, "two targets are up", "/api/v1/query?query="+`count(up==1)`, `"2"]`)
	at.await(t, "the runs are counted", "/api/v1/query?query="+`remora_runs_total{outcome="verified"}==1`, `"1"]`)
	at.await(t, "the database is fresh", "/api/v1/query?query="+`remora_databases{freshness="fresh"}==1`, `"1"]`)
	at.until(t, "nothing fires, since all is well", func(context.Context) (string, bool) {
		firing := at.firing(t)
		if strings.Contains(logs.String(), "have known holes") { // this machine's programs: then it fires rightly
			delete(firing, "RemoraProgramsOutdated")
		}
		return fmt.Sprint(firing), len(firing) == 0
	})

	if err := worker.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := visitor.Post(ctx, "/dashboard/databases/"+string(first.Database)+"/backups", nil); err != nil { // whose job nobody takes
		t.Fatal(err)
	}
	passes(t, s)
	for _, name := range []string{"RemoraBackupsLate", "RemoraJobsNotTaken", "RemoraProcessDown"} {
		a := at.fires(t, name)
		if a.Labels["severity"] != "page" || !strings.HasPrefix(a.Annotations["runbook_url"], ourPages+"docs/runbooks/") {
			t.Errorf("%+v", a)
		}
		for label, value := range a.Labels {
			if strings.Contains(value, stack.HelperApp) || strings.Contains(value, stack.Addon) || strings.Contains(label, "resource") {
				t.Errorf("a label names a customer: %+v", a)
			}
		}
	}
}

func spawn(t *testing.T, s *stack.Stack, name string) *stack.Process {
	t.Helper()
	p, err := s.Spawn(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// passes lets three hours pass, in which a backup was due and a job waited.
func passes(t *testing.T, s *stack.Stack) {
	t.Helper()
	err := stack.Exec(t.Context(), s.Own.SuperuserURL("remora"),
		"UPDATE runs SET started_at = started_at - interval '3 hours'",
		"UPDATE databases SET found_at = found_at - interval '2 days', prove_at = NULL",
		"UPDATE freshness SET counts_from = counts_from - interval '2 days'",
		"UPDATE schedules SET minute = extract(hour FROM now() AT TIME ZONE 'UTC' - interval '2 hours') * 60 + extract(minute FROM now())",
		"UPDATE river.river_job SET scheduled_at = scheduled_at - interval '3 hours' WHERE state = 'available'",
	)
	if err != nil {
		t.Fatal(err)
	}
}

// server is a running Prometheus.
type server struct {
	url string
	log *logtest.Buffer
}

var waits = regexp.MustCompile(`(?m)^( +for: ).*$`)

// watch has a Prometheus scrape web and worker by the rules of deploy/, twice a second.
func watch(t *testing.T, s *stack.Stack) *server {
	t.Helper()
	dir := t.TempDir()
	rules := waits.ReplaceAllString(strings.Replace(read(t, rulesFile), "interval: 30s", "interval: 1s", 1), "${1}1s")
	config := fmt.Sprintf(`{global: {scrape_interval: 500ms}, rule_files: [rules.yml], scrape_configs: [
  {job_name: remora-web, authorization: {credentials: %q}, static_configs: [{targets: [%q]}]},
  {job_name: remora-worker, static_configs: [{targets: [%q]}]}]}`, s.MetricsToken, strings.TrimPrefix(s.WebURL, "http://"), strings.TrimPrefix(s.Metrics, "http://"))
	for name, text := range map[string]string{"rules.yml": rules, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := &server{url: "http://" + addr, log: &logtest.Buffer{}}
	cmd := exec.Command(filepath.Join(*prometheus, "prometheus"), "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	child, err := sandbox.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.End(syscall.SIGTERM) // how it ends is its own affair
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	p.await(t, "Prometheus is ready", "/-/ready", "Ready")
	return p
}

func (p *server) get(ctx context.Context, path string) (string, error) {
	path, query, asks := strings.Cut(path, "?query=")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return "", err
	}
	if asks {
		req.URL.RawQuery = url.Values{"query": {query}}.Encode()
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// await asks until the answer has the words.
func (p *server) await(t *testing.T, what, path, words string) {
	t.Helper()
	p.until(t, what, func(ctx context.Context) (string, bool) {
		text, err := p.get(ctx, path)
		return fmt.Sprint(text, err), err == nil && strings.Contains(text, words)
	})
}

func (p *server) until(t *testing.T, what string, is func(context.Context) (last string, so bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		last, so := is(ctx)
		if so {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %s", what, last)
		case <-poll.C:
		}
	}
}

type fired struct {
	State               string
	Labels, Annotations map[string]string
}

// firing is every alert that fires.
func (p *server) firing(t *testing.T) (all map[string]fired) {
	t.Helper()
	text, err := p.get(t.Context(), "/api/v1/alerts")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Data struct{ Alerts []fired } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err, text)
	}
	all = map[string]fired{}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			all[a.Labels["alertname"]] = a
		}
	}
	return all
}

// fires waits for an alert.
func (p *server) fires(t *testing.T, name string) (a fired) {
	t.Helper()
	p.until(t, name+" fires", func(context.Context) (string, bool) {
		all := p.firing(t)
		a = all[name]
		return fmt.Sprint(all), a.State != ""
	})
	return a
}
