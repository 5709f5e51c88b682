package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is one process of the product.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Spawn starts a process of the product by its name, with further settings. It is stopped with the stack.
func (s *Stack) Spawn(name string, settings ...string) (*Process, error) {
	p := &Process{cmd: s.command(name, settings), done: make(chan struct{})}
	started := make(chan error)
	go func() { // Pdeathsig follows the thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.onClose(p.Stop)
	return p, nil
}

func (s *Stack) command(name string, settings []string) *exec.Cmd {
	cmd := exec.Command(s.Program[0], append(s.Program[1:len(s.Program):len(s.Program)], name)...) //nolint:gosec // ourselves
	cmd.Env = append(append([]string{"REMORA_STACK=1"}, s.env...), settings...)
	cmd.Stdout, cmd.Stderr = s.Logs, s.Logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (s *Stack) run(ctx context.Context, name string) error {
	p, err := s.Spawn(name)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", name, p.err)
	}
	return nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as the kernel would, and waits.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop asks the process to end and waits, 30 s at most.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("a process did not end in 30 s"), p.Kill())
	}
}

// AwaitWeb waits until the web process answers.
func (s *Stack) AwaitWeb(ctx context.Context, p *Process) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.WebURL+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return errors.New("the web process ended at its start; its log says why")
		case <-ctx.Done():
			return errors.New("the web process does not answer; its log says why")
		case <-poll.C:
		}
	}
}
