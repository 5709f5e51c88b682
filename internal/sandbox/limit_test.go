package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// way is one in which children get their limits.
type way struct {
	name  string
	box   Sandbox
	kinds map[string]func(*exec.Cmd)
}

func waysToLimit(t *testing.T) []way {
	t.Helper()
	box := Detect(t.Context())
	traced, by := box, box
	by.trace = false
	both := func(s Sandbox) map[string]func(*exec.Cmd) {
		return map[string]func(*exec.Cmd){"confined": s.Confine, "demoted": s.Demote}
	}
	if box.trace {
		return []way{{"traced", traced, both(traced)}, {"by a program", by, both(by)}}
	}
	traced.trace, traced.demote = true, false // its own user's are limited by any process
	return []way{{"traced", traced, map[string]func(*exec.Cmd){"ours": traced.Demote}}, {"by a program", by, both(by)}}
}

// startSleep starts a program within limits, and waits where it is not yet what it is to become.
func startSleep(t *testing.T, box Sandbox, kind func(*exec.Cmd), l Limits) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "60") //nolint:noctx // killed below
	kind(cmd)
	started := make(chan error)
	Thread(func() {
		err := box.StartRestricted(cmd, Reach{}, l)
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
			close(started)
		}
	})
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-started
	})
	return cmd
}

func limitsOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(` {2,}`).ReplaceAllString(string(b), "|")
}

func awaitSleep(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	for comm := ""; comm != "sleep"; { // it is by now, or soon
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		comm = strings.TrimSpace(string(b))
	}
}

// A child has its limits, whichever way it gets them and whatever kind it is.
func TestAChildHasItsLimits(t *testing.T) {
	t.Parallel()
	for _, w := range waysToLimit(t) {
		for kind, prepare := range w.kinds {
			cmd := startSleep(t, w.box, prepare, Limits{Memory: 1 << 30, File: 4096, Files: 32, Data: 16 << 20, Alone: true})
			if !w.box.trace {
				awaitSleep(t, cmd)
			}
			said := limitsOf(t, cmd)
			for _, want := range []string{
				"Max core file size|0|0|", "Max address space|1073741824|1073741824|", "Max file size|4096|4096|", "Max open files|32|32|",
				"Max data size|16777216|unlimited|", "Max processes|0|0|",
			} {
				if !strings.Contains(said, want) {
					t.Errorf("%s, %s: no %q in\n%s", kind, w.name, want, said)
				}
			}
		}
	}
}

// A limit that is set as soon as a child has started is not overtaken by the one that it starts with.
func TestALimitIsNotOvertaken(t *testing.T) {
	t.Parallel()
	for _, w := range waysToLimit(t) {
		for range 20 {
			cmd := startSleep(t, w.box, w.box.Demote, Limits{Data: 16 << 20})
			if err := w.box.LimitMemory(cmd.Process.Pid, 64<<20); err != nil {
				t.Fatal(err)
			}
			awaitSleep(t, cmd)
			if said := limitsOf(t, cmd); !strings.Contains(said, "Max data size|67108864|unlimited|") {
				t.Fatalf("%s: %s", w.name, said)
			}
		}
	}
}
