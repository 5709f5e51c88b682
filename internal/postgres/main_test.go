package postgres_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bundle is a store on a database of its own, with a clock that the test sets forward.
type bundle struct {
	*postgres.Store
	pool  *pgxpool.Pool
	ring  redact.Secret // the setting of its keys
	ahead time.Duration
}

func newBundle(t *testing.T, change ...func(*postgres.Config)) *bundle {
	t.Helper()
	b := &bundle{pool: pgtest.Pool(t), ring: keyring.Generate("k1")}
	keys, err := keyring.Parse(b.ring)
	if err != nil {
		t.Fatal(err)
	}
	cfg := postgres.Config{Pool: b.pool, Keys: keys, Now: func(at time.Time) time.Time { return at.Add(b.ahead) }}
	for _, c := range change {
		c(&cfg)
	}
	if b.Store, err = postgres.New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func provision(id remora.ResourceID) remora.Provision {
	return remora.Provision{ID: id, Name: "remora-backup-clean-1", Plan: "mako", Region: "amazon-web-services::us-east-1", Grant: redact.New("grant-code")}
}

// resource is a ready resource with databases that may be backed up, as many as named.
func (b *bundle) resource(t *testing.T, addons ...string) remora.ResourceID {
	t.Helper()
	return b.resourceIn(t, "amazon-web-services::us-east-1", addons...)
}

func (b *bundle) resourceIn(t *testing.T, region string, addons ...string) remora.ResourceID {
	t.Helper()
	ctx := t.Context()
	id := remora.NewID[remora.ResourceID]()
	p := provision(id)
	p.Region = region
	_, err := b.ProvisionResource(ctx, p, redact.New("key"), "age1recipient")
	if err == nil {
		err = b.SaveTokens(ctx, id, redact.New("access"), redact.New("refresh"), time.Now().Add(8*time.Hour))
	}
	if err == nil {
		err = b.SetReady(ctx, id, "app-id", "helper")
	}
	if err == nil {
		var found []postgres.Found
		for _, a := range addons {
			found = append(found, postgres.Found{AddonID: "id-" + a, Addon: a, OwnerApp: "shop", Attachment: "REMORA_DB", Credential: "remora_ro"})
		}
		err = b.SaveFound(ctx, id, "helper", found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// jobs counts the jobs of a kind, in any state.
func (b *bundle) jobs(t *testing.T, kind string) int {
	t.Helper()
	var n int
	if err := b.pool.QueryRow(context.Background(), "SELECT count(*) FROM river.river_job WHERE kind = $1", kind).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
