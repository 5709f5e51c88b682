package retention

import (
	"fmt"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// Words says a retention in words that follow "keeps", such as "all of the last 3 days, 7 daily and 4 weekly".
func Words(r remora.Retention) string {
	var all []string
	if r.Last > 0 {
		all = append(all, fmt.Sprintf("the newest %d", r.Last))
	}
	if r.Days == 1 {
		all = append(all, "all of the last day")
	} else if r.Days > 1 {
		all = append(all, fmt.Sprintf("all of the last %d days", r.Days))
	}
	for _, x := range []struct {
		n    int
		name Because
	}{{r.Hourly, Hourly}, {r.Daily, Daily}, {r.Weekly, Weekly}, {r.Monthly, Monthly}, {r.Yearly, Yearly}} {
		if x.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", x.n, x.name))
		}
	}
	switch len(all) {
	case 0:
		return "none but the newest good ones"
	case 1:
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// String says a reason in words that follow "kept:" or "removed:".
func (r Reason) String() string {
	switch r.Because {
	case Days:
		if r.Of == 1 {
			return "of the last day"
		}
		return fmt.Sprintf("of the last %d days", r.Of)
	case NewestProven:
		return "the newest that was restored and compared"
	case NewestAtAll:
		return "one of the newest, with no good one in its place"
	case NewestGood:
		return fmt.Sprintf("one of the newest %d good ones", r.Of)
	case Locked:
		return "locked"
	case Damaged:
		return "damaged in the store, and a newer good one has its place"
	case Forgotten:
		return "its database is forgotten, as somebody has asked"
	case NoRule:
		return "no rule keeps it"
	case PlanDays:
		return fmt.Sprintf("older than the %d days of the plan", r.Of)
	case PlanCount:
		return fmt.Sprintf("more than the %d backups of the plan", r.Of)
	}
	return fmt.Sprintf("%s %d of %d", r.Because, r.Place, r.Of)
}

// Check refuses a retention that cannot be meant. Errors: KindInvalid, with a sentence that says what to change.
func Check(r remora.Retention) error {
	if _, err := zone(r.Zone); err != nil {
		return err
	}
	sum := 0
	for _, x := range []struct {
		name      string
		got, most int
	}{
		{"The newest", r.Last, remora.MostOfLast},
		{"Days", r.Days, remora.MostOfDays},
		{"Hourly", r.Hourly, remora.MostOfHourly},
		{"Daily", r.Daily, remora.MostOfDaily},
		{"Weekly", r.Weekly, remora.MostOfWeekly},
		{"Monthly", r.Monthly, remora.MostOfMonthly},
		{"Yearly", r.Yearly, remora.MostOfYearly},
	} {
		if x.got < 0 || x.got > x.most {
			return remora.Invalid("%s must be a number from 0 to %d.", x.name, x.most)
		}
		sum += x.got
	}
	if sum == 0 {
		return remora.Invalid("Something must be kept: give at least one rule a number above 0.")
	}
	return nil
}
