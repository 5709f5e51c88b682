package jobworkers

import (
	"context"
	"time"
)

// slots are how many jobs of one kind a process works at a time, whichever queues they come from: River counts each queue
// by itself. nil is any number.
//
// A wait is short: to our database and to other processes a job that waits here looks like one that is worked. Those who
// wait are served in the order in which they came, so a queue that always has more keeps no other out.
type slots struct {
	free chan struct{}
	wait time.Duration
}

func newSlots(n int, wait time.Duration) *slots {
	if n == 0 {
		return nil
	}
	return &slots{make(chan struct{}, n), wait}
}

// take waits for a slot and tells whether there was one; who took one leaves it.
func (s *slots) take(ctx context.Context) bool {
	if s == nil {
		return true
	}
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case s.free <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (s *slots) leave() {
	if s != nil {
		<-s.free
	}
}
