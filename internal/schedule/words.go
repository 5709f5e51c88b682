package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// Words says a valid rule in words that follow "backed up", such as "daily at 03:30, Europe/Berlin".
func Words(r remora.Rule) string {
	zone := r.Zone
	if zone != "UTC" {
		zone += " time"
	}
	return when(r) + ", " + zone
}

func when(r remora.Rule) string {
	switch r.Kind {
	case remora.RuleHourly:
		return fmt.Sprintf("every hour, %s past it", minutes(r.Minute))
	case remora.RuleEveryHours:
		return fmt.Sprintf("every %d hours, at %s", r.Hours, listed(r))
	case remora.RuleWeekly:
		return fmt.Sprintf("every %s at %s", r.Weekday, Clock(r.Minute))
	case remora.RuleMonthly:
		return fmt.Sprintf("monthly on the %s at %s", ordinal(r.Day), Clock(r.Minute))
	case remora.RuleCron:
		return fmt.Sprintf("by the cron expression %s", strings.Join(strings.Fields(r.Cron), " "))
	default:
		return "daily at " + Clock(r.Minute)
	}
}

func minutes(n int) string {
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

// listed are a day's times of RuleEveryHours.
func listed(r remora.Rule) string {
	var all []string
	for m := r.Minute % (r.Hours * 60); m < minutesOfDay; m += r.Hours * 60 {
		all = append(all, Clock(m))
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

func ordinal(day int) string {
	switch {
	case day == 31:
		return "last day"
	case day > 28:
		return fmt.Sprintf("%s, or the last day of a month that is shorter,", suffixed(day))
	}
	return suffixed(day)
}

func suffixed(n int) string {
	if n < 11 || n > 13 {
		switch n % 10 {
		case 1:
			return fmt.Sprint(n, "st")
		case 2:
			return fmt.Sprint(n, "nd")
		case 3:
			return fmt.Sprint(n, "rd")
		}
	}
	return fmt.Sprint(n, "th")
}

// Clock writes a minute of the day as 03:30.
func Clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// ParseClock reads a time of the day as 03:30, or 3:30. Errors: KindInvalid.
func ParseClock(text string) (minute int, err error) {
	at, err := time.Parse("15:4", strings.TrimSpace(text))
	if err != nil {
		return 0, remora.Invalid("That is not a time of the day. Write hours and minutes, as 03:30.")
	}
	return at.Hour()*60 + at.Minute(), nil
}

// Fits tells whether a plan allows a rule; its error says what to change.
func Fits(t *Times, p remora.Plan) error {
	if t.Gap() >= p.MinInterval {
		return nil
	}
	return &remora.Error{Kind: remora.KindPlanLimit, Public: fmt.Sprintf(
		"Plan %s backs up a database every %s at most, and two of these times are only %s apart. Choose times that are further apart, or a larger plan.",
		p.Name, length(p.MinInterval), length(t.Gap()))}
}

// length says a time between occurrences in words.
func length(d time.Duration) string {
	switch {
	case d%day == 0 && d > day:
		return fmt.Sprintf("%d days", d/day)
	case d == day:
		return "24 hours"
	case d == time.Hour:
		return "60 minutes"
	case d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d < time.Hour:
		return minutes(int(d / time.Minute))
	}
	return fmt.Sprintf("%d hours and %s", d/time.Hour, minutes(int(d%time.Hour/time.Minute)))
}
