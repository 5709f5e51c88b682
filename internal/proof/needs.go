package proof

import (
	"maps"
	"slices"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// Needs tells what restoring an archive needs that it cannot bring: the extensions that it creates, and the objects that
// only a superuser can make or that call other servers, as `EVENT TRIGGER name`. schemas are those with something to read.
func Needs(h *pgarchive.Head) (extensions, superuser, schemas []string) {
	p := planOf(h)
	for _, x := range p.extensions {
		if x.name != "plpgsql" { // which is in every database
			extensions = append(extensions, x.name)
		}
	}
	readable := map[string]bool{}
	for _, e := range h.Entries {
		switch e.Kind {
		case "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE":
			readable[e.Namespace] = true
		}
	}
	return extensions, p.leftOut, slices.Sorted(maps.Keys(readable))
}
