package dashboard

import (
	"cmp"
	"net/http"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// overviewPage is the first page.
type overviewPage struct {
	remora.Overview
	Frame          frame
	ServiceAccount string
	HelperApp      string // as commands name it
	NotShared      bool
	Cards          []card
	Live           bool // something is queued or running
	Plan           remora.Plan
	Notices        []string   // of the plan
	Used           int64      // bytes in the store, of all databases
	List           *checklist // nil once there are verified backups
}

// card is one database with its backups.
type card struct {
	remora.Summary
	Report *report // nil where nobody has looked

	ServiceAccount, HelperApp string // as commands name them
}

// card is what a page shows of one of an overview's databases.
func (p *Pages) card(o remora.Overview, d remora.Database) card {
	c := card{Summary: o.Summary(d), ServiceAccount: p.ServiceAccount, HelperApp: cmp.Or(o.Resource.HelperApp, "HELPER-APP")}
	if c.Audit != nil {
		c.Report = &report{Audit: *c.Audit, Database: d.ID, Now: o.Now, Known: c.Known}
	}
	return c
}

func (p *Pages) page(r *http.Request, s remora.Session) (overviewPage, error) {
	o, err := p.Store.Overview(r.Context(), s.Resource)
	if err != nil {
		return overviewPage{}, err
	}
	page := overviewPage{
		Overview: o, Frame: frame{"Databases", "overview", o.Resource},
		ServiceAccount: p.ServiceAccount, HelperApp: cmp.Or(o.Resource.HelperApp, "HELPER-APP"),
		NotShared: o.Resource.Attention == remora.ReasonNotShared,
	}
	if page.Plan, err = remora.PlanOf(o.Resource.Plan); err != nil {
		return page, err
	}
	page.Notices = page.Plan.Notices(o.Resource, o.Now)
	for _, d := range o.Databases {
		c := p.card(o, d)
		page.Cards = append(page.Cards, c)
		page.Live = page.Live || c.Live()
		page.Used += c.Stored.Bytes
	}
	page.List = page.checklist()
	page.Live = page.Live || o.Resource.State == remora.ResourceProvisioning || page.List != nil && !page.List.Finished()
	return page, nil
}

// Safe tells whether each database is fresh and nothing went wrong since.
func (o overviewPage) Safe() bool {
	for _, c := range o.Cards {
		if c.Failing() != nil || c.Refused() {
			return false
		}
	}
	return o.Stale() == 0 && o.Resource.Attention == remora.ReasonNone
}

// ShowCards tells whether there is more to show than the list of first steps.
func (o overviewPage) ShowCards() bool {
	return len(o.Cards) > 1 || len(o.Cards) == 1 && (o.List == nil || o.List.Finished())
}

// Stale counts the databases that are not fresh.
func (o overviewPage) Stale() int {
	n := 0
	for _, c := range o.Cards {
		if c.Health().State != string(remora.Fresh) {
			n++
		}
	}
	return n
}

func (p *Pages) overview(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.page(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "overview.html", page)
}

// live is the part of the first page that changes. Who watches the first steps asks for the attachments to be listed, at
// most once a minute, so that a step turns green without a click.
func (p *Pages) live(r *http.Request, s remora.Session) (string, any, bool, error) {
	page, err := p.page(r, s)
	if err == nil && page.List.waits() && page.Now.Sub(page.Resource.CheckedAt) > time.Minute {
		err = p.Store.RequestCheck(r.Context(), s.Resource, "")
	}
	return "live", page, page.Live, err
}

func (p *Pages) check(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	if err := p.Store.RequestCheck(r.Context(), s.Resource, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, Home, http.StatusSeeOther)
	return nil
}

// databaseURL is where the page of a database is.
func databaseURL(db remora.DatabaseID) string { return Home + "/databases/" + string(db) }

// backUp asks for a backup and shows it.
func (p *Pages) backUp(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	db, err := databaseID(r)
	if err != nil {
		return err
	}
	b, err := p.Store.RequestBackup(r.Context(), s.Resource, db, s.Person())
	if err != nil {
		return err
	}
	http.Redirect(w, r, Home+"/backups/"+string(b), http.StatusSeeOther)
	return nil
}
