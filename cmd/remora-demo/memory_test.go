package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/stack"
)

// memoryMB is the smaller archive's size; the larger has ten times as much. make memory asks for 100.
var memoryMB = flag.Int("memory-mb", 15, "megabytes of the smaller archive in the memory test")

const mostMiB = 64

// The worker's own peak memory does not grow with the database, on data that does not compress. The worker is
// a program without the race detector, since that is what is measured.
func TestMemoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "remora-demo"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("there is no bin/remora-demo: make bin/remora-demo (make test does)")
	}
	var peaks [2]int
	for i, mb := range []int{*memoryMB, 10 * *memoryMB} {
		b := start(t, 100, program)
		// Random bytes in base64: no compressor makes them smaller than three quarters.
		err := stack.Exec(t.Context(), b.OwnerURL("shop"),
			`CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql AS $$
				SELECT string_agg(translate(encode(decode(replace(gen_random_uuid()::text, '-', ''), 'hex'), 'base64'), E'\n=', ''), '') FROM generate_series(1, n) $$`,
			fmt.Sprintf(`CREATE TABLE sales.noise AS SELECT g AS id, noise(64) AS bytes FROM generate_series(1, %d) g`, mb*1_000_000/1024), `DROP FUNCTION noise`)
		if err != nil {
			t.Fatal(err)
		}
		b.connect(t)
		got := b.verified(t, "")
		if got.PlainSize < int64(mb)*900_000 {
			t.Fatalf("the archive has %d bytes, which is too few for %d MB", got.PlainSize, mb)
		}
		peaks[i] = peak(t, b.worker)
		t.Logf("%4d MB archive: %.1f MiB peak", got.PlainSize/1_000_000, float64(peaks[i])/1024)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if peaks[1] > mostMiB*1024 || float64(peaks[1]) > 1.2*float64(peaks[0]) {
		t.Errorf("peak memory of %d and %d KiB", peaks[0], peaks[1])
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory a process has had in use, in KiB.
func peak(t *testing.T, p *stack.Process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	m := highWater.FindSubmatch(status)
	if m == nil {
		t.Fatal("the process has no VmHWM")
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
