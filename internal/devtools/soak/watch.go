package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/stack"
)

// watch looks, until ctx ends, at what only shows in the moment: two dumps of one database, and secrets in the process list.
// What it sees is for seen.
func (s *soak) watch(ctx context.Context) {
	conn, err := pgx.Connect(ctx, s.Customer.SuperuserURL("postgres"))
	if err != nil {
		s.saw(err)
		return
	}
	defer conn.Close(context.Background()) //nolint:errcheck // nothing is lost with it
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for looks := 0; ; looks++ {
		select {
		case <-ctx.Done():
			if looks == 0 {
				s.saw(errors.New("nobody watched"))
			}
			return
		case <-tick.C:
		}
		n := 0
		err := conn.QueryRow(ctx, "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE usename = $1 AND application_name LIKE 'remora-backup/%'", stack.Credential).Scan(&n)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.saw(err)
		case n > 1:
			s.saw(fmt.Errorf("I5: %d dumps of one database at a time", n))
		}
		if err := s.leaks(map[string]string{"the process list": s.Processes()}); err != nil {
			s.saw(fmt.Errorf("I6: %w", err))
		}
	}
}

func (s *soak) saw(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
}

// seen is the first thing that watch saw.
func (s *soak) seen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}
