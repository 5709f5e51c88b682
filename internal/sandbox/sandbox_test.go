package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/internal/sandbox"
)

// say runs a shell's script restricted to reach, and returns what it says.
func say(t *testing.T, box sandbox.Sandbox, reach sandbox.Reach, script string) string {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-c", script)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	box.Demote(cmd, sandbox.Limits{File: 1, Files: 32})
	done := make(chan error)
	sandbox.Thread(func() {
		err := box.StartRestricted(cmd, reach)
		if err == nil {
			_ = cmd.Wait() // what it said tells
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// listening is a port of this machine's.
func listening(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// Each thing that a child must not do is tried by one that is restricted, and by one that is not, which can: so that the
// trying proves something. What the kernel has not is named.
func TestARestrictedChild(t *testing.T) {
	t.Parallel()
	box := sandbox.Detect(t.Context())
	files, ports := true, true
	for _, m := range box.Missing {
		files = files && !strings.Contains(m, "Landlock")
		ports = ports && !strings.Contains(m, "Landlock")
	}
	dir, err := os.MkdirTemp("/tmp", "sandbox-test-") // every folder above is open to all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // the child's user is another one
		t.Fatal(err)
	}
	mine, theirs := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	for _, d := range []string{mine, theirs} {
		if err := os.Mkdir(d, 0o755); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "file"), []byte("contents"), 0o644); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	open, shut := listening(t), listening(t)
	environ := fmt.Sprintf("/proc/%d/environ", os.Getpid())
	reach := sandbox.Reach{Read: []string{mine}, Connect: uint16(open)}
	for name, c := range map[string]struct {
		script string
		kept   bool // from it by Landlock
	}{
		"another folder":       {"cat " + theirs + "/file >/dev/null && echo could", files},
		"a file in a folder":   {"ls " + theirs + " >/dev/null && echo could", files},
		"a new file":           {"echo x >" + dir + "/new && echo could", files},
		"another's secrets":    {"head -c1 " + environ + " >/dev/null && echo could", files},
		"another port":         {fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && echo could", shut), ports},
		"its own folder":       {"cat " + mine + "/file >/dev/null && echo could", false},
		"its own port":         {fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && echo could", open), false},
		"nothing":              {"echo x >/dev/null && echo could", false},
		"the system's library": {"head -c1 /etc/passwd >/dev/null && echo could", false},
	} {
		could := strings.Contains(say(t, box, reach, c.script), "could")
		if could == c.kept {
			t.Errorf("%s: could %v (sandbox: %v)", name, could, box)
		}
		free := strings.Contains(say(t, sandbox.Sandbox{}, reach, c.script), "could")
		if !free {
			t.Errorf("%s: not even a free one can", name)
		}
	}
	if said := say(t, box, reach, "grep NoNewPrivs /proc/self/status; ulimit -c; ulimit -f; ulimit -n; id -u"); files && !strings.Contains(said, "Permission denied") {
		t.Errorf("its own status can be read: %s", said)
	} else if uid, _ := sandbox.User(); !strings.Contains(said, fmt.Sprintf("0\n0\n32\n%d", uid)) {
		t.Errorf("limits and user: %s", said)
	}
	if said := say(t, sandbox.Sandbox{}, reach, "grep NoNewPrivs /proc/self/status"); !strings.Contains(said, "1") {
		t.Errorf("it can get more privileges: %s", said)
	}
}

// The thread that has lost everything ends, and the process keeps all that it had.
func TestTheProcessKeepsWhatItHad(t *testing.T) {
	t.Parallel()
	box := sandbox.Detect(t.Context())
	file := filepath.Join(t.TempDir(), "file")
	for range 20 {
		say(t, box, sandbox.Reach{}, "true")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", os.Getpid()))
	if err != nil || strings.Contains(string(first), "NoNewPrivs:\t1") {
		t.Errorf("by its first thread, the process has lost something: %v %s", err, first)
	}
}

// While a child's memory is limited, it may not do the same to us: none of our threads is its user then, and by the number of a thread a
// limit is set for its whole process.
func TestALimitedChildDoesNotLimitUs(t *testing.T) {
	t.Parallel()
	box := sandbox.Detect(t.Context())
	demoted := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		box.Demote(cmd, sandbox.Limits{})
		return cmd
	}
	child := demoted("/bin/cat")
	held, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() {
		var err error
		for most := range uint64(200) {
			err = errors.Join(err, box.LimitMemory(child.Process.Pid, 1<<30+most))
		}
		over <- err
	}()
	// Whose a thread is can be read where it may be limited.
	for err = nil; err == nil; {
		select {
		case err = <-over:
			if err == nil {
				err = io.EOF
			}
		default:
			threads, _ := filepath.Glob("/proc/self/task/*/status")
			for _, thread := range threads {
				status, rerr := os.ReadFile(thread)
				if rerr == nil && os.Geteuid() == 0 && !strings.Contains(string(status), "Uid:\t0\t0\t0\t0") {
					t.Errorf("a thread of ours is somebody else's: %s", status)
				}
			}
		}
	}
	if err != io.EOF {
		t.Error(err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", child.Process.Pid))
	if err != nil || !regexp.MustCompile(`Max data size +1073742023 +unlimited`).Match(limits) {
		t.Errorf("%v %s", err, limits)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}

// Whichever way it is kept apart, a child gets no more privileges.
func TestNoChildGetsMorePrivileges(t *testing.T) {
	t.Parallel()
	box := sandbox.Detect(t.Context())
	for name, kind := range map[string]func(*exec.Cmd, sandbox.Limits){"confined": box.Confine, "demoted": box.Demote} {
		cmd := exec.Command("/bin/sleep", "60") //nolint:noctx // it is ended below
		kind(cmd, sandbox.Limits{})
		p, err := box.StartWithin(cmd, syscall.SIGKILL, sandbox.Reach{})
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
		if err != nil || !strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
			t.Errorf("%s: %v %s", name, err, status)
		}
		if err := p.End(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}
