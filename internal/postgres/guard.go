package postgres

import (
	"context"
	"fmt"
)

// CheckGuard tells whether PostgreSQL keeps customers' rows apart for the role that we are: it does not for a superuser, nor for
// a role with BYPASSRLS, whatever the tables say.
func (s *Store) CheckGuard(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		open, err := t.q.UnguardedTables(ctx)
		if err != nil {
			return fmt.Errorf("look at row-level security: %w", err)
		}
		if len(open) > 0 {
			return fmt.Errorf("row-level security does not hold for the role in DATABASE_URL, in %d tables such as %s: give a role that owns the tables and is neither a superuser nor has BYPASSRLS", len(open), open[0])
		}
		return nil
	})
}
