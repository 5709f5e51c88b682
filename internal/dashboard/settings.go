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

// notices say what a plan will take away, and what it has no room for.
func (p *Pages) notices(r remora.Resource, plan remora.Plan) (out []string) {
	now := p.Now()
	if r.ShrinksAt.After(now) {
		out = append(out, plan.Shrinks(r.ShrinksAt))
	}
	if !r.OverSince.IsZero() {
		out = append(out, plan.Full(r.OverSince))
	}
	return out
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
	page := settingsPage{Frame: frame{"Settings", "settings", resource}, Resource: resource, Plan: plan, Notices: p.notices(resource, plan)}
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
