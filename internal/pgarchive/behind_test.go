package pgarchive

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// niceOf is a thread's nice value (proc_pid_stat(5)); ok where there is such a thread.
func niceOf(t *testing.T, task string) (n int, ok bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(task, "stat"))
	if err != nil {
		return 0, false
	}
	_, fields, _ := strings.Cut(string(text), ") ")
	if n, err = strconv.Atoi(strings.Fields(fields)[16]); err != nil {
		t.Error(err)
	}
	return n, true
}

// Whoever compresses waits for a core where pg_dump wants it, and nobody else does: not the first thread, which never ends, and
// none that is begun later.
func TestCompressingComesAfterOthers(t *testing.T) {
	t.Parallel()
	first, _ := niceOf(t, "/proc/self/task/"+strconv.Itoa(os.Getpid()))
	const workers = 3
	c, err := NewCompressor(workers, Fast)
	if err != nil {
		t.Fatal(err)
	}
	for n, begun := 0, time.Now(); n < workers; { // each begins in its time
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%d threads come after others, of %d that compress", n, workers)
		}
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			t.Fatal(err)
		}
		n = 0
		for _, task := range tasks {
			if nice, ok := niceOf(t, task); ok && nice > first {
				n++
			}
		}
	}
	inside := make(chan int)
	go behind(func() {
		n, _ := niceOf(t, "/proc/thread-self")
		inside <- n
	})
	if got := <-inside; got != min(first+nice, 19) {
		t.Errorf("%d, where others have %d", got, first)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range 100 { // on whatever thread, also one that was begun since
		after := make(chan int)
		go func() {
			n, _ := niceOf(t, "/proc/thread-self")
			after <- n
		}()
		if got := <-after; got != first {
			t.Fatalf("%d, and not %d any more", got, first)
		}
	}
	if now, _ := niceOf(t, "/proc/self/task/"+strconv.Itoa(os.Getpid())); now != first {
		t.Errorf("the first thread has %d, and had %d", now, first)
	}
}
