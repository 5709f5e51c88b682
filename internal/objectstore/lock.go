package objectstore

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// LockState is what a store says of a bucket's Object Lock.
type LockState string

// Its values.
const (
	LockUnknown LockState = ""       // it knows no such thing, or says nothing of it that we understand
	LockDenied  LockState = "denied" // the key may not ask: it lacks s3:GetBucketObjectLockConfiguration
	LockOff     LockState = "off"
	LockOn      LockState = "on" // nobody can turn it off
)

// How an object is locked: in compliance mode nobody can delete or change it, nor shorten that, the account's root included; in
// governance mode whoever has s3:BypassGovernanceRetention can
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html).
const (
	LockCompliance = string(types.ObjectLockModeCompliance)
	LockGovernance = string(types.ObjectLockModeGovernance)
)

// Lock is what a store says of a bucket's Object Lock, and how long it locks what is written without saying so: its default retention.
type Lock struct {
	State LockState
	Mode  string // LockCompliance or LockGovernance; empty where it locks nothing by itself
	Days  int    // of which a year has 365; 0 where it locks nothing by itself
}

// mostLockDays is S3's own limit, a hundred years.
const mostLockDays = 36_500

// Lock asks for it. That the store does not know it, that the bucket is without it and that the key may not ask are answers.
// Errors: *Error, where there was none.
func (b *Bucket) Lock(ctx context.Context) (lock Lock, err error) {
	const op = "GetObjectLockConfiguration"
	err = b.try(ctx, op, b.cfg.Bucket, func(ctx context.Context) error {
		out, err := b.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &b.cfg.Bucket})
		if err == nil {
			lock = configured(out.ObjectLockConfiguration)
			return nil
		}
		var e *Error
		if errors.As(fail(op, "", err), &e) {
			if state, said := e.lockState(); said {
				lock = Lock{State: state}
				return nil
			}
		}
		return err
	})
	return lock, err
}

// lockState tells what a refusal says of the lock; not said where it says nothing of it.
func (e *Error) lockState() (state LockState, said bool) {
	switch {
	case e.Code == "NoSuchBucket":
		return LockUnknown, false
	case e.Code == "ObjectLockConfigurationNotFoundError": // as Amazon, MinIO and others call it
		return LockOff, true
	case errors.Is(e, ErrDenied):
		return LockDenied, true
	}
	return LockUnknown, e.Status == http.StatusNotImplemented || e.Status >= 300 && !e.transient()
}

func configured(c *types.ObjectLockConfiguration) Lock {
	if c == nil || c.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return Lock{} // of a store that answers another question
	}
	lock := Lock{State: LockOn}
	if c.Rule == nil || c.Rule.DefaultRetention == nil {
		return lock
	}
	r := c.Rule.DefaultRetention
	days := int64(aws.ToInt32(r.Days)) + 365*int64(aws.ToInt32(r.Years))
	if mode := lockMode(string(r.Mode)); mode != "" && days > 0 && days <= mostLockDays {
		lock.Mode, lock.Days = mode, int(days)
	}
	return lock
}

// lockMode is a store's word for a mode; empty where it is none.
func lockMode(s string) string {
	if s == LockCompliance || s == LockGovernance {
		return s
	}
	return ""
}

// briefly is how long what must be able to go is locked at most: more than the store's clock and ours may differ by, as a time that
// has passed by the store's would be refused.
const briefly = time.Hour

// PutErasable is PutIfAbsent of what must be able to go at any time. Where the bucket would lock it for days, it is locked for an hour
// instead, which needs s3:PutObjectRetention for its key; where the key may not ask whether that is so, or the store's answer says nothing
// of it, the bucket's word holds. What is asked of an object goes before a bucket's default retention
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html#object-lock-retention-periods).
func (b *Bucket) PutErasable(ctx context.Context, key string, body []byte) (Object, error) {
	lock, err := b.Lock(ctx)
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Status == 0) { // else some stores would have nothing written to them
		return Object{}, err
	}
	want := Describe(body)
	want.Key, want.writer = key, newWriter()
	var until *time.Time
	if lock.Mode != "" {
		until = aws.Time(time.Now().Add(briefly)) // of the clock that requests are signed by
	}
	return b.put(ctx, want, body, until)
}
