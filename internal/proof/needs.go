package proof

import "github.com/remora-backup/remora/internal/pgarchive"

// Needs tells what restoring an archive needs that it cannot bring: the extensions that it creates, and the objects that
// only a superuser can make or that call other servers, as `EVENT TRIGGER name`.
func Needs(h *pgarchive.Head) (extensions, superuser []string) {
	p := planOf(h)
	for _, x := range p.extensions {
		if x.name != "plpgsql" { // which is in every database
			extensions = append(extensions, x.name)
		}
	}
	return extensions, p.leftOut
}
