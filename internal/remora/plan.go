package remora

import (
	"strings"
	"time"
)

// Plan is what a customer can choose, as data. Limits of zero mean none.
type Plan struct {
	Slug      string // as Heroku sends it, without "remora-backup:"
	Databases int    // how many databases one resource may protect
	Parallel  int    // how many backups of one resource may run at a time

	ProveEvery  time.Duration // how often each database's newest verified backup is restored and compared
	RereadEvery time.Duration // how often what is stored of each backup is read again; with RereadGrace within 30 days
}

const day = 24 * time.Hour

var plans = []Plan{
	{Slug: "test", Databases: 1, Parallel: 1, ProveEvery: 7 * day, RereadEvery: 25 * day},
	{Slug: "mako", Databases: 2, Parallel: 1, ProveEvery: 7 * day, RereadEvery: 25 * day},
	{Slug: "hammerhead", Databases: 10, Parallel: 2, ProveEvery: 3 * day, RereadEvery: 25 * day},
	{Slug: "great-white", Databases: 50, Parallel: 4, ProveEvery: day, RereadEvery: 7 * day},
}

// Plans lists the plans, smallest first.
func Plans() []Plan { return append([]Plan(nil), plans...) }

// PlanOf finds a plan by its slug, with or without the service's name before it.
func PlanOf(slug string) (Plan, error) {
	if _, after, ok := strings.Cut(slug, ":"); ok {
		slug = after
	}
	names := make([]string, 0, len(plans))
	for _, p := range plans {
		if p.Slug == slug {
			return p, nil
		}
		names = append(names, p.Slug)
	}
	return Plan{}, Invalid("There is no such plan. Choose one of: %s.", strings.Join(names, ", "))
}

// Allows tells whether a resource with that many databases fits the plan; its error says what to change.
func (p Plan) Allows(databases int) error {
	if p.Databases == 0 || databases <= p.Databases {
		return nil
	}
	return &Error{Kind: KindPlanLimit, Public: sentence(
		"Plan "+p.Slug+" protects ", count(p.Databases, "database"), ", and ", count(databases, "database"),
		" are attached. Detach the ones that need no backup with heroku addons:detach, or choose a larger plan.")}
}
