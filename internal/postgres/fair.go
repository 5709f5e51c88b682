package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// busyPause is how long a backup waits that may not run yet, and a second more for each of its resource that comes first:
// a thousand that wait do not ask a thousand times a second.
const busyPause = 5 * time.Second

// busyError is ErrBusy, and how many of the resource come first.
type busyError struct{ ahead int64 }

func (e *busyError) Error() string {
	return ErrBusy.Error() + "; " + strconv.FormatInt(e.ahead, 10) + " of its resource come first"
}
func (*busyError) Is(target error) bool { return target == ErrBusy }

// BusyPause is how long to wait after ErrBusy.
func BusyPause(err error) time.Duration {
	var b *busyError
	if errors.As(err, &b) {
		return busyPause + time.Duration(min(b.ahead, 600))*time.Second
	}
	return busyPause
}

// turn tells whether a backup may run now as far as others are concerned: its resource has as many runs as its plan allows
// at most, and whoever was served gives way to those who have waited since before that and had no turn since. So a resource with a thousand backups
// takes one turn, then everybody who waited takes his. The queue itself hands jobs out in the order in which they came.
func (t *tx) turn(ctx context.Context, r pgsql.Resource, b remora.BackupID) error {
	plan, err := remora.PlanOf(r.Plan)
	if err != nil {
		return err
	}
	running, err := t.q.CountLiveRuns(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("count runs: %w", err)
	}
	late := int(running) >= plan.Parallel
	if !late && r.ServedAt != nil {
		if late, err = t.othersWait(ctx, r); err != nil {
			return err
		}
	}
	if !late {
		return nil
	}
	ahead, err := t.q.CountAhead(ctx, pgsql.CountAheadParams{ID: string(b), ResourceID: r.ID})
	if err != nil {
		return fmt.Errorf("count those ahead: %w", err)
	}
	return &busyError{ahead}
}

// othersWait looks beyond the resource, for one question, and returns to it.
func (t *tx) othersWait(ctx context.Context, r pgsql.Resource) (bool, error) {
	if _, err := t.q.ScopeToService(ctx); err != nil {
		return false, fmt.Errorf("scope: %w", err)
	}
	waits, err := t.q.WaitsLonger(ctx, pgsql.WaitsLongerParams{Served: *r.ServedAt, Oldest: t.now.Add(-t.s.GiveWay), ResourceID: r.ID, Eu: remora.PoolOf(r.Region) == remora.PoolEU})
	if err != nil {
		return false, fmt.Errorf("look who waits: %w", err)
	}
	if err := t.q.LeaveService(ctx); err != nil {
		return false, fmt.Errorf("scope: %w", err)
	}
	return waits, nil
}

// MayRun is ErrBusy where ClaimBackup would be for the sake of others, and nil where it may not be. It holds nothing.
func (s *Store) MayRun(ctx context.Context, b remora.BackupID) error {
	return s.forBackup(ctx, b, func(t *tx, id remora.ResourceID) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		return t.turn(ctx, r, b)
	})
}

// EnterServer writes down which server a run is about to read from, its address and port. Errors: ErrBusy where as many
// runs as may do so already, whoever they belong to: give the run back with WaitForServer.
func (s *Store) EnterServer(ctx context.Context, c Claim, server string) error {
	return s.forService(ctx, func(t *tx) error {
		if err := t.q.LockServer(ctx, server); err != nil {
			return fmt.Errorf("lock server: %w", err)
		}
		n, err := t.q.EnterServer(ctx, pgsql.EnterServerParams{ID: string(c.Run), Epoch: int32(c.Epoch), Server: server, Most: int64(s.PerServer)}) //nolint:gosec // one a run
		if err == nil && n == 0 {
			return ErrBusy
		}
		return err
	})
}

// WaitForServer gives a run back that may not read from its server yet. The attempt is not counted. Errors: KindStale.
func (s *Store) WaitForServer(ctx context.Context, c Claim) error {
	return s.giveBack(ctx, c, remora.ReasonServerBusy, 3*busyPause)
}

// mayAsk refuses a person who has asked for more than can be worth waiting for. One more click on what waits already is
// no more. The resource is locked.
func (t *tx) mayAsk(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) error {
	if _, err := t.q.LiveBackup(ctx, pgsql.LiveBackupParams{DatabaseID: string(db), ResourceID: string(id)}); !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	n, err := t.q.CountAsked(ctx, string(id))
	if err != nil {
		return fmt.Errorf("count what was asked for: %w", err)
	}
	if int(n) < t.s.MaxAsked {
		return nil
	}
	return &remora.Error{Kind: remora.KindBusy, Public: fmt.Sprintf("%d backups that somebody asked for wait for their turn already. Ask again when some of them have ended; the schedules go on meanwhile.", n)}
}
