package remora

import (
	"slices"
	"strings"
	"time"
)

// Severity is what a finding of the permission doctor means.
type Severity string

// The severities. The first three are about what a credential may write, the three after info about what it may not
// read.
const (
	SeverityDeny     Severity = "deny"     // a power to change something: the credential is not used
	SeverityReview   Severity = "review"   // a person is asked whether it is meant to be so
	SeverityInherent Severity = "inherent" // every login role has it; we do not use it
	SeverityInfo     Severity = "info"     // good to know
	SeverityFatal    Severity = "fatal"    // pg_dump would fail on it
	SeverityPartial  Severity = "partial"  // pg_dump would leave it out and end well
	SeverityFuture   Severity = "future"   // a later backup will fail on it
)

// Finding is one line of the permission doctor's report. Its texts come from the customer's server: names in them are
// whatever the customer has called things.
type Finding struct {
	Code     string   `json:"code"` // a stable name, such as table_write
	Severity Severity `json:"severity"`
	Object   string   `json:"object"`        // what it is about, quoted as SQL
	Detail   string   `json:"detail"`        // why, in words
	Fix      string   `json:"fix,omitempty"` // SQL to paste, as the database's owner; empty where there is none
}

// Audit is the permission doctor's report on one credential, at one moment.
type Audit struct {
	At        time.Time // by our own clock
	Role      string    // the credential's
	Findings  []Finding
	More      bool // there was more than the report lists
	Inventory Inventory
	Witness   Witness

	// Failed is why the database could not be asked, and Words are its own; there are no findings then.
	Failed Reason
	Words  string
}

// Codes of findings that decisions are made by.
const (
	codeRowSecurity     = "row_security"
	codeRowSecurityOpen = "row_security_open"
	codeLargeObject     = "large_object_select"
)

// Having returns the findings of one severity.
func (a Audit) Having(s Severity) []Finding {
	var out []Finding
	for _, f := range a.Findings {
		if f.Severity == s {
			out = append(out, f)
		}
	}
	return out
}

// Verdict is what a report comes to.
type Verdict string

// The verdicts, from the worst.
const (
	VerdictUnknown Verdict = "unknown"     // the database could not be asked
	VerdictWrites  Verdict = "can_write"   // it can change something: not used
	VerdictBlind   Verdict = "cannot_read" // not everything: no backup can be made
	VerdictPartial Verdict = "partial"     // backups lack something
	VerdictAsks    Verdict = "asks"        // a person has not yet said that it is meant to be so
	VerdictGood    Verdict = "good"        // it can read everything and change nothing
)

// Verdict judges the report. known are what a person has answered for.
func (a Audit) Verdict(known []Acknowledgement) Verdict {
	switch {
	case a.Failed != ReasonNone:
		return VerdictUnknown
	case len(a.Having(SeverityDeny)) > 0:
		return VerdictWrites
	case len(a.Having(SeverityFatal)) > 0:
		return VerdictBlind
	case len(a.Having(SeverityPartial)) > 0:
		return VerdictPartial
	case len(a.Unanswered(known)) > 0:
		return VerdictAsks
	}
	return VerdictGood
}

// Sentence is the report in one. known are what a person has answered for.
func (a Audit) Sentence(known []Acknowledgement) string {
	switch a.Verdict(known) {
	case VerdictUnknown:
		return "The credential could not be checked. " + a.Failed.Sentence()
	case VerdictWrites:
		return "This credential can do more than read, so it is not used and nothing is backed up."
	case VerdictBlind:
		return "This credential cannot read everything, so nothing is backed up."
	case VerdictPartial:
		return "This credential can change nothing, and backups lack something that it has no way to read."
	case VerdictAsks:
		return "This credential can read everything. There is something that we cannot judge: please do."
	}
	return "This credential can read everything and change nothing."
}

// Refusal is why no backup is made with the credential, before anything is taken of a dump; nil where one is. Its detail
// names every finding, its fix mends them.
func (a Audit) Refusal() *Failure {
	if deny := a.Having(SeverityDeny); len(deny) > 0 {
		return &Failure{Reason: ReasonCanWrite, Detail: lines(deny), Fix: Fixes(deny)}
	}
	fatal := a.Having(SeverityFatal)
	if len(fatal) == 0 {
		return nil
	}
	why := ReasonPermission
	switch { // what is mended by more than grants goes first
	case has(fatal, codeRowSecurity):
		why = ReasonRowSecurity
	case has(fatal, codeLargeObject):
		why = ReasonLargeObject
	}
	return &Failure{Reason: why, Detail: lines(fatal), Fix: Fixes(fatal)}
}

// LeftOut names what pg_dump leaves out of its archive while it says that all is well; empty where that is nothing.
func (a Audit) LeftOut() string { return lines(a.Having(SeverityPartial)) }

// OpenRows tells whether pg_dump must read under row security to read at all, and reads every row so: each table whose
// row security holds for the credential has a policy that shows it all rows. Where one has not, the report is a
// refusal.
func (a Audit) OpenRows() bool {
	return has(a.Findings, codeRowSecurityOpen) && !has(a.Findings, codeRowSecurity)
}

// Acknowledgement is a person's word that a finding to review is meant to be so.
type Acknowledgement struct {
	Code   string
	Object string
	By     string
	At     time.Time
}

// Unanswered are the findings to review that no person has answered for.
func (a Audit) Unanswered(known []Acknowledgement) []Finding {
	return slices.DeleteFunc(a.Having(SeverityReview), func(f Finding) bool {
		return slices.ContainsFunc(known, func(k Acknowledgement) bool { return k.Code == f.Code && k.Object == f.Object })
	})
}

// Fixes joins what is to be pasted, each statement once.
func Fixes(of []Finding) string {
	var out []string
	for _, f := range of {
		if f.Fix != "" && !slices.Contains(out, f.Fix) {
			out = append(out, f.Fix)
		}
	}
	return strings.Join(out, "\n")
}

func has(of []Finding, code string) bool {
	return slices.ContainsFunc(of, func(f Finding) bool { return f.Code == code })
}

func lines(of []Finding) string {
	out := make([]string, len(of))
	for i, f := range of {
		out[i] = f.Object + ": " + f.Detail
	}
	return strings.Join(out, "\n")
}

// Witness is the customer's server's own count of transactions that wrote, before a backup and after it. Whatever
// writes takes a number, a large object and a NOTIFY too; reading takes none. It says nothing of what had begun before
// and has not ended.
type Witness struct {
	Before  int64 // the number that the next writer gets; 0 where nobody looked
	After   int64
	Standby bool // a follower gives no numbers and takes no writes
}

// Testimony is what a witness comes to.
type Testimony string

// What a witness can say.
const (
	TestimonyNothing  Testimony = "nothing_written" // not by us, not by anybody
	TestimonyOthers   Testimony = "others_wrote"    // so that it cannot tell
	TestimonyFollower Testimony = "follower"        // it cannot be written to
	TestimonyNone     Testimony = "none"            // nobody looked, or the look afterwards failed
)

// Testimony reads the two numbers.
func (w Witness) Testimony() Testimony {
	switch {
	case w.Standby:
		return TestimonyFollower
	case w.Before == 0 || w.After == 0:
		return TestimonyNone
	case w.Before == w.After:
		return TestimonyNothing
	}
	return TestimonyOthers
}

// Says is what the server's own count says, in words.
func (w Witness) Says() string {
	switch w.Testimony() {
	case TestimonyNothing:
		return "Nothing was written: the server counts transactions that write, and the count stood still from before our first question until pg_dump had ended."
	case TestimonyFollower:
		return "Nothing was written: the database is a follower, which cannot be written to."
	case TestimonyOthers:
		return "Our sessions were read-only. The server's own count of writers cannot confirm it, because others wrote meanwhile."
	}
	return "Our sessions were read-only. The server's own count of writers was not read to the end."
}

// OwnerOnly tells whether a database of that plan of Heroku's has the owner's credential and can have no other, so that
// it cannot be read without the power to change it.
// (https://devcenter.heroku.com/articles/heroku-postgresql-credentials)
func OwnerOnly(plan string) bool {
	_, slug, _ := strings.Cut(plan, ":")
	tier, _, _ := strings.Cut(slug, "-")
	return slices.Contains([]string{"essential", "mini", "basic", "hobby"}, tier)
}
