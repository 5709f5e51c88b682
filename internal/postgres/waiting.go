package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
)

// Waiting is how many wait for their turn, and how long the one has waited that waits longest; zero where none waits.
type Waiting struct {
	N      int
	Oldest time.Duration
}

// Waits tells the operator what waits: backups that could begin, and jobs of each queue that no process has taken. A job
// waits for a process, a backup also for memory and for others of its resource and its server.
func (s *Store) Waits(ctx context.Context) (backups Waiting, queues map[string]Waiting, err error) {
	queues = map[string]Waiting{}
	for _, name := range jobargs.Queues() {
		queues[name] = Waiting{}
	}
	err = s.forService(ctx, func(t *tx) error {
		b, err := t.q.WaitingBackups(ctx, t.now)
		if err != nil {
			return fmt.Errorf("count backups that wait: %w", err)
		}
		backups = Waiting{int(b.Backups), seconds(b.Oldest)}
		rows, err := t.q.WaitingJobs(ctx)
		if err != nil {
			return fmt.Errorf("count jobs that wait: %w", err)
		}
		for _, row := range rows {
			queues[row.Queue] = Waiting{int(row.Jobs), seconds(row.Oldest)}
		}
		return nil
	})
	return backups, queues, err
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
