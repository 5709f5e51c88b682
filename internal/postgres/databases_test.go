package postgres_test

import (
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// One more credential of a database is attached, whose name comes first: what is in use stays in use, and it is said once that there are two.
func TestTheCredentialInUseStays(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	one, two := postgres.Attached{Attachment: "REMORA_DB", Credential: "remora_ro"}, postgres.Attached{Attachment: "A_DB", Credential: "other"}
	save := func(first postgres.Attached, also ...postgres.Attached) {
		t.Helper()
		f := postgres.Found{AddonID: "id-db-1", Addon: "db-1", OwnerApp: "shop", Attachment: first.Attachment, Credential: first.Credential, Also: also}
		if err := b.SaveFound(t.Context(), id, "helper", []postgres.Found{f}); err != nil {
			t.Fatal(err)
		}
	}
	used := func() string { return query[string](t, b, "SELECT attachment || ' ' || credential FROM databases")[0] }
	for range 2 {
		if save(two, one); used() != "REMORA_DB remora_ro" {
			t.Error(used())
		}
	}
	said := query[string](t, b, "SELECT detail FROM events WHERE kind = '"+string(remora.EventTwoCredentials)+"'")
	if len(said) != 1 || !strings.HasPrefix(said[0], "We read with REMORA_DB (remora_ro)") || !strings.Contains(said[0], "A_DB (other)") {
		t.Error(said)
	}
	if save(two); used() != "A_DB other" {
		t.Error("the one in use was detached:", used())
	}
	if save(two, one); used() != "A_DB other" {
		t.Error(used())
	}
	if n := query[int](t, b, "SELECT count(*) FROM events WHERE kind = 'two_credentials'")[0]; n != 2 {
		t.Error("another is used, and that was told", n, "times")
	}
}
