package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	"pgregory.net/rapid"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// walked is what a clock of the zone shows, minute after minute of real time.
type walked struct {
	instants, shows []time.Time
	firsts          map[time.Time]time.Time
}

func walk(zone *time.Location, from time.Time, minutes int) walked {
	w := walked{firsts: map[time.Time]time.Time{}}
	for i := range minutes {
		t := from.Add(time.Duration(i) * time.Minute)
		l := t.In(zone)
		s := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
		w.instants, w.shows = append(w.instants, t), append(w.shows, s)
		if _, twice := w.firsts[s]; !twice {
			w.firsts[s] = t
		}
	}
	return w
}

// first is when the clock shows c first, or the first instant after it jumps over it.
func (w walked) first(c time.Time) (time.Time, bool) {
	if t, ok := w.firsts[c]; ok {
		return t, true
	}
	i := slices.IndexFunc(w.shows, func(s time.Time) bool { return s.After(c) })
	if i <= 0 {
		return time.Time{}, false
	}
	return w.instants[i], true
}

// due walks through everything that the rule could mean: its times on a calendar, each found on the clock.
func (w walked) due(matches func(time.Time) bool, real bool) []time.Time {
	var out []time.Time
	if real { // whenever the clock shows it
		for i, s := range w.shows {
			if matches(s) {
				out = append(out, w.instants[i])
			}
		}
		return out
	}
	for c, end := w.shows[0].Add(-26*time.Hour), w.shows[len(w.shows)-1]; c.Before(end); c = c.Add(time.Minute) {
		if !matches(c) {
			continue
		}
		if t, ok := w.first(c); ok {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.Compact(out)
}

// change is an instant at which the zone's clocks were changed, a year's last day, or any where they never are.
func change(t *rapid.T, zone *time.Location) time.Time {
	year, month := rapid.IntRange(1975, 2045).Draw(t, "year"), rapid.IntRange(0, 12).Draw(t, "month")
	if month == 0 {
		return time.Date(year, 12, 31, 12, 0, 0, 0, time.UTC)
	}
	from := time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
	if _, end := from.In(zone).ZoneBounds(); !end.IsZero() {
		return end.UTC().Truncate(time.Minute) // 2038-01-19T03:14:07Z ends what old zone files hold
	}
	return from
}

// anyRule is one that is due close to a time on the clock.
func anyRule(t *rapid.T, zone string, near time.Time) (remora.Rule, func(time.Time) bool, bool) {
	m := (near.Hour()*60 + near.Minute() + rapid.IntRange(-150, 150).Draw(t, "minutes") + 1440) % 1440
	r := remora.Rule{Kind: rapid.SampledFrom(remora.RuleKinds()).Draw(t, "kind"), Minute: m, Zone: zone}
	isAt := func(c time.Time) bool { return c.Hour()*60+c.Minute() == m }
	switch r.Kind {
	case remora.RuleEveryHours:
		r.Hours = rapid.SampledFrom([]int{2, 3, 4, 6, 8, 12}).Draw(t, "hours")
		return r, func(c time.Time) bool { return (c.Hour()*60+c.Minute()-m+1440)%(r.Hours*60) == 0 }, false
	case remora.RuleWeekly:
		r.Weekday = near.Weekday()
		return r, func(c time.Time) bool { return isAt(c) && c.Weekday() == r.Weekday }, false
	case remora.RuleMonthly:
		r.Day = rapid.SampledFrom([]int{near.Day(), 29, 30, 31}).Draw(t, "day")
		return r, func(c time.Time) bool {
			last := c.AddDate(0, 0, 1).Day() == 1
			return isAt(c) && (c.Day() == r.Day || last && c.Day() < r.Day)
		}, false
	case remora.RuleCron:
		r.Minute = 0
		hour := rapid.SampledFrom([]string{"*", fmt.Sprint(m / 60), fmt.Sprintf("%d-23", m/60), "*/2", "0,1,2,3", "0-23"}).Draw(t, "hour")
		minute := rapid.SampledFrom([]string{fmt.Sprint(m % 60), "*/20", "0,15,45", "*"}).Draw(t, "minute")
		day := rapid.SampledFrom([]string{"* * *", fmt.Sprintf("%d * %d", near.Day(), near.Weekday()), fmt.Sprintf("* %d MON-SUN", near.Month()), "*/2 * *"}).Draw(t, "day")
		r.Cron = strings.Replace(minute+" "+hour+" "+day, "MON-SUN", "0-6", 1)
		return r, func(c time.Time) bool { due, err := gronx.New().IsDue(r.Cron, c); return err == nil && due }, hour == "*"
	}
	return r, isAt, false
}

// In every zone, around every change of its clocks: what Next says is what walking along with the clock finds, no
// occurrence more and none less.
func TestNextIsWhatTheClockShows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(schedule.Zones()).Draw(t, "zone")
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := change(t, zone)
		from := changed.Add(-time.Duration(rapid.IntRange(0, 1500).Draw(t, "before")) * time.Minute)
		rule, matches, real := anyRule(t, name, changed.In(zone))
		if rule.Kind == remora.RuleHourly {
			rule.Minute %= 60
		}
		times, err := schedule.New(rule)
		if err != nil {
			t.Fatal(rule, err)
		}
		until := from.Add(2000 * time.Minute)
		var got []time.Time
		for at := times.Next(from); at.Before(until); at = times.Next(at) {
			if len(got) > 0 && !at.After(got[len(got)-1]) {
				t.Fatalf("%+v: %v is not after itself: %v", rule, at, got)
			}
			got = append(got, at)
		}
		if rule.Kind == remora.RuleHourly {
			hours(t, rule, got)
			return
		}
		want := walk(zone, from.Add(-30*time.Hour), 30*60+2000+60).due(matches, real)
		want = slices.DeleteFunc(want, func(at time.Time) bool { return !at.After(from) || !at.Before(until) })
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("%+v from %v:\ngot  %v\nwant %v", rule, from, got, want)
		}
	})
}

// hours checks that an hourly rule is due 60 minutes apart, but where a zone's standard time itself was changed by part of
// an hour.
func hours(t *rapid.T, rule remora.Rule, got []time.Time) {
	odd := 0
	for i := 1; i < len(got); i++ {
		if got[i].Sub(got[i-1]) != time.Hour {
			odd++
		}
	}
	if len(got) < 32 || odd > 1 {
		t.Fatalf("%+v: %v", rule, got)
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 3 * * *", "*/15 0-5,22 1,15 JAN-mar 1-5/2", "0 0 29 2 */7", "0 0 31 2 *", "* * * * 7", "5/7 * * * *", "@daily", "1-0 * * * *", "0 0 L * 5#1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		times, err := schedule.New(remora.Rule{Kind: remora.RuleCron, Cron: text, Zone: "UTC"})
		if err != nil {
			if remora.KindOf(err) != remora.KindInvalid {
				t.Error(err)
			}
			return
		}
		gap := times.Gap()
		last := time.Time{}
		from := time.Date(2026, 2, 27, 23, 30, 0, 0, time.UTC)
		at := from
		for range 200 {
			at = times.Next(at)
			if at.IsZero() || !last.IsZero() && at.Sub(last) < gap {
				t.Fatalf("%q: %v after %v, where the shortest gap is %v", text, at, last, gap)
			}
			last = at
		}
		if strings.Contains(strings.ReplaceAll(text+" ", "*/", ""), "*,") || strings.Contains(text, ",*") {
			return // gronx has another idea of the day where a list has a *
		}
		next := times.Next(from.Add(-time.Second))
		for m := range 200 {
			c := from.Add(time.Duration(m) * time.Minute)
			due, err := gronx.New().IsDue(strings.Join(strings.Fields(text), " "), c)
			if err != nil || due != next.Equal(c) {
				t.Fatalf("%q at %v: %v %v, and next is %v", text, c, due, err, next)
			}
			if due {
				next = times.Next(c)
			}
		}
	})
}
