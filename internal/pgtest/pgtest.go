// Package pgtest gives each test a database of its own on a real server: our own, migrated, or an empty one.
// The server is started once per test process and ends with it.
package pgtest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/postgres"
)

// owner owns our own database and is no superuser, as on Heroku: row-level security holds for it.
const owner = "remora_owner"

const template = "remora_template"

var server = sync.OnceValues(func() (*localpg.Cluster, error) {
	ctx := context.Background()
	c, err := localpg.Start(ctx, localpg.Config{})
	if err != nil {
		return nil, err
	}
	admin, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer admin.Close(ctx) //nolint:errcheck // nothing is lost with it
	for _, sql := range []string{
		"CREATE ROLE " + owner + " LOGIN PASSWORD '" + owner + "'",
		"CREATE DATABASE " + template + " OWNER " + owner,
	} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("set up: %w", err)
		}
	}
	pool, err := postgres.NewPool(ctx, c.URL(owner, owner, template), 4)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	return c, postgres.Migrate(ctx, pool, slog.New(slog.DiscardHandler))
})

// Main ends the server after the tests of a package. Call it from TestMain and pass its result to os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if c, err := server(); err == nil {
		if err := c.Stop(); err != nil {
			fmt.Println("pgtest:", err)
			return 1
		}
	}
	return code
}

// Server is the process's server, for tests that make roles and databases of a customer.
func Server(t testing.TB) *localpg.Cluster {
	t.Helper()
	c, err := server()
	if err != nil {
		t.Fatalf("no Postgres to test with: %v", err)
	}
	return c
}

var numbered atomic.Int64

// URL returns the address of a migrated database that only this test uses, as its owner.
func URL(t testing.TB) string {
	t.Helper()
	c := Server(t)
	name := fmt.Sprintf("remora_%d", numbered.Add(1))
	Exec(t, c.SuperuserURL("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s", name, template, owner))
	return c.URL(owner, owner, name)
}

// Pool opens a pool on a migrated database that only this test uses. It is closed after the test.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return PoolAt(t, URL(t))
}

// PoolAt opens a pool that is closed after the test.
func PoolAt(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.NewPool(context.Background(), url, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Exec runs statements on a connection of their own.
func Exec(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is lost with it
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}
