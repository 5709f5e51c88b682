package jobworkers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever queue it comes from, a job beyond the slots waits for a while, and then makes way for other processes.
func TestSlotsCountTheJobsOfAllQueues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, time.Minute)
		if !s.take(t.Context()) {
			t.Fatal("the first found no slot")
		}
		began := time.Now()
		if s.take(t.Context()) || time.Since(began) != time.Minute {
			t.Error("there were two slots, or no wait, after", time.Since(began))
		}
		got := make(chan bool)
		go func() { got <- s.take(t.Context()) }()
		synctest.Wait()
		s.leave()
		if !<-got {
			t.Error("who waited was not served")
		}
		stopped, stop := context.WithCancel(t.Context())
		go func() { got <- s.take(stopped) }()
		synctest.Wait()
		if stop(); <-got {
			t.Error("a job was begun when the process stopped")
		}
	})
	var any *slots
	for range 3 {
		if !any.take(t.Context()) {
			t.Error("nobody has set a number")
		}
	}
	any.leave()
}
