package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// nobodys are the tables that hold no customer's rows, each with why not.
var nobodys = map[string]string{
	"deletion_holds":   "when an operator had nothing deleted",
	"goose_db_version": "which migrations were applied",
	"retired_keys":     "what checks the signatures of our own former keys",
}

// tenants are the tables of customers' rows, each with the column that says whose, as the catalogue has them.
func tenants(t *testing.T, b *bundle) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, table := range query[string](t, b, `SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace`) {
		switch {
		case nobodys[table] != "":
		case table == "resources":
			out[table] = "id"
		default:
			out[table] = "resource_id"
		}
	}
	return out
}

// everything makes a resource that has rows in every table. What people and servers name has the mark in it.
func (b *bundle) everything(t *testing.T, mark string) remora.ResourceID {
	t.Helper()
	ctx := t.Context()
	p := provision(remora.NewID[remora.ResourceID]())
	p.Name, p.LogInput = "remora-backup-"+mark, redact.New("https://token:t."+mark+"@1.us.logplex.io/logs")
	_, err := b.ProvisionResource(ctx, p, redact.New("key-"+mark), "age1"+mark)
	if err == nil {
		err = b.SaveTokens(ctx, p.ID, redact.New("access-"+mark), redact.New("refresh-"+mark), time.Now().Add(8*time.Hour))
	}
	if err == nil {
		err = b.SetReady(ctx, p.ID, "app-"+mark, "helper-"+mark)
	}
	if err == nil {
		err = b.SaveFound(ctx, p.ID, "helper-"+mark, []postgres.Found{{AddonID: "id-" + mark, Addon: "postgresql-" + mark, OwnerApp: "shop-" + mark, Attachment: "REMORA_DB", Credential: "ro_" + mark}})
	}
	if err == nil {
		err = b.OpenSession(ctx, remora.Session{Resource: p.ID, UserID: "user-" + mark, Email: mark + "@example.com"}, "session-"+mark, "sso-"+mark)
	}
	if err != nil {
		t.Fatal(err)
	}
	db := b.first(t, p.ID).Database
	b.channel(t, p.ID, remora.ChannelWebhook, "https://hooks.example.com/"+mark)
	good := b.first(t, p.ID).ID
	c, err := b.ClaimBackup(ctx, good, "w")
	if err == nil {
		err = b.SaveAudit(ctx, c, report(), remora.Server{Version: "15.18", Size: 4711})
	}
	if err == nil {
		err = b.KeepBackup(ctx, c, remora.Kept{Tables: 1, Rows: 1, Objects: []remora.Object{{Name: "head", Size: 7, SHA256: []byte{1}}, {Name: "body-001", Size: 70, SHA256: []byte{2}}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.due(t, p.ID, good)
	b.watch(t)
	if _, _, err = b.MakeLink(ctx, p.ID, good, mark+"@example.com", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		b.SetAttention(ctx, p.ID, remora.ReasonNotShared),
		b.Acknowledge(ctx, p.ID, db, "foreign_server", "far", mark+"@example.com"),
		b.SetSealing(ctx, p.ID, remora.Sealing{Recipients: []string{"age1" + mark}}, mark+"@example.com"),
		b.SetBucket(ctx, p.ID, remora.Place{Endpoint: "https://s3." + mark + ".example.com", Bucket: "backups-" + mark}, remora.BucketKeys{AccessKey: "AKIA" + mark, SecretKey: redact.New("secret-" + mark)}, remora.BucketLock{}, mark+"@example.com"),
		b.LockBackup(ctx, p.ID, good, "keep "+mark, mark+"@example.com"),
		b.MakeBadge(ctx, p.ID, db, true, mark+"@example.com"), b.SetPing(ctx, p.ID, db, redact.New("https://hc.example.com/"+mark), true, mark+"@example.com"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, fmt.Sprintf("INSERT INTO copies (backup_id, bucket_id, resource_id, state, detail, asked_at, due_at) SELECT '%s', id, resource_id, 'failed', 'store of %s', now(), now() FROM buckets WHERE resource_id = '%s'", good, mark, p.ID))
	if _, err := b.SetRetention(ctx, p.ID, db, remora.Retention{Last: 4, Zone: "UTC"}, 9, mark+"@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.MakeAPIToken(ctx, p.ID, remora.NewAPIToken{Name: "ci-" + mark, Scope: remora.ScopeRead}, mark+"@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RequestBackup(ctx, p.ID, db, mark+"@example.com"); err != nil {
		t.Fatal(err)
	}
	b.plan(t, p.ID)
	b.exec(t, fmt.Sprintf(`UPDATE schedules SET next_run_at = now() + interval '%d second' WHERE resource_id = '%s'`, int(b.ahead.Seconds())-1, p.ID))
	b.tick(t)
	return p.ID
}

// scoped runs on a connection of its own, in a transaction that is rolled back, for a resource, for the service, or for nobody.
func (b *bundle) scoped(t *testing.T, setting, value string, do func(pgx.Tx)) {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // nothing of it is to stay
	if setting != "" {
		if _, err := tx.Exec(t.Context(), "SELECT set_config($1, $2, true)", setting, value); err != nil {
			t.Fatal(err)
		}
	}
	do(tx)
}

// A table that is new is found here, before its rows are found by a neighbour.
func TestEveryTableOfCustomersIsGuarded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for table, column := range tenants(t, b) {
		got := query[string](t, b, fmt.Sprintf(`
			SELECT concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity, a.atttypid::regtype, a.attnotnull, row_security_active(c.oid),
			                 (SELECT string_agg(p.polname || ' ' || p.polpermissive || ' ' || p.polcmd::text || ' ' || p.polroles::text || ' ' || (p.polwithcheck IS NULL)
			                         || ' ' || replace(pg_get_expr(p.polqual, p.polrelid), '%[2]s = ', 'owner = '), '; ') FROM pg_policy p WHERE p.polrelid = c.oid))
			  FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = '%[2]s' WHERE c.oid = 'public.%[1]s'::regclass`, table, column))[0]
		const want = `t t uuid t t own_rows true * {0} true ((owner = ( SELECT (NULLIF(current_setting('remora.resource'::text, true), ''::text))::uuid AS "nullif")) OR ( SELECT (current_setting('remora.service'::text, true) = 'on'::text)))`
		if got != want {
			t.Errorf("%s is not guarded. Give it a column resource_id uuid NOT NULL REFERENCES resources, and end its migration with\n"+
				"\tSELECT remora_guard('%[1]s');\nor, where it holds nothing of customers, name it in nobodys with the reason.\nfound: %s\nwant:  %s", table, got, want)
		}
	}
}

// Nothing is seen, changed, deleted or written without a scope or beyond it, in any table.
func TestRowsOfOthersAreInvisibleAndUnwritable(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	mine, other := b.everything(t, "mine"), b.everything(t, "other")
	b.exec(t, "INSERT INTO removals (resource_id, asked_at, undo_until, databases, backups, objects, bytes) SELECT id, now(), now(), 0, 0, 0, 0 FROM resources")
	admin := pgtest.PoolAt(t, pgtest.Server(t).SuperuserURL(b.pool.Config().ConnConfig.Database))
	for table, column := range tenants(t, b) {
		var row string // of the other's, as a superuser sees it
		err := admin.QueryRow(t.Context(), fmt.Sprintf("SELECT row_to_json(x)::text FROM %s x WHERE %s = $1 LIMIT 1", table, column), other).Scan(&row)
		if err != nil {
			t.Errorf("%s: give everything() a row of it: %v", table, err)
			continue
		}
		for _, scope := range []struct {
			setting, value string
			sees           string // whose rows, besides nobody's
		}{{"", "", ""}, {"remora.resource", "", ""}, {"remora.service", "off", ""}, {"remora.resource", string(mine), string(mine)}} {
			say := func(format string, args ...any) {
				t.Helper()
				t.Errorf("%s, scope %q %q: %s", table, scope.setting, scope.value, fmt.Sprintf(format, args...))
			}
			b.scoped(t, scope.setting, scope.value, func(tx pgx.Tx) {
				rows, _ := tx.Query(t.Context(), fmt.Sprintf("SELECT %s::text FROM %s", column, table))
				seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil || (len(seen) > 0) != (scope.sees != "") {
					say("%d rows are seen: %v", len(seen), err)
				}
				for _, id := range seen {
					if id != scope.sees {
						say("a row of %s is seen", id)
					}
				}
			})
			where := fmt.Sprintf("WHERE %s <> '%s'", column, mine)
			if scope.sees == "" {
				where = ""
			}
			for _, sql := range []string{
				fmt.Sprintf("UPDATE %s SET %s = %[2]s %s", table, column, where), fmt.Sprintf("DELETE FROM %s %s", table, where),
			} {
				b.scoped(t, scope.setting, scope.value, func(tx pgx.Tx) {
					if tag, err := tx.Exec(t.Context(), sql); tag.RowsAffected() != 0 || err != nil {
						say("%s: %s %v", sql, tag, err)
					}
				})
			}
			b.scoped(t, scope.setting, scope.value, func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), fmt.Sprintf("INSERT INTO %s OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_record(NULL::%[1]s, $1)", table), row)
				refused(t, table+": a row of the other's is written", err)
			})
			if scope.sees != "" && column != "id" {
				b.scoped(t, scope.setting, scope.value, func(tx pgx.Tx) {
					_, err := tx.Exec(t.Context(), fmt.Sprintf("UPDATE %s SET %s = $1", table, column), other)
					refused(t, table+": a row is given to the other", err)
				})
			}
		}
		b.scoped(t, "remora.service", "on", func(tx pgx.Tx) {
			var owners int
			if err := tx.QueryRow(t.Context(), fmt.Sprintf("SELECT count(DISTINCT %s) FROM %s", column, table)).Scan(&owners); err != nil || owners < 2 {
				t.Errorf("%s: the service sees rows of %d: %v", table, owners, err)
			}
		})
	}
}

// refused is by row-level security, or where a table is only added to.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	const insufficientPrivilege, restrictViolation = "42501", "23001"
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != insufficientPrivilege && e.Code != restrictViolation {
		t.Errorf("%s: %v", what, err)
	}
}

// No identifier is counted, or made of a time: each is 122 random bits, in every table.
func TestIdentifiersCannotBeGuessed(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.everything(t, "mine")
	uncounted := map[string]bool{"audit_log": true} // which is not shown to anybody
	for table, owner := range tenants(t, b) {
		for _, column := range query[string](t, b, fmt.Sprintf(`SELECT attname::text || ' ' || atttypid::regtype FROM pg_attribute
			WHERE attrelid = '%s'::regclass AND NOT attisdropped AND (attname = 'id' OR atthasdef AND (attidentity <> '' OR atttypid = 'uuid'::regtype))`, table)) {
			if uncounted[table] || owner == "id" {
				continue
			}
			if column != "id uuid" {
				t.Errorf("%s: %s: a row's identifier is remora.NewID's", table, column)
				continue
			}
			for _, id := range query[string](t, b, "SELECT id::text FROM "+table) {
				if u, err := uuid.Parse(id); err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 {
					t.Errorf("%s: %s is no random identifier: %v", table, id, err)
				}
			}
		}
	}
}

// A connection that goes back to the pool takes nobody's scope with it, however its transaction ended, and a statement that was
// prepared for one resource does not remember it for the next.
func TestAScopeEndsWithItsTransaction(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	mine, other := b.resource(t, "db-1"), b.resource(t, "db-2")
	pool, err := postgres.NewPool(ctx, b.pool.Config().ConnString(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	cfg := b.Config
	cfg.Pool = pool
	s, err := postgres.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	never := remora.NewID[remora.ResourceID]()
	ends := map[string]func() error{
		"the service's, committed": func() error { return s.Ready(ctx) },
		"a resource's, committed":  func() error { _, err := s.Overview(ctx, mine); return err },
		"a resource's, rolled back": func() error {
			if _, err := s.Resource(ctx, never); remora.KindOf(err) != remora.KindNotFound {
				return fmt.Errorf("found: %w", err)
			}
			return nil
		},
		"a claim, which leaves its resource and returns": func() error { _, err := s.ClaimBackup(ctx, b.first(t, mine).ID, "w"); return err },
	}
	for name, do := range ends {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var left string
		var n int
		err := pool.QueryRow(ctx, "SELECT concat(current_setting('remora.resource', true), current_setting('remora.service', true)), (SELECT count(*) FROM resources)").Scan(&left, &n)
		if err != nil || left != "" || n != 0 {
			t.Errorf("%s: %q is left, and %d rows are seen: %v", name, left, n, err)
		}
	}
	for range 8 { // PostgreSQL keeps a plan from the sixth time on
		for _, id := range []remora.ResourceID{mine, other} {
			if o, err := s.Overview(ctx, id); err != nil || o.Resource.ID != id || len(o.Databases) != 1 {
				t.Fatalf("%+v %v", o, err)
			}
		}
	}
}

// A role for which the guard does not hold is found out at the start.
func TestARoleThatSeesEverythingIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.CheckGuard(t.Context()); err != nil {
		t.Error(err)
	}
	keys, err := keyring.Parse(b.ring)
	if err != nil {
		t.Fatal(err)
	}
	super, err := postgres.New(postgres.Config{Pool: pgtest.PoolAt(t, pgtest.Server(t).SuperuserURL(b.pool.Config().ConnConfig.Database)), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := super.CheckGuard(t.Context()); err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Error("a superuser is taken:", err)
	}
	b.exec(t, "ALTER TABLE links NO FORCE ROW LEVEL SECURITY")
	if err := b.CheckGuard(t.Context()); err == nil || !strings.Contains(err.Error(), "links") {
		t.Error("a table is open to its owner:", err)
	}
}
