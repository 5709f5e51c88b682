package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// Claim is a worker's hold on one backup. Every write of the run goes through it.
type Claim struct {
	Run      remora.RunID
	Backup   remora.BackupID
	Resource remora.Resource
	Database remora.Database
	Epoch    int
	Attempt  int // counted from 1

	Plan    remora.Plan     // that holds for this run, whatever is changed meanwhile
	Refusal *remora.Failure // why no backup may be made; nil where one may
	Sealing remora.Sealing  // as it was when the run began
	Bucket  remora.BucketID // the customer's own that the run writes to, likewise; empty where it is ours

	KeyCopied bool // the bucket has a copy of the resource's own key

	origin    remora.Origin
	recipient string // the public half of the resource's own key
}

// HelperAppID is Heroku's id of the app to read the credential from.
func (c Claim) HelperAppID() string { return c.Resource.HelperAppID }

// Recipients are those whose keys open the archive.
func (c Claim) Recipients() []string {
	if c.Sealing.Alone {
		return c.Sealing.Recipients
	}
	return append([]string{c.recipient}, c.Sealing.Recipients...)
}

// Why a backup cannot be claimed now. Neither is a fault.
var (
	// ErrNothingToDo: it has ended, or another run holds it.
	ErrNothingToDo = errors.New("postgres: the backup needs no run")
	// ErrBusy: not yet, because as many of the resource's backups run as its plan allows, others wait for longer, as many
	// runs read from the same server as may, or the pause before another attempt is not over. Try again after BusyPause.
	ErrBusy = errors.New("postgres: the backup cannot run yet")
)

// ClaimBackup starts a run of a queued backup. Errors: ErrNothingToDo, ErrBusy, KindNotFound.
func (s *Store) ClaimBackup(ctx context.Context, b remora.BackupID, worker string) (Claim, error) {
	var out Claim
	gone := false
	err := s.forBackup(ctx, b, func(t *tx, id remora.ResourceID) error {
		r, err := t.lockLive(ctx, id)
		if gone = remora.KindOf(err) == remora.KindGone; gone { // the tick asked for it at the moment in which the add-on was removed
			b := string(b)
			return t.cancel(ctx, id, &b, remora.ReasonDeprovisioned)
		}
		if err != nil {
			return err
		}
		row, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		if row.State != string(remora.BackupQueued) {
			return ErrNothingToDo
		}
		if row.RetryAt != nil && row.RetryAt.After(t.now) {
			return ErrBusy // River's clock and the database's are not the same
		}
		if err := t.turn(ctx, r, b); err != nil {
			return err
		}
		d, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: row.DatabaseID, ResourceID: string(id)})
		if err != nil {
			return fmt.Errorf("read database: %w", err)
		}
		out = Claim{
			Run: remora.NewID[remora.RunID](), Backup: b, Resource: resourceOf(r), Database: databaseOf(d),
			Epoch: int(row.Epoch) + 1, Attempt: int(row.Attempts) + 1, recipient: r.Recipient,
			KeyCopied: len(r.KeyCopies) > 0,
		}
		if out.Sealing, err = t.sealing(ctx, string(id)); err != nil {
			return err
		}
		bucket, err := t.bucketInUse(ctx, id)
		if err != nil {
			return err
		}
		out.Bucket = bucket.ID
		if out.origin, err = t.origin(ctx, r, d, row, out.Sealing); err != nil {
			return err
		}
		if err := t.include(ctx, &out); err != nil {
			return err
		}
		return t.start(ctx, out, worker)
	})
	if err == nil && gone {
		err = ErrNothingToDo
	}
	return out, err
}

func (t *tx) start(ctx context.Context, c Claim, worker string) error {
	if err := t.ping(ctx, c.Resource.ID, c.Backup, remora.PingStart); err != nil {
		return err
	}
	epoch := int32(c.Epoch) //nolint:gosec // one a run
	err := t.q.InsertRun(ctx, pgsql.InsertRunParams{
		ID: string(c.Run), ResourceID: string(c.Resource.ID), BackupID: string(c.Backup), Epoch: epoch,
		Worker: worker, Lease: t.s.Lease, Now: t.now, BucketID: orNull(c.Bucket),
	})
	if err != nil {
		return fmt.Errorf("insert run: %w", err)
	}
	err = t.q.StartBackup(ctx, pgsql.StartBackupParams{ID: string(c.Backup), ResourceID: string(c.Resource.ID), Epoch: epoch, Now: &t.now, BucketID: orNull(c.Bucket)})
	if err != nil {
		return fmt.Errorf("start backup: %w", err)
	}
	if err := t.q.SetServed(ctx, pgsql.SetServedParams{ID: string(c.Resource.ID), Now: &t.now}); err != nil {
		return fmt.Errorf("note the turn: %w", err)
	}
	if err := t.q.PassTurn(ctx, pgsql.PassTurnParams{ResourceID: string(c.Resource.ID), Now: t.now}); err != nil {
		return fmt.Errorf("pass the turn on: %w", err)
	}
	return nil
}

// forBackup works on the rows of the resource whose backup it is, for a job, which knows the backup only: whose it is, is
// the one question beyond them.
func (s *Store) forBackup(ctx context.Context, b remora.BackupID, do func(*tx, remora.ResourceID) error) error {
	return s.forService(ctx, func(t *tx) error {
		row, err := t.q.FindBackup(ctx, string(b))
		if err != nil {
			return or404(err, "backup")
		}
		if err := t.q.NarrowToResource(ctx, row.ResourceID); err != nil {
			return fmt.Errorf("scope: %w", err)
		}
		return do(t, remora.ResourceID(row.ResourceID))
	})
}

// Beat renews the lease and writes down how far the run is. Errors: KindStale where the lease has ended, a
// later run has taken over, or the backup was canceled: stop at once and keep nothing.
func (s *Store) Beat(ctx context.Context, c Claim, p remora.Progress) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		return changed(t.q.BeatRun(ctx, pgsql.BeatRunParams{
			ID: string(c.Run), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Lease: s.Lease, //nolint:gosec // one a run
			State: string(p.State), Bytes: p.Bytes, BytesOut: p.BytesOut,
			TablesDone: int32(p.TablesDone), TablesTotal: int32(p.TablesTotal), Current: foreign(p.Current, maxWord), //nolint:gosec // bounded by the archive's head
		}))
	})
}

func (t *tx) addObjects(ctx context.Context, id remora.ResourceID, b remora.BackupID, all []remora.Object) error {
	objects := pgsql.InsertObjectsParams{BackupID: string(b), ResourceID: string(id)}
	for _, o := range all {
		objects.Names, objects.Sizes = append(objects.Names, o.Name), append(objects.Sizes, o.Size)
		objects.PlainSizes, objects.Sha256s = append(objects.PlainSizes, o.PlainSize), append(objects.Sha256s, o.SHA256)
	}
	if err := t.q.InsertObjects(ctx, objects); err != nil {
		return fmt.Errorf("insert objects: %w", err)
	}
	return nil
}

// KeepBackup ends a run well: the archive is stored and confirmed. Errors: KindStale.
func (s *Store) KeepBackup(ctx context.Context, c Claim, k remora.Kept) error {
	state, reason := k.Outcome()
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		if err := t.endRun(ctx, c, remora.RunDone, reason, k.Impact); err != nil {
			return err
		}
		if err := t.endAudit(ctx, c, k); err != nil {
			return err
		}
		if err := t.addObjects(ctx, c.Resource.ID, c.Backup, k.Objects); err != nil {
			return err
		}
		stored := k.Stored()
		reread, err := t.toBeProven(ctx, c, state, k.Alone)
		if err != nil {
			return err
		}
		err = changed(t.q.KeepBackup(ctx, pgsql.KeepBackupParams{
			ID: string(c.Backup), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Now: &t.now, //nolint:gosec // one a run
			State: string(state), Reason: string(reason), Detail: foreign(k.Detail(), maxWords), ServerVersion: foreign(k.ServerVersion, maxWord),
			ClientVersion: foreign(k.ClientVersion, maxWord), ClientMajor: int32(k.ClientMajor), //nolint:gosec // a PostgreSQL major
			ArchiveVersion: foreign(k.ArchiveVersion, maxWord), Tables: int32(k.Tables), Rows: k.Rows, //nolint:gosec // bounded by the archive's head
			PlainSize: k.PlainSize, StoredSize: stored, PeakMemory: k.PeakMemory, RereadAt: &reread,
			OpenedBy: append([]string{}, k.OpenedBy...), Alone: k.Alone, LockedUntil: orNil(k.ObjectLock.Until), LockMode: orNull(k.ObjectLock.Mode),
		}))
		if err != nil {
			return err
		}
		if err := t.ended(ctx, state, reason, string(c.Backup)); err != nil {
			return err
		}
		if err := t.filled(ctx, c, stored); err != nil {
			return err
		}
		if err := t.copyOf(ctx, c); err != nil {
			return err
		}
		return t.kept(ctx, c, state, reason)
	})
}

// FailRun ends a run badly. Where its reason heals and attempts are left, the backup is queued again and a
// job for it is written; otherwise the backup has failed. It tells which. Errors: KindStale.
func (s *Store) FailRun(ctx context.Context, c Claim, f *remora.Failure, fix string) (retried bool, err error) {
	pauses := s.RetryAfter
	if f.Reason.Yields() {
		pauses = s.YieldAfter
	}
	retried = f.Reason.Heals() && c.Attempt <= len(pauses)
	err = s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		if err := t.endRun(ctx, c, remora.RunFailed, f.Reason, remora.Impact{}); err != nil {
			return err
		}
		if retried {
			pause := pauses[c.Attempt-1]
			if err := t.gaveWay(ctx, c, f, pause); err != nil {
				return err
			}
			return t.again(ctx, c.again(pause, 0), f, fix)
		}
		return t.fail(ctx, c, f, fix)
	})
	return retried, err
}

// fail ends a backup badly, for good.
func (t *tx) fail(ctx context.Context, c Claim, f *remora.Failure, fix string) error {
	err := changed(t.q.EndBackup(ctx, pgsql.EndBackupParams{
		ID: string(c.Backup), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Now: &t.now, //nolint:gosec // one a run
		State: string(remora.BackupFailed), Reason: string(f.Reason), Detail: foreign(f.Detail, maxWords), Fix: foreign(fix, maxWords),
	}))
	if err != nil {
		return err
	}
	if err := t.ended(ctx, remora.BackupFailed, f.Reason, string(c.Backup)); err != nil {
		return err
	}
	if err := t.ping(ctx, c.Resource.ID, c.Backup, remora.PingFail); err != nil {
		return err
	}
	return t.happened(ctx, c.Resource.ID, remora.Event{Kind: f.Reason.Event(), Backup: c.Backup, Reason: f.Reason})
}

// kept says what a kept backup means for its database. One with a hole in it is not what the customer counts on.
func (t *tx) kept(ctx context.Context, c Claim, state remora.BackupState, why remora.Reason) error {
	about := remora.PingSuccess
	if !state.Good() {
		about = remora.PingFail
	}
	if err := t.ping(ctx, c.Resource.ID, c.Backup, about); err != nil {
		return err
	}
	if !state.Good() {
		return t.happened(ctx, c.Resource.ID, remora.Event{Kind: why.Event(), Backup: c.Backup, Reason: why})
	}
	good, err := t.q.WasGoodBefore(ctx, pgsql.WasGoodBeforeParams{DatabaseID: string(c.Database.ID), ResourceID: string(c.Resource.ID), BackupID: string(c.Backup)})
	if err != nil {
		return fmt.Errorf("look for an earlier backup: %w", err)
	}
	last, err := t.lastEvent(ctx, c.Resource.ID, c.Database.ID, remora.BackupEvents())
	if err != nil {
		return err
	}
	kind, is := remora.EventAfter(last, good)
	if !is {
		return nil
	}
	return t.happened(ctx, c.Resource.ID, remora.Event{Kind: kind, Backup: c.Backup})
}

// ReleaseRun gives a run back that the worker's own stop cut short. The attempt is not counted.
func (s *Store) ReleaseRun(ctx context.Context, c Claim) error {
	return s.giveBack(ctx, c, remora.ReasonWorkerLost, 0)
}

func (s *Store) giveBack(ctx context.Context, c Claim, why remora.Reason, wait time.Duration) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		if err := t.endRun(ctx, c, remora.RunFailed, why, remora.Impact{}); err != nil {
			return err
		}
		return t.again(ctx, c.again(wait, 1), &remora.Failure{Reason: why}, "")
	})
}

// TakeBackLost ends runs whose lease has ended without a word and queues their backups again, or fails
// those that have had their attempts. It returns how many it found.
func (s *Store) TakeBackLost(ctx context.Context) (int, error) {
	n := 0
	err := s.forService(ctx, func(t *tx) error {
		lost, err := t.q.LockLostRuns(ctx, 100)
		if err != nil {
			return fmt.Errorf("find lost runs: %w", err)
		}
		n = len(lost)
		for _, l := range lost {
			if err := t.takeBack(ctx, l); err != nil {
				return fmt.Errorf("take back run %s: %w", l.Run.ID, err)
			}
		}
		return nil
	})
	return n, err
}

func (t *tx) takeBack(ctx context.Context, l pgsql.LockLostRunsRow) error {
	r := l.Run
	c := Claim{
		Run: remora.RunID(r.ID), Backup: remora.BackupID(r.BackupID), Epoch: int(r.Epoch), Attempt: int(l.Attempts),
		Resource: remora.Resource{ID: remora.ResourceID(r.ResourceID), Region: l.Region},
	}
	if err := t.endRun(ctx, c, remora.RunLost, remora.ReasonWorkerLost, remora.Impact{}); err != nil {
		return err
	}
	if c.Attempt <= len(t.s.RetryAfter) {
		return t.again(ctx, c.again(0, 0), &remora.Failure{Reason: remora.ReasonWorkerLost}, "")
	}
	return t.fail(ctx, c, &remora.Failure{Reason: remora.ReasonWorkerLost}, "")
}

// retry is a backup's way back into the queue.
type retry struct {
	Claim
	wait      time.Duration
	uncounted int // 1 where the attempt is not held against the backup
}

func (c Claim) again(wait time.Duration, uncounted int) retry { return retry{c, wait, uncounted} }

func (t *tx) again(ctx context.Context, r retry, f *remora.Failure, fix string) error {
	at := t.now.Add(r.wait)
	err := changed(t.q.RequeueBackup(ctx, pgsql.RequeueBackupParams{
		ID: string(r.Backup), ResourceID: string(r.Resource.ID), Epoch: int32(r.Epoch), //nolint:gosec // one a run
		Reason: string(f.Reason), Detail: foreign(f.Detail, maxWords), Fix: foreign(fix, maxWords), RetryAt: &at, Uncounted: int32(r.uncounted), //nolint:gosec // 0 or 1
	}))
	if err != nil {
		return err
	}
	return t.enqueue(ctx, jobargs.RunBackup{Backup: r.Backup, Attempt: r.Attempt + 1 - r.uncounted, Pool: remora.PoolOf(r.Resource.Region)}, at)
}

// endRun ends a run, if it is still live, with what it has cost; what was noted of that before stays where none is given. The backup
// is locked first, as doc.go says.
func (t *tx) endRun(ctx context.Context, c Claim, state remora.RunState, why remora.Reason, i remora.Impact) error {
	if _, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(c.Backup), ResourceID: string(c.Resource.ID)}); err != nil {
		return fmt.Errorf("lock backup: %w", err)
	}
	p := pgsql.EndRunParams{
		ID: string(c.Run), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), Now: &t.now, //nolint:gosec // one a run
		State: string(state), Reason: string(why),
	}
	p.Held, p.Blocked, p.Waited = columnsOf(i)
	return changed(t.q.EndRun(ctx, p))
}

// History is what the last good backup of a database was like. Known is false where there was none.
type History struct {
	Known      bool
	StoredSize int64
	Tables     int
	PeakMemory int64 // bytes; 0 where nobody measured
	NeedsMore  bool  // a run of the backup that was asked about needed more memory than it had
}

// History returns what is known of the database that a backup is of.
func (s *Store) History(ctx context.Context, b remora.BackupID) (History, error) {
	var out History
	err := s.forService(ctx, func(t *tx) error {
		row, err := t.q.LastGood(ctx, string(b))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		out = History{Known: row.Known, StoredSize: row.StoredSize, Tables: int(row.Tables), PeakMemory: row.PeakMemory, NeedsMore: row.NeedsMore}
		return err
	})
	return out, err
}

// IsLive tells whether a worker holds the run that an upload of that backup and epoch belongs to.
func (s *Store) IsLive(ctx context.Context, b remora.BackupID, epoch int) (bool, error) {
	live := false
	err := s.forService(ctx, func(t *tx) error {
		var err error
		live, err = t.q.IsRunLive(ctx, pgsql.IsRunLiveParams{BackupID: string(b), Epoch: int32(epoch)}) //nolint:gosec // one a run
		return err
	})
	return live, err
}

// Archive names what one run stored, or may have.
type Archive struct {
	Resource remora.ResourceID
	Backup   remora.BackupID
	Epoch    int
}

// Unwanted returns those of the archives whose run has ended without keeping one, so that none ever will. One of a run
// that we know nothing of is not among them: our database may have been set back to what it was before that run.
func (s *Store) Unwanted(ctx context.Context, archives []Archive) ([]Archive, error) {
	var of pgsql.ListUnwantedArchivesParams
	for _, a := range archives {
		of.Resources, of.Backups = append(of.Resources, string(a.Resource)), append(of.Backups, string(a.Backup))
		of.Epochs = append(of.Epochs, int32(min(a.Epoch, math.MaxInt32))) //nolint:gosec // bounded
	}
	var out []Archive
	err := s.forService(ctx, func(t *tx) error {
		rows, err := t.q.ListUnwantedArchives(ctx, of)
		if err != nil {
			return fmt.Errorf("find unwanted archives: %w", err)
		}
		for _, r := range rows {
			out = append(out, Archive{remora.ResourceID(r.ResourceID), remora.BackupID(r.BackupID), int(r.Epoch)})
		}
		return nil
	})
	return out, err
}
