package schedule

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

const (
	minutesOfDay = 24 * 60
	day          = 24 * time.Hour

	// horizon is how far ahead an occurrence is looked for. 29 February on one day of the week comes every 28 years, and
	// once, around 2100, after 40.
	horizon = 41 * 366 * day
)

//go:embed zones.txt
var zones string

// Zones lists the names of the world's zones that a person chooses from, UTC first. Others that Go knows are accepted too.
func Zones() []string { return strings.Fields(zones) }

// Times are the occurrences of one rule. It is immutable.
type Times struct {
	rule remora.Rule
	zone *time.Location
	cron *cron // nil unless the rule is one
	step int   // of RuleEveryHours, in minutes
}

// New reads a rule. Errors: KindInvalid, with a sentence that says what to change.
func New(r remora.Rule) (*Times, error) {
	t := &Times{rule: r, step: r.Hours * 60}
	var err error
	if t.zone, err = zone(r.Zone); err != nil {
		return nil, err
	}
	most := minutesOfDay
	if r.Kind == remora.RuleHourly {
		most = 60
	}
	if r.Minute < 0 || r.Minute >= most {
		return nil, remora.Invalid("That is not a time of the day. Write hours and minutes, as 03:30.")
	}
	switch r.Kind {
	case remora.RuleHourly, remora.RuleDaily:
	case remora.RuleEveryHours:
		if !slices.Contains([]int{2, 3, 4, 6, 8, 12}, r.Hours) {
			return nil, remora.Invalid("Choose 2, 3, 4, 6, 8 or 12 hours: these give the same times every day.")
		}
	case remora.RuleWeekly:
		if r.Weekday < time.Sunday || r.Weekday > time.Saturday {
			return nil, remora.Invalid("Choose a day of the week.")
		}
	case remora.RuleMonthly:
		if r.Day < 1 || r.Day > 31 {
			return nil, remora.Invalid("Choose a day of the month from 1 to 31. In a shorter month, 31 is its last day.")
		}
	case remora.RuleCron:
		if t.cron, err = parseCron(r.Cron); err != nil {
			return nil, err
		}
		if _, ok := t.cron.from(date(2024, 1, 1, 0, 0)); !ok {
			return nil, remora.Invalid("This cron expression names a day that no calendar has, so nothing would ever be backed up.")
		}
	default:
		return nil, remora.Invalid("Choose how often: hourly, every few hours, daily, weekly, monthly or a cron expression.")
	}
	return t, nil
}

// zoneName keeps out other spellings of a name, such as Europe//Berlin: LoadLocation takes them as paths, without end, and
// each would stay in memory.
var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}$`)

// known are the zones that were asked for: time.LoadLocation reads a file each time, and a tick asks ten thousand times.
var known sync.Map // of *time.Location, by name

// zone finds a zone by its name. "Local" is the machine's, which is nobody's.
func zone(name string) (*time.Location, error) {
	if z, ok := known.Load(name); ok {
		return z.(*time.Location), nil //nolint:forcetypeassert // nothing else is stored
	}
	if name != "Local" && zoneName.MatchString(name) {
		if z, err := time.LoadLocation(name); err == nil {
			known.Store(name, z)
			return z, nil
		}
	}
	return nil, remora.Invalid("There is no time zone of that name. Choose one from the list, such as Europe/Berlin, America/New_York or UTC.")
}

// Zone is the rule's.
func (t *Times) Zone() *time.Location { return t.zone }

// Next is the first occurrence after an instant, in UTC, on a whole second. It is the zero time where there is none within 40
// years, which no rule of New has before the year 2300.
func (t *Times) Next(after time.Time) time.Time {
	switch {
	case t.rule.Kind == remora.RuleHourly:
		return t.nextHour(after)
	case t.cron != nil && t.cron.everyHour:
		return t.nextShown(after)
	}
	for c := shown(after, t.zone).Add(-reach); ; { // what has been due before that cannot be due after it
		next, ok := t.nextCivil(c)
		if !ok {
			return time.Time{}
		}
		if at := instant(next, t.zone); at.After(after) {
			return at
		}
		c = next
	}
}

// nextHour counts real hours. The minute is one of the zone's standard time: where summer time is half an hour (Lord
// Howe), the clock shows another minute in summer, and hours stay hours.
func (t *Times) nextHour(after time.Time) time.Time {
	phase := time.Duration(t.rule.Minute*60-standard(after, t.zone)) * time.Second
	at := after.UTC().Add(-phase).Truncate(time.Hour).Add(phase) // an hour of Truncate's is one of UTC
	for !at.After(after) {
		at = at.Add(time.Hour)
	}
	return at
}

// nextShown is the first instant at which the zone's clocks show a match, again where they are put back.
func (t *Times) nextShown(after time.Time) time.Time {
	for at := after.Add(time.Nanosecond).In(t.zone); ; {
		_, offset := at.Zone()
		_, end := inForce(at)
		match, ok := t.cron.from(shown(at, t.zone))
		if !ok {
			return time.Time{}
		}
		next := match.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || next.Before(end) {
			return next
		}
		at = end.In(t.zone)
	}
}

// nextCivil is the first time after c that the rule names, on a calendar without gaps.
func (t *Times) nextCivil(c civil) (civil, bool) {
	switch t.rule.Kind {
	case remora.RuleCron:
		return t.cron.from(c.Add(time.Nanosecond))
	case remora.RuleEveryHours:
		step := time.Duration(t.step) * time.Minute
		first := time.Duration(t.rule.Minute%t.step) * time.Minute
		return later(c, midnight(c).Add(first), func(at civil) civil { return at.Add(step) }), true
	case remora.RuleWeekly:
		ahead := (int(t.rule.Weekday) - int(c.Weekday()) + 7) % 7
		return later(c, t.on(midnight(c).AddDate(0, 0, ahead)), func(at civil) civil { return at.AddDate(0, 0, 7) }), true
	case remora.RuleMonthly:
		month := date(c.Year(), int(c.Month()), 1, 0, 0)
		return later(c, t.ofMonth(month), func(civil) civil { month = month.AddDate(0, 1, 0); return t.ofMonth(month) }), true
	default:
		return later(c, t.on(midnight(c)), func(at civil) civil { return at.AddDate(0, 0, 1) }), true
	}
}

// later steps on from a time until it is after c.
func later(c, from civil, step func(civil) civil) civil {
	for !from.After(c) {
		from = step(from)
	}
	return from
}

func midnight(c civil) civil { return c.Truncate(day) }

func (t *Times) on(d civil) civil { return d.Add(time.Duration(t.rule.Minute) * time.Minute) }

func (t *Times) ofMonth(first civil) civil {
	last := first.AddDate(0, 1, -1).Day()
	return t.on(first.AddDate(0, 0, min(t.rule.Day, last)-1))
}

// Gap is the shortest time from one occurrence to the next, as clocks show it: a day that summer time shortens counts as
// 24 hours.
func (t *Times) Gap() time.Duration {
	switch t.rule.Kind {
	case remora.RuleHourly:
		return time.Hour
	case remora.RuleEveryHours:
		return time.Duration(t.step) * time.Minute
	case remora.RuleWeekly:
		return 7 * day
	case remora.RuleMonthly:
		return 28 * day
	case remora.RuleCron:
		return t.cron.gap()
	default:
		return day
	}
}

// Upcoming are the first n occurrences after an instant.
func (t *Times) Upcoming(after time.Time, n int) []time.Time {
	var out []time.Time
	for at := t.Next(after); len(out) < n && !at.IsZero(); at = t.Next(at) {
		out = append(out, at)
	}
	return out
}
