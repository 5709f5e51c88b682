package dashboard

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/remora-backup/remora/internal/remora"
)

// frame is what stands around every page of a signed-on person.
type frame struct {
	Title    string
	Nav      string // where in the navigation the page is: overview or settings
	Resource remora.Resource
}

// frameOf makes the frame of a page; a title alone is a page that is nowhere in the navigation.
func frameOf(page any) frame {
	if title, ok := page.(string); ok {
		return frame{Title: title}
	}
	f, _ := page.(frame)
	return f
}

// part is a part of a page that has a template and a struct of its own, such as a database's schedule. ID is its anchor.
type part struct {
	ID, Title string
	Template  string
	Data      any
}

// databasePart reads what a part of a database's page shows, beside what the page has read; nil where it shows nothing.
type databasePart func(p *Pages, r *http.Request, s remora.Session, page *databasePage) (*part, error)

// settingsPart reads what a part of the settings page shows; nil where it shows nothing.
type settingsPart func(p *Pages, r *http.Request, s remora.Session) (*part, error)

// The parts of a database's page between its backups and its credential, and those of the settings page, from the top.
// Each stands in a file of its own.
var (
	databaseParts = []databasePart{readOutside, readRetention, readSchedule}
	settingsParts = []settingsPart{keysPart, storagePart, notificationsPart, tokensPart, auditLogPart, dangerPart}
)

// show renders a part where a page has it. What it returns was escaped by its own template.
func (p *Pages) show(x part) (template.HTML, error) {
	var b bytes.Buffer
	err := p.templates.ExecuteTemplate(&b, x.Template, x.Data)
	return template.HTML(b.String()), err //nolint:gosec // made by html/template itself
}
