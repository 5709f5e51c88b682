package remora

import (
	"slices"
	"time"
)

// EventKind is what happened that a customer should hear of: a stable name for rows, webhooks and log lines.
type EventKind string

// The kinds of event. Who adds one adds its words in internal/notify, where a test asks for them.
const (
	EventFirstSuccess      EventKind = "first_success"      // the first verified backup of a database
	EventFailed            EventKind = "failed"             // a backup ended without a verified archive, and is not tried again
	EventCredentialProblem EventKind = "credential_problem" // as failed, or before any run: we cannot get in
	EventPermissionGap     EventKind = "permission_gap"     // as failed: the credential may do too little, or too much
	EventTwoCredentials    EventKind = "two_credentials"    // two read-only credentials of one database are attached; one is used
	EventRecovered         EventKind = "recovered"          // what had failed is well again
	EventLate              EventKind = "late"               // no verified backup within what was promised
	EventStale             EventKind = "stale"              // nor within what was promised after that
	EventFreshAgain        EventKind = "fresh_again"        // there is one again
	EventProofOverdue      EventKind = "proof_overdue"      // what is stored was to be looked at, and was not
	EventProofCaughtUp     EventKind = "proof_caught_up"    // and now it was
	EventProofFailed       EventKind = "proof_failed"       // what is stored is not what was read
	EventCopyFailed        EventKind = "copy_failed"        // a backup was not copied to its owner's bucket, and is not tried again
	EventLockGaveWay       EventKind = "lock_gave_way"      // a dump was broken off because a session of the customer waited for its lock
	EventLimitNear         EventKind = "limit_near"         // the plan's limit is near, or reached
	EventPlanShrinks       EventKind = "plan_shrinks"       // a smaller plan will take something away
	EventRetentionPending  EventKind = "retention_pending"  // a changed setting will remove backups
	EventPaused            EventKind = "paused"             // a person has paused a schedule
	EventResumed           EventKind = "resumed"            // and resumed it
	EventLinkMade          EventKind = "link_made"          // a person has made a link that opens a backup
	EventKeysChanged       EventKind = "keys_changed"       // a person has changed whose keys open archives, or taken a copy of ours
	EventStoreChanged      EventKind = "store_changed"      // a person has changed where archives lie
	EventServerKey         EventKind = "server_key"         // a database's server shows another certificate's key at the same address
	EventDeprovisioned     EventKind = "deprovisioned"      // the add-on was removed
)

// topic is what an event is about: one that opens a trouble, and one that ends it, are about the same.
type topic string

const (
	topicBackups   topic = "backups"
	topicFreshness topic = "freshness"
	topicProofs    topic = "proofs"
	topicSchedule  topic = "schedule"
)

// turn is what an event means for its topic.
type turn int

const (
	turnNone  turn = iota // news by itself, each time
	turnAgain             // news by itself, once a day for a database
	turnOpens             // begins a trouble, or says that it goes on
	turnEnds              // ends it
)

type meaning struct {
	topic topic
	turn  turn
	title string
}

var meanings = map[EventKind]meaning{
	EventFirstSuccess:      {topicBackups, turnEnds, "First verified backup"},
	EventFailed:            {topicBackups, turnOpens, "Backup failed"},
	EventCredentialProblem: {topicBackups, turnOpens, "Credential problem"},
	EventPermissionGap:     {topicBackups, turnOpens, "Permission gap"},
	EventTwoCredentials:    {"", turnAgain, "Two credentials attached"},
	EventRecovered:         {topicBackups, turnEnds, "Backups work again"},
	EventLate:              {topicFreshness, turnOpens, "Backup is late"},
	EventStale:             {topicFreshness, turnOpens, "Backup is stale"},
	EventFreshAgain:        {topicFreshness, turnEnds, "Backup is fresh again"},
	EventProofOverdue:      {topicProofs, turnOpens, "A proof is overdue"},
	EventProofCaughtUp:     {topicProofs, turnEnds, "Proofs are up to date again"},
	EventProofFailed:       {"", turnNone, "A proof failed"},
	EventCopyFailed:        {"", turnAgain, "Copy of a backup failed"},
	EventLockGaveWay:       {"", turnAgain, "Backup gave way to your session"},
	EventLimitNear:         {"", turnAgain, "Plan limit near"},
	EventPlanShrinks:       {"", turnAgain, "Plan shrinks"},
	EventRetentionPending:  {"", turnNone, "Backups will be removed"},
	EventPaused:            {topicSchedule, turnNone, "Schedule paused"},
	EventResumed:           {topicSchedule, turnNone, "Schedule resumed"},
	EventLinkMade:          {"", turnNone, "Download link made"},
	EventKeysChanged:       {"", turnNone, "The archives' keys"},
	EventStoreChanged:      {"", turnNone, "Where archives lie"},
	EventServerKey:         {"", turnNone, "The server's key changed"},
	EventDeprovisioned:     {"", turnNone, "Add-on removed"},
}

// EventKinds lists every kind, in the order of pages and documentation.
func EventKinds() []EventKind {
	return []EventKind{
		EventFirstSuccess, EventFailed, EventCredentialProblem, EventPermissionGap, EventTwoCredentials, EventRecovered, EventLate, EventStale, EventFreshAgain,
		EventProofFailed, EventProofOverdue, EventProofCaughtUp, EventCopyFailed, EventLockGaveWay, EventLimitNear, EventPlanShrinks, EventRetentionPending, EventPaused, EventResumed,
		EventLinkMade, EventKeysChanged, EventStoreChanged, EventServerKey, EventDeprovisioned,
	}
}

// Title is the kind's name for people, three or four words.
func (k EventKind) Title() string { return meanings[k].title }

// MostInHour is how many events of a kind that people cause with a click one add-on may have within an hour; 0 is no
// limit. Each goes to every channel, past everybody's couriers and before what matters more.
func (k EventKind) MostInHour() int {
	switch k {
	case EventPaused, EventRetentionPending, EventKeysChanged, EventStoreChanged: // what they begin must be able to end, so that has no limit of its own
		return 20
	case EventLinkMade:
		return 60
	}
	return 0
}

// Trouble tells whether the event says that something is not well.
func (k EventKind) Trouble() bool {
	return meanings[k].turn == turnOpens || k == EventProofFailed || k == EventCopyFailed
}

// Event is one thing that happened.
type Event struct {
	ID       EventID // set when it is written down
	Kind     EventKind
	Database DatabaseID // empty where it is about the add-on as a whole; found by Backup where that is given
	Backup   BackupID   // empty where it is about none
	Reason   Reason     // where it is a failure
	// Detail is what the words need beside that, and never a secret: who did it, of paused, resumed and link_made; of the
	// others without a reason whole sentences that say what happened and until when.
	Detail string
	At     time.Time // set when it is written down
}

// EventLook is which of a resource's events are looked at. Its zero value is the newest.
type EventLook struct {
	Before   time.Time // those that happened earlier; zero for the newest
	BeforeID EventID   // of what happened at that instant, those after this one
	Most     int
}

// about are the troubles with a credential and with what it may do; every other reason is a plain failure.
var about = map[EventKind][]Reason{
	EventPermissionGap: {ReasonCanWrite, ReasonPermission, ReasonRowSecurity, ReasonLargeObject},
	EventCredentialProblem: {
		ReasonNotShared, ReasonDetached, ReasonOwnerCredential, ReasonBadURL, ReasonHostRefused, ReasonTLSRequired, ReasonCertificate,
		ReasonLoginRefused, ReasonWeakLogin, ReasonDatabaseMissing, ReasonTokenRevoked,
	},
}

// Event is what has happened when a backup has failed for good for this reason.
func (r Reason) Event() EventKind {
	for kind, reasons := range about {
		if slices.Contains(reasons, r) {
			return kind
		}
	}
	return EventFailed
}

// EventAfter is what a verified backup means after the last event about backups of its database, and whether it is one:
// good tells whether there was a verified one before.
func EventAfter(last EventKind, good bool) (EventKind, bool) {
	if !good {
		return EventFirstSuccess, true
	}
	return EventRecovered, meanings[last].topic == topicBackups && meanings[last].turn == turnOpens
}

// BackupEvents are the kinds that EventAfter looks at.
func BackupEvents() []EventKind {
	var out []EventKind
	for _, k := range EventKinds() {
		if meanings[k].topic == topicBackups {
			out = append(out, k)
		}
	}
	return out
}
