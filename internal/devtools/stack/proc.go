package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Processes is how each process below this one was started, and with which environment, but for what the operator's settings
// are in: the product's own processes and the S3 server.
func (s *Stack) Processes() string {
	parents := map[int]int{}
	for _, pid := range processes() {
		parents[pid] = parentOf(pid)
	}
	var all strings.Builder
	for pid := range parents {
		if pid == os.Getpid() || !below(parents, pid) {
			continue
		}
		// Looked at before the environment and after it: a process that was only forked has both of its parent's, and one that is
		// just being executed has an environment a moment before it has a command.
		command := CommandOf(pid)
		all.WriteString(command + "\n")
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || s.hasSettings(command) || s.hasSettings(CommandOf(pid)) { // it has ended, or is one of those
			continue
		}
		all.WriteString(strings.ReplaceAll(string(environment), "\x00", "\n") + "\n")
	}
	return all.String()
}

// hasSettings tells whether a process is one that the operator's settings are in.
func (s *Stack) hasSettings(command string) bool {
	return strings.HasPrefix(command, s.Program[0]+" ") || strings.Contains(command, "s3dev -addr")
}

// below tells whether a process descends from this one.
func below(parents map[int]int, pid int) bool {
	for range 20 {
		if pid = parents[pid]; pid == os.Getpid() {
			return true
		}
	}
	return false
}

func processes() (all []int) {
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, at := range found {
		if pid, err := strconv.Atoi(filepath.Base(at)); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// ChildrenOf are the processes that one has started.
func ChildrenOf(parent int) (all []int) {
	for _, pid := range processes() {
		if parentOf(pid) == parent {
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

// CommandOf is how a process was started; "" where it has gone.
func CommandOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(line), "\x00", " ")
}
