package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// worker is what our own process is called among the others.
const worker = "worker"

// watch looks at processes and their children until it is ended, and then tells the most memory each has had, in bytes,
// by its program's name (proc_pid_status(5): VmHWM, which only grows; what wait4 tells is no less than the parent's).
func watch(roots ...*exec.Cmd) (end func() map[string]int64) {
	quit, done, most := make(chan struct{}), make(chan struct{}), map[string]int64{}
	self, _ := os.Executable()
	go func() {
		defer close(done)
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for {
			for _, cmd := range roots {
				if cmd.Process != nil {
					each(cmd.Process.Pid, func(name string, peak int64) {
						if name == filepath.Base(self) {
							name = worker
						}
						most[name] = max(most[name], peak)
					})
				}
			}
			select {
			case <-quit:
				return
			case <-look.C:
			}
		}
	}()
	return func() map[string]int64 {
		close(quit)
		<-done
		return most
	}
}

// each tells of a process and all that it has started. One that ends meanwhile is passed over.
func each(pid int, tell func(name string, peak int64)) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/status") //nolint:gosec // a number
	if err != nil {
		return
	}
	name := ""
	for l := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(l, "Name:"); ok {
			name = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(l, "VmHWM:"); ok {
			if kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64); err == nil {
				tell(name, kib<<10)
			}
		}
	}
	tasks, _ := filepath.Glob(dir + "/task/*/children")
	for _, t := range tasks {
		text, _ := os.ReadFile(t) //nolint:gosec // the kernel's
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				each(n, tell)
			}
		}
	}
}
