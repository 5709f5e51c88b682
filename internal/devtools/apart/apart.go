// Package apart runs a test again in namespaces of its own, of which nothing stays.
package apart

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/sandbox"
)

// Again runs the test that calls it in another process, with these flags of unshare's beside mounts and process ids of its own,
// one more variable, by which it knows itself, and these flags of the test's. What it says is in the log where it failed or -v is given.
func Again(t *testing.T, namespaces []string, variable string, flags ...string) {
	t.Helper()
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}, namespaces...)
	args = append(args, "--", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	out := &logtest.Buffer{}
	cmd := exec.Command("unshare", append(args, flags...)...) //nolint:gosec // ourselves
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), variable), out, out
	p, err := sandbox.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-t.Context().Done():
		_ = p.End(syscall.SIGKILL)
	}
	if p.Err() != nil || testing.Verbose() {
		t.Log(out.String())
	}
	if p.Err() != nil {
		t.Error(p.Err())
	}
}
