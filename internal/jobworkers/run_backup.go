package jobworkers

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// roomPause is how long a backup waits that cannot run yet because memory is short here.
const roomPause = time.Second

// runBackup makes one attempt at a backup.
type runBackup struct {
	river.WorkerDefaults[jobargs.RunBackup]
	*Workers
}

// Timeout implements river.Worker. River does not touch the job before, and what a killed worker leaves is taken back
// through its lease.
func (w *runBackup) Timeout(*river.Job[jobargs.RunBackup]) time.Duration {
	if w.Workers == nil { // a leader that makes no backups asks how long others may
		return longest
	}
	return w.Longest
}

// Work implements river.Worker.
func (w *runBackup) Work(ctx context.Context, job *river.Job[jobargs.RunBackup]) error {
	if wait := w.Heroku.Wait(w.ServiceToken); wait > 0 { // it could read no credential; no attempt is spent on that
		return river.JobSnooze(wait)
	}
	if !w.slots.take(ctx) {
		return river.JobSnooze(0)
	}
	defer w.slots.leave()
	// Before it takes a place in the line for memory: who may not run yet keeps nobody waiting there.
	if err := w.Store.MayRun(ctx, job.Args.Backup); errors.Is(err, postgres.ErrBusy) {
		return river.JobSnooze(postgres.BusyPause(err))
	}
	history, err := w.Store.History(ctx, job.Args.Backup)
	if err != nil {
		return err
	}
	share, err := w.budget.share(ctx, job.Args.Backup, history)
	switch {
	case errors.Is(err, errNoRoom):
		return river.JobSnooze(roomPause)
	case err != nil: // this process stops
		return river.JobSnooze(0)
	}
	defer share.release()
	at := &stages{now: w.Now}
	at.begin(stageClaim)
	c, err := w.Store.ClaimBackup(ctx, job.Args.Backup, w.Name)
	switch {
	case errors.Is(err, postgres.ErrNothingToDo):
		return nil
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(postgres.BusyPause(err))
	case err != nil:
		return err
	}
	kept, err := w.attempt(ctx, c, at, share)
	at.begin(stageRecord)
	err = w.end(ctx, c, kept, err, at)
	at.end()
	w.metrics.took(at)
	return err
}

// attempt runs the pipeline beside the run's heartbeat; whichever fails stops the other.
func (w *runBackup) attempt(ctx context.Context, c postgres.Claim, at *stages, m *memory) (remora.Kept, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	h := &heart{claim: c, store: w.Store, every: w.BeatEvery, lost: stop, most: mostStored(c.Plan)}
	h.start(ctx)
	defer h.stop()
	kept, err := w.pipeline(ctx, c, h, at, m, stop)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return kept, cause // the first cause: what broke afterwards only followed from it
	}
	return kept, err
}

// errStart says that pg_dump is to be started, or started again, once it is known what the credential may do.
var errStart = errors.New("pg_dump waits for the answer")

// pipeline finds the database, asks what its credential may do, and makes the archive of the same moment. Where there is
// a good backup of the database already, the answer and pg_dump's own questions about the catalogue are waited for at
// the same time, and nothing is taken from pg_dump before the answer.
func (w *runBackup) pipeline(ctx context.Context, c postgres.Claim, h *heart, at *stages, m *memory, stop context.CancelCauseFunc) (kept remora.Kept, err error) {
	if c.Refusal != nil {
		return kept, c.Refusal
	}
	bucket, err := w.Stores.At(ctx, c.Resource.ID, c.Bucket)
	if err != nil {
		return kept, err
	}
	if !c.KeyCopied { // no archive is stored that could not be opened without our database
		if err := w.copyKey(ctx, c.Resource.ID); err != nil {
			return kept, failureOf(err) // of our bucket's, wherever the archive is to lie
		}
	}
	target, err := w.locate(ctx, c.Database, c.HelperAppID(), at)
	if err != nil {
		return kept, err
	}
	server := netip.AddrPortFrom(target.Addr, target.Credential.Port).String()
	if err := w.Store.EnterServer(ctx, c, server); err != nil {
		return kept, err
	}
	session, err := m.open(ctx, target)
	if err != nil {
		return kept, err
	}
	defer session.Close()
	said := session.Server()
	client, _, err := pgdump.Choose(w.Clients, said.Major)
	if err != nil {
		return kept, err
	}
	app := pgdump.AppName + "/" + string(c.Run)[:8]
	watch := gentle{app: app, every: w.WatchEvery, most: w.LockPatience, giveWay: stop}
	look := newLookout(session, watch, func(ctx context.Context, a remora.Audit) error {
		return again(ctx, time.Second, func() error {
			return w.Store.SaveAudit(ctx, c, a, remora.Server{Version: said.Version, Size: session.Server().Size, Key: said.Key})
		})
	})
	verdict := func(ctx context.Context) error {
		if err := look.verdict(ctx); err != nil {
			return err
		}
		if err := c.Plan.Fits(c.Database.Addon, session.Server().Size); err != nil {
			return &remora.Failure{Reason: remora.ReasonTooLarge, Detail: remora.Public(err, "")}
		}
		return nil
	}
	defer func() {
		look.stop()
		if look.uncounted != nil {
			w.Log.WarnContext(ctx, "what objects there are could not be listed", "backup_id", c.Backup, "error", look.uncounted)
		}
		if look.gentle.unseen != nil {
			w.Log.WarnContext(ctx, "whom the dump kept waiting could not be seen all the time", "backup_id", c.Backup, "error", look.gentle.unseen)
		}
		if err != nil {
			w.impact(ctx, c, look.impact())
		}
	}()
	source := pipeline.Source{
		Client: client, Credential: target.Credential, Addr: target.Addr, ServerMajor: said.Major, ServerVersion: said.Version,
		Snapshot: session.Snapshot(), AppName: app,
	}
	options := pipeline.Options{
		Compress: w.Compress, Progress: h.progress, Stage: at.begin, Now: w.Now, Begun: look.begun, Idle: look.idle, Memory: m.run(),
		Admit: func(ctx context.Context) error {
			look.start(ctx)                           // pg_dump is on its way, and asks the server longer than we do
			if !look.answers(ctx, w.LockPatience/3) { // pg_dump has its locks, and nobody watches whom they keep waiting
				return errStart
			}
			if err := verdict(ctx); err != nil {
				return err
			}
			if look.audit.OpenRows() != source.OpenRows { // it must read under row security, or need not
				return errStart
			}
			return nil
		},
		Ended: func(ctx context.Context) error {
			defer context.AfterFunc(ctx, look.stop)()
			return look.end(ctx)
		},
		Confirm: h.confirming, // fenced once more, before anything of it can be seen
		Report:  func() any { return look.report() },
		Origin: func(made pipeline.Made) (string, error) {
			k := keptOf(made, client.Major)
			k.LeftOut = look.audit.LeftOut()
			return archivestore.SealOrigin(c.Origin(k), c.OwnRecipient())
		},
	}
	to := pipeline.Destination{Bucket: bucket, Ref: refOf(c), Recipients: c.Recipients(), Keys: w.Keys}
	var made pipeline.Made
	err = errStart
	if m.history.Known { // else nobody knows this credential: pg_dump is not even started before the answer
		made, err = pipeline.Run(ctx, source, to, options)
	}
	if errors.Is(err, errStart) {
		look.start(ctx)
		if err := verdict(ctx); err != nil {
			return kept, err
		}
		source.OpenRows = look.audit.OpenRows()
		made, err = pipeline.Run(ctx, source, to, options)
	}
	if err != nil {
		return kept, m.judge(err)
	}
	kept = keptOf(made, client.Major)
	kept.ObjectLock, kept.Impact = made.Lock, look.impact()
	kept.Alone = c.Sealing.Alone
	for _, r := range c.Sealing.Recipients {
		kept.OpenedBy = append(kept.OpenedBy, seal.Fingerprint(r))
	}
	kept.LeftOut, kept.Witness, kept.Inventory = look.audit.LeftOut(), look.witness, look.inventory
	if made.LockUnsaid != nil {
		w.Log.WarnContext(ctx, "the store could not be asked until when it keeps a backup", "backup_id", c.Backup, "error", made.LockUnsaid)
	}
	if look.failed != nil {
		w.Log.WarnContext(ctx, "the database could not be asked once more", "backup_id", c.Backup, "error", look.failed)
	}
	return kept, nil
}

// impact writes down what a run has cost the customer's database of which no backup is kept.
func (w *runBackup) impact(ctx context.Context, c postgres.Claim, i remora.Impact) {
	done, cancel := cleanup(ctx)
	defer cancel()
	if err := w.Store.SaveImpact(done, c, i); err != nil {
		w.Log.WarnContext(ctx, "what the run cost the database could not be written down", "backup_id", c.Backup, "error", err)
	}
}

// refOf is where a run stores its archive.
func refOf(c postgres.Claim) archivestore.Ref {
	return archivestore.Ref{Resource: c.Resource.ID, Backup: c.Backup, Epoch: c.Epoch}
}

func keptOf(made pipeline.Made, major int) remora.Kept {
	m := made.Manifest
	k := remora.Kept{
		ServerVersion: m.ServerVersion, ClientVersion: m.ClientVersion, ClientMajor: major,
		ArchiveVersion: m.ArchiveVersion, Tables: m.Tables, Rows: remora.RowsUnknown, PlainSize: m.PlainSize,
		PeakMemory: made.Memory, Unexplained: strings.Join(pgdump.Unexplained(made.Said), "\n"),
	}
	if made.Contents != nil {
		k.Rows = made.Contents.Rows()
	}
	for _, o := range m.Stored() {
		sum, _ := hex.DecodeString(o.SHA256) // we wrote it
		k.Objects = append(k.Objects, remora.Object{Name: o.Name, Size: o.Size, PlainSize: o.PlainSize, SHA256: sum})
	}
	return k
}

// end writes down how the run ended, and logs it in one line.
func (w *runBackup) end(ctx context.Context, c postgres.Claim, kept remora.Kept, err error, at *stages) error {
	log := w.Log.With("resource_id", c.Resource.ID, "database_id", c.Database.ID, "backup_id", c.Backup, "attempt", c.Attempt, "duration", at.total().Round(time.Millisecond), at.attr())
	done, cancel := cleanup(ctx)
	defer cancel()
	switch {
	case err == nil:
		err := again(done, time.Second, func() error { return w.Store.KeepBackup(done, c, kept) }) // written twice, the second is stale, and nothing that is kept is discarded
		if err != nil {
			w.impact(ctx, c, kept.Impact)
		}
		if remora.KindOf(err) == remora.KindStale {
			log.WarnContext(ctx, "run was overtaken or canceled when its archive was stored")
			if c.Bucket != "" {
				return w.Store.Untidy(done, c) // for the deleter, whose key it takes
			}
			return w.discard(done, refOf(c)) // else the deleter's sweep
		}
		if err != nil {
			log.ErrorContext(ctx, "backup was stored and could not be written down", "error", err)
			return err
		}
		state, reason := kept.Outcome()
		w.metrics.runs.WithLabelValues(string(state), string(reason)).Inc()
		w.metrics.bytes.Add(float64(kept.PlainSize))
		if state == remora.BackupVerified {
			log.InfoContext(ctx, "backup verified", "bytes", kept.PlainSize)
		} else {
			log.WarnContext(ctx, "backup "+string(state), "bytes", kept.PlainSize, "reason", reason)
		}
		return nil
	case remora.KindOf(err) == remora.KindStale:
		log.WarnContext(ctx, "run was overtaken or canceled")
		return nil
	case errors.Is(err, postgres.ErrBusy):
		log.InfoContext(ctx, "run was given back: others read from the same server")
		return ignoreStale(w.Store.WaitForServer(done, c))
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded): // River's, after Longest: another run would take as long
		err = &remora.Failure{Reason: remora.ReasonTooLong, Cause: err}
	case ctx.Err() != nil: // this process stops
		log.InfoContext(ctx, "run was given back")
		return ignoreStale(w.Store.ReleaseRun(done, c))
	}
	f := failureIn(c.Bucket, err)
	again, serr := w.Store.FailRun(done, c, f, cmp.Or(f.Fix, pgdump.Fix(f.Detail, c.Database.Credential)))
	w.metrics.runs.WithLabelValues("failed", string(f.Reason)).Inc()
	level := log.InfoContext
	if f.Reason.Actor() == remora.ActorUs {
		level = log.ErrorContext // a person should look
	}
	level(ctx, "run failed", "reason", f.Reason, "again", again, "error", f)
	return ignoreStale(serr)
}

func ignoreStale(err error) error {
	if remora.KindOf(err) == remora.KindStale {
		return nil
	}
	return err
}

// failureIn is failureOf for what lies, or was to lie, in a bucket; the empty one is ours.
func failureIn(bucket remora.BucketID, err error) *remora.Failure {
	f := failureOf(err)
	var theirs *remora.Failure
	if (f.Reason == remora.ReasonStoreFull || f.Reason == remora.ReasonStoreFailed) && errors.As(placement.Explain(bucket, err), &theirs) {
		return theirs
	}
	return f
}

// failureOf names what went wrong.
func failureOf(err error) *remora.Failure {
	var f *remora.Failure
	var corrupt *pgarchive.CorruptError
	var long *pgarchive.LongHeadError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &long):
		return &remora.Failure{Reason: remora.ReasonMoreMemory, Detail: tooLong(long), Cause: err}
	case errors.As(err, &corrupt), errors.Is(err, pgarchive.ErrUnsupported):
		return &remora.Failure{Reason: remora.ReasonArchiveInvalid, Cause: err}
	case errors.Is(err, objectstore.ErrFull):
		return &remora.Failure{Reason: remora.ReasonStoreFull, Cause: err}
	case objectstore.IsStore(err):
		return &remora.Failure{Reason: remora.ReasonStoreFailed, Cause: err}
	}
	return &remora.Failure{Reason: remora.ReasonInternal, Cause: fmt.Errorf("run: %w", err)}
}

// tooLong is what a person is told of a table of contents beyond its limit.
func tooLong(e *pgarchive.LongHeadError) string {
	return fmt.Sprintf("The archive's table of contents, which lists every table, column and comment, is longer than %d MiB.", e.Most>>20)
}
