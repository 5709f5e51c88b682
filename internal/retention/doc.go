// Package retention decides which backups of a database stay and which go, and says why of each. It does no I/O, and time
// is an argument.
//
// # What counts
//
// A backup counts whose whole archive is stored: verified, proven or incomplete. It belongs to the time at which it was
// begun. One that failed, was canceled or is still being made is not counted, as if it had never been asked for, so that
// a week of failures pushes nothing out.
//
// # What stays
//
// Whatever the rules and the plan say, these stay:
//
//   - the newest three good (verified or proven) backups, whatever their age; while there are fewer, the newest
//     incomplete ones beside them, and one that is the newest of all;
//   - the newest proven one, for it is the last that was seen to restore;
//   - those that a person has locked.
//
// Then every backup stays that a rule keeps. The rules of the calendar take the newest backup of each hour, day, week,
// month or year in which there is one, and go back so many of these as have one: where there was none for a month, nothing
// is lost by it.
//
// # The plan
//
// The plan's days bound the rules: what is older goes though a rule would keep it. The plan's count bounds everything
// that is not protected: while there are more, incomplete ones go, the oldest first, then good ones, the oldest first.
// What stays whatever the rules say stays also then, and counts.
//
// # Damaged archives
//
// A backup whose archive was found not to be what was written has failed, and counts for nothing. What is stored of it goes thirty
// days after that was found, where there is a newer good backup, and where no person has locked it.
//
// # A forgotten database
//
// Where a person has asked for a detached database to be forgotten, and a day has passed, nothing of it stays but what is
// locked (Standing.Decide).
//
// # Incomplete backups
//
// They never take the place of a good one. A good backup is counted among good ones alone. An incomplete one is kept by a
// rule of the calendar only where its hour, day or week has no good one.
package retention
