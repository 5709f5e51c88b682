package customerdb

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Waiting is who waits for our locks on the customer's server at one moment. The zero value is nobody.
type Waiting struct {
	Sessions int           // that wait for us, and behind those
	Mode     string        // of the lock that the one who waits longest wants, such as AccessExclusiveLock
	Object   string        // what it is on, as SQL; empty where it is no table or index
	Longest  time.Duration // how long that one has waited; 0 also where the server is before 14, which does not say
}

// Waiting asks who waits for what this session holds, or the sessions of the same role under another application's name.
// It costs the server about what a look at pg_locks does. Errors are *remora.Failure.
func (s *Session) Waiting(ctx context.Context, app string) (Waiting, error) {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	var w Waiting
	look := func() error {
		var seconds float64
		err := s.conn.QueryRow(ctx, parts["waiting"], app).Scan(&w.Mode, &w.Object, &seconds, &w.Sessions)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		w.Longest = time.Duration(seconds * float64(time.Second))
		return err
	}
	var err error
	if s.standing {
		err = s.aside(ctx, shortStatement/2, func() error { // of which there are two
			// The transaction would go on seeing the sessions that it saw first.
			if _, err := s.conn.Exec(ctx, "SELECT pg_catalog.pg_stat_clear_snapshot()"); err != nil {
				return err
			}
			return look()
		})
	} else {
		err = look()
	}
	if err != nil {
		return Waiting{}, s.failure(err)
	}
	return w, nil
}

// Leave ends the sessions of the same role under another application's name, at the server itself, and this one's transaction: what
// they hold is free when it returns, or a moment later, whatever their clients do. Errors are *remora.Failure.
func (s *Session) Leave(ctx context.Context, app string) error {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	_, err := s.conn.Exec(ctx, parts["leave"], app)
	if _, over := s.conn.Exec(ctx, "ROLLBACK"); err == nil { // a warning where there is none
		err = over
	}
	if err != nil {
		return s.failure(err)
	}
	return nil
}
