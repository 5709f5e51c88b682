// Package freeport finds TCP ports of this machine for programs that are started and told which to listen on.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Below what systems give to connections and to whoever listens on port 0 (ip_local_port_range, 32768 on Linux): a port from there
// may be gone again before the program is up.
const lowest, highest = 15000, 32767

var (
	mu    sync.Mutex
	given = map[int]bool{} // by this process
)

// Pick returns a port of 127.0.0.1 that nobody listens on, another one each time.
func Pick() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var last error
	for range 100 {
		port := lowest + rand.IntN(highest-lowest+1) //nolint:gosec // nobody need not guess it
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			last = err
			continue
		}
		given[port] = true
		return port, l.Close()
	}
	return 0, errors.Join(errors.New("no port is free"), last)
}
