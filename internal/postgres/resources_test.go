package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestFiftyProvisionsMakeOneResourceAndOneJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := remora.NewID[remora.ResourceID]()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			r, err := b.ProvisionResource(t.Context(), provision(id), redact.New("key"), "age1")
			if err != nil || r.ID != id || r.State != remora.ResourceProvisioning {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	wg.Wait()
	if n := b.jobs(t, "make_ready"); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

func TestRemovedResourceStaysRemoved(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	if err := b.OpenSession(ctx, remora.Session{Resource: id, Email: "o@example.com"}, "token", "sso"); err != nil {
		t.Fatal(err)
	}
	if n := b.named(t, id); n != 1 {
		t.Errorf("%d sessions", n)
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.DeprovisionResource(ctx, id); remora.KindOf(err) != remora.KindGone {
		t.Errorf("again: %v", err)
	}
	if _, err := b.ProvisionResource(ctx, provision(id), redact.New("key"), "age1"); remora.KindOf(err) != remora.KindGone {
		t.Errorf("a late provision: %v", err)
	}
	if _, err := b.Session(ctx, "token"); remora.KindOf(err) != remora.KindGone {
		t.Errorf("session: %v", err)
	}
	if n := b.named(t, id); n != 0 {
		t.Errorf("%d sessions name a person", n)
	}
	if _, err := b.Tokens(ctx, id); remora.KindOf(err) != remora.KindGone {
		t.Errorf("tokens: %v", err)
	}
	never := remora.NewID[remora.ResourceID]()
	if err := b.DeprovisionResource(ctx, never); remora.KindOf(err) != remora.KindGone {
		t.Errorf("never seen: %v", err)
	}
	if _, err := b.ProvisionResource(ctx, provision(never), redact.New("key"), "age1"); remora.KindOf(err) != remora.KindGone {
		t.Errorf("provision after a removal that came first: %v", err)
	}
}

func TestPlanChange(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1", "db-2")
	for plan, want := range map[string]remora.Kind{"nonsense": remora.KindInvalid, "test": remora.KindPlanLimit} {
		if _, err := b.ChangePlan(ctx, id, plan); remora.KindOf(err) != want {
			t.Errorf("%s: %v", plan, err)
		}
	}
	if r, err := b.ChangePlan(ctx, id, "great-white"); err != nil || r.Plan != "great-white" {
		t.Error(r, err)
	}
	if _, err := b.ChangePlan(ctx, remora.NewID[remora.ResourceID](), "mako"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
}

func TestANeighboursIdentifiersFindNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	mine, other := b.resource(t, "db-1"), b.resource(t, "db-2")
	view, err := b.Overview(ctx, other)
	if err != nil || len(view.Backups) != 1 {
		t.Fatal(view, err)
	}
	if _, err := b.Backup(ctx, mine, view.Backups[0].ID); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's backup: %v", err)
	}
	if _, err := b.RequestBackup(ctx, mine, view.Databases[0].ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's database: %v", err)
	}
}

func TestOneRefresherPerResource(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t)
	now, err := b.Tokens(ctx, id)
	if err != nil || now.Access.Reveal() != "access" || !now.Grant.IsZero() {
		t.Fatal(now, err)
	}
	var mu sync.Mutex
	claims := 0
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			refresh, ok, err := b.ClaimRefresh(ctx, id, now.AccessExpiresAt)
			if err != nil {
				t.Error(err)
			}
			if ok {
				mu.Lock()
				defer mu.Unlock()
				claims++
				if refresh.Reveal() != "refresh" {
					t.Error("wrong token")
				}
			}
		})
	}
	wg.Wait()
	if claims != 1 {
		t.Errorf("%d claims", claims)
	}
	if err := b.SaveTokens(ctx, id, redact.New("access-2"), redact.Secret{}, now.AccessExpiresAt.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.ClaimRefresh(ctx, id, now.AccessExpiresAt); ok || err != nil {
		t.Error("claimed a refresh that has happened", err)
	}
	if again, err := b.Tokens(ctx, id); err != nil || again.Access.Reveal() != "access-2" || again.Refresh.Reveal() != "refresh" {
		t.Error(err)
	}
}

func TestTokensAreSealedAtRest(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.resource(t)
	var dump string
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // it only reads
	if _, err := tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), "SELECT string_agg(encode(sealed_access,'escape')||encode(sealed_refresh,'escape')||encode(sealed_key,'escape'),'') || max(name) FROM resources").Scan(&dump); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"access", "refresh", "key"} {
		if contains(dump, secret) {
			t.Errorf("%s is stored as it is", secret)
		}
	}
	if !contains(dump, "clean") {
		t.Error("the search finds nothing")
	}
}

// Another key ring than the one that sealed what is here is found out at the start, not when somebody needs a backup.
func TestForeignKeysAreRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.CheckKeys(t.Context()); err != nil {
		t.Error("an empty database:", err)
	}
	b.resource(t, "db-1")
	if err := b.CheckKeys(t.Context()); err != nil {
		t.Error(err)
	}
	with := func(setting redact.Secret) *postgres.Store {
		keys, err := keyring.Parse(setting)
		if err != nil {
			t.Fatal(err)
		}
		other, err := postgres.New(postgres.Config{Pool: b.pool, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return other
	}
	refused := func(s *postgres.Store, what string) {
		t.Helper()
		if err := s.CheckKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "KEYRING") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused(with(keyring.Generate("k1")), "another key of the same name")
	refused(with(keyring.Generate("k2")), "another key")
	// A key that was put in front seals what comes from now on; the old one is still needed for what it sealed.
	next := keyring.Generate("k2")
	b.Store = with(redact.New(next.Reveal() + "," + b.ring.Reveal()))
	b.resource(t, "db-2")
	if err := b.CheckKeys(t.Context()); err != nil {
		t.Error("two keys:", err)
	}
	refused(with(next), "the old key was taken out")
}

// named counts a resource's sessions that say whose they are.
func (b *bundle) named(t *testing.T, id remora.ResourceID) (n int) {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err = tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err == nil {
		err = tx.QueryRow(t.Context(), "SELECT count(*) FROM sessions WHERE resource_id = $1 AND (email <> '' OR user_id <> '')", id).Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
