package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/remora-backup/remora/internal/auditlog"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// verifyAudit follows the chains of our database, one or all, and says of each broken one where it is.
func (p process) verifyAudit(ctx context.Context, stdout io.Writer) error {
	pool, err := p.pool(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys})
	if err != nil {
		return err
	}
	next := store.ResourcesWithAudit
	if p.Audit.Resource != "" {
		id, err := remora.ParseResourceID(p.Audit.Resource)
		if err != nil {
			return err
		}
		next = func(_ context.Context, after remora.ResourceID) ([]remora.ResourceID, error) {
			if after != "" {
				return nil, nil
			}
			return []remora.ResourceID{id}, nil
		}
	}
	ids, err := next(ctx, "")
	logs, lines, broken := 0, int64(0), 0
	for err == nil && len(ids) > 0 {
		for _, id := range ids {
			chain, err := store.VerifyAudit(ctx, id)
			if remora.KindOf(err) == remora.KindConflict {
				broken++
				_, err = fmt.Fprintln(stdout, remora.Public(err, ""))
			}
			if err != nil {
				return err
			}
			if chain.Length == 0 && p.Audit.Resource != "" && broken == 0 {
				return fmt.Errorf("%s has no audit log", id)
			}
			logs, lines = logs+1, lines+chain.Length
		}
		ids, err = next(ctx, ids[len(ids)-1])
	}
	if err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d audit logs are broken", broken, logs)
	}
	_, err = fmt.Fprintf(stdout, "%d audit logs with %d lines are as they were written down\n", logs, lines)
	return err
}

// checkAudit follows the chain of an exported log.
func checkAudit(file string, stdout io.Writer) error {
	f, err := os.Open(file) //nolint:gosec // what the customer names
	if err != nil {
		return fmt.Errorf("open the export: %w", err)
	}
	h, err := auditlog.Check(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d lines of %s until %s, as they were written down; the newest has the hash %s\n", h.Length, h.Addon, h.At.UTC().Format("2006-01-02 15:04:05 UTC"), h.Hash)
	return err
}
