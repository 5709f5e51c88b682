package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

func times(t testing.TB, r remora.Rule) *schedule.Times {
	t.Helper()
	out, err := schedule.New(r)
	if err != nil {
		t.Fatal(r, err)
	}
	return out
}

func at(text string) time.Time {
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return out
}

func clock(h, m int) int { return h*60 + m }

// What people expect of the days on which clocks are changed, each case found by hand in the zone's history.
func TestTheDaysOnWhichClocksChange(t *testing.T) {
	t.Parallel()
	daily := func(zone string, h, m int) remora.Rule {
		return remora.Rule{Kind: remora.RuleDaily, Minute: clock(h, m), Zone: zone}
	}
	cron := func(zone, text string) remora.Rule {
		return remora.Rule{Kind: remora.RuleCron, Cron: text, Zone: zone}
	}
	hourly := func(zone string, m int) remora.Rule {
		return remora.Rule{Kind: remora.RuleHourly, Minute: m, Zone: zone}
	}
	for name, c := range map[string]struct {
		rule remora.Rule
		want string // the first of these is where Next begins
	}{
		"a skipped time runs at the first instant after": {
			daily("America/New_York", 2, 30),
			"2026-03-07T07:30:00Z 2026-03-08T07:00:00Z 2026-03-09T06:30:00Z",
		},
		"a time that is there twice runs the first time": {
			daily("America/New_York", 1, 30),
			"2026-10-31T05:30:00Z 2026-11-01T05:30:00Z 2026-11-02T06:30:00Z",
		},
		"the second time is not due when one starts between the two": {
			daily("America/New_York", 1, 30),
			"2026-11-01T05:45:00Z 2026-11-02T06:30:00Z",
		},
		"the last day of a leap year": {
			daily("Europe/Berlin", 3, 30),
			"2044-12-30T02:30:00Z 2044-12-31T02:30:00Z 2045-01-01T02:30:00Z 2045-01-02T02:30:00Z",
		},
		"each hour from the last of a leap year on": {
			cron("America/New_York", "0 * * * *"),
			"2044-12-31T23:00:00Z 2045-01-01T00:00:00Z 2045-01-01T01:00:00Z",
		},
		"midnight that does not exist": {
			daily("America/Santiago", 0, 0),
			"2026-09-05T04:00:00Z 2026-09-06T04:00:00Z 2026-09-07T03:00:00Z",
		},
		"midnight that does not exist, years ago": {
			daily("America/Sao_Paulo", 0, 0),
			"2018-11-03T03:00:00Z 2018-11-04T03:00:00Z 2018-11-05T02:00:00Z",
		},
		"half an hour forward": {
			daily("Australia/Lord_Howe", 2, 15),
			"2026-10-02T15:45:00Z 2026-10-03T15:30:00Z 2026-10-04T15:15:00Z",
		},
		"half an hour back": {
			daily("Australia/Lord_Howe", 1, 45),
			"2026-04-03T14:45:00Z 2026-04-04T14:45:00Z 2026-04-05T15:15:00Z",
		},
		"a day that never was": {
			daily("Pacific/Apia", 9, 0),
			"2011-12-29T19:00:00Z 2011-12-30T10:00:00Z 2011-12-30T19:00:00Z 2011-12-31T19:00:00Z",
		},
		"an hour that is there twice is two hours": {
			hourly("America/New_York", 30),
			"2026-11-01T04:30:00Z 2026-11-01T05:30:00Z 2026-11-01T06:30:00Z 2026-11-01T07:30:00Z",
		},
		"an hour that is skipped is none": {
			hourly("America/New_York", 30),
			"2026-03-08T05:30:00Z 2026-03-08T06:30:00Z 2026-03-08T07:30:00Z 2026-03-08T08:30:00Z",
		},
		"hours stay hours where summer is half an hour": {
			hourly("Australia/Lord_Howe", 15),
			"2026-10-03T13:45:00Z 2026-10-03T14:45:00Z 2026-10-03T15:45:00Z 2026-10-03T16:45:00Z",
		},
		"a cron hour of * is real hours": {
			cron("America/New_York", "30 * * * *"),
			"2026-11-01T04:30:00Z 2026-11-01T05:30:00Z 2026-11-01T06:30:00Z 2026-11-01T07:30:00Z",
		},
		"a cron hour of * begins right after the jump": {
			cron("America/New_York", "0 * * * *"),
			"2026-03-08T06:00:00Z 2026-03-08T07:00:00Z 2026-03-08T08:00:00Z",
		},
		"two skipped times are one occurrence": {
			cron("Europe/Berlin", "15,45 2 * * *"),
			"2026-03-28T01:45:00Z 2026-03-29T01:00:00Z 2026-03-30T00:15:00Z",
		},
		"every six hours, at the same local times": {
			remora.Rule{Kind: remora.RuleEveryHours, Hours: 6, Minute: clock(14, 15), Zone: "Europe/Berlin"},
			"2026-10-24T18:15:00Z 2026-10-25T00:15:00Z 2026-10-25T07:15:00Z 2026-10-25T13:15:00Z",
		},
		"the 31st is the last day": {
			remora.Rule{Kind: remora.RuleMonthly, Day: 31, Minute: clock(3, 30), Zone: "UTC"},
			"2028-01-31T03:30:00Z 2028-02-29T03:30:00Z 2028-03-31T03:30:00Z 2028-04-30T03:30:00Z 2028-05-31T03:30:00Z",
		},
		"weekly": {
			remora.Rule{Kind: remora.RuleWeekly, Weekday: time.Sunday, Minute: clock(2, 30), Zone: "Europe/Berlin"},
			"2026-03-22T01:30:00Z 2026-03-29T01:00:00Z 2026-04-05T00:30:00Z",
		},
		"cron takes a day by its number or by its weekday": {
			cron("UTC", "0 0 13 * FRI"),
			"2026-03-01T00:00:00Z 2026-03-06T00:00:00Z 2026-03-13T00:00:00Z 2026-03-20T00:00:00Z 2026-03-27T00:00:00Z 2026-04-03T00:00:00Z 2026-04-10T00:00:00Z 2026-04-13T00:00:00Z",
		},
		"cron takes both where one is a step of *": {
			cron("UTC", "0 0 1-7 * */7"),
			"2026-03-02T00:00:00Z 2026-04-05T00:00:00Z 2026-05-03T00:00:00Z",
		},
		"a leap day": {cron("UTC", "0 12 29 2 *"), "2096-02-29T12:00:00Z 2104-02-29T12:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.Fields(c.want)
			got := []string{want[0]}
			for _, next := range times(t, c.rule).Upcoming(at(want[0]), len(want)-1) {
				got = append(got, next.Format(time.RFC3339))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got\n%s, want\n%s", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestBadRulesSayWhatToChange(t *testing.T) {
	t.Parallel()
	ok := remora.Rule{Kind: remora.RuleDaily, Minute: 10, Zone: "UTC"}
	for says, change := range map[string]func(*remora.Rule){
		"how often":       func(r *remora.Rule) { r.Kind = "sometimes" },
		"as 03:30":        func(r *remora.Rule) { r.Minute = 1440 },
		"hours and min":   func(r *remora.Rule) { r.Kind, r.Minute = remora.RuleHourly, 60 },
		"Europe/Berlin":   func(r *remora.Rule) { r.Zone = "Mars/Olympus" },
		"time zone":       func(r *remora.Rule) { r.Zone = "../../etc/passwd" },
		"the list":        func(r *remora.Rule) { r.Zone = "Local" },
		"no time zone":    func(r *remora.Rule) { r.Zone = "Europe//Berlin" }, // names have one spelling: each is kept in memory
		"There is no":     func(r *remora.Rule) { r.Zone = "./Europe/./Berlin" },
		"is no time":      func(r *remora.Rule) { r.Zone = "Europe/Berlin/" },
		"of that name":    func(r *remora.Rule) { r.Zone = "" },
		"3, 4, 6":         func(r *remora.Rule) { r.Kind, r.Hours = remora.RuleEveryHours, 5 },
		"day of the week": func(r *remora.Rule) { r.Kind, r.Weekday = remora.RuleWeekly, 7 },
		"from 1 to 31":    func(r *remora.Rule) { r.Kind, r.Day = remora.RuleMonthly, 32 },
		"five fields":     func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "0 0 * * * *" },
		"minute, hour":    func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "@daily" },
		"hour, 24":        func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "0 24 * * *" },
		"minute, MON":     func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "mon 0 * * *" },
		"month, L":        func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "0 0 L * *" },
		"week, 5-1":       func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "0 0 * * 5-1" },
		"minute, */0":     func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "*/0 0 * * *" },
		"no calendar has": func(r *remora.Rule) { r.Kind, r.Cron = remora.RuleCron, "0 0 30 2 *" },
	} {
		r := ok
		change(&r)
		if _, err := schedule.New(r); remora.KindOf(err) != remora.KindInvalid || !strings.Contains(remora.Public(err, ""), says) {
			t.Errorf("%+v: %v does not say %q", r, err, says)
		}
	}
}

// What a plan allows goes by how far apart occurrences are, however the rule is written.
func TestPlansLimitHowOften(t *testing.T) {
	t.Parallel()
	plan := remora.Plan{Name: "Mako", MinInterval: 6 * time.Hour}
	for text, gap := range map[string]time.Duration{
		"0 3 * * *": 24 * time.Hour, "0 */6 * * *": 6 * time.Hour, "0 0,23 * * *": time.Hour, "59 23 * * *": 24 * time.Hour,
		"*/15 * * * *": 15 * time.Minute, "0 0,18 1 * *": 18 * time.Hour, "0 0,23 1,2 * *": time.Hour, "0 0,23 */2 * *": time.Hour,
		"0 0 1 1 *": 365 * 24 * time.Hour, "0 1,2 29 2 *": time.Hour, "0 12 31 * *": 31 * 24 * time.Hour, "0 12 28-31 * 1": 24 * time.Hour,
	} {
		r := times(t, remora.Rule{Kind: remora.RuleCron, Cron: text, Zone: "Europe/Berlin"})
		if r.Gap() != gap {
			t.Errorf("%s: %v instead of %v", text, r.Gap(), gap)
		}
		if err := schedule.Fits(r, plan); (err == nil) != (gap >= plan.MinInterval) || err != nil && remora.KindOf(err) != remora.KindPlanLimit {
			t.Errorf("%s: %v", text, err)
		}
	}
	err := schedule.Fits(times(t, remora.Rule{Kind: remora.RuleHourly, Zone: "UTC"}), plan)
	if got := remora.Public(err, ""); !strings.Contains(got, "every 6 hours at most") || !strings.Contains(got, "only 60 minutes apart") {
		t.Error(got)
	}
	if err := schedule.Fits(times(t, remora.Rule{Kind: remora.RuleDaily, Zone: "Europe/Berlin"}), remora.Plan{MinInterval: 24 * time.Hour}); err != nil {
		t.Error("a day that summer time shortens is a day:", err)
	}
}

func TestZonesCanBeChosen(t *testing.T) {
	t.Parallel()
	all := schedule.Zones()
	if len(all) < 400 || all[0] != "UTC" {
		t.Fatal(len(all), all[0])
	}
	for _, z := range all {
		times(t, remora.DefaultRule("x").In(z))
	}
}

func TestRulesInWords(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]remora.Rule{
		"daily at 03:30, UTC":                                                            {Kind: remora.RuleDaily, Minute: 210, Zone: "UTC"},
		"every hour, 1 minute past it, Asia/Tokyo time":                                  {Kind: remora.RuleHourly, Minute: 1, Zone: "Asia/Tokyo"},
		"every 12 hours, at 02:15 and 14:15, UTC":                                        {Kind: remora.RuleEveryHours, Hours: 12, Minute: 14*60 + 15, Zone: "UTC"},
		"every Monday at 00:05, UTC":                                                     {Kind: remora.RuleWeekly, Weekday: time.Monday, Minute: 5, Zone: "UTC"},
		"monthly on the last day at 00:00, UTC":                                          {Kind: remora.RuleMonthly, Day: 31, Zone: "UTC"},
		"monthly on the 2nd at 00:00, UTC":                                               {Kind: remora.RuleMonthly, Day: 2, Zone: "UTC"},
		"monthly on the 12th at 00:00, UTC":                                              {Kind: remora.RuleMonthly, Day: 12, Zone: "UTC"},
		"by the cron expression 0 3 * * mon, Asia/Tokyo time":                            {Kind: remora.RuleCron, Cron: " 0 3 * *  mon", Zone: "Asia/Tokyo"},
		"monthly on the 30th, or the last day of a month that is shorter, at 00:00, UTC": {Kind: remora.RuleMonthly, Day: 30, Zone: "UTC"},
	} {
		if got := schedule.Words(r); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
	for text, want := range map[string]int{"03:30": 210, "3:05": 185, "\t03:30\n": 210, "00:00": 0, "23:59": 1439} {
		if got, err := schedule.ParseClock(text); got != want || err != nil {
			t.Error(text, got, err)
		}
	}
	for _, text := range []string{"", "24:00", "3", "3:60", "3 pm", "-1:00"} {
		if _, err := schedule.ParseClock(text); remora.KindOf(err) != remora.KindInvalid {
			t.Error(text, err)
		}
	}
}
