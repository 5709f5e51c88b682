package wiring

import (
	"bytes"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// The operator's way from one master key to the next, and what is said of each step.
func TestTheWayToANewMasterKey(t *testing.T) { //nolint:paralleltest // the environment is the process's
	pool := pgtest.Pool(t)
	old, newest := keyring.Generate("k1").Reveal(), keyring.Generate("k2").Reveal()
	keys, err := keyring.Parse(redact.New(old))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := store.ProvisionResource(t.Context(), remora.Provision{ID: remora.NewID[remora.ResourceID](), Plan: "mako", Grant: redact.New("grant")}, redact.New("key"), "age1"); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DATABASE_URL", pool.Config().ConnString())
	t.Setenv("LOG_TEXT", "true")
	keysDo := func(what, ring string) (string, error) {
		t.Helper()
		t.Setenv("KEYRING", ring)
		var out, log bytes.Buffer
		err := Run(t.Context(), []string{"keys", what}, &out, &log, dialer.Strict())
		for _, secret := range strings.Split(ring, ",") {
			_, value, _ := strings.Cut(secret, ":")
			if strings.Contains(out.String()+log.String(), value) {
				t.Error("a key is shown")
			}
		}
		return out.String(), err
	}
	step := func(what, ring string, fails bool, words ...string) {
		t.Helper()
		out, err := keysDo(what, ring)
		if (err != nil) != fails {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		if err != nil {
			out += err.Error()
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not say %q:\n%s", what, w, out)
			}
		}
	}
	both := newest + "," + old
	step("check", old, false, "k1 seals; has sealed 10 values", "  resources.sealed_key: 5\n")
	step("check", both, false, "k2 seals; has sealed 0 values", "k1 has sealed 10 values: remora keys rotate has them sealed by k2")
	step("check", newest, true, "k1 is not in KEYRING and has sealed 10 values: put it back", "values are sealed by keys that are not in KEYRING: k1")
	step("rotate", newest, true, "10 values do not open and stay as they were")
	step("rotate", both, false, "resources.sealed_key: 5\n", "10 values are sealed by k2 now that were not.", "k1 nothing needs it any more: take it out of KEYRING")
	step("rotate", both, false, "0 values are sealed by k2 now that were not.")
	step("check", newest, false, "k2 seals; has sealed 12 values", "  retired_keys.sealed_mac_key: 2\n")
}
