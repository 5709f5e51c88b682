package retention

import (
	"slices"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

const day = 24 * time.Hour

// rule keeps the newest backup of each of the newest most spans. Without spans it keeps the newest most backups.
type rule struct {
	because Because
	most    int
	begin   func(time.Time) time.Time // of the span that a time is in
	next    func(time.Time) time.Time // the begin of the span after one that begins then
}

func rulesOf(r remora.Retention) ([]rule, error) {
	zone, err := zone(r.Zone)
	if err != nil {
		return nil, err
	}
	date := func(t time.Time, years, months, days int) time.Time {
		y, m, d := t.In(zone).Date()
		return time.Date(y+years, m+time.Month(months), d+days, 0, 0, 0, 0, zone)
	}
	monday := func(t time.Time) time.Time { return date(t, 0, 0, -(int(t.In(zone).Weekday())+6)%7) }
	first := func(t time.Time) time.Time { return date(t, 0, 0, 1-t.In(zone).Day()) }
	return []rule{
		{because: Last, most: r.Last},
		{because: Days, most: r.Days},
		{Hourly, r.Hourly, func(t time.Time) time.Time {
			t = t.In(zone)
			return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
		}, func(t time.Time) time.Time { return t.Add(time.Hour) }},
		{Daily, r.Daily, func(t time.Time) time.Time { return date(t, 0, 0, 0) }, func(t time.Time) time.Time { return date(t, 0, 0, 1) }},
		{Weekly, r.Weekly, monday, func(t time.Time) time.Time { return date(t, 0, 0, 7) }},
		{Monthly, r.Monthly, first, func(t time.Time) time.Time { return date(t, 0, 1, 0) }},
		{Yearly, r.Yearly, func(t time.Time) time.Time { return date(first(t), 0, 1-int(t.In(zone).Month()), 0) }, func(t time.Time) time.Time { return date(t, 1, 0, 0) }},
	}, nil
}

func zone(name string) (*time.Location, error) {
	if name != "" && name != "Local" { // which Go takes for UTC, and for the machine's own
		if z, err := time.LoadLocation(name); err == nil {
			return z, nil
		}
	}
	return nil, remora.Invalid("There is no time zone %q. Choose one of the list, such as UTC or Europe/Berlin.", name)
}

// apply gives the rule's reason to each backup that it keeps.
func (d *decision) apply(r rule) {
	switch {
	case r.most == 0:
	case r.because == Days:
		d.byAge(r)
	case r.because == Last:
		d.newest(r)
	default:
		d.bySpan(r)
	}
}

func (d *decision) byAge(r rule) {
	for _, v := range d.stored {
		until := v.at.Add(time.Duration(r.most) * day)
		if !until.Before(d.now) {
			v.because(Reason{Because: Days, Of: r.most, Until: until})
		}
	}
}

// newest counts good ones among good ones, and incomplete ones among all.
func (d *decision) newest(r rule) {
	good := 0
	for i, v := range d.stored {
		place := i + 1
		if v.Backup.State.Good() {
			good++
			place = good
		}
		if place <= r.most {
			v.because(Reason{Because: Last, Place: place, Of: r.most})
		}
	}
}

// span is one hour, day, week, month or year in which there is a backup.
type span struct {
	begin  time.Time
	chosen *Verdict // the newest good one, else the newest
}

func (d *decision) bySpan(r rule) {
	spans := d.spans(r)
	good := 0
	for i, s := range spans {
		place := i + 1
		if s.chosen.Backup.State.Good() {
			good++
			place = good
		}
		if place <= r.most {
			s.chosen.because(Reason{Because: r.because, Place: place, Of: r.most, Until: d.until(r, spans, s, place)})
		}
	}
}

// spans lists those with a backup, newest first, as far as the rule reaches: until as many as it keeps have a good one.
func (d *decision) spans(r rule) []span {
	var out []span
	good := 0 // of the spans before the last
	for _, v := range d.stored {
		begin := r.begin(v.at)
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.begin.Equal(begin) {
				if v.Backup.State.Good() && !last.chosen.Backup.State.Good() {
					last.chosen = v
				}
				continue
			}
			good += rank(last.chosen.Backup.State.Good())
		}
		if good >= r.most {
			break
		}
		out = append(out, span{begin, v})
	}
	return out
}

// until is the earliest time at which newer backups can have pushed one out, if there will be one in every span from now
// on; zero where that may be at once. In the span that we are in, and in one that has an incomplete backup, another may
// take its place.
func (d *decision) until(r rule, spans []span, s span, place int) time.Time {
	at := r.begin(d.unsettled)
	if !s.begin.Before(at) || !s.chosen.Backup.State.Good() {
		return time.Time{}
	}
	if slices.ContainsFunc(spans, func(x span) bool { return x.begin.Equal(at) && x.chosen.Backup.State.Good() }) {
		at = r.next(at)
	}
	for range r.most - place {
		at = r.next(at)
	}
	if !at.After(d.now) {
		return time.Time{}
	}
	return at
}
