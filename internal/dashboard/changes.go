package dashboard

import (
	"net/http"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// onDatabase answers a request that changes something of one database: it leads to that database's page, at the anchor
// where the change is seen.
func (p *Pages) onDatabase(anchor string, change func(*http.Request, remora.Session, remora.DatabaseID) error) http.HandlerFunc {
	return p.with(func(w http.ResponseWriter, r *http.Request, s remora.Session) error {
		db, err := databaseID(r)
		if err != nil {
			return err
		}
		if err := change(r, s, db); err != nil {
			return err
		}
		http.Redirect(w, r, databaseURL(db)+anchor, http.StatusSeeOther)
		return nil
	})
}

// onBackup is onDatabase for one backup.
func (p *Pages) onBackup(anchor string, change func(*http.Request, remora.Session, remora.BackupID) error) http.HandlerFunc {
	return p.with(func(w http.ResponseWriter, r *http.Request, s remora.Session) error {
		id, err := backupID(r)
		if err != nil {
			return err
		}
		if err := change(r, s, id); err != nil {
			return err
		}
		http.Redirect(w, r, Home+"/backups/"+string(id)+anchor, http.StatusSeeOther)
		return nil
	})
}

// maxTyped bounds what a field of a form holds, in bytes.
const maxTyped = 250

// typed is what a person has typed into a field of a form.
func typed(r *http.Request, field string) string {
	v := strings.TrimSpace(r.PostFormValue(field))
	return v[:min(len(v), maxTyped)]
}
