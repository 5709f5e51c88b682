package dashboard

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/internal/contents"
	"github.com/remora-backup/remora/internal/remora"
)

// tablesPage is what one archive holds, table by table.
type tablesPage struct {
	Frame  frame
	Backup remora.Backup
	Find   string
	contents.Page
	Newer string // where the pages before and after are; empty where there is none
	Older string
}

// tablesPerPage is how many tables a page lists.
const tablesPerPage = 100

// tables lists what an archive holds.
func (p *Pages) tables(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	v, err := p.Store.BackupView(r.Context(), s.Resource, id)
	if err != nil {
		return err
	}
	page := tablesPage{Frame: frame{"Tables of " + v.Backup.Addon, "overview", v.Resource}, Backup: v.Backup, Find: strings.TrimSpace(r.URL.Query().Get("find"))}
	n, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || n < 1 {
		n = 1
	}
	if v.Backup.State.Restorable() {
		list, err := p.Contents(r.Context(), s.Resource, v.Backup)
		if err != nil {
			return err
		}
		if list != nil {
			page.Page, err = contents.Read(io.NewSectionReader(list, 0, list.Size()), page.Find, (n-1)*tablesPerPage, tablesPerPage)
			if err != nil {
				return err
			}
		}
	}
	at := func(n int) string {
		return Home + "/backups/" + string(id) + "/tables?" + url.Values{"find": {page.Find}, "page": {strconv.Itoa(n)}}.Encode()
	}
	if n > 1 {
		page.Newer = at(n - 1)
	}
	if n*tablesPerPage < page.Most {
		page.Older = at(n + 1)
	}
	return p.render(w, http.StatusOK, "tables.html", page)
}
