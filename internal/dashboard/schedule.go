package dashboard

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// upcoming is how many of the next occurrences are shown.
const upcoming = 5

// schedulePart is a database's schedule on its page.
type schedulePart struct {
	remora.Schedule
	Database remora.Database
	Words    string
	coming
}

// coming are the next occurrences.
type coming struct {
	Next []moment
}

// Zoned tells whether a zone shows other times than UTC does.
func (c coming) Zoned() bool {
	return slices.ContainsFunc(c.Next, func(m moment) bool { return m.Local.Location() != time.UTC })
}

// moment is an instant by the clocks of a zone.
type moment struct {
	UTC, Local time.Time
}

func readSchedule(p *Pages, r *http.Request, s remora.Session, page *databasePage) (*part, error) {
	d := page.Database
	view, err := p.Store.Schedule(r.Context(), s.Resource, d.ID)
	if remora.KindOf(err) == remora.KindNotFound { // it never had a usable credential
		return nil, nil //nolint:nilnil // no part, as databasePart says
	}
	if err != nil {
		return nil, err
	}
	times, err := schedule.New(view.Rule)
	if err != nil { // its zone has left the tz database: choose another
		return &part{"schedule", "Schedule", "schedule", schedulePart{view, d, schedule.Words(view.Rule), coming{}}}, nil //nolint:nilerr // shown as the absence of times
	}
	return &part{"schedule", "Schedule", "schedule", schedulePart{view, d, schedule.Words(view.Rule), coming{moments(times, view)}}}, nil
}

// moments are the next occurrences: what is written down, and what follows by the rule.
func moments(times *schedule.Times, s remora.Schedule) []moment {
	next := append([]time.Time{s.NextRunAt}, times.Upcoming(s.NextRunAt, upcoming-1)...)
	return momentsOf(times, next)
}

func momentsOf(times *schedule.Times, at []time.Time) []moment {
	var out []moment
	for _, t := range at {
		out = append(out, moment{t, t.In(times.Zone())})
	}
	return out
}

// schedulePage is where a database's schedule is changed. What was typed stays, until it is saved.
type schedulePage struct {
	Frame    frame
	Database remora.Database
	Plan     remora.Plan
	Now      string // the schedule there is, in words
	Form     scheduleForm
	Wrong    string // what to change; empty where nothing is wrong
	Words    string // the schedule that would be saved, in words
	coming
	Zones    []string
	Weekdays []time.Weekday
	Hours    []int
	Days     []int
}

// Needs names the smallest plan that backs up every so many hours; empty where the one there is does. What is chosen stays
// so: a plan may have shrunk since.
func (page schedulePage) Needs(hours int) string {
	gap := time.Duration(hours) * time.Hour
	if page.Plan.MinInterval <= gap {
		return ""
	}
	for _, p := range remora.Plans() {
		if p.MinInterval <= gap {
			return "plan " + p.Name
		}
	}
	return "no plan"
}

// scheduleForm is what a person types. Each kind has fields of its own, so that the page needs no script.
type scheduleForm struct {
	Kind                         remora.RuleKind
	Past                         string // minutes past the hour
	Every, EveryAt               string
	DailyAt, WeeklyAt, MonthlyAt string
	Weekday, Day, Cron, Zone     string
}

func typedSchedule(r *http.Request) scheduleForm {
	get := func(field string) string { return typed(r, field) }
	return scheduleForm{
		Kind: remora.RuleKind(get("kind")), Past: get("past"), Every: get("every"), EveryAt: get("every_at"), DailyAt: get("daily_at"),
		WeeklyAt: get("weekly_at"), MonthlyAt: get("monthly_at"), Weekday: get("weekday"), Day: get("day"), Cron: get("cron"), Zone: get("zone"),
	}
}

// formOf fills the form with a rule; kinds that it is not begin with the same time.
func formOf(r remora.Rule) scheduleForm {
	at := schedule.Clock(r.Minute)
	f := scheduleForm{
		Kind: r.Kind, Past: strconv.Itoa(r.Minute % 60), Every: "6", EveryAt: at, DailyAt: at, WeeklyAt: at, MonthlyAt: at,
		Weekday: strconv.Itoa(int(r.Weekday)), Day: strconv.Itoa(max(r.Day, 1)), Cron: r.Cron, Zone: r.Zone,
	}
	if r.Kind == remora.RuleEveryHours {
		f.Every = strconv.Itoa(r.Hours)
	}
	return f
}

// rule reads the fields of the chosen kind.
func (f scheduleForm) rule() (remora.Rule, error) {
	r := remora.Rule{Kind: f.Kind, Zone: f.Zone}
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			return -1 // which no field takes
		}
		return n
	}
	var err error
	switch f.Kind {
	case remora.RuleHourly:
		if r.Minute = number(f.Past); r.Minute < 0 || r.Minute > 59 {
			return r, remora.Invalid("Write how many minutes past the hour: a number from 0 to 59.")
		}
	case remora.RuleEveryHours:
		r.Hours = number(f.Every)
		r.Minute, err = schedule.ParseClock(f.EveryAt)
	case remora.RuleDaily:
		r.Minute, err = schedule.ParseClock(f.DailyAt)
	case remora.RuleWeekly:
		r.Weekday = time.Weekday(number(f.Weekday))
		r.Minute, err = schedule.ParseClock(f.WeeklyAt)
	case remora.RuleMonthly:
		r.Day = number(f.Day)
		r.Minute, err = schedule.ParseClock(f.MonthlyAt)
	case remora.RuleCron:
		r.Cron = f.Cron
	}
	return r, err
}

// editSchedule shows the form as the schedule is.
func (p *Pages) editSchedule(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, view, err := p.schedulePage(r, s)
	if err != nil {
		return err
	}
	page.Form = formOf(view.Rule)
	page.Wrong = remora.Public(page.look(view, view.Rule), "") // its plan may have shrunk since
	return p.render(w, http.StatusOK, "schedule.html", page)
}

// saveSchedule saves what was typed, or shows what would come of it.
func (p *Pages) saveSchedule(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, view, err := p.schedulePage(r, s)
	if err != nil {
		return err
	}
	page.Form = typedSchedule(r)
	rule, err := page.Form.rule()
	if err == nil {
		err = page.look(view, rule)
	}
	if err == nil && r.PostFormValue("do") == "save" {
		if err = p.Store.SetSchedule(r.Context(), s.Resource, page.Database.ID, rule, s.Person()); err == nil {
			http.Redirect(w, r, databaseURL(page.Database.ID)+"#schedule", http.StatusSeeOther)
			return nil
		}
	}
	switch remora.KindOf(err) {
	case remora.KindInvalid, remora.KindPlanLimit:
		page.Wrong = remora.Public(err, "")
		return p.render(w, http.StatusUnprocessableEntity, "schedule.html", page)
	}
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "schedule.html", page)
}

// look says what would come of a rule.
func (page *schedulePage) look(view remora.Schedule, rule remora.Rule) error {
	times, err := schedule.New(rule)
	if err != nil {
		return err
	}
	page.Words, page.Next = schedule.Words(rule), momentsOf(times, times.Upcoming(view.Now, upcoming))
	return schedule.Fits(times, page.Plan)
}

func (p *Pages) schedulePage(r *http.Request, s remora.Session) (schedulePage, remora.Schedule, error) {
	var page schedulePage
	db, err := databaseID(r)
	if err != nil {
		return page, remora.Schedule{}, err
	}
	view, err := p.Store.Schedule(r.Context(), s.Resource, db)
	if err != nil {
		return page, view, err
	}
	o, err := p.Store.Database(r.Context(), s.Resource, db, remora.Look{Most: 1})
	if err != nil {
		return page, view, err
	}
	page = schedulePage{
		Database: o.Databases[0], Plan: view.Plan, Now: schedule.Words(view.Rule), Zones: schedule.Zones(),
		Weekdays: []time.Weekday{1, 2, 3, 4, 5, 6, 0}, Hours: []int{2, 3, 4, 6, 8, 12},
	}
	page.Frame = frame{"Schedule of " + page.Database.Addon, "overview", o.Resource}
	for d := range 31 {
		page.Days = append(page.Days, d+1)
	}
	return page, view, nil
}

// Chosen tells whether a choice's value is what was typed.
func (f scheduleForm) Chosen(value int, typed string) bool { return strconv.Itoa(value) == typed }

// Is tells whether a kind is the one chosen.
func (f scheduleForm) Is(kind string) bool { return string(f.Kind) == kind }

func (p *Pages) pauseSchedule(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	return p.Store.PauseSchedule(r.Context(), s.Resource, db, r.PostFormValue("why"), s.Person())
}

func (p *Pages) resumeSchedule(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	return p.Store.ResumeSchedule(r.Context(), s.Resource, db, s.Person())
}

// outcomes counts what came of the occurrences that are shown.
func (s schedulePart) outcomes(of remora.Outcome) int {
	n := 0
	for _, o := range s.Last {
		if o.Outcome == of {
			n++
		}
	}
	return n
}

// Summary says what came of the occurrences that are shown.
func (s schedulePart) Summary() string {
	var out []string
	for _, o := range []remora.Outcome{remora.OutcomeSucceeded, remora.OutcomeFailed, remora.OutcomeSkipped, remora.OutcomePending} {
		if n := s.outcomes(o); n > 0 {
			out = append(out, strconv.Itoa(n)+" "+string(o))
		}
	}
	return strings.Join(out, ", ")
}
