package pgdump

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/internal/redact"
)

// grace is how long a child has to end by itself after SIGINT, on which pg_dump cancels its query.
const grace = 2 * time.Second

// environment is what every child gets; callers add to it.
func environment(extra ...string) []string {
	return append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "LANGUAGE=C", "HOME=/nonexistent", "TZ=UTC"}, extra...)
}

// child is one running client program. A goroutine of its own starts it and waits for it.
type child struct {
	cmd    *exec.Cmd
	stderr *words
	done   chan struct{} // closed when it has ended
	err    error         // its exit, once done
	unhook func() bool
	once   sync.Once
}

// program is what to run.
type program struct {
	client  Client
	name    string
	args    []string
	env     []string
	files   []*os.File // the child's descriptors from 3 on
	stdin   *os.File
	stdout  *os.File
	secrets []redact.Secret // removed from what it says
}

func launch(ctx context.Context, p program) (*child, error) {
	// env blocks the signal and becomes the program: same process, same parent.
	cmd := exec.Command("/usr/bin/env", append([]string{"--block-signal=TERM", filepath.Join(p.client.Dir, p.name)}, p.args...)...) //nolint:noctx // end() is gentler than CommandContext
	cmd.Dir, cmd.Env, cmd.ExtraFiles = "/", environment(p.env...), p.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.stdin != nil {
		cmd.Stdin = p.stdin
	}
	if p.stdout != nil {
		cmd.Stdout = p.stdout
	}
	c := &child{cmd: cmd, stderr: newWords(p.secrets), done: make(chan struct{})}
	cmd.Stderr = c.stderr
	cmd.WaitDelay = grace // for whoever inherited stderr
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread that forked ends, not the process: keep it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	c.unhook = context.AfterFunc(ctx, c.end)
	return c, nil
}

// end stops the child's group and waits for it. It may be called at any time, also again.
func (c *child) end() {
	c.once.Do(func() {
		c.signal(syscall.SIGINT)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.done:
		case <-timer.C:
		}
		c.signal(syscall.SIGKILL) // whatever of the group is left
	})
	<-c.done
}

func (c *child) signal(s syscall.Signal) {
	// ESRCH: the group is gone, which is what was wanted.
	_ = syscall.Kill(-c.cmd.Process.Pid, s)
}

// wait returns the child's exit: nil for status 0.
func (c *child) wait() error {
	<-c.done
	c.unhook()
	return c.err
}

// running tells whether the child has not ended yet.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// passfile puts a password where libpq reads it and nobody else can: a file in memory, mode 0600, which the
// child finds at its descriptor 3. The caller closes it once the child has started.
func passfile(password redact.Secret) (*os.File, error) {
	fd, err := unix.MemfdCreate("passfile", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "passfile")
	line := "*:*:*:*:" + escapePass(password.Reveal()) + "\n"
	_, werr := f.WriteString(line)
	if err := errors.Join(f.Chmod(0o600), werr); err != nil {
		return nil, errors.Join(errors.New("write the password file"), f.Close())
	}
	return f, nil
}

// escapePass escapes what separates fields in a password file.
// (https://www.postgresql.org/docs/current/libpq-pgpass.html)
func escapePass(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == ':' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(out)
}

// enlarge asks for a pipe of 1 MiB instead of 64 KiB, so that neither side waits for the other at every few
// rows. The system may refuse (pipe-user-pages-soft); then it stays as it is.
func enlarge(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
	}
}
