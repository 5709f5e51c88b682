package schedule

import "time"

// reach is further than any zone's clock is, or was, from UTC.
const reach = 26 * time.Hour

// civil is what a clock on a wall shows, as if that wall were in UTC: it has no zone, and no gaps.
type civil = time.Time

// shown is what the zone's clocks show at an instant.
func shown(t time.Time, zone *time.Location) civil {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instant is when the zone's clocks show c for the first time, or, where they jump over it, the first instant after that
// jump.
func instant(c civil, zone *time.Location) time.Time {
	at := c.Add(-reach).In(zone)
	for {
		_, offset := at.Zone()
		start, end := inForce(at)
		t := c.Add(-time.Duration(offset) * time.Second)
		switch {
		case t.Before(start): // the clocks jumped over it when this time began
			return start.UTC()
		case end.IsZero() || t.Before(end):
			return t
		}
		at = end.In(zone)
	}
}

// inForce is the time in which the offset at an instant is in force, or a part of it that holds the instant; a bound that it does
// not have is zero. Go lets it end a day early, before the instant, on the last day of a leap year for which a zone's file has only
// its rule (golang/go#81583): that is next in 2028 in the files that come with Go, and in 2040 in those that most systems have.
func inForce(at time.Time) (start, end time.Time) {
	start, end = at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		end = date(at.UTC().Year()+1, 1, 1, 0, 0).In(at.Location()) // no rule changes clocks on that day
	}
	return start, end
}

// standard is the zone's offset from UTC at t but for summer time, in seconds.
func standard(t time.Time, zone *time.Location) int {
	at := t.In(zone)
	for range 4 { // double summer time is one more step back
		_, offset := at.Zone()
		start, _ := at.ZoneBounds()
		if !at.IsDST() || start.IsZero() {
			return offset
		}
		at = start.Add(-time.Second).In(zone)
	}
	_, offset := at.Zone()
	return offset
}
