package remora

import (
	"fmt"
	"strings"
	"time"
)

// LockMode is whom an S3 Object Lock keeps from deleting or changing an object.
type LockMode string

// Its values.
const (
	LockCompliance LockMode = "compliance" // everybody, the owner of the store's account included
	LockGovernance LockMode = "governance" // everybody but whom the store's owner has given the right to (s3:BypassGovernanceRetention)
)

// LockModeOf reads S3's word for a mode; empty where it is none.
func LockModeOf(s3 string) LockMode {
	if m := LockMode(strings.ToLower(s3)); m == LockCompliance || m == LockGovernance {
		return m
	}
	return ""
}

// ObjectLock is until when the store says that it keeps everything of a backup. The zero value is one of which it says nothing.
type ObjectLock struct {
	Mode  LockMode
	Until time.Time
}

// Holds tells whether it is so yet.
func (l ObjectLock) Holds(now time.Time) bool { return now.Before(l.Until) }

// Says tells what it means, in a sentence, as the store's word: it may be a customer's own. Nothing where it does not hold.
func (l ObjectLock) Says(now time.Time) string {
	until := l.Until.UTC().Format("2006-01-02 15:04 UTC")
	switch {
	case !l.Holds(now):
		return ""
	case l.Mode == LockCompliance:
		return "When this was stored, the store said that nobody can delete or change it until " + until + " (Object Lock, compliance mode)."
	}
	return "When this was stored, the store said that nobody without the right to override that can delete or change it until " + until + " (Object Lock, governance mode)."
}

// LockSays is what is said of the lock of a backup that is there.
func (b Backup) LockSays(now time.Time) string {
	if !b.State.Restorable() {
		return ""
	}
	return b.ObjectLock.Says(now)
}

// BucketLock is what a store said of a bucket's Object Lock.
type BucketLock struct {
	State BucketLockState
	Days  int // for how long what is written is locked; 0 where nothing is
}

// BucketLockState is whether a bucket locks what is written to it.
type BucketLockState string

// Its values.
const (
	BucketLockUnknown    BucketLockState = "" // the store knows no such thing, or the key may not ask
	BucketLockOff        BucketLockState = "off"
	BucketLockNothing    BucketLockState = "nothing" // it is on, and locks nothing by itself
	BucketLockCompliance                 = BucketLockState(LockCompliance)
	BucketLockGovernance                 = BucketLockState(LockGovernance)
)

// Says tells what it means, in a sentence; nothing where nothing is known.
func (l BucketLock) Says() string {
	switch l.State {
	case BucketLockOff:
		return "Off: no lock keeps anybody from deleting or changing what lies in it."
	case BucketLockNothing:
		return "On, without a default retention: what we write to it is not locked."
	case BucketLockCompliance:
		return fmt.Sprintf("On, in compliance mode: what we write to it cannot be deleted or changed by anybody for %s.", Count(l.Days, "day"))
	case BucketLockGovernance:
		return fmt.Sprintf("On, in governance mode: what we write to it cannot be deleted or changed for %s by anybody without the right to override that.", Count(l.Days, "day"))
	}
	return ""
}

// Probed is what was found out of a customer's bucket that can be used.
type Probed struct {
	WriterDeletes bool // the key that writes may delete too, where there is another one for that
	ObjectLock    BucketLock
}
