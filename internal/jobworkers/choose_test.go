package jobworkers

import (
	"testing"

	"github.com/remora-backup/remora/internal/herokuapi"
)

// The owner's credential beside a read-only one is not used, and not passed over in silence.
func TestOwnersCredentialBesideAnother(t *testing.T) {
	t.Parallel()
	shop := herokuapi.Addon{ID: "pg", Name: "postgresql-curved-1", Plan: herokuapi.Plan{Name: "heroku-postgresql:standard-0"}}
	attached := func(name, namespace string) herokuapi.Attachment {
		return herokuapi.Attachment{Name: name, Namespace: namespace, Addon: shop}
	}
	for _, all := range [][]herokuapi.Attachment{
		{attached("A_DATABASE", ""), attached("REMORA", "credential:remora_ro")},
		{attached("REMORA", "credential:remora_ro"), attached("Z_DATABASE", "")},
	} {
		found := choose(all, herokuapi.Addon{ID: "self"})
		if len(found) != 1 || found[0].Credential != "remora_ro" || found[0].Attachment != "REMORA" || found[0].Problem != "" ||
			found[0].Beside != "A_DATABASE" && found[0].Beside != "Z_DATABASE" {
			t.Errorf("%+v", found)
		}
	}
	for _, alone := range []herokuapi.Attachment{attached("DATABASE", ""), attached("REMORA", "credential:remora_ro")} {
		if found := choose([]herokuapi.Attachment{alone}, herokuapi.Addon{ID: "self"}); len(found) != 1 || found[0].Beside != "" {
			t.Errorf("%+v", found)
		}
	}
}
