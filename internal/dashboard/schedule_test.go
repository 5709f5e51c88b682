package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// submit posts a form of names and values.
func (n *tenant) submit(t *testing.T, path string, fields ...string) answer {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return n.post(t, path, form)
}

func (n *tenant) rule(t *testing.T) remora.Rule {
	t.Helper()
	return n.view(t).Databases[0].Rule
}

func TestAScheduleIsLookedAtAndSaved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ahead = time.Until(time.Date(2040, 3, 24, 12, 0, 0, 0, time.UTC)) // the night before clocks go forward in Berlin
	n := s.tenant(t, shop())
	page := databaseOf(n, t)
	says(t, n.do(t, "GET", page).body, "Backed up daily at", "every database begins with", "None of its times has come yet")
	old := n.rule(t)
	fields := []string{"kind", "daily", "daily_at", "02:30", "zone", "Europe/Berlin", "cron", "what I tried before"}
	next := []string{"Sun 25 Mar 2040, 03:00 CEST", "Sun 25 Mar 2040, 01:00", "Mon 26 Mar 2040, 02:30 CEST", "Mon 26 Mar 2040, 00:30", "Thu 29 Mar 2040, 02:30 CEST"}
	a := n.submit(t, page+"/schedule", append(fields, "do", "look")...)
	says(t, a.body, append(next, "daily at 02:30, Europe/Berlin time", `value="what I tried before"`, "not", "Fri 30 Mar")...)
	if a.StatusCode != http.StatusOK || n.rule(t) != old {
		t.Error("looking saved it", a.Status)
	}
	a = n.submit(t, page+"/schedule", append(fields, "do", "save")...)
	if want := (remora.Rule{Kind: remora.RuleDaily, Minute: 150, Zone: "Europe/Berlin"}); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != page+"#schedule" || n.rule(t) != want {
		t.Error(a.Status, a.Header, n.rule(t))
	}
	says(t, n.do(t, "GET", page).body, append(next, "Set by owner@example.com")...)
	says(t, n.do(t, "GET", page+"/schedule").body, append(next, `name="daily_at" value="02:30"`)...)
}

// Every kind comes back from the form as it was typed.
func TestEveryKindOfScheduleIsSaved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	page := databaseOf(n, t) + "/schedule"
	if _, err := s.ChangePlan(t.Context(), n.id, "great-white"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fields string
		want   remora.Rule
	}{
		{"kind=hourly&past=7", remora.Rule{Kind: remora.RuleHourly, Minute: 7}},
		{"kind=every_hours&every=8&every_at=05:10", remora.Rule{Kind: remora.RuleEveryHours, Hours: 8, Minute: 310}},
		{"kind=weekly&weekday=6&weekly_at=05:10", remora.Rule{Kind: remora.RuleWeekly, Weekday: time.Saturday, Minute: 310}},
		{"kind=monthly&day=31&monthly_at=00:00", remora.Rule{Kind: remora.RuleMonthly, Day: 31}},
		{"kind=cron&cron=+0++3 * * MON-FRI", remora.Rule{Kind: remora.RuleCron, Cron: "0 3 * * MON-FRI"}},
	} {
		fields, err := url.ParseQuery(c.fields + "&zone=Asia/Tokyo&do=save")
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for k := range fields {
			all = append(all, k, fields.Get(k))
		}
		if a := n.submit(t, page, all...); a.StatusCode != http.StatusSeeOther || n.rule(t) != c.want.In("Asia/Tokyo") {
			t.Error(c.fields, a.Status, n.rule(t))
		}
		if a := n.do(t, "GET", page); strings.Count(a.body, " checked") != 1 || !strings.Contains(a.body, `value="`+string(c.want.Kind)+`" checked`) {
			t.Error(c.fields, "is not shown as it is")
		}
	}
}

// What is wrong is said, what was typed stays, and nothing is saved.
func TestAWrongScheduleLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop()) // on a plan with six hours
	page, old := databaseOf(n, t)+"/schedule", n.rule(t)
	for sentence, fields := range map[string][]string{
		"as 03:30":                  {"kind", "daily", "daily_at", "half past three"},
		"from 0 to 59":              {"kind", "hourly", "past", "60"},
		"2, 3, 4, 6, 8 or 12":       {"kind", "every_hours", "every", "7", "every_at", "01:00"},
		"day of the week":           {"kind", "weekly", "weekday", "x", "weekly_at", "01:00"},
		"from 1 to 31":              {"kind", "monthly", "day", "32", "monthly_at", "01:00"},
		"five fields":               {"kind", "cron", "cron", "@hourly"},
		"hour, 25,":                 {"kind", "cron", "cron", "0 25 * * *"},
		"Choose how often":          {"daily_at", "01:00"},
		"every 6 hours at most":     {"kind", "hourly", "past", "0"},
		"are only 30 minutes apart": {"kind", "cron", "cron", "0,30 3 * * *"},
		"There is no time zone":     {"kind", "daily", "daily_at", "01:00", "zone", "Berlin <b>"},
	} {
		if !strings.Contains(strings.Join(fields, " "), "zone") {
			fields = append(fields, "zone", "Europe/Berlin")
		}
		a := n.submit(t, page, append(fields, "do", "save")...)
		if a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, sentence) || n.rule(t) != old {
			t.Errorf("%v: %s, not %q", fields, a.Status, sentence)
		}
		typed := fields[len(fields)-1]
		if !strings.Contains(a.body, `name="zone" list="zones" value="`+strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(typed)+`"`) {
			t.Errorf("%v: the zone was lost", fields)
		}
	}
	says(t, n.submit(t, page, "kind", "daily", "daily_at", "half past three", "zone", "UTC", "do", "save").body, `value="half past three"`, `value="daily" checked`)
}

// What the plan does not do cannot be chosen, and says which one does; what is so already stays chosen.
func TestWhatAPlanDoesNotDoIsNoChoice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop()) // on a plan with six hours
	page := databaseOf(n, t) + "/schedule"
	says(t, n.do(t, "GET", page).body, `value="hourly" disabled>`, `<option value="2" disabled>2 (on plan Hammerhead)</option>`, `<option value="4" disabled>`,
		`<option value="6" selected>6</option>`, `<option value="8">8</option>`, `<span class="hint">(on plan Hammerhead)</span>`)
	says(t, n.submit(t, page, "kind", "hourly", "past", "7", "zone", "UTC", "do", "look").body, `value="hourly" checked>`)
	n.plan(t, "hammerhead")
	says(t, n.do(t, "GET", page).body, `<option value="2">2</option>`, "not", "disabled", "on plan")
}

// A pause is as loud as a failure, wherever the database is shown.
func TestAPauseIsLoud(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.keep(t)
	page := databaseOf(n, t)
	if a := n.submit(t, page+"/schedule/pause", "why", "the <b>move</b>"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	for _, at := range []string{"/dashboard", page} {
		says(t, n.do(t, "GET", at).body, `class="state paused"`, "owner@example.com paused it", "the &lt;b&gt;move", "schedule/resume")
	}
	says(t, n.do(t, "GET", "/dashboard").body, "look here")
	says(t, n.do(t, "GET", page).body, "none of these times brings a backup")
	if a := n.submit(t, page+"/schedule/resume"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	for _, at := range []string{"/dashboard", page} {
		says(t, n.do(t, "GET", at).body, "not", "paused it")
	}
}

func TestOutcomesAreShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.keep(t)
	n.due(t)
	page := databaseOf(n, t)
	says(t, n.do(t, "GET", page).body, "2 skipped, 1 pending", "Our scheduler was down when this was due")
	b := n.keep(t)
	says(t, n.do(t, "GET", page).body, "1 succeeded, 2 skipped", `<a href="/dashboard/backups/`+string(b.ID)+`">Open`)
}

func TestSchedulesOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, other := s.tenant(t, shop()), s.tenant(t, shop())
	page := databaseOf(other, t) + "/schedule"
	for _, a := range []answer{
		n.do(t, "GET", page), n.submit(t, page, "kind", "daily", "daily_at", "01:00", "zone", "UTC", "do", "save"), n.submit(t, page+"/pause"), n.submit(t, page+"/resume"),
		n.do(t, "GET", "/dashboard/databases/x/schedule"), n.submit(t, "/dashboard/databases/x/schedule/pause"),
	} {
		if a.StatusCode != http.StatusNotFound {
			t.Error(a.Request.URL, a.Status)
		}
	}
	if d := other.view(t).Databases[0]; d.Pause != nil || d.Rule != remora.DefaultRule(d.ID) {
		t.Errorf("%+v", d)
	}
}
