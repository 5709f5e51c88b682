// Package locals3 starts the real S3 server that the demo and the tests use: bin/s3dev, as a process of its
// own on loopback, which ends with the process that started it.
package locals3

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Server is a running S3 server.
type Server struct {
	program, dir         string
	addr, access, secret string
	users                []string
	stdin                io.Closer
	cmd                  *exec.Cmd
}

// Start starts program (bin/s3dev) over a folder and returns when it serves. access and secret are the root account's; users
// are others, each as key:secret, who may do what a bucket's policy lets them. The caller ends it with Stop.
func Start(program, dir, access, secret string, users ...string) (*Server, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("there is no bin/s3dev: run make bin/s3dev first (make test and make demo do)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	s := &Server{program: program, dir: dir, addr: l.Addr().String(), access: access, secret: secret, users: users}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	if err := s.Restart(); err != nil {
		return nil, err
	}
	return s, nil
}

// Restart starts the server again, at the same address over the same folder, after Kill.
func (s *Server) Restart() (err error) {
	s.cmd = exec.Command(s.program, "-addr", s.addr, "-dir", s.dir) //nolint:gosec // our own
	s.cmd.Env = []string{"S3_ACCESS_KEY=" + s.access, "S3_SECRET_KEY=" + s.secret, "S3_USERS=" + strings.Join(s.users, ","), "HOME=" + s.dir}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for whoever started us
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {       // its end, with this process, ends the server
		return fmt.Errorf("start s3dev: %w", err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start s3dev: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start s3dev: %w", err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "s3dev serves") {
			return nil
		}
	}
	return errors.Join(errors.New("s3dev ended at its start"), s.Stop())
}

// Endpoint is the server's address as a URL.
func (s *Server) Endpoint() string { return "http://" + s.addr }

// PID is the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server as the kernel would, in the middle of whatever it does, and waits. Its folder stays.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("s3dev: %w", err)
	}
	_ = s.cmd.Wait() // it was killed, and says so
	return nil
}

// Stop ends the server and waits for it.
func (s *Server) Stop() error {
	_ = s.stdin.Close() // ends it
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("s3dev: %w", err)
	}
	return nil
}
