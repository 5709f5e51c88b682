package pgdump

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// Check is stock pg_restore reading a whole archive while it passes: it decompresses every block and turns
// it into SQL, which goes nowhere. It connects to nothing.
type Check struct {
	child *child
	in    *os.File
	n     int64 // written since its memory was looked at
}

// StartCheck begins a check, which may take so much memory from its start on, in bytes, as Limit counts it; 0 is without a bound.
// Write the archive to it, then call Finish; Close it in any case.
func StartCheck(ctx context.Context, client Client, memory int64) (*Check, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer r.Close() //nolint:errcheck // the child has its own
	enlarge(w)
	child, err := launch(ctx, program{
		client: client, name: "pg_restore", args: []string{"--file=/dev/null"}, stdin: r,
		confine: sandbox.Sandbox.Demote, limits: least(memory), reach: client.Reach(),
	})
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &Check{child: child, in: w}, nil
}

// Write gives pg_restore the next bytes. An error means that it stopped reading: Finish says why.
func (c *Check) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if err != nil {
		return n, c.refused(err)
	}
	if c.n += int64(n); c.n >= sampled {
		c.n = 0
		c.child.sample()
	}
	return n, nil
}

// Finish says that the archive is complete and waits for the verdict: nil, or a *remora.Failure with
// ReasonArchiveInvalid, ReasonMoreMemory, or ReasonCanceled where the context ended first.
func (c *Check) Finish() error {
	c.child.sample()
	if err := c.in.Close(); err != nil {
		return c.refused(err)
	}
	if err := c.child.wait(); err != nil {
		return c.refused(err)
	}
	if said := c.child.stderr.String(); said != "" {
		return &remora.Failure{Reason: remora.ReasonArchiveInvalid, Detail: said}
	}
	return nil
}

func (c *Check) refused(err error) error {
	_ = c.in.Close() // it may be closed already
	c.child.end()
	if err := c.child.ended(); err != nil {
		return err
	}
	said := c.child.stderr.String()
	why := remora.ReasonArchiveInvalid
	if exhausted.MatchString(said) {
		why = remora.ReasonMoreMemory
	}
	return &remora.Failure{Reason: why, Detail: said, Cause: err}
}

// Close ends pg_restore where it still runs, and waits for it. It may be called more than once.
func (c *Check) Close() error {
	c.child.close()
	if err := c.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close pipe: %w", err)
	}
	return nil
}
