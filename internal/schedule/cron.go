package schedule

import (
	"regexp"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"github.com/remora-backup/remora/internal/remora"
)

// cron is an expression taken apart: which value of each field matches.
type cron struct {
	minute, hour, day, month, weekday [60]bool
	either                            bool // a day matches by its number or by its weekday, as cron has it where both are given
	everyHour                         bool // its hour is "*"
}

const (
	number = `(?:[0-9]{1,2})`
	months = `(?:[0-9]{1,2}|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)`
	days   = `(?:[0-9]|SUN|MON|TUE|WED|THU|FRI|SAT)`
)

// fields are the five, in order. pos is gronx's number for it.
var fields = []struct {
	name  string
	pos   int
	shape *regexp.Regexp
	size  int
	of    func(*cron) *[60]bool
	at    func(int) time.Time // a time at which the field has that value
}{
	{"minute", 1, shape(number), 60, func(c *cron) *[60]bool { return &c.minute }, func(v int) time.Time { return date(2024, 1, 1, 0, v) }},
	{"hour", 2, shape(number), 24, func(c *cron) *[60]bool { return &c.hour }, func(v int) time.Time { return date(2024, 1, 1, v, 0) }},
	{"day of the month", 3, shape(number), 32, func(c *cron) *[60]bool { return &c.day }, func(v int) time.Time { return date(2024, 1, max(v, 1), 0, 0) }},
	{"month", 4, shape(months), 13, func(c *cron) *[60]bool { return &c.month }, func(v int) time.Time { return date(2024, max(v, 1), 1, 0, 0) }},
	{"day of the week", 5, shape(days), 7, func(c *cron) *[60]bool { return &c.weekday }, func(v int) time.Time { return date(2024, 9, 1+v, 0, 0) }}, // a Sunday
}

// shape is a list of values, ranges and steps of a field. gronx takes more, and some of it by mistake.
func shape(value string) *regexp.Regexp {
	item := `(?:\*|` + value + `(?:-` + value + `)?)(?:/[0-9]{1,2})?`
	return regexp.MustCompile(`^` + item + `(?:,` + item + `)*$`)
}

func date(y, m, d, h, min int) civil { return time.Date(y, time.Month(m), d, h, min, 0, 0, time.UTC) }

// maxCron is longer than any expression that a person writes.
const maxCron = 200

// parseCron reads an expression of five fields. Errors: KindInvalid, with the field's name.
func parseCron(text string) (*cron, error) {
	words := strings.Fields(strings.ToUpper(text))
	if len(words) != len(fields) || len(text) > maxCron {
		return nil, remora.Invalid("A cron expression has five fields: minute, hour, day of the month, month, day of the week. For 03:30 every day write 30 3 * * *.")
	}
	c := &cron{
		either:    words[2][0] != '*' && words[4][0] != '*',
		everyHour: words[1] == "*",
	}
	for i, f := range fields {
		if !f.shape.MatchString(words[i]) {
			return nil, badField(f.name, words[i])
		}
		segments, err := gronx.Segments(strings.Join(words, " ")) // names become numbers
		if err != nil {
			return nil, badField(f.name, words[i])
		}
		for v := range f.size {
			check := &gronx.SegmentChecker{}
			check.SetRef(f.at(v))
			due, err := check.CheckDue(segments[f.pos], f.pos)
			if err != nil {
				return nil, badField(f.name, words[i])
			}
			f.of(c)[v] = due
		}
	}
	return c, nil
}

func badField(name, text string) error {
	return remora.Invalid("The cron expression's %s, %s, is not understood. A field is *, a number, a range as 1-5, a list as 1,15, or any of these with a step as */15.", name, text)
}

// on tells whether a day matches.
func (c *cron) on(d civil) bool {
	byDay, byWeekday := c.day[d.Day()], c.weekday[d.Weekday()]
	if c.either {
		return c.month[d.Month()] && (byDay || byWeekday)
	}
	return c.month[d.Month()] && byDay && byWeekday
}

// from returns the first minute that matches and does not begin before t, and false where there is none within horizon.
func (c *cron) from(t civil) (civil, bool) {
	t = t.Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
	for limit := t.Add(horizon); t.Before(limit); t = midnight(t).AddDate(0, 0, 1) {
		if !c.on(t) {
			continue
		}
		for m := t.Hour()*60 + t.Minute(); m < minutesOfDay; m++ {
			if c.hour[m/60] && c.minute[m%60] {
				return midnight(t).Add(time.Duration(m) * time.Minute), true
			}
		}
	}
	return time.Time{}, false
}

// gap is the shortest time from one match to the next, on a calendar without summer time. It looks at what is due, and
// not at what the expression looks like.
func (c *cron) gap() time.Duration {
	shortest, first, last := horizon, -1, -1
	for m := range minutesOfDay {
		if !c.hour[m/60] || !c.minute[m%60] {
			continue
		}
		if last >= 0 {
			shortest = min(shortest, time.Duration(m-last)*time.Minute)
		} else {
			first = m
		}
		last = m
	}
	before := time.Time{}
	for d, end := date(2001, 1, 1, 0, 0), date(2058, 1, 1, 0, 0); d.Before(end); d = d.AddDate(0, 0, 1) { // twice the 28 years after which dates and weekdays come round
		if !c.on(d) {
			continue
		}
		if !before.IsZero() {
			shortest = min(shortest, d.Sub(before)-time.Duration(last-first)*time.Minute)
		}
		before = d
	}
	return shortest
}
