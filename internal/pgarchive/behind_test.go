package pgarchive

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Whoever compresses waits for a core where pg_dump wants it, and nobody else does.
func TestCompressingComesAfterOthers(t *testing.T) {
	t.Parallel()
	niceOf := func() int {
		text, err := os.ReadFile("/proc/thread-self/stat")
		if err != nil {
			t.Error(err)
		}
		_, fields, _ := strings.Cut(string(text), ") ")
		n, err := strconv.Atoi(strings.Fields(fields)[16]) // proc_pid_stat(5)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	before, inside := niceOf(), make(chan int)
	go func() {
		behind()
		inside <- niceOf()
	}()
	if got := <-inside; got != min(before+nice, 19) {
		t.Errorf("%d, where others have %d", got, before)
	}
	for range 100 { // on whatever thread, also one that was begun since
		after := make(chan int)
		go func() { after <- niceOf() }()
		if got := <-after; got != before {
			t.Fatalf("%d, and not %d any more", got, before)
		}
	}
}
