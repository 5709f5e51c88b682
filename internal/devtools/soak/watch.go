package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/stack"
)

// watch looks, until ctx ends, at what only shows in the moment: two dumps of one database, and secrets in the process list.
// What it sees is for seen.
func (s *soak) watch(ctx context.Context) {
	conn, err := pgx.Connect(ctx, s.Customer.SuperuserURL("postgres"))
	if err != nil {
		s.saw(err)
		return
	}
	defer conn.Close(context.Background()) //nolint:errcheck // nothing is lost with it
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for looks := 0; ; looks++ {
		select {
		case <-ctx.Done():
			if looks == 0 {
				s.saw(errors.New("nobody watched"))
			}
			return
		case <-tick.C:
		}
		n := 0
		err := conn.QueryRow(ctx, "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE usename = $1 AND application_name LIKE 'remora-backup/%'", stack.Credential).Scan(&n)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.saw(err)
		case n > 1:
			s.saw(fmt.Errorf("I5: %d dumps of one database at a time", n))
		}
		if err := s.leaks(map[string]string{"the process list": s.processList()}); err != nil {
			s.saw(fmt.Errorf("I6: %w", err))
		}
	}
}

func (s *soak) saw(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
}

// seen is the first thing that watch saw.
func (s *soak) seen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// processList is how all processes below this one were started, and the environment of those that the product has started.
// What the product's own processes have in theirs is what the operator gives them.
func (s *soak) processList() string {
	var all strings.Builder
	parents := map[int]int{}
	commands := map[int]string{}
	for _, at := range procs() {
		pid, _ := strconv.Atoi(filepath.Base(at))
		parents[pid], commands[pid] = parentOf(pid), commandOf(pid)
	}
	for pid, command := range commands {
		if !below(parents, pid, os.Getpid()) {
			continue
		}
		all.WriteString(command + "\n")
		if below(parents, parents[pid], os.Getpid()) && strings.Contains(command, "pg_") { // a child of the product's
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err == nil { // else it has ended
				all.WriteString(string(bytes.ReplaceAll(env, []byte{0}, []byte{'\n'})) + "\n")
			}
		}
	}
	return all.String()
}

// below tells whether a process descends from another.
func below(parents map[int]int, pid, from int) bool {
	for range 20 {
		if pid == from {
			return true
		}
		if pid = parents[pid]; pid == 0 {
			return false
		}
	}
	return false
}

func procs() []string {
	all, _ := filepath.Glob("/proc/[0-9]*")
	return all
}

// childrenOf are the processes that one has started.
func childrenOf(parent int) (all []int) {
	for _, at := range procs() {
		if pid, err := strconv.Atoi(filepath.Base(at)); err == nil && parentOf(pid) == parent {
			all = append(all, pid)
		}
	}
	return all
}

func parentOf(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	parent, _ := strconv.Atoi(line)
	return parent
}

// commandOf is how a process was started; "" where it has gone.
func commandOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(line), "\x00", " ")
}
