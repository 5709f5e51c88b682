package remora

import "time"

// Retention is how long the backups of one database are kept: every backup stays that any of the rules keeps. A rule of
// zero keeps nothing. What the rules mean on the calendar, and what stays whatever they say, is package retention's.
type Retention struct {
	Last    int    `json:"last"`    // the newest so many
	Days    int    `json:"days"`    // all that are no older, in days of 24 hours
	Hourly  int    `json:"hourly"`  // the newest of each of the newest so many hours that have a backup
	Daily   int    `json:"daily"`   // the same of days
	Weekly  int    `json:"weekly"`  // of weeks, which begin on Monday
	Monthly int    `json:"monthly"` // of months
	Yearly  int    `json:"yearly"`  // of years
	Zone    string `json:"zone"`    // IANA name of the zone by whose clocks hours, days, weeks, months and years begin
}

// Mosts bound each rule: about ten years of it.
const (
	MostOfLast    = 10000
	MostOfDays    = 3660
	MostOfHourly  = 10000
	MostOfDaily   = 3660
	MostOfWeekly  = 530
	MostOfMonthly = 120
	MostOfYearly  = 10
)

// DefaultRetention is what a database has until somebody chooses: all of the last days, so that what a person asks for in
// a day stays beside the day's own, then fewer and fewer. It promises nothing that the plan's days end earlier; a larger plan
// keeps more of each kind.
func DefaultRetention(p Plan) Retention {
	r := Retention{Days: 3, Daily: 7, Weekly: p.KeepDays / 7, Zone: "UTC"}
	if p.KeepDays > 366 {
		r.Hourly, r.Daily, r.Weekly, r.Monthly = 48, 14, 8, 24
	}
	if p.KeepDays > 3*366 {
		r.Daily, r.Weekly, r.Monthly, r.Yearly = 30, 12, 36, 7
	}
	return r
}

// Lock keeps one backup whatever the rules say.
type Lock struct {
	Backup     BackupID
	Note       string // why; may be empty
	By         string
	At         time.Time
	ReleasedAt time.Time // zero while it holds; from then on it holds for RetentionGrace more
	ReleasedBy string
}

// Holds tells whether the backup stays for the lock's sake at a time.
func (l Lock) Holds(at time.Time) bool {
	return l.ReleasedAt.IsZero() || at.Before(l.ReleasedAt.Add(RetentionGrace))
}

// RetentionGrace is how long nothing is removed because of a changed setting or a released lock.
const RetentionGrace = 24 * time.Hour
