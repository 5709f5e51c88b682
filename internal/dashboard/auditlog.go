package dashboard

import (
	"context"
	"encoding/hex"
	"html/template"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/auditlog"
	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// AuditStore is what the pages about the audit log need.
type AuditStore interface {
	AuditLog(ctx context.Context, id remora.ResourceID, look remora.AuditLook) (remora.AuditPage, error)
	AuditLines(ctx context.Context, id remora.ResourceID, look remora.AuditLook, last int64) iter.Seq2[remora.AuditLine, error]
}

// auditLog is the address of the page.
const auditLog = Home + "/settings/audit"

// auditLogPage is what was done with an add-on.
type auditLogPage struct {
	Frame  frame
	View   remora.AuditPage
	Form   auditForm
	Newest bool   // the page begins with the newest line
	Older  string // where the next page is; empty where there is none
	Export string // what is looked for, for the addresses of exports
	Wrong  string // why nothing was looked for
}

// auditForm is what is looked for, as it was typed.
type auditForm struct {
	Who, What, From, To string
}

// auditPerPage is how many lines a page lists.
const auditPerPage = 50

func (p *Pages) auditLogRoutes(r chi.Router) {
	r.Get(auditLog, p.with(p.auditLog))
	r.Get(auditLog+".csv", p.with(p.exportAudit))
	r.Get(auditLog+".json", p.with(p.exportAudit))
}

// readAuditForm reads what is looked for. The days of From and To are of UTC, and both are looked at. Errors: KindInvalid.
func readAuditForm(q url.Values) (f auditForm, look remora.AuditLook, err error) {
	f = auditForm{Who: q.Get("who"), What: q.Get("what"), From: q.Get("from"), To: q.Get("to")}
	look = remora.AuditLook{Actor: f.Who, Action: f.What, Most: auditPerPage}
	if f.From != "" {
		if look.Since, err = time.Parse(time.DateOnly, f.From); err != nil {
			return f, look, remora.Invalid("The first day is no date such as 2026-11-26.")
		}
	}
	if f.To != "" {
		if look.Until, err = time.Parse(time.DateOnly, f.To); err != nil {
			return f, look, remora.Invalid("The last day is no date such as 2026-11-26.")
		}
		look.Until = look.Until.AddDate(0, 0, 1)
	}
	return f, look, nil
}

// query is the form as a part of an address; empty where nothing is looked for.
func (f auditForm) query() url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"who": f.Who, "what": f.What, "from": f.From, "to": f.To} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

func (p *Pages) auditLog(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	form, look, wrong := readAuditForm(r.URL.Query())
	if wrong != nil {
		look = remora.AuditLook{Most: auditPerPage}
	}
	if at := r.URL.Query().Get("before"); at != "" {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || n < 1 {
			return remora.NotFound("page")
		}
		look.Before = n
	}
	view, err := p.Store.AuditLog(r.Context(), s.Resource, look)
	if err != nil {
		return err
	}
	page := auditLogPage{Frame: frame{"Audit log", "settings", view.Resource}, View: view, Form: form, Newest: look.Before == 0}
	status := http.StatusOK
	if wrong != nil {
		page.Wrong, status = remora.Public(wrong, ""), http.StatusUnprocessableEntity
		return p.render(w, status, "auditlog.html", page)
	}
	q := form.query()
	page.Export = q.Encode()
	if view.More {
		q.Set("before", strconv.FormatInt(view.Lines[len(view.Lines)-1].Seq, 10))
		page.Older = auditLog + "?" + q.Encode()
	}
	return p.render(w, status, "auditlog.html", page)
}

// Subject is what a line is about, with a way to it.
func (p auditLogPage) Subject(l remora.AuditLine) template.HTML {
	id, words := l.About()
	about, known := p.View.About[id]
	out := template.HTMLEscapeString(words)
	switch {
	case known && about.Backup != "":
		out = `<a href="` + Home + `/backups/` + string(about.Backup) + `">backup of ` + utc(about.QueuedAt) + `</a> of <bdi>` + template.HTMLEscapeString(about.Addon) + `</bdi> ` + out
	case known:
		out = `<a href="` + databaseURL(about.Database) + `"><bdi>` + template.HTMLEscapeString(about.Addon) + `</bdi></a> ` + out
	case id != "":
		out = `<code>` + id + `</code> ` + out
	}
	return template.HTML(out) //nolint:gosec // each part of it is escaped, or made by us
}

// exportAudit sends the lines that are looked for as a file, while they are read. An error midway cuts the connection, so
// that no client takes what it has for the whole.
func (p *Pages) exportAudit(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	_, look, err := readAuditForm(r.URL.Query())
	if err != nil {
		return err
	}
	most := look
	most.Most = 1
	view, err := p.Store.AuditLog(r.Context(), s.Resource, most)
	if err != nil {
		return err
	}
	head := auditlog.Head{
		Resource: s.Resource, Addon: view.Resource.Name, At: view.Now.UTC(), Filtered: look.Filtered(), Length: view.Chain.Length, Hash: hex.EncodeToString(view.Chain.Hash),
	}
	kind := "csv"
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	if chi.RouteContext(r.Context()).RoutePattern() == auditLog+".json" {
		kind = "json"
		w.Header().Set("Content-Type", "application/json")
	}
	name := nameOnly(head.Addon) + "-audit-"
	if head.Filtered {
		name += "some-"
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+head.At.Format("20060102T150405Z")+"."+kind+`"`)
	lines := p.onTheWay(w, p.Store.AuditLines(r.Context(), s.Resource, look, head.Length))
	if kind == "json" {
		err = auditlog.WriteJSON(w, head, lines)
	} else {
		err = auditlog.WriteCSV(w, lines)
	}
	if err != nil {
		if r.Context().Err() == nil { // else the client has left
			p.Log.Log(r.Context(), slog.LevelError, "export was cut", "request_id", httpserver.RequestID(r.Context()), "resource_id", s.Resource, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}

// stepsOfExport is after how many lines an export moves its connection's deadline, and asks whether the server stops.
const stepsOfExport = 1000

// onTheWay moves the connection's deadline as long as an export gets on.
func (p *Pages) onTheWay(w http.ResponseWriter, lines auditlog.Lines) auditlog.Lines {
	conn := http.NewResponseController(w)
	return func(yield func(remora.AuditLine, error) bool) {
		n := 0
		for l, err := range lines {
			if n%stepsOfExport == 0 {
				_ = conn.SetWriteDeadline(time.Now().Add(stalled)) // a test's recorder knows none
			}
			if n++; !yield(l, err) {
				return
			}
		}
	}
}

// auditLogPart is what the settings page says of the audit log.
func auditLogPart(p *Pages, r *http.Request, s remora.Session) (*part, error) {
	view, err := p.Store.AuditLog(r.Context(), s.Resource, remora.AuditLook{Most: 3})
	return &part{"audit", "Audit log", "auditlogpart", auditLogPage{View: view}}, err
}
