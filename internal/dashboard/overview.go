package dashboard

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

// overviewPage is the first page.
type overviewPage struct {
	remora.Overview
	ServiceAccount string
	HelperApp      string // as commands name it
	NotShared      bool
	Cards          []card
	Live           bool // something is queued or running
}

// card is one database with its backups.
type card struct {
	remora.Database
	Now      time.Time
	Backups  []remora.Backup
	LastGood *remora.Backup
	Busy     bool
	Report   *report // nil where nobody has looked
	Checking bool    // somebody has asked for a look
}

// checkGivenUp is how long a look that was asked for is waited for.
const checkGivenUp = 2 * time.Minute

func (p *Pages) page(r *http.Request, s remora.Session) (overviewPage, error) {
	o, err := p.Store.Overview(r.Context(), s.Resource)
	if err != nil {
		return overviewPage{}, err
	}
	page := overviewPage{
		Overview: o, ServiceAccount: p.ServiceAccount, HelperApp: cmp.Or(o.Resource.HelperApp, "HELPER-APP"),
		NotShared: o.Resource.Attention == remora.ReasonNotShared,
	}
	for _, d := range o.Databases {
		c := card{Database: d, Now: o.Now}
		for _, b := range o.Backups {
			if b.Database != d.ID {
				continue
			}
			c.Backups = append(c.Backups, b)
			c.Busy = c.Busy || !b.State.Ended()
			if c.LastGood == nil && b.State.Good() {
				good := b
				c.LastGood = &good
			}
		}
		if a, ok := o.Audits[d.ID]; ok {
			c.Report = &report{a, d.ID, o.Now, o.Known[d.ID]}
		}
		c.Checking = !d.CheckAskedAt.IsZero() && o.Now.Sub(d.CheckAskedAt) < checkGivenUp
		page.Live = page.Live || c.Busy || c.Checking
		page.Cards = append(page.Cards, c)
	}
	page.Live = page.Live || o.Resource.State == remora.ResourceProvisioning || len(o.Databases) == 0
	return page, nil
}

func (p *Pages) overview(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.page(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "overview.html", page)
}

// live is the part of the first page that changes, for the script.
func (p *Pages) live(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.page(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "live", page)
}

func (p *Pages) check(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	if err := p.Store.RequestCheck(r.Context(), s.Resource); err != nil {
		return err
	}
	http.Redirect(w, r, Home, http.StatusSeeOther)
	return nil
}

func (p *Pages) backUp(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	db := chi.URLParam(r, "database")
	if !canonical(db) {
		return remora.NotFound("database")
	}
	if _, err := p.Store.RequestBackup(r.Context(), s.Resource, remora.DatabaseID(db), s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, Home+"#"+strings.ToLower(db), http.StatusSeeOther)
	return nil
}
