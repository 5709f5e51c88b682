package pgdump

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// sampled is how much passes, in bytes, between two looks at what a child takes. pg_dump holds a row while it writes it,
// so none that is longer is overlooked.
const sampled = 4 << 20

// limit bounds what the child may take of memory of its own, in bytes: what it allocates, whether touched or not, without
// its program and libraries. What it asks for beyond that is refused, and it ends with the words "out of memory" while
// everybody else goes on. It may be called again, with more or less.
func (c *child) limit(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return nil
	}
	most := uint64(max(n, 0)) //nolint:gosec // not negative
	if err := c.sandbox.LimitMemory(c.cmd.Process.Pid, most); err != nil {
		return fmt.Errorf("limit the memory of %s: %w", c.name, err)
	}
	return nil
}

// sample notes what the child has taken at most so far, as limit counts it. The exit status would say it as well, but of
// this process too, from which the child was forked.
func (c *child) sample() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return
	}
	// Of all it has mapped there is a peak; program and libraries do not come and go.
	now, all, most := field(status, "VmData:"), field(status, "VmSize:"), field(status, "VmPeak:")
	c.peak = max(c.peak, now+most-all)
}

// field reads one of a status's lines, in bytes; 0 where it is not there, as of a process that has ended.
func field(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kib << 10
}

// Limit bounds pg_dump's memory, in bytes: its catalog of the database, and each row twice. Beyond it the dump ends with
// ReasonMoreMemory. About 3 MiB are the least with which it runs. It may be called again.
func (d *Dump) Limit(n int64) error { return d.child.limit(n) }

// Memory is what pg_dump has taken at most so far, in bytes, as Limit counts it.
func (d *Dump) Memory() int64 { return d.child.peak }

// Limit bounds pg_restore's memory, in bytes: about 1 MiB, and two and a half of the archive's head. Beyond it the check
// ends with ReasonMoreMemory. It may be called again.
func (c *Check) Limit(n int64) error { return c.child.limit(n) }

// Memory is what pg_restore has taken at most so far, in bytes, as Limit counts it.
func (c *Check) Memory() int64 { return c.child.peak }

// exhausted are the words of libpq, OpenSSL and the programs for memory that they were refused. A server that has none
// left itself says so with its severity before.
var exhausted = regexp.MustCompile(`(?m)cannot allocate memory for (in|out)put buffer|(^|[^ ] )out of memory( for query result)?$|malloc failure`)
