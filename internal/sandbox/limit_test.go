package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A limit that is set as soon as a child has started is not overtaken by the one that it starts with.
func TestALimitIsNotOvertaken(t *testing.T) {
	t.Parallel()
	box := Sandbox{prlimit: true}
	for range 20 {
		cmd := exec.Command("/bin/sleep", "60")
		box.Demote(cmd, Limits{Data: 16 << 20})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		err := box.LimitMemory(cmd.Process.Pid, 64<<20)
		for comm := ""; comm != "sleep"; { // it is by now, or soon
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			comm = strings.TrimSpace(string(b))
		}
		limits, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if err != nil || rerr != nil {
			t.Fatal(err, rerr)
		}
		if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max data size 67108864 unlimited bytes") {
			t.Fatalf("%s", limits)
		}
	}
}
