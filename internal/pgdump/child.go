package pgdump

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// grace is how long a child has to end by itself after SIGINT, on which pg_dump cancels its query.
const grace = 2 * time.Second

// environment is what every child gets; callers add to it.
func environment(extra ...string) []string {
	return append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "LANGUAGE=C", "HOME=/nonexistent", "TZ=UTC"}, extra...)
}

// child is one running client program. A goroutine of its own starts it and waits for it.
type child struct {
	name    string
	cmd     *exec.Cmd
	pidfd   int // -1 where the system has none
	sandbox sandbox.Sandbox
	ctx     context.Context // of this one run; its end is the child's end
	stderr  *words
	done    chan struct{}  // closed when it has ended
	err     error          // its exit, once done
	unhook  func()         // the context's end no longer matters
	ending  sync.WaitGroup // what the context's end started
	once    sync.Once

	mu     sync.Mutex
	reaped bool // its number, and its group's, may belong to somebody else

	peak int64 // of its memory, in bytes; of whoever reads from it or writes to it
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
	secrets []redact.Secret                                  // removed from what it says
	confine func(sandbox.Sandbox, *exec.Cmd, sandbox.Limits) // takes from it what it need not have
	limits  sandbox.Limits
	reach   sandbox.Reach
}

func launch(ctx context.Context, p program) (*child, error) {
	cmd := exec.Command(filepath.Join(p.client.Dir, p.name), p.args...) //nolint:gosec,noctx // our own; end() is gentler than CommandContext
	cmd.Dir, cmd.Env, cmd.ExtraFiles = "/", environment(p.env...), p.files
	if p.stdin != nil {
		cmd.Stdin = p.stdin
	}
	if p.stdout != nil {
		cmd.Stdout = p.stdout
	}
	c := &child{name: p.name, cmd: cmd, pidfd: -1, sandbox: p.client.Sandbox, ctx: ctx, stderr: newWords(p.secrets), done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &c.pidfd}
	cmd.Stderr = c.stderr
	cmd.WaitDelay = grace // for whoever inherited stderr
	p.confine(c.sandbox, cmd, p.limits)
	started := make(chan error)
	// Pdeathsig is sent when the thread that forked ends, not the process. So this thread waits for the child. It has lost what the
	// child must not have, and ends after it.
	sandbox.Thread(func() {
		err := holdTerm()
		if err == nil {
			err = p.client.Sandbox.StartRestricted(cmd, p.reach)
		}
		started <- err
		if err == nil {
			c.err = c.reap()
			c.stderr.end(!cmd.ProcessState.Exited())
			close(c.done)
		}
	})
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if n := p.limits.Data; n > 0 && !c.sandbox.LimitsFromStart() {
		if err := c.limit(n); err != nil {
			c.end()
			return nil, err
		}
	}
	c.ending.Add(1)
	stop := context.AfterFunc(ctx, func() { defer c.ending.Done(); c.end() })
	c.unhook = sync.OnceFunc(func() {
		if stop() { // it has not started and never will
			c.ending.Done()
		}
	})
	return c, nil
}

// holdTerm blocks SIGTERM for the calling thread and what it starts. Heroku sends it to every process of a dyno at once, and it is
// for us to say when a child ends. (https://devcenter.heroku.com/articles/dyno-shutdown-behavior)
func holdTerm() error {
	set := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGTERM - 1)}}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

// reap waits for the child and for whatever it may have started. As long as the child is a zombie its number
// is nobody else's, so that is when the rest of its group is killed; afterwards nothing is signalled.
func (c *child) reap() error {
	c.exited()
	c.mu.Lock()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // ESRCH or EPERM: nobody is left
	c.reaped = true
	c.mu.Unlock()
	return c.cmd.Wait()
}

// exited returns when the child is a zombie. A thread that waited in the system for that would keep one of GOMAXPROCS places from
// others until the runtime's monitor, awake for it many times a millisecond on a core that pg_dump needs, took it back. So it is told
// through the network poller, where there are pidfds (Linux 5.4).
func (c *child) exited() {
	if c.pidfd >= 0 && polled(c.pidfd) {
		return
	}
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// polled waits for the process of a pidfd, which it closes. It is false where such a one cannot be waited for.
func polled(pidfd int) bool {
	err := unix.SetNonblock(pidfd, true)
	f := os.NewFile(uintptr(pidfd), "pidfd") //nolint:gosec // not negative
	defer f.Close()                          //nolint:errcheck // nothing was written
	if err != nil {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var unknown error
	err = raw.Read(func(fd uintptr) bool {
		var who unix.Siginfo
		unknown = unix.Waitid(unix.P_PIDFD, int(fd), &who, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) //nolint:gosec // a descriptor
		return unknown != nil || who.Signo != 0
	})
	return err == nil && unknown == nil
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
			c.signal(syscall.SIGKILL)
		}
	})
	<-c.done
}

func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	if err := syscall.Kill(-c.cmd.Process.Pid, s); err != nil || s == syscall.SIGKILL {
		_ = syscall.Kill(c.cmd.Process.Pid, s) // it may have left its group
	}
}

// wait returns the child's exit: nil for status 0.
func (c *child) wait() error {
	<-c.done
	return c.err
}

// close ends the child where it still runs, and returns when nothing of it is left, here or there.
func (c *child) close() {
	if c.running() {
		c.end()
	}
	c.unhook()
	c.ending.Wait()
}

// ended is the failure to report when the run was given up from our side, which says nothing about the
// database or the archive; nil where it was not.
func (c *child) ended() error {
	if c.ctx.Err() == nil {
		return nil
	}
	return &remora.Failure{Reason: remora.ReasonCanceled, Cause: fmt.Errorf("%s was ended: %w", c.name, context.Cause(c.ctx))}
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
	return inMemory("passfile", "*:*:*:*:"+escapePass(password.Reveal())+"\n")
}

// inMemory makes a file in memory, mode 0600, that nobody can change any more.
func inMemory(name, content string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, werr := f.WriteString(content)
	if err := errors.Join(f.Chmod(0o600), werr); err != nil {
		return nil, errors.Join(errors.New("write "+name), f.Close())
	}
	// Sealed: neither side can change it any more, and the child reads what was checked here.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, errors.Join(errors.New("seal "+name), f.Close())
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
