package remora

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// RuleKind is the shape of a schedule.
type RuleKind string

// The kinds of rules.
const (
	RuleHourly     RuleKind = "hourly"      // at Minute past every hour, 60 minutes apart whatever the clocks do
	RuleEveryHours RuleKind = "every_hours" // every Hours hours from Minute of the day on, at the same local times every day
	RuleDaily      RuleKind = "daily"       // at Minute of every day
	RuleWeekly     RuleKind = "weekly"      // at Minute of every Weekday
	RuleMonthly    RuleKind = "monthly"     // at Minute of the Day of every month; of its last day where it is shorter
	RuleCron       RuleKind = "cron"        // when Cron matches
)

// RuleKinds lists the kinds, most frequent first.
func RuleKinds() []RuleKind {
	return []RuleKind{RuleHourly, RuleEveryHours, RuleDaily, RuleWeekly, RuleMonthly, RuleCron}
}

// Rule says when a database is backed up, by the clocks of a zone. Fields that its kind does not use are zero. What a
// rule means on the calendar is package schedule's.
type Rule struct {
	Kind    RuleKind     `json:"kind"`
	Hours   int          `json:"hours,omitempty"`   // of RuleEveryHours: 2, 3, 4, 6, 8 or 12
	Minute  int          `json:"minute"`            // past the hour (0 to 59) for RuleHourly, else of the day (0 to 1439)
	Weekday time.Weekday `json:"weekday,omitempty"` // of RuleWeekly
	Day     int          `json:"day,omitempty"`     // of RuleMonthly: 1 to 31
	Cron    string       `json:"cron,omitempty"`    // of RuleCron: five fields
	Zone    string       `json:"zone"`              // IANA name, such as Europe/Berlin
}

// quietFrom and quietMinutes bound the hours in which default schedules are spread: 02:00 to 08:00 UTC is
// night in the Americas and early morning in Europe, where Heroku's two common regions are.
const (
	quietFrom    = 2 * 60
	quietMinutes = 6 * 60
)

// DefaultRule is what every database has from its first attachment on, until somebody chooses: once a day, in UTC. It
// spreads databases over the quiet hours, each at a minute of its own that never changes, so that midnight is no herd.
func DefaultRule(id DatabaseID) Rule {
	sum := sha256.Sum256([]byte("daily\x00" + string(id)))
	return Rule{Kind: RuleDaily, Minute: quietFrom + int(binary.BigEndian.Uint32(sum[:4])%quietMinutes), Zone: "UTC"}
}

// In is the rule by another zone's clocks.
func (r Rule) In(zone string) Rule {
	r.Zone = zone
	return r
}
