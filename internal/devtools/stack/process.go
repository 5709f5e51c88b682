package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/sandbox"
)

// Process is one process of the product.
type Process struct{ *sandbox.Process }

// Spawn starts a process of the product by its name, with further settings. It is stopped with the stack.
func (s *Stack) Spawn(name string, settings ...string) (*Process, error) {
	cmd := exec.Command(s.Program[0], append(s.Program[1:len(s.Program):len(s.Program)], name)...) //nolint:gosec // ourselves
	cmd.Env = append(append([]string{"REMORA_STACK=1"}, s.env...), settings...)
	cmd.Stdout, cmd.Stderr = s.Logs, s.Logs
	c, err := sandbox.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	p := &Process{c}
	s.onClose(p.Stop)
	return p, nil
}

func (s *Stack) run(ctx context.Context, name string) error {
	p, err := s.Spawn(name)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.Done():
	}
	if p.Err() != nil {
		return fmt.Errorf("%s: %w", name, p.Err())
	}
	return nil
}

// Kill ends the process as the kernel would, and waits.
func (p *Process) Kill() error { return p.End(syscall.SIGKILL) }

// Stop asks the process to end and waits.
func (p *Process) Stop() error { return p.End(syscall.SIGTERM) }

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
		case <-p.Done():
			return errors.New("the web process ended at its start; its log says why")
		case <-ctx.Done():
			return errors.New("the web process does not answer; its log says why")
		case <-poll.C:
		}
	}
}

// Measures returns what a process tells its operator: web at WebURL, the worker at Metrics.
func (s *Stack) Measures(ctx context.Context, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer demo-metrics")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the measures answer %s", resp.Status)
	}
	return string(text), err
}
