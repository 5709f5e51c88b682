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
	remora.Database
	Now      time.Time
	Backups  []remora.Backup // the newest, newest first
	LastGood *remora.Backup
	Running  *remora.Backup // the one that is queued or running
	Stored   remora.Holding
	Report   *report // nil where nobody has looked
	Checking bool    // somebody has asked for a look

	ServiceAccount, HelperApp string // as commands name them
}

// checkGivenUp is how long a look that was asked for is waited for.
const checkGivenUp = 2 * time.Minute

// card is what a page shows of one of an overview's databases.
func (p *Pages) card(o remora.Overview, d remora.Database) card {
	c := card{
		Database: d, Now: o.Now, Stored: o.Stored[d.ID],
		ServiceAccount: p.ServiceAccount, HelperApp: cmp.Or(o.Resource.HelperApp, "HELPER-APP"),
	}
	for _, b := range o.Backups {
		if b.Database != d.ID {
			continue
		}
		c.Backups = append(c.Backups, b)
		if c.Running == nil && !b.State.Ended() {
			c.Running = &b
		}
	}
	if good, ok := o.LastGood[d.ID]; ok {
		c.LastGood = &good
	}
	if a, ok := o.Audits[d.ID]; ok {
		c.Report = &report{a, d.ID, o.Now, o.Known[d.ID]}
	}
	c.Checking = !d.CheckAskedAt.IsZero() && o.Now.Sub(d.CheckAskedAt) < checkGivenUp
	return c
}

// Live tells whether the card will change by itself soon.
func (c card) Live() bool { return c.Running != nil || c.Checking }

// Failing is the newest backup where it ended badly; nil where it did not.
func (c card) Failing() *remora.Backup {
	for _, b := range c.Backups {
		if b.State == remora.BackupCanceled {
			continue
		}
		if b.State == remora.BackupFailed || b.State == remora.BackupIncomplete || b.Reason != remora.ReasonNone && !b.State.Good() {
			return &b
		}
		return nil
	}
	return nil
}

// Troubled tells whether the report has something that somebody must see.
func (c card) Troubled() bool {
	return c.Report != nil && c.Report.Verdict(c.Report.Known) != remora.VerdictGood
}

// Refused tells whether nothing more is backed up with the credential as it is.
func (c card) Refused() bool {
	if c.Report == nil {
		return false
	}
	v := c.Report.Verdict(nil)
	return v == remora.VerdictWrites || v == remora.VerdictBlind
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
	page.Notices = p.notices(o.Resource, page.Plan)
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
		if c.Health().State != fresh {
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
