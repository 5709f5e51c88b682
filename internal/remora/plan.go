package remora

import (
	"strings"
	"time"
)

// Plan is what a customer can choose, as data. Limits of zero mean none.
type Plan struct {
	Slug       string // as Heroku sends it, without "remora-backup:"
	Name       string // for people
	PriceCents int    // US cents a month, for display; what Heroku bills is set in its portal

	Databases       int           // how many databases one resource may protect
	MinInterval     time.Duration // the least time between two occurrences of a schedule
	KeepDays        int           // the longest that any rule may keep a backup, in days
	KeepCount       int           // how many backups of one database may be kept, those that a customer locked included
	Locks           int           // how many backups of one database a customer may lock
	StoredBytes     int64         // how many bytes a resource may have in the store, of all its databases
	LargestDatabase int64         // bytes, as the server counts a database on its disk
	Parallel        int           // how many backups of one resource may run at a time
	SecondPlace     bool          // a copy of each backup may lie in the customer's own bucket

	ProveEvery  time.Duration // how often each database's newest verified backup is restored and compared
	RereadEvery time.Duration // how often what is stored of each backup is read again; with RereadGrace within 30 days
}

const (
	day = 24 * time.Hour
	gb  = 1000 * 1000 * 1000
)

var plans = []Plan{
	{
		Slug: "test", Name: "Test", PriceCents: 0,
		Databases: 1, MinInterval: day, KeepDays: 7, KeepCount: 7, Locks: 1, StoredBytes: 5 * gb, LargestDatabase: 10 * gb, Parallel: 1,
		ProveEvery: 7 * day, RereadEvery: 25 * day,
	},
	{
		Slug: "mako", Name: "Mako", PriceCents: 1500,
		Databases: 2, MinInterval: 6 * time.Hour, KeepDays: 35, KeepCount: 150, Locks: 10, StoredBytes: 200 * gb, LargestDatabase: 100 * gb, Parallel: 1,
		ProveEvery: 7 * day, RereadEvery: 25 * day,
	},
	{
		Slug: "hammerhead", Name: "Hammerhead", PriceCents: 7500,
		Databases: 10, MinInterval: time.Hour, KeepDays: 2 * 366, KeepCount: 500, Locks: 50, StoredBytes: 2000 * gb, LargestDatabase: 1000 * gb, Parallel: 2, SecondPlace: true,
		ProveEvery: 3 * day, RereadEvery: 25 * day,
	},
	{
		Slug: "great-white", Name: "Great White", PriceCents: 30000,
		Databases: 50, MinInterval: 15 * time.Minute, KeepDays: 7 * 366, KeepCount: 2000, Locks: 200, StoredBytes: 10000 * gb, LargestDatabase: 4000 * gb, Parallel: 4, SecondPlace: true,
		ProveEvery: day, RereadEvery: 7 * day,
	},
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
		"Plan "+p.Slug+" protects ", Count(p.Databases, "database"), ", and ", Count(databases, "database"),
		" are attached. Detach the ones that need no backup with heroku addons:detach, or choose a larger plan.")}
}

// Copies tells whether the plan has a second place for backups; its error names the plan that has one.
func (p Plan) Copies() error {
	if p.SecondPlace {
		return nil
	}
	what := "No plan has one; write to us."
	for _, x := range plans {
		if x.SecondPlace {
			what = "Plan " + x.Slug + " has: heroku addons:upgrade with remora-backup:" + x.Slug + "."
			break
		}
	}
	return &Error{Kind: KindPlanLimit, Public: sentence("Plan "+p.Slug+" has no second place for backups. ", what)}
}
