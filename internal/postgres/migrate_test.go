package postgres_test

import (
	"log/slog"
	"testing"

	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
)

// Whoever goes back by one release runs the older one's release phase, and then its processes, on a database that the newer one
// has migrated, the queue's tables too: nothing is missing, and nothing is done.
func TestADatabaseThatIsAheadIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	all := func() (n int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM goose_db_version) + (SELECT count(*) FROM river.river_migration)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, sql := range []string{
		"INSERT INTO goose_db_version (version_id, is_applied) SELECT max(version_id) + 1, true FROM goose_db_version",
		"INSERT INTO river.river_migration (line, version) SELECT 'main', max(version) + 1 FROM river.river_migration",
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	before := all()
	if missing, err := postgres.Behind(t.Context(), pool); err != nil || len(missing) != 0 {
		t.Errorf("missing: %v %v", missing, err)
	}
	if err := postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if after := all(); after != before {
		t.Errorf("%d migrations before, %d after", before, after)
	}
}
