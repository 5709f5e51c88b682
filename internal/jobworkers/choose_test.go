package jobworkers

import (
	"testing"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
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

// Of two read-only credentials the one that the page names is the one that is read with, whatever order Heroku lists
// them in.
func TestWhatIsNamedIsWhatIsRead(t *testing.T) {
	t.Parallel()
	shop := herokuapi.Addon{ID: "pg", Name: "postgresql-curved-1", Plan: herokuapi.Plan{Name: "heroku-postgresql:standard-0"}}
	cobalt := herokuapi.Attachment{Name: "COBALT", Namespace: "credential:remora_ro", Addon: shop}
	amber := herokuapi.Attachment{Name: "AMBER", Namespace: "credential:other", Addon: shop}
	vars := map[string]redact.Secret{"COBALT_URL": redact.New("postgres://remora_ro"), "AMBER_URL": redact.New("postgres://other")}
	for _, list := range [][]herokuapi.Attachment{{cobalt, amber}, {amber, cobalt}} {
		read, err := named(append([]herokuapi.Attachment(nil), list...), vars, remora.Database{AddonID: "pg"})
		if err != nil {
			t.Fatal(err)
		}
		found := choose(list, herokuapi.Addon{ID: "self"})
		if want := "postgres://" + found[0].Credential; len(found) != 1 || read.Reveal() != want {
			t.Errorf("%v: the page names %s, and another is read with", list, want)
		}
		if len(found) != 1 || len(found[0].Also) != 1 || found[0].Also[0].Attachment != "COBALT" {
			t.Errorf("%+v", found)
		}
		read, err = named(list, vars, remora.Database{AddonID: "pg", Attachment: "COBALT", Credential: "remora_ro"}) // which is in use
		if err != nil || read.Reveal() != "postgres://remora_ro" {
			t.Error("the one in use was given up", err)
		}
	}
}
