package jobworkers

import (
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// seats are the places of one resource among the couriers of this process.
type seats struct {
	mu   sync.Mutex
	most int
	of   map[remora.ResourceID]int
}

// seatAgain is when a message that found no seat asks again, longer than an exchange with another side takes as a rule. That
// is no try of it.
const seatAgain = 6 * time.Second

// hold does something that takes a seat, which is given back also where that panics. It tells whether there was one.
func (s *seats) hold(id remora.ResourceID, do func()) bool {
	if !s.take(id) {
		return false
	}
	defer s.leave(id)
	do()
	return true
}

// take tells whether there was a seat; who took one leaves it.
func (s *seats) take(id remora.ResourceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[id] >= s.most {
		return false
	}
	s.of[id]++
	return true
}

func (s *seats) leave(id remora.ResourceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[id]--; s.of[id] == 0 {
		delete(s.of, id)
	}
}
