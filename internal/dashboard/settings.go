package dashboard

import (
	"net/http"

	"github.com/remora-backup/remora/internal/remora"
)

// settingsPage is what belongs to the add-on and not to one database.
type settingsPage struct {
	Frame    frame
	Resource remora.Resource
	Plan     remora.Plan
	Notices  []string // of the plan
	Parts    []part
}

func (p *Pages) settings(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	resource, err := p.Store.Resource(r.Context(), s.Resource)
	if err != nil {
		return err
	}
	plan, err := remora.PlanOf(resource.Plan)
	if err != nil {
		return err
	}
	page := settingsPage{Frame: frame{"Settings", "settings", resource}, Resource: resource, Plan: plan, Notices: plan.Notices(resource, p.Now())}
	for _, read := range settingsParts {
		x, err := read(p, r, s)
		if err != nil {
			return err
		}
		if x != nil {
			page.Parts = append(page.Parts, *x)
		}
	}
	return p.render(w, http.StatusOK, "settings.html", page)
}
