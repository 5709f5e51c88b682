package herokusim_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
)

// What a customer looks with, heroku logs, heroku addons and heroku pg:info, is answered as the real CLI wants it.
func TestTheRealCLILooksAround(t *testing.T) {
	t.Parallel()
	h := httptest.NewUnstartedServer(nil)
	at := "http://localhost:" + strconv.Itoa(h.Listener.Addr().(*net.TCPAddr).Port)
	s, _, _ := start(t, func(c *herokusim.Config) { c.URL = at })
	h.Config.Handler = s.Handler()
	h.Start()
	t.Cleanup(h.Close)
	server, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	host, port := server.Addr()
	err = s.AddDatabase(herokusim.Database{Name: "db-1", App: "shop", AdminURL: server.SuperuserURL("postgres"), Owner: "shop", Password: "pw", DBName: "postgres", Host: host, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	_, x := call(t, "POST", at+"/apps/helper/addons", "key", `{"plan":{"name":"remora-backup:mako"}}`)
	log := "<190>1 2026-01-02T03:04:05+00:00 remora-backup app backup.1 - - event=backup.succeeded"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/logs", strings.NewReader(strconv.Itoa(len(log))+" "+log))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("token", "t."+x["id"].(string))
	req.Header.Set("Content-Type", "application/logplex-1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status, err)
	}
	cli, err := stack.CLI()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for command, says := range map[string][]string{
		"logs -a helper":   {"app[backup.1]: event=backup.succeeded"},
		"addons -a helper": {"remora-backup (remora-backup-", "mako", "as REMORA_BACKUP"},
		"pg:info -a shop":  {"DATABASE_URL", "Status:", "Available", "PG Version:", "db-1"},
	} {
		cmd := exec.CommandContext(t.Context(), cli, strings.Fields(command)...) //nolint:gosec // the CLI
		cmd.Env = stack.CLIEnv(cli, home, at, "key")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("heroku %s: %v\n%s", command, err, out)
		}
		for _, want := range says {
			if !strings.Contains(string(out), want) {
				t.Errorf("heroku %s does not say %q:\n%s", command, want, out)
			}
		}
	}
	if unknown := s.Counters().Unknown; len(unknown) > 0 {
		t.Error(unknown)
	}
}
