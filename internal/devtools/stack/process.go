package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/sandbox"
)

// Process is one process of the product.
type Process struct{ *sandbox.Process }

// Spawn starts a process of the product by its name, with further settings. It is stopped with the stack.
func (s *Stack) Spawn(name string, settings ...string) (*Process, error) {
	return s.SpawnOf(s.Program, name, settings...)
}

// SpawnOf is Spawn of another program, which is told the same: another release's.
func (s *Stack) SpawnOf(program []string, name string, settings ...string) (*Process, error) {
	cmd := exec.Command(program[0], append(program[1:len(program):len(program)], name)...) //nolint:gosec // ourselves
	cmd.Env = append(append([]string{"REMORA_STACK=1"}, s.env...), settings...)
	cmd.Stdout, cmd.Stderr = s.Logs, s.Logs
	c, err := sandbox.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	p := &Process{c}
	s.OnClose(p.Stop)
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
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // it took 15 s where a machine had much else to do
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

// Partner asks a web process as Heroku does: with a call of the Partner API, at a path below its resources.
func (s *Stack) Partner(ctx context.Context, base, method, path, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, base+"/heroku/resources"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.SetBasicAuth("remora-backup", s.partnerPassword)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// Measures returns what a process tells its operator: web at WebURL, the worker at Metrics.
func (s *Stack) Measures(ctx context.Context, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.MetricsToken)
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

// Secrets are what must be nowhere but in the settings of our processes and, sealed, in our database: each with what it is.
// The customer's owner's password is none of ours.
func (s *Stack) Secrets() map[string]string {
	out := map[string]string{}
	for _, all := range []map[string][]string{s.secrets, s.Sim.Secrets()} {
		for what, each := range all {
			for _, secret := range each {
				out[secret] = what
			}
		}
	}
	return out
}

// Everything is a whole database as text, all rows of all tables in the schemas public and river, read by who may see them.
func Everything(ctx context.Context, url string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	rows, err := conn.Query(ctx, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'river')")
	if err != nil {
		return "", err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, n := range names {
		var text *string
		if err := conn.QueryRow(ctx, "SELECT string_agg(x::text, E'\\n') FROM "+n+" x").Scan(&text); err != nil {
			return "", fmt.Errorf("read %s: %w", n, err)
		}
		if text != nil {
			all.WriteString(*text)
		}
	}
	return all.String(), nil
}

// Command runs a command of the product to its end and returns what it printed.
func (s *Stack) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Program[0], append(s.Program[1:len(s.Program):len(s.Program)], args...)...) //nolint:gosec // ourselves
	cmd.Env = append([]string{"REMORA_STACK=1"}, s.env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("remora %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}
