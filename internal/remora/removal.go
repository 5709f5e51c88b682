package remora

import "time"

// Limits on what becomes of a removed add-on, each from its removal on.
const (
	// DefaultUndo is how long a removal can be undone where the operator says nothing else.
	DefaultUndo = 20 * time.Hour
	// KeyGone and ObjectsGone are what is promised: the key that opens the archives, and everything stored.
	KeyGone     = 24 * time.Hour
	ObjectsGone = 30 * 24 * time.Hour
)

// Removal is what becomes of a removed add-on, and in the end its receipt: with the tombstone all that is left of it. A
// step that was not done yet has no time.
type Removal struct {
	Resource ResourceID
	AskedAt  time.Time // access ended then: tokens, sessions, links, channels, runs

	UndoUntil time.Time // until then the operator can undo it

	// What was held when it was asked for.
	Databases int64
	Backups   int64 // of which something was stored
	Objects   int64
	Bytes     int64 // of the objects, sealed

	KeyDestroyedAt   time.Time
	ObjectsDeletedAt time.Time // nothing was stored any more
	DeletedObjects   int64     // also those that no backup listed
	DeletedBytes     int64
	AbortedUploads   int64
	ForgottenAt      time.Time // every other row of our database went

	Audit AuditChain // where the audit log ended when it was forgotten: an export can be held against it

	Now time.Time // when this was read
}

// RemovedSays is what a visitor is told whose add-on was removed meanwhile. undo is until when that can be undone; zero
// where nobody can.
func RemovedSays(now, undo time.Time) string {
	says := "This add-on was removed. "
	if undo.After(now) {
		says += "If that was not meant, write to us before " + undo.UTC().Format("2 January 2006, 15:04 UTC") + ": until then we can undo it. "
	}
	return says + "What becomes of your backups is in its receipt, whose address is in our last message to you and in the Helper App's log. Or create a new one with heroku addons:create."
}

// RemovalStep is one line of a receipt.
type RemovalStep struct {
	What string
	At   time.Time // zero where it was not done yet
	By   time.Time // when it is to be done at the latest
}

// Steps are a removal's, in their order.
func (r Removal) Steps() []RemovalStep {
	return []RemovalStep{
		{"End of access: tokens, visits, links, channels, and backups that waited or ran", r.AskedAt, r.AskedAt},
		{"Destruction of the key that opens the archives", r.KeyDestroyedAt, r.AskedAt.Add(KeyGone)},
		{"Deletion of everything stored", r.ObjectsDeletedAt, r.AskedAt.Add(ObjectsGone)},
		{"Our database forgets all but the identifier and this receipt", r.ForgottenAt, r.AskedAt.Add(ObjectsGone)},
	}
}

// Late tells whether a step was not done by the time that it was promised for.
func (s RemovalStep) Late(now time.Time) bool { return s.At.IsZero() && now.After(s.By) }

// Done tells whether nothing is left to do.
func (r Removal) Done() bool { return !r.ForgottenAt.IsZero() }
