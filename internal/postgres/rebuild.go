package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// BackupStates returns the states of those of the backups that our database knows.
func (s *Store) BackupStates(ctx context.Context, backups []remora.BackupID) (map[remora.BackupID]remora.BackupState, error) {
	out := map[remora.BackupID]remora.BackupState{}
	err := s.forService(ctx, func(t *tx) error {
		rows, err := t.q.StatesOf(ctx, words(backups))
		for _, r := range rows {
			out[remora.BackupID(r.ID)] = remora.BackupState(r.State)
		}
		return err
	})
	return out, err
}

// FromBucket is an add-on as the bucket tells of it.
type FromBucket struct {
	Resource  remora.ResourceID
	Key       redact.Secret // its own; zero where only our database may have it
	Recipient string
	Addon     remora.OriginAddon
	Archives  []FromManifest
}

// FromManifest is an archive as its manifest tells of it.
type FromManifest struct {
	Backup remora.BackupID
	Epoch  int
	MadeAt time.Time
	Origin *remora.Origin // nil of what was made before manifests said it
	remora.Kept
}

// Rebuilt is how many rows were made.
type Rebuilt struct {
	Addons, Databases, Backups int
	Ended                      int // backups that our database took for queued or running
	Nameless                   int // backups, among those, whose manifest does not say of which database they are
	Plans                      int // add-ons that are on another plan than our database says
}

// Add counts both.
func (r Rebuilt) Add(o Rebuilt) Rebuilt {
	return Rebuilt{r.Addons + o.Addons, r.Databases + o.Databases, r.Backups + o.Backups, r.Ended + o.Ended, r.Nameless + o.Nameless, r.Plans + o.Plans}
}

// errDry undoes what was only to be counted.
var errDry = errors.New("postgres: nothing was to be changed")

// ErrOtherKey says that our database and the bucket have different keys of one add-on.
var ErrOtherKey = errors.New("our database has another key of this add-on than the bucket")

// ErrUndone says that the bucket's word of a removal is older than ours, that it was undone.
var ErrUndone = errors.New("the bucket says that this add-on was removed, and our database that this was undone; the deleter takes the bucket's mark away")

// Rebuild makes the rows of an add-on that our database lacks, and counts them; of what it has it changes what can only be so since it was put
// back: backups that ended, while it takes them for queued or running, and the plan. Dry undoes all of it. A second time it makes none. Nobody is told, for to customers
// nothing has happened, but of a smaller plan, whose grace begins anew. Errors: KindGone where our database knows that the add-on was removed, ErrOtherKey.
func (s *Store) Rebuild(ctx context.Context, b FromBucket, dry bool) (out Rebuilt, err error) {
	err = s.forResource(ctx, b.Resource, func(t *tx) error {
		if out, err = t.rebuild(ctx, b); err != nil {
			return err
		}
		if dry {
			return errDry
		}
		if out == (Rebuilt{}) {
			return nil
		}
		return t.audit(ctx, b.Resource, OperatorActor, "rebuild from the bucket", remora.Count(out.Backups+out.Ended, "backup"))
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return out, err
}

func (t *tx) rebuild(ctx context.Context, b FromBucket) (out Rebuilt, err error) {
	slices.SortFunc(b.Archives, func(x, y FromManifest) int { return x.MadeAt.Compare(y.MadeAt) })
	addon, newest := b.Addon, ""   // its plan; the key's copy may be older than our database
	for _, a := range b.Archives { // the newest says what the add-on was last
		if a.Origin != nil {
			addon, newest = a.Origin.Addon, a.Origin.Addon.Plan
		}
	}
	if !b.Key.IsZero() {
		n, err := t.q.RebuildResource(ctx, t.s.resourceFrom(b, addon, remora.ResourceActive, nil))
		if err != nil {
			return out, fmt.Errorf("add the add-on: %w", err)
		}
		out.Addons = int(n)
	}
	row, err := t.lockLive(ctx, b.Resource)
	if err != nil {
		return out, err
	}
	if b.Recipient != "" && row.Recipient != b.Recipient {
		return out, ErrOtherKey
	}
	if s := addon.Sealing; s != nil {
		_, err := t.q.RebuildSealing(ctx, pgsql.RebuildSealingParams{
			ID: string(remora.NewID[remora.SealingID]()), ResourceID: row.ID, Recipients: append([]string{}, s.Recipients...), Alone: s.Alone, Shown: s.Shown, SetBy: s.SetBy, SetAt: s.SetAt,
		})
		if err != nil {
			return out, fmt.Errorf("add whose keys archives are sealed to: %w", err)
		}
	}
	plan, err := remora.PlanOf(row.Plan)
	if err != nil {
		return out, err
	}
	if last, err := remora.PlanOf(newest); err == nil && last.Slug != plan.Slug { // an archive that our database does not know is newer than it
		resource := resourceOf(row)
		if err := t.setPlan(ctx, &resource, last); err != nil {
			return out, err
		}
		plan, out.Plans = last, 1
	}
	last := map[remora.DatabaseID]FromManifest{} // of each database
	for _, a := range b.Archives {
		if a.Origin != nil {
			last[a.Origin.Database.ID] = a
		}
	}
	dbs := map[remora.DatabaseID]string{}
	for _, a := range b.Archives {
		var id remora.DatabaseID
		if a.Origin != nil {
			id = a.Origin.Database.ID
		}
		if dbs[id] == "" {
			newest, ok := last[id]
			if !ok {
				newest = a
			}
			var added int
			if dbs[id], added, err = t.rebuildDatabase(ctx, b.Resource, newest); err != nil {
				return out, err
			}
			out.Databases += added
		}
		if err := t.rebuildBackup(ctx, b.Resource, dbs[id], plan, a, &out); err != nil {
			return out, fmt.Errorf("backup %s: %w", a.Backup, err)
		}
	}
	return out, nil
}

// resourceFrom is the row of an add-on.
func (s *Store) resourceFrom(b FromBucket, addon remora.OriginAddon, state remora.ResourceState, removed *time.Time) pgsql.RebuildResourceParams {
	return pgsql.RebuildResourceParams{
		ID: string(b.Resource), Name: addon.Name, Plan: addon.Plan, Region: addon.Region, State: string(state), HelperAppID: addon.HelperAppID, HelperApp: addon.HelperApp,
		SealedKey: s.seal(b.Key, sealedKey, b.Resource), Recipient: b.Recipient, CreatedAt: addon.CreatedAt, RemovedAt: removed,
	}
}

// nameless is Heroku's id of the database that stands for all of an add-on whose manifests do not name theirs.
const nameless = "unknown"

// rebuildDatabase adds a database with its schedule and its retention as the newest of its manifests has them.
func (t *tx) rebuildDatabase(ctx context.Context, id remora.ResourceID, newest FromManifest) (db string, added int, err error) {
	d := remora.OriginDatabase{ID: remora.NewID[remora.DatabaseID](), AddonID: nameless, Addon: nameless, FoundAt: newest.MadeAt}
	if newest.Origin != nil {
		d = newest.Origin.Database
	}
	row, err := t.q.RebuildDatabase(ctx, pgsql.RebuildDatabaseParams{
		ID: string(d.ID), ResourceID: string(id), AddonID: d.AddonID, Addon: d.Addon, OwnerApp: d.OwnerApp, Attachment: d.Attachment,
		Credential: d.Credential, Beside: d.Beside, Plan: d.Plan, FoundAt: d.FoundAt, SeenAt: newest.MadeAt,
	})
	if err != nil {
		return "", 0, fmt.Errorf("add database: %w", err)
	}
	if row.Added {
		added = 1
		if err := t.q.ProveSoon(ctx, pgsql.ProveSoonParams{ID: row.ID, ResourceID: string(id), Now: &t.now}); err != nil { // nothing says when it was last
			return "", 0, fmt.Errorf("set when a proof is due: %w", err)
		}
	}
	if row.Added && d.Schedule != nil {
		if err := t.rebuildSchedule(ctx, id, row.ID, *d.Schedule); err != nil {
			return "", 0, err
		}
	}
	if r := d.Retention; r != nil {
		err := t.q.RebuildRetention(ctx, pgsql.RebuildRetentionParams{
			ID: string(remora.NewID[remora.EventID]()), ResourceID: string(id), DatabaseID: row.ID, Last: int32(r.Last), Days: int32(r.Days), Hourly: int32(r.Hourly), //nolint:gosec // as they were set
			Daily: int32(r.Daily), Weekly: int32(r.Weekly), Monthly: int32(r.Monthly), Yearly: int32(r.Yearly), Zone: r.Zone, SetBy: d.SetBy, SetAt: d.SetAt, //nolint:gosec // as they were set
		})
		if err != nil {
			return "", 0, fmt.Errorf("add retention: %w", err)
		}
	}
	return row.ID, added, nil
}

func (t *tx) rebuildSchedule(ctx context.Context, id remora.ResourceID, db string, rule remora.Rule) error {
	times, err := schedule.New(rule)
	if err != nil { // a zone that this machine does not know: the next look at the Helper App gives it the usual one
		return nil //nolint:nilerr // as said
	}
	one := string(remora.NewID[remora.ScheduleID]())
	next := times.Next(t.now)
	_, err = t.q.InsertSchedule(ctx, pgsql.InsertScheduleParams{ID: one, ResourceID: string(id), DatabaseID: db, Minute: int32(rule.Minute), NextRunAt: next}) //nolint:gosec // 0 to 1439
	if err != nil {
		return fmt.Errorf("add schedule: %w", err)
	}
	err = t.q.SetSchedule(ctx, pgsql.SetScheduleParams{
		ID: one, ResourceID: string(id), Kind: string(rule.Kind), Hours: int32(rule.Hours), Minute: int32(rule.Minute), Weekday: int32(rule.Weekday), Day: int32(rule.Day), //nolint:gosec // bounded by their kinds
		Cron: rule.Cron, Zone: rule.Zone, NextRunAt: next, Now: &t.now, Person: OperatorActor,
	})
	if err != nil {
		return fmt.Errorf("add schedule: %w", err)
	}
	return nil
}

func (t *tx) rebuildBackup(ctx context.Context, id remora.ResourceID, db string, plan remora.Plan, a FromManifest, out *Rebuilt) error {
	before, err := t.q.LockBackup(ctx, pgsql.LockBackupParams{ID: string(a.Backup), ResourceID: string(id)})
	known := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	o := remora.OriginBackup{State: remora.BackupVerified, QueuedAt: a.MadeAt, Rows: remora.RowsUnknown}
	if a.Origin != nil {
		o = a.Origin.Backup
	}
	if o.StartedAt.IsZero() {
		o.StartedAt = o.QueuedAt
	}
	reread := plan.NextReread(a.MadeAt)
	if late := t.now.Sub(reread); late > 0 { // as far apart as they were, or all would be due at once
		reread = reread.Add((late/plan.RereadEvery + 1) * plan.RereadEvery)
	}
	n, err := t.q.RebuildBackup(ctx, pgsql.RebuildBackupParams{
		ID: string(a.Backup), ResourceID: string(id), DatabaseID: db, RequestedBy: o.RequestedBy, State: string(o.State), Reason: string(o.Reason),
		Detail: foreign(o.Detail, maxWords), Epoch: int32(a.Epoch), ServerVersion: foreign(a.ServerVersion, maxWord), ClientVersion: foreign(a.ClientVersion, maxWord), //nolint:gosec // one a run
		ClientMajor: int32(o.ClientMajor), ArchiveVersion: foreign(a.ArchiveVersion, maxWord), Tables: int32(a.Tables), Rows: o.Rows, //nolint:gosec // bounded by the archive's head
		PlainSize: a.PlainSize, StoredSize: a.Stored(), PeakMemory: o.PeakMemory, QueuedAt: o.QueuedAt, StartedAt: &o.StartedAt, EndedAt: &a.MadeAt,
		RereadAt: &reread, OpenedBy: append([]string{}, a.OpenedBy...), Alone: a.Alone,
	})
	if err != nil || n == 0 {
		return err
	}
	if err := t.addObjects(ctx, id, a.Backup, a.Objects); err != nil {
		return err
	}
	if !known {
		out.Backups++
		if a.Origin == nil {
			out.Nameless++
		}
		return nil
	}
	out.Ended++
	err = t.q.EndRunsOfCanceled(ctx, pgsql.EndRunsOfCanceledParams{ResourceID: string(id), Backups: []string{before.ID}, Reason: string(remora.ReasonWorkerLost), Now: &t.now})
	if err != nil {
		return fmt.Errorf("end runs: %w", err)
	}
	return t.ended(ctx, o.State, o.Reason, before.ID)
}

// RebuildRemoved sees that an add-on which the bucket says was removed is not revived: what our database takes for an add-on
// still is removed now, as if Heroku had just asked, with as long to undo it; of one that it does not know, what becomes of it goes on from
// where it was. Its key may be zero where that is destroyed already. changed tells whether our database did not know it. Errors: ErrUndone.
func (s *Store) RebuildRemoved(ctx context.Context, b FromBucket, r Removed, dry bool) (changed bool, err error) {
	err = s.forResource(ctx, b.Resource, func(t *tx) error {
		row, err := t.q.LockResource(ctx, string(b.Resource))
		if err == nil {
			lives := row.State != string(remora.ResourceDeprovisioned)
			if lives && row.MarkedAt != nil {
				return ErrUndone
			}
			changed = lives
			return nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if changed = true; dry {
			return nil
		}
		if b.Key.IsZero() && len(b.Archives) == 0 {
			return t.q.InsertTombstone(ctx, pgsql.InsertTombstoneParams{ID: string(b.Resource), Now: r.AskedAt})
		}
		if _, err := t.q.RebuildResource(ctx, s.resourceFrom(b, b.Addon, remora.ResourceDeprovisioned, &r.AskedAt)); err != nil {
			return fmt.Errorf("add the removed add-on: %w", err)
		}
		held := pgsql.RebuildRemovalParams{ResourceID: string(b.Resource), AskedAt: r.AskedAt, UndoUntil: r.UndoUntil, Backups: int64(len(b.Archives))}
		for _, a := range b.Archives {
			held.Objects += int64(len(a.Objects))
			for _, x := range a.Objects {
				held.Bytes += x.Size
			}
		}
		return t.q.RebuildRemoval(ctx, held)
	})
	if err != nil || !changed || dry {
		return changed, err
	}
	if err := s.DeprovisionResource(ctx, b.Resource); err != nil && remora.KindOf(err) != remora.KindGone {
		return changed, err
	}
	return changed, s.Marked(ctx, b.Resource, true)
}
