package postgres_test

import (
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
)

// The operator sees what waits with no process at work: backups that could begin, and jobs by queue.
func TestWhatWaitsIsCounted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.resource(t, "db-1", "db-2") // and a first backup of each
	if _, err := b.pool.Exec(t.Context(), "UPDATE river.river_job SET scheduled_at = now() - interval '20 minutes' WHERE kind = 'run_backup'"); err != nil {
		t.Fatal(err)
	}
	b.ahead = 30 * time.Minute
	backups, queues, err := b.Waits(t.Context())
	if err != nil || backups.N != 2 || backups.Oldest < 30*time.Minute || backups.Oldest > 40*time.Minute {
		t.Errorf("%+v %v", backups, err)
	}
	if q := queues[jobargs.QueueBackups]; q.N != 2 || q.Oldest < 20*time.Minute || q.Oldest > 30*time.Minute {
		t.Errorf("%+v", q)
	}
	if len(queues) != len(jobargs.Queues()) {
		t.Errorf("%+v", queues)
	}
	b.ahead = -time.Minute
	if backups, _, err := b.Waits(t.Context()); err != nil || backups != (postgres.Waiting{}) {
		t.Errorf("what may not begin yet counts: %+v %v", backups, err)
	}
}
