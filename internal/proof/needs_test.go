package proof

import (
	"slices"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

func TestNeeds(t *testing.T) {
	t.Parallel()
	entry := func(kind, schema, tag string) pgarchive.Entry {
		return pgarchive.Entry{Kind: kind, Namespace: schema, Tag: tag, Statements: &pgarchive.Statements{}}
	}
	extensions, superuser, schemas := Needs(&pgarchive.Head{Entries: []pgarchive.Entry{
		entry("EXTENSION", "", "plpgsql"), entry("EXTENSION", "", "hstore"), entry("SCHEMA", "", "empty"), entry("TABLE", "sales", "t"),
		entry("VIEW", "public", "v"), entry("TABLE", "sales", "u"), entry("EVENT TRIGGER", "", "watch"), entry("FUNCTION", "code", "f()"),
	}})
	if !slices.Equal(extensions, []string{"hstore"}) || len(superuser) != 1 || !slices.Equal(schemas, []string{"public", "sales"}) {
		t.Errorf("%q %q %q", extensions, superuser, schemas)
	}
}
