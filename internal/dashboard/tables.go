package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// tablesPage is what one archive holds, table by table.
type tablesPage struct {
	Frame       frame
	Backup      remora.Backup
	Find        string
	Tables      []tableRow
	First, Most int    // of the tables shown, counted from 1; and how many there are that are looked for
	Newer       string // where the pages before and after are; empty where there is none
	Older       string
}

// tableRow is one of them, as contents.json has it.
type tableRow struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Last is the number of the last table shown.
func (p tablesPage) Last() int { return p.First + len(p.Tables) - 1 }

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
			if err := page.read(io.NewSectionReader(list, 0, list.Size()), (n-1)*tablesPerPage); err != nil {
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

// read keeps the tables from skip on, of those that are looked for, and counts all of these. It holds one page of what may
// be a long list.
func (p *tablesPage) read(list io.Reader, skip int) error {
	p.First = skip + 1
	d := json.NewDecoder(list)
	if err := toTables(d); err != nil {
		return err
	}
	for d.More() {
		var t tableRow
		if err := d.Decode(&t); err != nil {
			return fmt.Errorf("read contents: %w", err)
		}
		if !strings.Contains(strings.ToLower(t.Schema+"."+t.Name), strings.ToLower(p.Find)) {
			continue
		}
		if p.Most++; p.Most > skip && len(p.Tables) < tablesPerPage {
			p.Tables = append(p.Tables, t)
		}
	}
	return nil
}

// toTables reads on to the first of the tables; where the list has none, there is none more to read.
func toTables(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("read contents: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("read contents: %w", err)
		}
		if name == "tables" {
			open, err := d.Token()
			if err == nil && open != json.Delim('[') && open != nil {
				err = errors.New("tables are no list")
			}
			return err
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return fmt.Errorf("read contents: %w", err)
		}
	}
	return nil
}
