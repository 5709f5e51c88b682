package objectstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// confirmTimeout bounds what must be found out or cleaned up although the caller's context has ended. It is
// below the 30 seconds that Heroku gives a process to stop.
const confirmTimeout = 15 * time.Second

// try sends one request until the store answers for good, and at most Attempts times.
func (b *Bucket) try(ctx context.Context, op, key string, send func(context.Context) error) error {
	for n := 1; ; n++ {
		err := b.once(ctx, op, key, send)
		if err == nil || ctx.Err() != nil || n == b.cfg.Attempts || !isTransient(err) {
			return err
		}
		if b.pause(ctx, n) != nil {
			return err
		}
	}
}

func (b *Bucket) once(ctx context.Context, op, key string, send func(context.Context) error) error {
	attempt, cancel := context.WithTimeout(ctx, b.cfg.AttemptTimeout)
	defer cancel()
	err := send(attempt)
	if err != nil {
		err = fail(op, key, err)
	}
	if b.cfg.Observe != nil {
		b.cfg.Observe(op, outcome(err), err)
	}
	return err
}

func isTransient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.transient()
}

// pause waits before attempt n+1: between half of the delay and all of it, so that many workers which failed
// together do not come back together.
func (b *Bucket) pause(ctx context.Context, n int) error {
	delay := min(b.cfg.Backoff<<min(n-1, 10), b.cfg.MaxBackoff)
	if half := int64(delay / 2); half > 0 {
		delay = time.Duration(half + rand.Int64N(half)) //nolint:gosec // spreads load, guards nothing
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// uncanceled gives work that must be done at the end a time of its own.
func uncanceled(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
}
