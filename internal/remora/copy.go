package remora

import (
	"slices"
	"time"
)

// CopyState is where the copy of a backup stands.
type CopyState string

// The states of a copy. One that failed or was stopped can be asked for again; what of it was written lies where it is until its
// backup goes.
const (
	CopyQueued  CopyState = "queued" // to be made, or under way
	CopyMade    CopyState = "copied"
	CopyFailed  CopyState = "failed"
	CopyStopped CopyState = "stopped" // its owner has ended copying before it was made, or its backup has ended
)

// Copy is of a backup that lies in our bucket, in one of its owner's.
type Copy struct {
	Bucket  BucketID
	Place   Place
	State   CopyState
	Reason  Reason // why it failed, or is tried again
	Detail  string // in sentences; may be empty
	Running bool   // somebody is at it
	Removed bool   // its bucket was removed here: nobody has a key to it, and what lies in it stays
	Bytes   int64  // that were copied
	AskedAt time.Time
	DueAt   time.Time // when the next attempt may begin
	EndedAt time.Time // zero while it is queued
}

// Live tells whether a worker is at the copy or is to begin now.
func (c Copy) Live(now time.Time) bool {
	return c.State == CopyQueued && (c.Running || !c.DueAt.After(now))
}

// copyWords are of a copy that was not made: what that means, and who acts. The backup itself is well, which the reasons' own
// sentences do not say.
var copyWords = map[Reason]string{
	ReasonOwnBucketRefused: "Your bucket refused it. Mend that at your provider, or give other keys or another bucket on the page Settings, Storage; then ask for the copy again.",
	ReasonOwnBucketFailed:  "Your bucket's store did not answer, or lost what was sent. If it stays so, ask your provider; then ask for the copy again.",
	ReasonObjectDamaged:    "What lies in our bucket is not what was written, so nothing was made of it. We have been told, and read it again.",
	ReasonStoreFailed:      "Our own store did not let us read the backup. We have been told; ask for the copy again later.",
}

// Says is why a copy was not made, or not yet, and who acts; empty where there is nothing to say.
func (c Copy) Says() string {
	switch said, known := copyWords[c.Reason]; {
	case c.Reason == ReasonNone:
		return ""
	case known:
		return said
	}
	return "Something went wrong on our side. We have been told; ask for the copy again later."
}

// CopyFailure makes of what went wrong with a copy what its owner is told: a reason that copies know.
func CopyFailure(f Failure) Failure {
	if _, known := copyWords[f.Reason]; !known {
		f.Reason, f.Detail = ReasonInternal, ""
	}
	return f
}

// CopyAgain tells whether a copy that failed for this reason is tried again by itself. Where its owner's store has refused, a person
// must act; what is damaged in ours is damaged the next time too, and is read again by a proof.
func (r Reason) CopyAgain() bool { return r != ReasonOwnBucketRefused && r != ReasonObjectDamaged }

// CopiesToRead are the copies that a backup can be read from.
func CopiesToRead(all []Copy) []Copy {
	return slices.DeleteFunc(slices.Clone(all), func(c Copy) bool { return c.State != CopyMade || c.Removed })
}
