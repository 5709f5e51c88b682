package remora

import (
	"fmt"
	"strings"
	"time"
)

// Graces of a plan.
const (
	PlanGrace  = 7 * day  // how long after a change to a smaller plan the old one's limits hold for what is kept, and how often
	StoreGrace = 14 * day // how long backups go on after more is stored than the plan includes
)

// Limits is the plan that holds at a time. For PlanGrace after a change to a smaller one, what the larger one included of time,
// number and bytes, of how often, and of places, holds on.
func (r Resource) Limits(now time.Time) (Plan, error) {
	p, err := PlanOf(r.Plan)
	if err != nil || r.ShrinksFrom == "" || !now.Before(r.ShrinksAt) {
		return p, err
	}
	old, err := PlanOf(r.ShrinksFrom)
	if err != nil {
		return p, err
	}
	p.MinInterval = min(p.MinInterval, old.MinInterval)
	p.KeepDays, p.KeepCount, p.StoredBytes = max(p.KeepDays, old.KeepDays), max(p.KeepCount, old.KeepCount), max(p.StoredBytes, old.StoredBytes)
	p.SecondPlace = p.SecondPlace || old.SecondPlace
	return p, nil
}

// ChangeTo is what a change of plan leaves pending: the plan whose limits hold on and until when; empty where nothing shrinks.
func (r Resource) ChangeTo(next Plan, now time.Time) (from string, until time.Time, err error) {
	was, err := PlanOf(r.Plan)
	if err != nil {
		return "", until, err
	}
	until = now.Add(PlanGrace)
	if r.ShrinksFrom != "" && now.Before(r.ShrinksAt) {
		if was, err = PlanOf(r.ShrinksFrom); err != nil {
			return "", time.Time{}, err
		}
		until = r.ShrinksAt // a second change does not make the grace longer
	}
	if was.PriceCents <= next.PriceCents {
		return "", time.Time{}, nil
	}
	return was.Slug, until, nil
}

// Shrinks says in sentences what a smaller plan takes away, and when.
func (p Plan) Shrinks(until time.Time) string {
	copies := ""
	if !p.SecondPlace {
		copies = "It copies no backup to a second place. "
	}
	return fmt.Sprintf("Until %s everything stays as it was under the larger plan. From then on plan %s keeps backups for at most %s, at most %d of a database and %s in all, and backs up every %s at most. %s"+
		"Download what you want to keep longer, or choose a larger plan.",
		until.UTC().Format("2 January 2006 15:04 UTC"), p.Slug, Count(p.KeepDays, "day"), p.KeepCount, Bytes(p.StoredBytes), Every(p.MinInterval), copies)
}

// Fits tells whether a database of that size may be backed up; its error names the plan that takes it.
func (p Plan) Fits(name string, size int64) error {
	if p.LargestDatabase == 0 || size <= p.LargestDatabase {
		return nil
	}
	what := "No plan takes one as large; write to us."
	for _, x := range plans {
		if x.LargestDatabase >= size {
			what = "Plan " + x.Slug + " takes it: heroku addons:upgrade with remora-backup:" + x.Slug + "."
			break
		}
	}
	return &Error{Kind: KindPlanLimit, Public: sentence("Database "+name+" has "+Bytes(size)+", and plan "+p.Slug+" backs up databases of up to "+Bytes(p.LargestDatabase)+". ", what)}
}

// Near tells in a sentence that stored bytes have passed a mark of the plan, 80 % or all of it; empty where they have not.
func (p Plan) Near(before, after int64) string {
	what := "Keep backups for shorter, or choose a larger plan."
	switch most := p.StoredBytes; {
	case most == 0:
		return ""
	case before <= most && after > most:
		return fmt.Sprintf("Your backups take %s, more than the %s of plan %s. Nothing is removed, and backups go on for %d days; after that new ones are refused until there is room. %s",
			Bytes(after), Bytes(most), p.Slug, int(StoreGrace/day), what)
	case before <= most/10*8 && after > most/10*8:
		return fmt.Sprintf("Your backups take %s of the %s that plan %s includes. %s", Bytes(after), Bytes(most), p.Slug, what)
	}
	return ""
}

// Full says what happens, and when, because more is stored than the plan includes.
func (p Plan) Full(since time.Time) string {
	return fmt.Sprintf("Your backups take more than the %s that plan %s includes. Nothing is removed. From %s on new backups are refused, unless there is room by then: keep backups for shorter, or choose a larger plan.",
		Bytes(p.StoredBytes), p.Slug, since.Add(StoreGrace).UTC().Format("2 January 2006 15:04 UTC"))
}

// Notices say what the plan will take away from a resource, and what it has no room for.
func (p Plan) Notices(r Resource, now time.Time) (out []string) {
	if r.ShrinksAt.After(now) {
		out = append(out, p.Shrinks(r.ShrinksAt))
	}
	if !r.OverSince.IsZero() {
		out = append(out, p.Full(r.OverSince))
	}
	return out
}

// Bytes is a size for people, in decimal units.
func Bytes(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.5 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}

// Every is a plan's period for people, after the word every.
func Every(d time.Duration) string {
	switch {
	case d >= day && d%day == 0:
		return Count(int(d/day), "day")
	case d >= time.Hour:
		return Count(int(d/time.Hour), "hour")
	}
	return Count(int(d/time.Minute), "minute")
}
