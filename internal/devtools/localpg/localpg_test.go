package localpg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
)

func TestClusterServesTLSOnlyAndFailsOver(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := localpg.Start(ctx, localpg.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // stopped below; again does nothing
	if _, err := pgx.Connect(ctx, c.SuperuserURL("postgres")+"&sslmode=disable"); err == nil {
		t.Error("takes a password without TLS")
	}
	exec(t, c, "CREATE TABLE kept AS SELECT 1 AS n")
	f, err := c.Follower(ctx, localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop() //nolint:errcheck // the test is over
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	exec(t, f, "INSERT INTO kept VALUES (2)")
	if err := f.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	exec(t, f, "SELECT 1/(count(*)-1) FROM kept")
}

func exec(t *testing.T, c *localpg.Cluster, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the test's own
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
