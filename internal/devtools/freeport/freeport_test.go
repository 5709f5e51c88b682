package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/freeport"
)

// Neither another Pick nor whoever lets the system choose gets a port that was picked.
func TestPick(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 500 {
		port, err := freeport.Pick()
		if err != nil || seen[port] {
			t.Fatal(port, err)
		}
		seen[port] = true
	}
	for range 500 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // of a test
		if _, port, _ := net.SplitHostPort(l.Addr().String()); seen[must(strconv.Atoi(port))] {
			t.Errorf("port %s was given twice", port)
		}
	}
}

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}
