package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// Rule says when a database is backed up.
type Rule struct {
	Kind    string `json:"kind" enum:"hourly,every_hours,daily,weekly,monthly,cron"`
	Zone    string `json:"zone" maxLength:"125" doc:"By whose clocks; a name of the tz database, such as Europe/Berlin." example:"Europe/Berlin"`
	Minute  *int   `json:"minute,omitempty" minimum:"0" maximum:"59" doc:"Of hourly: how many minutes past the hour."`
	At      string `json:"at,omitempty" maxLength:"5" doc:"Of every_hours, daily, weekly and monthly: the time of the day, as 03:30." example:"03:30"`
	Hours   int    `json:"hours,omitempty" enum:"2,3,4,6,8,12" doc:"Of every_hours."`
	Weekday string `json:"weekday,omitempty" enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday" doc:"Of weekly."`
	Day     int    `json:"day,omitempty" minimum:"1" maximum:"31" doc:"Of monthly: in a shorter month, its last day."`
	Cron    string `json:"cron,omitempty" maxLength:"250" doc:"Of cron: five fields."`
}

// fields are those that a kind of rule has, each of which it must have.
var fields = map[remora.RuleKind][]string{
	remora.RuleHourly: {"minute"}, remora.RuleEveryHours: {"hours", "at"}, remora.RuleDaily: {"at"}, remora.RuleWeekly: {"weekday", "at"},
	remora.RuleMonthly: {"day", "at"}, remora.RuleCron: {"cron"},
}

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// rule reads it. Errors: KindInvalid.
func (r Rule) rule() (out remora.Rule, err error) {
	kind := remora.RuleKind(r.Kind)
	for name, given := range map[string]bool{
		"minute": r.Minute != nil, "at": r.At != "", "hours": r.Hours != 0, "weekday": r.Weekday != "", "day": r.Day != 0, "cron": r.Cron != "",
	} {
		if given != slices.Contains(fields[kind], name) {
			return out, remora.Invalid("A schedule of the kind %s has %s, and nothing else but its zone.", kind, strings.Join(fields[kind], " and "))
		}
	}
	out = remora.Rule{Kind: kind, Zone: r.Zone, Hours: r.Hours, Day: r.Day, Cron: r.Cron, Weekday: time.Weekday(max(0, slices.Index(weekdays, r.Weekday)))}
	if r.Minute != nil {
		out.Minute = *r.Minute
	}
	if r.At != "" {
		out.Minute, err = schedule.ParseClock(r.At)
	}
	return out, err
}

func ruleOf(r remora.Rule) Rule {
	out := Rule{Kind: string(r.Kind), Zone: r.Zone, Hours: r.Hours, Day: r.Day, Cron: r.Cron}
	switch r.Kind {
	case remora.RuleHourly:
		out.Minute = &r.Minute
	case remora.RuleWeekly:
		out.Weekday = weekdays[r.Weekday]
	}
	if slices.Contains(fields[r.Kind], "at") {
		out.At = schedule.Clock(r.Minute)
	}
	return out
}

// Schedule is when a database is backed up, and what came of it.
type Schedule struct {
	Rule               Rule             `json:"rule"`
	Says               string           `json:"says" doc:"The rule in words that follow: backed up."`
	Next               List[time.Time]  `json:"next" doc:"The next times; of a paused schedule too."`
	Pause              *Pause           `json:"pause,omitempty"`
	ChangedAt          time.Time        `json:"changed_at,omitzero" doc:"Left out while it is the default."`
	ChangedBy          string           `json:"changed_by,omitempty"`
	MinIntervalSeconds int64            `json:"min_interval_seconds" doc:"What the plan allows."`
	Last               List[Occurrence] `json:"last" doc:"What came of the last times, newest first."`
}

// Occurrence is one time at which a schedule was due.
type Occurrence struct {
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome" enum:"pending,succeeded,failed,skipped"`
	Reason  *Reason   `json:"reason,omitempty"`
	Backup  string    `json:"backup_id,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// Times is what would come of a rule.
type Times struct {
	Says string          `json:"says" doc:"The rule in words that follow: backed up."`
	Next List[time.Time] `json:"next" doc:"The next times."`
}

// PauseRequest says why.
type PauseRequest struct {
	Why string `json:"why,omitempty" maxLength:"200" doc:"Why; whoever is told of the pause is told this."`
}

// upcoming is how many of the next times are told.
const upcoming = 5

func (a *API) schedule(ctx context.Context, c caller, db remora.DatabaseID) (*Schedule, error) {
	s, err := a.Store.Schedule(ctx, c.resource, db)
	if err != nil {
		return nil, err
	}
	out := &Schedule{
		Rule: ruleOf(s.Rule), Says: schedule.Words(s.Rule), Pause: opt(s.Pause, pauseOf), ChangedAt: s.ChangedAt, ChangedBy: s.ChangedBy,
		MinIntervalSeconds: seconds(s.Plan.MinInterval),
		Last: listOf(s.Last, func(o remora.Occurrence) Occurrence {
			return Occurrence{o.At, string(o.Outcome), reasonOf(o.Reason), string(o.Backup), o.EndedAt}
		}),
	}
	if times, err := schedule.New(s.Rule); err == nil { // else its zone has left the tz database: choose another
		out.Next = append(List[time.Time]{s.NextRunAt}, times.Upcoming(s.NextRunAt, upcoming-1)...)
	}
	return out, nil
}

func (a *API) scheduleOperations(h huma.API) {
	type one struct{ Body Schedule }
	see := func(ctx context.Context, c caller, db remora.DatabaseID) (*one, error) {
		out, err := a.schedule(ctx, c, db)
		if err != nil {
			return nil, err
		}
		return &one{*out}, nil
	}
	add(h, a, huma.Operation{
		OperationID: "getSchedule", Method: http.MethodGet, Path: "/databases/{database}/schedule", Tags: []string{tagSchedule}, Summary: "When a database is backed up",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})

	type rule struct {
		OfDatabase
		Body Rule
	}
	type times struct{ Body Times }
	add(h, a, huma.Operation{
		OperationID: "previewSchedule", Method: http.MethodPost, Path: "/databases/{database}/schedule/preview", Tags: []string{tagSchedule},
		Summary: "What would come of a rule", Description: "Nothing is changed.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *rule) (*times, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		now, err := a.Store.Schedule(ctx, c.resource, db)
		if err != nil {
			return nil, err
		}
		rule, err := in.Body.rule()
		if err != nil {
			return nil, err
		}
		t, err := schedule.New(rule)
		if err != nil {
			return nil, err
		}
		return &times{Times{schedule.Words(rule), t.Upcoming(now.Now, upcoming)}}, schedule.Fits(t, now.Plan)
	})
	add(h, a, huma.Operation{
		OperationID: "setSchedule", Method: http.MethodPut, Path: "/databases/{database}/schedule", Tags: []string{tagSchedule}, Summary: "Change when a database is backed up",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *rule) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		rule, err := in.Body.rule()
		if err != nil {
			return nil, err
		}
		if err := a.Store.SetSchedule(ctx, c.resource, db, rule, c.person()); err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})

	type pause struct {
		OfDatabase
		Body *PauseRequest
	}
	add(h, a, huma.Operation{
		OperationID: "pauseSchedule", Method: http.MethodPost, Path: "/databases/{database}/schedule/pause", Tags: []string{tagSchedule},
		Summary: "Pause a schedule", Description: "Until it is resumed, its times are skipped. Your channels are told. A paused schedule stays as it is.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *pause) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		why := ""
		if in.Body != nil {
			why = in.Body.Why
		}
		if err := a.Store.PauseSchedule(ctx, c.resource, db, why, c.person()); err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})
	add(h, a, huma.Operation{
		OperationID: "resumeSchedule", Method: http.MethodPost, Path: "/databases/{database}/schedule/resume", Tags: []string{tagSchedule}, Summary: "Resume a paused schedule",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		if err := a.Store.ResumeSchedule(ctx, c.resource, db, c.person()); err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})
}
