package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Process is a started process.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts a command in a process group of its own, so that Ctrl-C is for whoever started us. orphaned is the
// signal that the kernel sends it when this process is no more. The caller ends it with End.
func Start(cmd *exec.Cmd, orphaned syscall.Signal) (*Process, error) {
	return begin(cmd, orphaned, cmd.Start, func(do func()) {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			do()
		}()
	})
}

// StartWithin is Start for a command that is kept from all but reach, as StartRestricted keeps it.
func (s Sandbox) StartWithin(cmd *exec.Cmd, orphaned syscall.Signal, reach Reach) (*Process, error) {
	return begin(cmd, orphaned, func() error { return s.StartRestricted(cmd, reach) }, Thread)
}

func begin(cmd *exec.Cmd, orphaned syscall.Signal, start func() error, thread func(do func())) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, orphaned
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	// Pdeathsig is sent when the thread that forked ends, not the process. So this thread waits for the child.
	thread(func() {
		err := start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	})
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	return p, nil
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// End sends a signal and waits; after 30 s it kills, which is an error unless killing was what was asked for.
func (p *Process) End(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name(), err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill() // it may have ended by now
		<-p.done
		return fmt.Errorf("%s did not end in 30 s and was killed", p.name())
	}
}
