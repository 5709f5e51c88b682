package jobworkers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/remora"
)

func (b *bundle) role(t *testing.T) string {
	t.Helper()
	at, err := url.Parse(b.url.Load().(string))
	if err != nil {
		t.Fatal(err)
	}
	return at.User.Username()
}

func (b *bundle) report(t *testing.T, x remora.Backup) remora.Audit {
	t.Helper()
	a, err := b.Store.Audit(t.Context(), b.id, x.ID)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// noDump makes a client whose pg_dump leaves a mark, and returns whether it was started.
func (b *bundle) noDump(t *testing.T) (started func() bool) {
	t.Helper()
	mark := filepath.Join(t.TempDir(), "mark")
	b.broken(t, "touch "+mark+"; exit 1")
	return func() bool { _, err := os.Stat(mark); return err == nil }
}

// A credential that can write, or cannot read everything, is refused before pg_dump is started, with what mends it; and
// what mends it does.
func TestTheDoctorRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		want   remora.Reason
		detail string
		fix    string
	}{
		"can write": {"GRANT INSERT, UPDATE ON large TO $me", remora.ReasonCanWrite, "public.large: the credential has INSERT, UPDATE on it", "REVOKE INSERT, UPDATE ON public.large FROM $me;"},
		"cannot read": {
			`CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."it's" (id int); REVOKE SELECT ON large FROM $me`, remora.ReasonPermission, `"Odd"."it's": the credential has no SELECT`,
			"GRANT USAGE ON SCHEMA \"Odd\" TO $me;\nGRANT SELECT ON \"Odd\".\"it's\" TO $me;\nGRANT SELECT ON public.large TO $me;",
		},
		"a large object": {"SELECT lo_from_bytea(4711, 'x')", remora.ReasonLargeObject, "large object 4711", "GRANT SELECT ON LARGE OBJECT 4711 TO $me;"},
		"row security":   {"ALTER TABLE large ENABLE ROW LEVEL SECURITY", remora.ReasonRowSecurity, "public.large", "CREATE POLICY remora_read ON public.large FOR SELECT TO $me USING (true);"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			b.connect(t)
			me, real := b.role(t), b.Clients
			started := b.noDump(t)
			pgtest.Exec(t, b.dbURL, strings.ReplaceAll(c.change, "$me", me))
			got := b.attempt(t)
			if got.State != remora.BackupFailed || got.Reason != c.want || !strings.Contains(got.Detail, c.detail) || got.Fix != strings.ReplaceAll(c.fix, "$me", me) {
				t.Fatalf("%+v", got)
			}
			if started() {
				t.Error("pg_dump was started")
			}
			if a := b.report(t, got); a.Role != me || a.Refusal() == nil || a.Refusal().Reason != c.want {
				t.Errorf("%+v", a)
			}
			b.nothing(t, b.Bucket)
			b.noSession(t)
			pgtest.Exec(t, b.dbURL, got.Fix)
			b.Clients = real
			if _, err := b.Store.RequestBackup(t.Context(), b.id, got.Database, "p"); err != nil {
				t.Fatal(err)
			}
			if got = b.attempt(t); got.State != remora.BackupVerified || got.Rows != 250000 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Of a database that was backed up before, pg_dump reads the catalogue while the credential is asked about. Nothing is
// taken of what it writes before the answer, and nothing after one that refuses; and where the answer is that rows are
// shown under row security only, it is started again to read so.
func TestTheDoctorIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	me, real := b.role(t), b.Clients
	first := b.attempt(t)
	if first.State != remora.BackupVerified {
		t.Fatalf("%+v", first)
	}
	again := func() remora.Backup {
		t.Helper()
		if _, err := b.Store.RequestBackup(t.Context(), b.id, first.Database, "p"); err != nil {
			t.Fatal(err)
		}
		return b.attempt(t)
	}
	pgtest.Exec(t, b.dbURL, "GRANT DELETE ON large TO "+me)
	mark := filepath.Join(t.TempDir(), "mark")
	b.broken(t, "PG_DUMP && touch "+mark+"; exit 1") // it has more to write than a pipe holds
	got := again()
	if got.State != remora.BackupFailed || got.Reason != remora.ReasonCanWrite || got.Fix != "REVOKE DELETE ON public.large FROM "+me+";" {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("what pg_dump wrote was taken")
	}
	if a := b.report(t, got); a.Verdict(nil) != remora.VerdictWrites {
		t.Errorf("%+v", a)
	}
	b.noSession(t)
	b.Clients = real
	pgtest.Exec(t, b.dbURL, got.Fix, "ALTER TABLE large ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON large FOR SELECT TO "+me+" USING (true)")
	if got = again(); got.State != remora.BackupVerified || got.Rows != 250000 {
		t.Errorf("%+v", got)
	}
	b.noSession(t)
}

// What is written down of a backup that is kept: the report, the inventory of its moment, and the server's own word
// that nothing was written.
func TestTheReportIsKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	pgtest.Exec(t, b.dbURL, "CREATE SUBSCRIPTION sub_"+b.role(t)+" CONNECTION 'host=nowhere' PUBLICATION x WITH (connect = false, slot_name = NONE)")
	got := b.attempt(t)
	if got.State != remora.BackupIncomplete || got.Reason != remora.ReasonLeftOut || !strings.HasPrefix(got.Detail, "sub_") {
		t.Fatalf("%+v", got)
	}
	b.noSession(t)
	a := b.report(t, got)
	if a.Witness.Before == 0 || a.Witness.After < a.Witness.Before || a.Verdict(nil) != remora.VerdictPartial {
		t.Errorf("%+v", a)
	}
	tables := int64(0)
	for _, k := range a.Inventory {
		if k.Kind == "table" {
			tables = k.Count
		}
	}
	if tables != 1 {
		t.Errorf("%+v", a.Inventory)
	}
	if s := b.sealed(t, got); s.Role != a.Role || !slices.Equal(s.Findings, a.Findings) || !slices.Equal(s.Inventory, a.Inventory) || len(s.Findings) == 0 ||
		s.Before != a.Witness.Before || s.After != a.Witness.After || s.Witness != a.Witness.Testimony() {
		t.Errorf("sealed with the archive: %+v, and not %+v", s, a)
	}
	pgtest.Exec(t, b.dbURL, "DROP SUBSCRIPTION sub_"+b.role(t))
	if _, err := b.Store.RequestBackup(t.Context(), b.id, got.Database, "p"); err != nil {
		t.Fatal(err)
	}
	if got = b.attempt(t); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
	// Without its report a backup is as good: our own session is ended while pg_dump reads.
	real := b.Clients[0]
	b.Clients = []pgdump.Client{b.ending(t, real, true)}
	if _, err := b.Store.RequestBackup(t.Context(), b.id, got.Database, "p"); err != nil {
		t.Fatal(err)
	}
	got = b.attempt(t)
	if a := b.report(t, got); got.State != remora.BackupVerified || a.Witness.Testimony() != remora.TestimonyNone {
		t.Errorf("%+v %+v", got, a)
	}
	if s := b.sealed(t, got); s.Witness != remora.TestimonyNone || s.Role != b.role(t) {
		t.Errorf("%+v", s)
	}
	b.noSession(t)
}

// Read under row security, an archive is kept only where our session has seen that no policy was changed.
func TestRowsThatMayBeHiddenAreNotKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	pgtest.Exec(t, b.dbURL, "ALTER TABLE large ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON large FOR SELECT TO "+b.role(t)+" USING (true)")
	real := b.Clients[0]
	b.Clients = []pgdump.Client{b.ending(t, real, false)}
	if got := b.attempt(t); got.State != remora.BackupQueued || got.Reason != remora.ReasonConnectionLost {
		t.Errorf("%+v", got)
	}
	b.nothing(t, b.Bucket)
	b.Clients = []pgdump.Client{b.ending(t, real, true)} // it has seen that, and what comes after changes nothing
	if got := b.attempt(t); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
}

// sealed is the report that is stored with a backup's archive.
func (b *bundle) sealed(t *testing.T, x remora.Backup) sealedReport {
	t.Helper()
	stored, err := archivestore.Contents(t.Context(), b.Bucket, archivestore.Ref{Resource: b.id, Backup: x.ID, Epoch: x.Epoch}, b.key, b.Keys)
	var listed struct{ Report sealedReport }
	if err := errors.Join(err, json.Unmarshal(stored, &listed)); err != nil {
		t.Fatal(err)
	}
	if err := pgarchive.WriteScript(io.Discard, bytes.NewReader(stored)); err != nil {
		t.Errorf("check.sql cannot be made of it: %v", err)
	}
	return listed.Report
}

// ending makes a client whose pg_dump ends every other session of the database: before it lets anything of the archive go, or once our
// session has let go of the snapshot.
func (b *bundle) ending(t *testing.T, real pgdump.Client, released bool) pgdump.Client {
	t.Helper()
	head, when := "", "query LIKE 'COPY %'"
	if released {
		head, when = "dd bs=1M iflag=fullblock count=1 2>/dev/null; ", "application_name = '"+pgdump.AppName+"' AND state = 'idle' AND query LIKE '%pg_blocking_pids%'"
	}
	b.broken(t, `PG_DUMP | { `+head+real.Dir+`/psql -qXAt -d '`+b.dbURL+`' -c "DO \$\$BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND `+when+`) LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP;
		END\$\$" -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query NOT LIKE 'COPY %'" >/dev/null; cat; }; exit 0`)
	return b.Clients[0]
}

// A look without a backup: what it found, or why it found nothing.
func TestCheckOfACredential(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	db := b.newest(t).Database
	look := func() remora.Audit {
		t.Helper()
		if err := b.Store.RequestAudit(t.Context(), b.id, db, "p"); err != nil {
			t.Fatal(err)
		}
		if err := work(t, t.Context(), &auditDatabase{Workers: b.Workers}, jobargs.AuditDatabase{Resource: b.id, Database: db}); err != nil {
			t.Fatal(err)
		}
		o, err := b.Store.Overview(t.Context(), b.id)
		if err != nil || !o.Databases[0].CheckAskedAt.IsZero() {
			t.Fatalf("%+v %v", o, err)
		}
		return o.Audits[db]
	}
	if a := look(); a.Verdict(nil) != remora.VerdictGood || len(a.Having(remora.SeverityInherent)) == 0 {
		t.Errorf("%+v", a)
	}
	b.noSession(t)
	pgtest.Exec(t, b.dbURL, "GRANT DELETE ON large TO "+b.role(t))
	if a := look(); a.Verdict(nil) != remora.VerdictWrites {
		t.Errorf("%+v", a)
	}
	b.url.Store("postgres://u:p@127.0.0.1:1024/db")
	if a := look(); a.Verdict(nil) != remora.VerdictUnknown || a.Failed != remora.ReasonUnreachable {
		t.Errorf("%+v", a)
	}
}
