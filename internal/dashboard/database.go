package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// databasePage is one database: its backups, how they grow, what is set for it, what its credential may do.
type databasePage struct {
	card
	Frame    frame
	View     remora.DatabaseView
	Resource remora.Resource
	Tabs     []tab
	Newest   bool   // the page begins with the newest backup
	Older    string // where the next page of backups is; empty where there is none
	Sizes    *chart // nil where there is too little to draw
	Takes    *chart
	Parts    []part
	Keeping  retention.Standing
	Kept     map[remora.BackupID]string // until when, or why, of each that is listed
	IsLive   bool
}

// tab is one way to filter backups.
type tab struct {
	Name    string
	Query   remora.BackupFilter
	Count   int
	Current bool
}

// perPage is how many backups a page of a database lists.
const perPage = 20

var tabs = []tab{
	{Name: "All"},
	{Name: "Good", Query: "good"},
	{Name: "Failed", Query: "failed"},
	{Name: "Incomplete", Query: "incomplete"},
	{Name: "Canceled", Query: "canceled"},
	{Name: "Removed", Query: "removed"},
}

func (p *Pages) database(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.databasePage(r, s)
	if err != nil {
		return err
	}
	if page.Keeping, err = p.Store.Retention(r.Context(), s.Resource, page.ID); err != nil {
		return err
	}
	if page.Kept, err = keptOf(page.Keeping, page.View.Backups); err != nil {
		return err
	}
	for _, read := range databaseParts {
		x, err := read(p, r, s, &page)
		if err != nil {
			return err
		}
		if x != nil {
			page.Parts = append(page.Parts, *x)
		}
	}
	return p.render(w, http.StatusOK, "database.html", page)
}

// liveDatabase is the part of a database's page that changes.
func (p *Pages) liveDatabase(r *http.Request, s remora.Session) (string, any, bool, error) {
	page, err := p.databasePage(r, s)
	return "livedatabase", page, page.IsLive, err
}

func (p *Pages) databasePage(r *http.Request, s remora.Session) (databasePage, error) {
	var page databasePage
	db, err := databaseID(r)
	if err != nil {
		return page, err
	}
	show := remora.BackupFilter(r.URL.Query().Get("show"))
	look := remora.Look{States: show.States(), Most: perPage}
	if at := r.URL.Query().Get("before"); at != "" {
		if look.Before, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return page, remora.NotFound("page")
		}
	}
	if page.View, err = p.Store.Database(r.Context(), s.Resource, db, look); err != nil {
		return page, err
	}
	v := page.View
	page.card, page.Resource, page.Newest = p.card(v.Overview, v.Databases[0]), v.Resource, look.Before.IsZero()
	page.Frame = frame{page.Addon, "overview", v.Resource}
	page.Tabs, page.IsLive = tabsOf(v.Counts, show), page.Live() && page.Newest
	if v.More {
		last := v.Backups[len(v.Backups)-1].QueuedAt.Format(time.RFC3339Nano)
		page.Older = databaseURL(db) + "?" + url.Values{"show": {string(show)}, "before": {last}}.Encode() + "#backups"
	}
	page.Sizes, page.Takes = trend(v.Trend)
	return page, nil
}

// tabsOf counts what each tab would show; one that shows nothing is left out, but for the first and the current one.
func tabsOf(counts map[remora.BackupState]int, show remora.BackupFilter) []tab {
	var out []tab
	for _, t := range tabs {
		of := t.Query.States()
		for state, n := range counts {
			if len(of) == 0 || slices.Contains(of, state) {
				t.Count += n
			}
		}
		if t.Current = t.Query == show; t.Current || t.Count > 0 || t.Query == "" {
			out = append(out, t)
		}
	}
	return out
}

// trend draws how large archives were and how long they took; nil of fewer than two.
func trend(newestFirst []remora.Backup) (sizes, takes *chart) {
	var at []time.Time
	var bytes, seconds []float64
	for i := len(newestFirst) - 1; i >= 0; i-- {
		b := newestFirst[i]
		if b.StartedAt.IsZero() || b.EndedAt.IsZero() {
			continue
		}
		at = append(at, b.EndedAt)
		bytes = append(bytes, float64(b.PlainSize))
		seconds = append(seconds, b.EndedAt.Sub(b.StartedAt).Seconds())
	}
	if len(at) < 2 {
		return nil, nil
	}
	sizes = draw("Size of the archive", at, bytes, func(v float64) string { return bytesText(int64(v)) })
	takes = draw("Time it took", at, seconds, func(v float64) string { return length(time.Duration(v * float64(time.Second))) })
	return sizes, takes
}

// audit asks for a database's credential to be looked at now: what is attached, and what it may do.
func (p *Pages) audit(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	return p.Store.RequestAudit(r.Context(), s.Resource, db, s.Person())
}
