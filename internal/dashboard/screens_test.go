package dashboard_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// screen is one page in one of its states.
type screen struct {
	name string
	at   func(t *testing.T, s *site) (*tenant, string)
}

const dangerPath = "/dashboard/settings/danger"

// second is another database than shop's.
func second() postgres.Found {
	f := shop()
	f.AddonID, f.Addon, f.OwnerApp, f.Attachment = "id-2", "postgresql-round-2", "warehouse", "REMORA_WAREHOUSE"
	return f
}

// busy is a running backup, half way.
func (n *tenant) busy(t *testing.T) remora.BackupID {
	t.Helper()
	c := n.claim(t)
	p := remora.Progress{State: remora.RunDumping, Bytes: 97_300_000, BytesOut: 25_200_000, TablesDone: 4, TablesTotal: 7, Current: "sales.events"}
	if err := n.Beat(t.Context(), c, p); err != nil {
		t.Fatal(err)
	}
	return c.Backup
}

// years gives the database a history: n days of backups, one of ten of which failed.
func (n *tenant) years(t testing.TB, days int) {
	t.Helper()
	db := n.view(t).Databases[0].ID
	_, err := n.Pool.Exec(t.Context(), fmt.Sprintf(`
		BEGIN; SELECT set_config('remora.service', 'on', true);
		INSERT INTO backups (id, resource_id, database_id, requested_by, state, reason, queued_at, started_at, ended_at, tables, rows, plain_size, stored_size, client_major, attempts)
		SELECT gen_random_uuid(), '%s', '%s', CASE WHEN i %% 13 = 0 THEN 'owner@example.com' ELSE '' END,
		       CASE WHEN i %% 10 = 3 THEN 'failed' WHEN i %% 47 = 5 THEN 'canceled' WHEN i %% 31 = 7 THEN 'incomplete' WHEN i %% 7 = 1 THEN 'proven' ELSE 'verified' END,
		       CASE WHEN i %% 10 = 3 THEN 'unreachable' WHEN i %% 47 = 5 THEN 'canceled' WHEN i %% 31 = 7 THEN 'unexplained_output' ELSE '' END,
		       now() - i * interval '1 day' - interval '2 hours', now() - i * interval '1 day' - interval '119 minutes',
		       now() - i * interval '1 day' - interval '119 minutes' + (40 + (%[3]d - i) / 4 + i %% 9) * interval '1 second', 48, 1200000 + (%[3]d - i) * 900,
		       CASE WHEN i %% 10 = 3 OR i %% 47 = 5 THEN 0 ELSE 310000000 + (%[3]d - i) * 700000 + (i %% 9) * 2000000 END,
		       CASE WHEN i %% 10 = 3 OR i %% 47 = 5 THEN 0 ELSE 310000000 + (%[3]d - i) * 700000 END, 15, 1
		  FROM generate_series(1::bigint, %[3]d) i; COMMIT`, n.id, db, days))
	if err != nil {
		t.Fatal(err)
	}
}

// reported is the permission doctor's report with all that there can be.
func (n *tenant) reported(t *testing.T, findings ...remora.Finding) remora.DatabaseID {
	t.Helper()
	db := n.view(t).Databases[0].ID
	if err := n.SaveCheck(t.Context(), n.id, db, remora.Audit{Role: "remora_ro", Findings: findings}, remora.Server{Version: "15.18", Size: 1_234_567_890}); err != nil {
		t.Fatal(err)
	}
	return db
}

var findings = []remora.Finding{
	{Code: "table_write", Severity: remora.SeverityDeny, Object: `TABLE sales.orders`, Detail: "may INSERT and UPDATE", Fix: `REVOKE INSERT, UPDATE ON sales.orders FROM remora_ro;`},
	{Code: "table_select", Severity: remora.SeverityFatal, Object: `TABLE audit."Log"`, Detail: "has no SELECT", Fix: `GRANT SELECT ON audit."Log" TO remora_ro;`},
	{Code: "no_default_select", Severity: remora.SeverityFuture, Object: `SCHEMA sales`, Detail: "tables made there later cannot be read", Fix: `ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA sales GRANT SELECT ON TABLES TO remora_ro;`},
	{Code: "security_definer", Severity: remora.SeverityReview, Object: `FUNCTION public.refund(bigint)`, Detail: "runs with its owner's powers, and this credential may call it"},
	remora.ServerKey{At: "ec2-1-2-3-4.compute-1.amazonaws.com:5432", SHA256: bytes.Repeat([]byte{0xa5}, 32)}.Finding(remora.ServerKey{At: "ec2-1-2-3-4.compute-1.amazonaws.com:5432", SHA256: bytes.Repeat([]byte{0xc3}, 32)}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	{Code: "temp_tables", Severity: remora.SeverityInherent, Object: "DATABASE d1", Detail: "may make temporary tables"},
	{Code: "foreign_table", Severity: remora.SeverityInfo, Object: "FOREIGN TABLE public.remote", Detail: "its rows are elsewhere and in no dump"},
}

func databaseOf(n *tenant, t testing.TB) string {
	t.Helper()
	return "/dashboard/databases/" + string(n.view(t).Databases[0].ID)
}

// due lets the database's schedule have come three times, of which two were missed.
func (n *tenant) due(t *testing.T) {
	t.Helper()
	_, err := n.Pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE schedules SET next_run_at = next_run_at - interval '3 days' WHERE resource_id = '"+string(n.id)+"'; COMMIT")
	if err == nil {
		_, err = n.EnqueueDue(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// screens are all pages in their states.
var screens = []screen{
	{"database-late-badge-ping", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		db := n.view(t).Databases[0].ID
		_, err := n.Pool.Exec(t.Context(), "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE runs SET started_at = started_at - interval '9 days' WHERE resource_id = '"+string(n.id)+"'; COMMIT")
		if err == nil {
			err = n.MakeBadge(t.Context(), n.id, db, false, "owner@example.com")
		}
		if err == nil {
			err = n.SetPing(t.Context(), n.id, db, redact.New("https://hc-ping.com/5e3d"), true, "owner@example.com")
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, databaseOf(n, t)
	}},
	{"overview-empty", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), "/dashboard" }},
	{"overview-not-shared", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t)
		if err := n.SetAttention(t.Context(), n.id, remora.ReasonNotShared); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard"
	}},
	{"first-owners-credential", func(t *testing.T, s *site) (*tenant, string) {
		f := shop()
		f.Credential, f.Problem = "", "It is the owner's."
		return s.tenant(t, f), "/dashboard"
	}},
	{"first-running", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.reported(t)
		n.busy(t)
		return n, "/dashboard"
	}},
	{"first-refused", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.fail(t, &remora.Failure{Reason: remora.ReasonCanWrite, Detail: "may INSERT"}, findings[0].Fix)
		n.reported(t, findings...)
		return n, "/dashboard"
	}},
	{"first-verified", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.reported(t)
		n.keep(t)
		return n, "/dashboard"
	}},
	{"overview-one", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.reported(t)
		b := n.keep(t)
		n.years(t, 40)
		n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofPassed, ServerVersion: "15.18", Tables: 7, Rows: 4711})
		return n, "/dashboard"
	}},
	{"overview-many", func(t *testing.T, s *site) (*tenant, string) {
		found := []postgres.Found{shop()}
		for i := range 6 {
			f := shop()
			f.AddonID, f.Addon, f.OwnerApp = fmt.Sprint("id-", i+2), fmt.Sprintf("postgresql-with-a-rather-long-name-%d", 40312+i), "an-app-with-a-rather-long-name-too"
			if i == 1 {
				f.Credential, f.Problem = "", "It is the owner's."
			}
			found = append(found, f)
		}
		n := s.tenant(t, found...)
		n.busy(t)
		return n, "/dashboard"
	}},
	{"overview-failing", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.fail(t, &remora.Failure{Reason: remora.ReasonPermission, Detail: "pg_dump: error: permission denied for table log"}, findings[1].Fix)
		n.years(t, 40)
		n.reported(t, findings...)
		return n, "/dashboard"
	}},
	{"tokens-empty", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), apiTokens }},
	{"tokens-many", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		for _, x := range []remora.NewAPIToken{
			{Name: "an old one", Scope: remora.ScopeOperate, Good: time.Nanosecond},
			{Name: "a program with a rather long name, and an owner", Scope: remora.ScopeAdmin},
			{Name: "deploys", Scope: remora.ScopeRead, Good: 90 * 24 * time.Hour},
		} {
			_, secret, err := n.MakeAPIToken(t.Context(), n.id, x, "owner@example.com")
			if err == nil && x.Good != time.Nanosecond {
				_, _, err = n.UseAPIToken(t.Context(), secret.Reveal(), "203.0.113.7")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return n, apiTokens
	}},
	{"notifications-empty", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), notifications }},
	{"notifications-many", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.told(t)
		return n, notifications
	}},
	{"database-new", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.busy(t)
		return n, databaseOf(n, t)
	}},
	{"database-many", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.years(t, 400)
		n.reported(t)
		return n, databaseOf(n, t)
	}},
	{"database-failing", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.fail(t, &remora.Failure{Reason: remora.ReasonCanWrite, Detail: "may INSERT"}, findings[0].Fix)
		n.years(t, 40)
		n.reported(t, findings...)
		return n, databaseOf(n, t)
	}},
	{"backup-running", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.years(t, 20)
		return n, "/dashboard/backups/" + string(n.busy(t))
	}},
	{"backup-proven", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofPassed, ServerVersion: "15.18", Tables: 7, Rows: 4711, Objects: true, LeftOut: "event trigger ensure_indexes"})
		if _, _, err := n.MakeLink(t.Context(), n.id, b.ID, "owner@example.com", time.Hour); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard/backups/" + string(b.ID)
	}},
	{"backup-failed", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.fail(t, &remora.Failure{Reason: remora.ReasonPermission, Detail: "pg_dump: error: query failed: ERROR:  permission denied for table Log\npg_dump: detail: Query was: LOCK TABLE audit.\"Log\" IN ACCESS SHARE MODE"}, findings[1].Fix)
		return n, "/dashboard/backups/" + string(b)
	}},
	{"backup-refused", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		c := n.claim(t)
		a := remora.Audit{Role: "remora_ro", Findings: []remora.Finding{findings[1], findings[2], findings[5], findings[6]}}
		f := a.Refusal()
		err := n.SaveAudit(t.Context(), c, a, remora.Server{Version: "15.18", Size: 1})
		if err == nil {
			_, err = n.FailRun(t.Context(), c, f, f.Fix)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard/backups/" + string(c.Backup)
	}},
	{"database-paused", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.reported(t)
		n.due(t)
		n.keep(t)
		if err := n.PauseSchedule(t.Context(), n.id, n.view(t).Databases[0].ID, "We move to a new database this week.", "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		return n, databaseOf(n, t)
	}},
	{"database-retention-pending", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		n.years(t, 40)
		n.reported(t)
		n.pending(t)
		if err := n.LockBackup(t.Context(), n.id, b.ID, "before the migration", "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		return n, databaseOf(n, t) + "#retention"
	}},
	{"retention", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.years(t, 60)
		return n, databaseOf(n, t) + "/retention"
	}},
	{"backup-locked", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		if err := n.LockBackup(t.Context(), n.id, b.ID, "before the migration", "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard/backups/" + string(b.ID) + "#kept"
	}},
	{"schedule", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, databaseOf(n, t) + "/schedule"
	}},
	{"schedule-beyond-the-plan", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		db := n.view(t).Databases[0].ID
		err := n.SetSchedule(t.Context(), n.id, db, remora.Rule{Kind: remora.RuleEveryHours, Hours: 6, Minute: 150, Zone: "America/Argentina/Buenos_Aires"}, "owner@example.com")
		if err == nil {
			_, err = n.ChangePlan(t.Context(), n.id, "test")
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, databaseOf(n, t) + "/schedule"
	}},
	{"restore", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		for range 2 {
			if _, _, err := n.MakeLink(t.Context(), n.id, b.ID, "owner@example.com", time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		return n, "/dashboard/backups/" + string(b.ID) + "/restore"
	}},
	{"tables", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.keep(t).ID) + "/tables"
	}},
	{"audit-log-new", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), auditPath }},
	{"audit-log-many", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		n.many(t, 12_000)
		err := n.LockBackup(t.Context(), n.id, b.ID, "", "owner@example.com")
		if err == nil {
			err = n.PauseSchedule(t.Context(), n.id, b.Database, "We move to a new database this week.", "somebody.with-a-rather-long-name@a-company-with-a-long-name.example.com")
		}
		if err == nil {
			err = n.NoteStranger(t.Context(), n.id, "owner@example.com", "GET /dashboard/backups/{backup}", []string{"00000000-0000-0000-0000-000000000000"})
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, auditPath
	}},
	{"audit-log-nothing-found", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), auditPath + "?who=nobody" }},
	{"danger-zone", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), dangerPath }},
	{"danger-zone-full", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop(), second())
		b := n.keep(t)
		n.years(t, 40)
		_, _, err := n.MakeLink(t.Context(), n.id, b.ID, "owner@example.com", time.Hour)
		if err == nil {
			_, _, err = n.MakeAPIToken(t.Context(), n.id, remora.NewAPIToken{Name: "ci", Scope: remora.ScopeRead}, "owner@example.com")
		}
		if err == nil {
			err = n.SaveFound(t.Context(), n.id, "helper", nil)
		}
		if err == nil {
			err = n.ForgetDatabase(t.Context(), n.id, b.Database, "owner@example.com")
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, dangerPath
	}},
	{"settings", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), "/dashboard/settings" }},
	{"receipt-begun", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), "/receipts/" + s.removed(t, false) }},
	{"receipt", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), "/receipts/" + s.removed(t, true) }},
	{"keys", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), keysPage }},
	{"keys-alone", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.alone(t)
		return n, keysPage
	}},
	{"keys-looked", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), keysPage }},
	{"keys-wrong", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), keysPage }},
	{"danger-zone-wrong", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop(), second())
		n.keep(t)
		if err := n.SaveFound(t.Context(), n.id, "helper", []postgres.Found{second()}); err != nil {
			t.Fatal(err)
		}
		return n, dangerPath
	}},
	{"storage", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t, shop()), storagePage }},
	{"storage-own", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.stores(t, "backups-two")
		n.keep(t)
		n.stores(t, "backups-one")
		return n, storagePage
	}},
	{"storage-copies", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.plan(t, "hammerhead")
		n.copies(t, "backups-one")
		n.copied(t, n.keep(t).ID, nil)
		n.copies(t, "backups-two")
		return n, storagePage
	}},
	{"backup-copied", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.plan(t, "hammerhead")
		n.copies(t, "backups-one")
		b := n.keep(t)
		n.copied(t, b.ID, nil)
		return n, "/dashboard/backups/" + string(b.ID)
	}},
	{"backup-not-copied", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.plan(t, "hammerhead")
		n.copies(t, "backups-one")
		b := n.keep(t)
		n.copied(t, b.ID, &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "The key may not write an object (s3:PutObject)."})
		return n, "/dashboard/backups/" + string(b.ID)
	}},
	{"backup-own", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.stores(t, "backups-one")
		n.locked = remora.ObjectLock{Mode: remora.LockCompliance, Until: time.Now().AddDate(0, 0, 14)}
		return n, "/dashboard/backups/" + string(n.keep(t).ID)
	}},
	{"backup-alone", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.alone(t).ID)
	}},
	{"restore-alone", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.alone(t).ID) + "/restore"
	}},
	{"missing", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), "/dashboard/nothing" }},
	{"overview-provisioning", func(t *testing.T, s *site) (*tenant, string) {
		n := &tenant{site: s, id: remora.NewID[remora.ResourceID](), session: remora.NewToken()}
		_, err := s.ProvisionResource(t.Context(), remora.Provision{ID: n.id, Name: "remora-backup-clean-2", Plan: "mako", Region: "us", Grant: redact.New("grant")}, redact.New("key"), "age1")
		if err == nil {
			err = s.OpenSession(t.Context(), remora.Session{Resource: n.id, Email: "owner@example.com"}, n.session, "used-"+string(n.id))
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard"
	}},
	{"overview-downgraded", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.years(t, 40)
		if _, err := n.ChangePlan(t.Context(), n.id, "test"); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard"
	}},
	{"settings-downgraded", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		if _, err := n.ChangePlan(t.Context(), n.id, "test"); err != nil {
			t.Fatal(err)
		}
		n.told(t)
		return n, "/dashboard/settings"
	}},
	{"overview-two-credentials", func(t *testing.T, s *site) (*tenant, string) {
		f := shop()
		f.Also, f.Beside = []postgres.Attached{{Attachment: "REMORA_NEW", Credential: "remora_new"}}, "DATABASE"
		n := s.tenant(t, f)
		n.keep(t)
		return n, "/dashboard"
	}},
	{"overview-detached", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		if err := n.SaveFound(t.Context(), n.id, "helper", nil); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard"
	}},
	{"database-zoned", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.years(t, 3)
		db := n.view(t).Databases[0].ID
		if err := n.SetSchedule(t.Context(), n.id, db, remora.Rule{Kind: remora.RuleDaily, Minute: 210, Zone: "Asia/Kolkata"}, "owner@example.com"); err != nil {
			t.Fatal(err)
		}
		return n, databaseOf(n, t) + "?show=good"
	}},
	{"backup-queued", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.view(t).Backups[0].ID)
	}},
	{"backup-retrying", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.fail(t, &remora.Failure{Reason: remora.ReasonUnreachable, Detail: "connection refused"}, ""))
	}},
	{"backup-proof-lost", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofLost, Reason: remora.ReasonWorkerLost})
		return n, "/dashboard/backups/" + string(b.ID)
	}},
	{"backup-proof-differs", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		b := n.keep(t)
		n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonRestoreDiffers, Detail: "public.orders: 4,710 rows restored, 4,711 counted"})
		return n, "/dashboard/backups/" + string(b.ID)
	}},
	{"restore-nothing", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.fail(t, &remora.Failure{Reason: remora.ReasonPermission}, "")) + "/restore"
	}},
	{"mailed-confirm", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t)
		return n, "/notifications/confirm/" + n.asked(t)
	}},
	{"mailed-stop", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t)
		return n, "/notifications/stop/" + n.asked(t)
	}},
	{"restore-link", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, "/dashboard/backups/" + string(n.keep(t).ID) + "/restore"
	}},
	{"retention-going", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		n.keep(t)
		n.years(t, 40)
		return n, databaseOf(n, t) + "/retention"
	}},
	{"notifications-wrong", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), notifications }},
	{"notifications-secret", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), notifications }},
	{"schedule-wrong", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		return n, databaseOf(n, t) + "/schedule"
	}},
	{"error-403", func(t *testing.T, s *site) (*tenant, string) { return s.tenant(t), "/dashboard" }},
	{"error-401", func(_ *testing.T, s *site) (*tenant, string) {
		return &tenant{site: s, session: remora.NewToken()}, "/dashboard"
	}},
	{"error-410", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t, shop())
		if err := n.DeprovisionResource(t.Context(), n.id); err != nil {
			t.Fatal(err)
		}
		return n, "/dashboard"
	}},
	{"error-429", func(t *testing.T, s *site) (*tenant, string) {
		n := s.tenant(t)
		c, _, err := n.AddChannel(t.Context(), n.id, remora.NewChannel{Kind: remora.ChannelSlack, Address: redact.New("https://hooks.slack.com/x")}, "owner@example.com")
		for range remora.MaxTests {
			if err == nil {
				err = n.TestChannel(t.Context(), n.id, c, "owner@example.com")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return n, notifications
	}},
	{"error-500", func(t *testing.T, _ *site) (*tenant, string) {
		n := newSite(t).tenant(t)
		n.Pool.Close()
		return n, "/dashboard"
	}},
}

// asked adds a mailbox, and returns what opens the links of the mail that asks it.
func (n *tenant) asked(t *testing.T) string {
	t.Helper()
	n.post(t, notifications, url.Values{"kind": {"email"}, "address": {"owner@example.com"}})
	all, err := n.Deliveries(t.Context(), n.id)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	m, err := n.ToDeliver(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return m.Secret.Reveal()
}

// acts are what is done on a page before it is looked at, by the name of the screen.
var acts = map[string]func(b *browsertest.Tab, n *tenant){
	"restore-link":        press(`form[action$="/links"] button`),
	"retention-going":     press(`button[value="look"]`),
	"notifications-wrong": fillAndPress(`#address`, "nobody", `#add button`),
	"notifications-secret": func(b *browsertest.Tab, n *tenant) {
		b.Do(chromedp.Click(chromedp.CSS(`input[value="webhook"]`)))
		fillAndPress(`#address`, "https://ops.example.com/hook", `#add button`)(b, n)
	},
	"schedule-wrong": func(b *browsertest.Tab, n *tenant) {
		b.Do(chromedp.Click(chromedp.CSS(`input[value="cron"]`)))
		fillAndPress(`input[name="cron"]`, "every day", `button[value="save"]`)(b, n)
	},
	"keys-looked": func(b *browsertest.Tab, n *tenant) {
		b.Do(chromedp.Click(chromedp.CSS(`input[value="alone"]`)))
		fillAndPress(`#keys`, ownKey, `button[value="look"]`)(b, n)
	},
	"keys-wrong": func(b *browsertest.Tab, n *tenant) {
		b.Do(chromedp.Click(chromedp.CSS(`input[value="both"]`)))
		fillAndPress(`#keys`, "AGE-SECRET-KEY-1", `button[value="look"]`)(b, n)
	},
	"danger-zone-wrong": fillAndPress(`#forget input[name="confirm"]`, "another", `#forget button`),
	"error-429":         press(`form[action$="/test"] button`),
	"error-403": func(b *browsertest.Tab, n *tenant) {
		b.Do(chromedp.Navigate(`data:text/html,<form method=post action="` + n.http.URL + `/dashboard/check"><button>A prize</button></form>`))
		b.Press("button")
	},
}

func press(selector string) func(*browsertest.Tab, *tenant) {
	return func(b *browsertest.Tab, _ *tenant) { b.Press(selector) }
}

func fillAndPress(field, value, button string) func(*browsertest.Tab, *tenant) {
	return func(b *browsertest.Tab, _ *tenant) {
		b.Fill(field, value)
		b.Press(button)
	}
}

// Every page in each of its states is clean: by all of axe-core's rules in light, by those about colours in dark too, and
// it fits a telephone.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMail, func(c *dashboard.Config) {
		c.Needs = func(context.Context, remora.ResourceID, remora.Backup) (remora.Needs, error) {
			return remora.Needs{Extensions: []string{"hstore", "pg_trgm"}, Superuser: []string{"EVENT TRIGGER ensure_indexes"}}, nil
		}
	})
	s.contents = func() (dashboard.Archive, error) {
		const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
		return strings.NewReader(`{"tables":[{"schema":"public","name":"customers","rows":120000,"bytes":9000000,"sha256":"` + digest + `"},
			{"schema":"sales","name":"events","rows":600000,"bytes":146000000,"sha256":"` + digest + `"}]}`), nil
	}
	for _, x := range screens {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			n, path := x.at(t, s)
			b := n.tab(t, true)
			b.Look(1280, 900, "light")
			b.Open(path)
			if act := acts[x.name]; act != nil {
				act(b, n)
			}
			b.Clean(x.name + " light")
			picture(b, x.name+"-light")
			b.Look(1280, 900, "dark")
			b.Clean(x.name+" dark", "color-contrast", "link-in-text-block")
			picture(b, x.name+"-dark")
			b.Look(360, 740, "light")
			b.Fits(x.name + " phone")
			picture(b, x.name+"-phone")
		})
	}
}
