package wiring

import (
	"context"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// The operator looks up what became of an add-on, and undoes its removal, once.
func TestTheOperatorHasAReceipt(t *testing.T) { //nolint:paralleltest // the environment is the process's
	ring := keyring.Generate("k1")
	url := pgtest.URL(t)
	t.Setenv("DATABASE_URL", url)
	t.Setenv("KEYRING", ring.Reveal())
	keys, err := keyring.Parse(ring)
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pgtest.PoolAt(t, url), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	id := remora.NewID[remora.ResourceID]()
	if _, err := store.ProvisionResource(t.Context(), remora.Provision{ID: id, Name: "remora-backup-1", Plan: "mako", Region: "us"}, redact.New("key"), "age1"); err != nil {
		t.Fatal(err)
	}
	command := func(words ...string) (string, error) {
		var out, log logtest.Buffer
		err := run(context.WithoutCancel(t.Context()), append([]string{"removal"}, words...), &out, &log, dialer.Strict(), pgdump.Find)
		return out.String(), err
	}
	for _, what := range []string{"receipt", "undo"} {
		if _, err := command(what, string(id)); remora.KindOf(err) != remora.KindNotFound {
			t.Errorf("%s of an add-on that was not removed: %v", what, err)
		}
	}
	if err := store.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	out, err := command("receipt", string(id))
	if err != nil || !strings.Contains(out, "held     0 databases, 0 backups") || !strings.Contains(out, "key that opens the archives: not yet; by 20") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := command("undo", string(id)); err != nil || !strings.Contains(out, "is undone") {
		t.Errorf("%s %v", out, err)
	}
	if _, err := command("undo", string(id)); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
}
