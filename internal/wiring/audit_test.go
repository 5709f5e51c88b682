package wiring

import (
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/auditlog"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Audit logs are checked by the operator in our database, and by anybody in an export; a broken one is an error.
func TestAuditLogsAreChecked(t *testing.T) { //nolint:paralleltest // the environment is the process's
	env := settings(t)
	for k, v := range env {
		t.Setenv(k, v)
	}
	keys, err := keyring.Parse(redact.New(env["KEYRING"]))
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.PoolAt(t, env["DATABASE_URL"])
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"}
	for _, id := range ids {
		if _, err := store.ProvisionResource(t.Context(), remora.Provision{ID: remora.ResourceID(id), Name: "n", Plan: "mako"}, redact.New("key"), "age1"); err != nil {
			t.Fatal(err)
		}
	}
	remoraSays := func(args ...string) (string, error) {
		t.Helper()
		var out logtest.Buffer
		err := Run(t.Context(), args, &out, &logtest.Buffer{}, dialer.Strict())
		return out.String(), err
	}
	if out, err := remoraSays("audit", "verify"); err != nil || out != "2 audit logs with 2 lines are as they were written down\n" {
		t.Error(out, err)
	}
	chain, err := store.AuditChain(t.Context(), remora.ResourceID(ids[1]))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "log.json")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	head := auditlog.Head{Resource: remora.ResourceID(ids[1]), Addon: "n", At: time.Now(), Length: chain.Length, Hash: hex.EncodeToString(chain.Hash)}
	if err := auditlog.WriteJSON(f, head, store.AuditLines(t.Context(), head.Resource, remora.AuditLook{}, math.MaxInt64)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := remoraSays("audit", "check", file); err != nil || !strings.HasPrefix(out, "1 lines of n until 20") || !strings.HasSuffix(out, head.Hash+"\n") {
		t.Error(out, err)
	}
	if _, err := remoraSays("audit", "check", os.Args[0]); err == nil {
		t.Error("any file passes")
	}
	_, err = pool.Exec(t.Context(), `BEGIN; SELECT set_config('remora.service', 'on', true); ALTER TABLE audit_log DISABLE TRIGGER stays;
		UPDATE audit_log SET actor = 'nobody' WHERE resource_id = '`+ids[0]+`'; COMMIT`)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := remoraSays("audit", "verify"); err == nil || err.Error() != "1 of 2 audit logs are broken" || !strings.Contains(out, ids[0]+" is broken: line 1 ") {
		t.Error(out, err)
	}
	if out, err := remoraSays("audit", "verify", ids[1]); err != nil || !strings.HasPrefix(out, "1 audit logs with 1 lines") {
		t.Error(out, err)
	}
	for _, none := range []string{"nonsense", "00000000-0000-4000-8000-000000000003"} {
		if _, err := remoraSays("audit", "verify", none); err == nil {
			t.Errorf("%s passes", none)
		}
	}
}
