package jobworkers

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/remora"
)

// What the bucket is given so that our database could be made again from it (remora rebuild): by workers, whose storage key
// may add and neither replace nor delete. What must go again is the deleter's.

// copyKey sees that the bucket has a copy of a resource's key.
func (w *Workers) copyKey(ctx context.Context, id remora.ResourceID) error {
	k, err := w.Store.KeyToCopy(ctx, id)
	if err != nil {
		return err
	}
	by, err := archivestore.PutKey(ctx, w.Stores.Ours, w.Keys, archivestore.KeyCopy{Resource: id, Key: k.Key, Recipient: k.Recipient, Addon: k.Addon})
	if err != nil {
		return fmt.Errorf("copy the add-on's key into the bucket: %w", err)
	}
	return w.Store.KeyCopied(ctx, id, by)
}

// copyKeys does so for all that have none by the ring's first key, and copies what checks the signatures of retired keys.
func (w *Workers) copyKeys(ctx context.Context) error {
	retired, err := w.Store.RetiredToCopy(ctx)
	errs := []error{err}
	for _, r := range retired {
		by, err := archivestore.PutRetired(ctx, w.Stores.Ours, w.Keys, r.ID, r.Purpose, r.Part)
		if err == nil {
			err = w.Store.RetiredCopied(ctx, r, by)
		}
		errs = append(errs, err)
	}
	err = errors.Join(append(errs, each(ctx, w.Store.KeysToCopy, func(ctx context.Context, id remora.ResourceID) error {
		err := w.copyKey(ctx, id)
		if remora.KindOf(err) == remora.KindGone {
			return nil // removed meanwhile
		}
		return err
	}))...)
	if err != nil {
		w.Log.ErrorContext(ctx, "keys have no copy in the bucket yet", "error", err)
	}
	return err
}

// markRemovals tells the bucket who was removed. It returns how many.
func (w *Workers) markRemovals(ctx context.Context) (n int, err error) {
	removed, err := w.Store.RemovalsToMark(ctx, "")
	errs := []error{err}
	for _, r := range removed {
		err := archivestore.PutRemoved(ctx, w.Stores.Ours, w.Keys, archivestore.Removed(r))
		if err == nil {
			err = w.Store.Marked(ctx, r.Resource, true)
		}
		if err == nil {
			n++
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// eraseKeyCopies has the deleter take out of the bucket what must be there no longer: copies of keys by master keys that are
// not used any more, and the marks of removals that were undone.
func (d *Deleter) eraseKeyCopies(ctx context.Context) error {
	var errs []error
	for after := remora.ResourceID(""); ; {
		old, err := d.Store.OldKeyCopies(ctx, after)
		if err != nil || len(old) == 0 {
			errs = append(errs, err)
			break
		}
		for _, c := range old {
			err := archivestore.EraseKeys(ctx, d.Stores.Ours, c.Resource, c.By)
			if err == nil {
				err = d.Store.KeyCopyIs(ctx, c)
			}
			errs = append(errs, err)
		}
		after = old[len(old)-1].Resource
	}
	return errors.Join(append(errs, each(ctx, d.Store.MarksToErase, func(ctx context.Context, id remora.ResourceID) error {
		if err := archivestore.EraseRemoved(ctx, d.Stores.Ours, id); err != nil {
			return err
		}
		return d.Store.Marked(ctx, id, false)
	}))...)
}
