// Package schedule is the calendar: at which instants a rule is due. It is pure, and knows nothing of rows and backups.
//
// A rule names times on the clocks of a zone, and clocks are put forward and back. What that means:
//
//   - A time that a day does not have, because the clocks jumped over it, is due at the first instant after the jump. A
//     whole day that a zone has skipped (Apia, 30 December 2011) is such a jump.
//   - A time that a day has twice is due the first time only.
//   - An hourly rule is due every 60 minutes of real time, twice in an hour that is repeated and not in one that is
//     skipped; so is a cron expression whose hour is "*", at each instant at which the clock shows what it asks for.
//   - Two times that fall on the same instant, such as 02:15 and 02:45 of a skipped hour, are one occurrence.
//   - The 29th, 30th and 31st of a monthly rule are the last day of a month that is shorter.
//
// Every cron library that was tried, and time.Date, is wrong in one of these. So times are found on a calendar that knows no
// zone, and mapped to instants here; gronx reads the fields of a cron expression, and nothing more.
package schedule

import (
	// Where the machine has no zones, or old ones, a schedule must not depend on it.
	_ "time/tzdata"
)
