package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// What the bucket is given so that our rows could be made again from it: copies of keys, and who was removed. What was given
// is written down here, so that a round finds what is missing.

// KeyToCopy is a resource's key, and what its add-on is, for its copy in the bucket.
type KeyToCopy struct {
	Key       redact.Secret
	Recipient string
	Addon     remora.OriginAddon
}

// KeysToCopy lists the resources of whose keys the bucket has no copy by the ring's first key, at most 200 from behind after on.
// One whose key another of the ring has sealed waits until that is sealed anew.
func (s *Store) KeysToCopy(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	by := s.Keys.IDs()[0]
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.KeysToCopy(ctx, pgsql.KeysToCopyParams{Mark: keyring.Mark(by), By: by, After: behind(after), Most: batch})
		out = ids(rows)
		return err
	})
	return out, err
}

// KeyToCopy returns what a resource's copy says. Errors: KindNotFound, KindGone.
func (s *Store) KeyToCopy(ctx context.Context, id remora.ResourceID) (out KeyToCopy, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		row, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out = KeyToCopy{Recipient: row.Recipient, Addon: originOf(row)}
		out.Key, err = s.open(row.SealedKey, sealedKey, id)
		return err
	})
	return out, err
}

// KeyCopied writes down that the bucket has a copy of a resource's key by the master key of that id.
func (s *Store) KeyCopied(ctx context.Context, id remora.ResourceID, by string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		return t.q.AddKeyCopy(ctx, pgsql.AddKeyCopyParams{ID: string(id), By: by})
	})
}

// OldKeyCopy is a resource of whose key the bucket has copies by several master keys. By is the one that has sealed the key
// here, whose copy stays.
type OldKeyCopy struct {
	Resource remora.ResourceID
	By       string
}

// OldKeyCopies lists them as KeysToCopy does.
func (s *Store) OldKeyCopies(ctx context.Context, after remora.ResourceID) (out []OldKeyCopy, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.OldKeyCopies(ctx, pgsql.OldKeyCopiesParams{After: behind(after), Most: batch})
		for _, r := range rows {
			out = append(out, OldKeyCopy{remora.ResourceID(r.ID), r.By})
		}
		return err
	})
	return out, err
}

// KeyCopyIs writes down that the bucket has this one copy of a resource's key and no other.
func (s *Store) KeyCopyIs(ctx context.Context, c OldKeyCopy) error {
	return s.forResource(ctx, c.Resource, func(t *tx) error {
		return t.q.SetKeyCopies(ctx, pgsql.SetKeyCopiesParams{ID: string(c.Resource), Copies: []string{c.By}})
	})
}

// Retired is what is kept of a key that has left the ring, or may: what checks the signatures that it made for one purpose.
type Retired struct {
	ID, Purpose string
	Part        redact.Secret
}

// RetiredToCopy lists what is kept of retired keys and of which the bucket has no copy by the ring's first key.
func (s *Store) RetiredToCopy(ctx context.Context) (out []Retired, err error) {
	by := s.Keys.IDs()[0]
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RetiredToCopy(ctx, pgsql.RetiredToCopyParams{By: by, Mark: keyring.Mark(by)})
		for _, r := range rows {
			part, err := s.Keys.Open(r.SealedMacKey, sealedMACKey, r.ID)
			if err != nil {
				return fmt.Errorf("open what is kept of the key %s: %w", r.ID, err)
			}
			out = append(out, Retired{r.ID, r.Purpose, redact.New(string(part))})
		}
		return err
	})
	return out, err
}

// RetiredCopied writes down that the bucket has a copy of it.
func (s *Store) RetiredCopied(ctx context.Context, r Retired, by string) error {
	return s.forService(ctx, func(t *tx) error {
		return t.q.SetRetiredCopied(ctx, pgsql.SetRetiredCopiedParams{ID: r.ID, Purpose: r.Purpose, By: by})
	})
}

// Removed is a removal that the bucket is told of.
type Removed struct {
	Resource           remora.ResourceID
	AskedAt, UndoUntil time.Time
}

// RemovalsToMark lists the removals of which the bucket was not told, at most 200 from behind after on.
func (s *Store) RemovalsToMark(ctx context.Context, after remora.ResourceID) (out []Removed, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RemovalsToMark(ctx, pgsql.RemovalsToMarkParams{After: behind(after), Most: batch})
		for _, r := range rows {
			out = append(out, Removed{remora.ResourceID(r.ID), r.AskedAt, r.UndoUntil})
		}
		return err
	})
	return out, err
}

// MarksToErase lists the resources whose removal was undone when the bucket had been told of it, as KeysToCopy does.
func (s *Store) MarksToErase(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.MarksToErase(ctx, pgsql.MarksToEraseParams{After: behind(after), Most: batch})
		out = ids(rows)
		return err
	})
	return out, err
}

// Marked writes down whether the bucket says that a resource was removed.
func (s *Store) Marked(ctx context.Context, id remora.ResourceID, is bool) error {
	return s.forResource(ctx, id, func(t *tx) error {
		var at *time.Time
		if is {
			at = &t.now
		}
		return t.q.SetMarked(ctx, pgsql.SetMarkedParams{ID: string(id), At: at})
	})
}

// originOf is what a manifest or a key's copy says of an add-on, but for whose keys open its archives.
func originOf(r pgsql.Resource) remora.OriginAddon {
	return remora.OriginAddon{Name: r.Name, Plan: r.Plan, Region: r.Region, HelperAppID: r.HelperAppID, HelperApp: r.HelperApp, CreatedAt: r.CreatedAt}
}

// mostDetail bounds what a manifest keeps of the words that go with an incomplete backup, in bytes.
const mostDetail = 4 << 10

// origin reads what a run's manifest is to say of where its archive comes from.
func (t *tx) origin(ctx context.Context, r pgsql.Resource, d pgsql.Database, b pgsql.Backup, sealing remora.Sealing) (remora.Origin, error) {
	o := remora.Origin{
		Addon: originOf(r),
		Database: remora.OriginDatabase{
			ID: remora.DatabaseID(d.ID), AddonID: d.AddonID, Addon: d.Addon, OwnerApp: d.OwnerApp, Attachment: d.Attachment, Credential: d.Credential,
			Beside: d.Beside, Plan: d.Plan, FoundAt: d.FoundAt,
		},
		Backup: remora.OriginBackup{RequestedBy: b.RequestedBy, QueuedAt: b.QueuedAt, StartedAt: t.now},
	}
	if b.StartedAt != nil {
		o.Backup.StartedAt = *b.StartedAt
	}
	if !sealing.SetAt.IsZero() {
		o.Addon.Sealing = &sealing
	}
	row, err := t.q.GetSchedule(ctx, pgsql.GetScheduleParams{DatabaseID: d.ID, ResourceID: r.ID})
	if err == nil {
		rule := ruleOf(row)
		o.Database.Schedule = &rule
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return o, fmt.Errorf("read schedule: %w", err)
	}
	set, err := t.q.ListRetentions(ctx, pgsql.ListRetentionsParams{DatabaseID: d.ID, ResourceID: r.ID})
	if err != nil {
		return o, fmt.Errorf("read retention: %w", err)
	}
	for _, row := range set { // newest first
		if !row.EffectiveAt.After(t.now) {
			rules := retentionOf(row)
			o.Database.Retention, o.Database.SetBy, o.Database.SetAt = &rules, row.SetBy, row.SetAt
			break
		}
	}
	return o, nil
}

// Origin is what the run's manifest says of where its archive comes from.
func (c Claim) Origin(k remora.Kept) remora.Origin {
	o := c.origin
	o.Backup.State, o.Backup.Reason = k.Outcome()
	o.Backup.Detail = foreign(k.Detail(), mostDetail)
	o.Backup.ClientMajor, o.Backup.Rows, o.Backup.PeakMemory = k.ClientMajor, k.Rows, k.PeakMemory
	return o
}

// OwnRecipient is the public half of the resource's own key.
func (c Claim) OwnRecipient() string { return c.recipient }

// HoldDeletions has nothing deleted until an operator ends that. A second time it does nothing; began tells.
func (s *Store) HoldDeletions(ctx context.Context, because string) (began bool, err error) {
	err = s.forService(ctx, func(t *tx) error {
		n, err := t.q.HoldDeletions(ctx, pgsql.HoldDeletionsParams{ID: string(remora.NewID[remora.HoldID]()), Now: t.now, Because: because})
		began = n > 0
		return err
	})
	return began, err
}

// DeletionHold returns the hold that is in force, or the one that ended last; the zero Hold where there never was one.
func (s *Store) DeletionHold(ctx context.Context) (out remora.Hold, err error) {
	err = s.forService(ctx, func(t *tx) error {
		out, err = t.hold(ctx)
		return err
	})
	return out, err
}

func (t *tx) hold(ctx context.Context) (remora.Hold, error) {
	row, err := t.q.NewestHold(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return remora.Hold{}, nil
	}
	if err != nil {
		return remora.Hold{}, fmt.Errorf("read whether deletions are held: %w", err)
	}
	return remora.Hold{Since: row.Since, Because: row.Because, EndedAt: orZero(row.EndedAt)}, nil
}

// ResumeDeletions ends the hold; was tells whether there was one.
func (s *Store) ResumeDeletions(ctx context.Context) (was bool, err error) {
	err = s.forService(ctx, func(t *tx) error {
		n, err := t.q.EndHold(ctx, &t.now)
		was = n > 0
		return err
	})
	return was, err
}
