package postgres_test

import (
	"context"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// begins counts transactions, and statements that write objects down.
type begins struct{ n, objects atomic.Int32 }

func (b *begins) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(strings.ToLower(q.SQL), "begin") {
		b.n.Add(1)
	}
	if strings.Contains(q.SQL, "INSERT INTO objects") {
		b.objects.Add(1)
	}
	return ctx
}

func (*begins) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A backup's first questions are one transaction each, whose it is included, for there are as many of them as backups. What is
// stored of it is written down by one statement, however much it is.
func TestAClaimIsOneTransaction(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	cfg := b.pool.Config()
	seen := &begins{}
	cfg.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: b.Keys})
	if err != nil {
		t.Fatal(err)
	}
	backup := b.first(t, b.resource(t, "db-1"))
	if err := store.MayRun(t.Context(), backup.ID); err != nil || seen.n.Load() != 1 {
		t.Errorf("may run: %d transactions, %v", seen.n.Load(), err)
	}
	c, err := store.ClaimBackup(t.Context(), backup.ID, "w")
	if err != nil || c.Backup != backup.ID || seen.n.Load() != 2 {
		t.Errorf("claim: %d transactions, %v", seen.n.Load()-1, err)
	}
	objects := []remora.Object{{Name: "body-000", Size: 3, PlainSize: 2, SHA256: []byte{1}}, {Name: "body-001", Size: 5, PlainSize: 4, SHA256: []byte{2}}, {Name: "head", Size: 7, PlainSize: 6, SHA256: []byte{3}}}
	if err := store.KeepBackup(t.Context(), c, remora.Kept{Tables: 1, Objects: objects}); err != nil || seen.objects.Load() != 1 {
		t.Errorf("keep: objects were written down by %d statements, %v", seen.objects.Load(), err)
	}
	if got, err := store.Objects(t.Context(), c.Resource.ID, backup.ID); err != nil || !reflect.DeepEqual(got, objects) {
		t.Errorf("%+v %v", got, err)
	}
}
