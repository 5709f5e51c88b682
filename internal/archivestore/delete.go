package archivestore

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// VersionDays is how many days a bucket that keeps versions may keep those of an archive once it was deleted, as
// deploy/bucket-lifecycle.json has it. Of the 30 that a removal promises (remora.ObjectsGone) one is for the key, before which nothing
// is deleted, and one for the store, whose rules act once a day. Object Lock for more days would keep the rule waiting; for as many
// it does not, as an archive is locked when it is written, and deleted later.
const VersionDays = 28

// errRef keeps an empty id from naming everybody's objects.
var errRef = errors.New("archivestore: a resource, a backup and an epoch from 1 on are needed")

// Delete removes what is stored of one run, open uploads too: the head first, so that what a failure leaves is
// no backup. What is not there is no error. Only the deleter's key may do it.
func Delete(ctx context.Context, b *objectstore.Bucket, ref Ref) error {
	if got, ok := ParseKey(ref.key(headName)); !ok || got != ref || ref.Epoch < 1 {
		return errRef
	}
	_, err := deleteAll(ctx, b, ref.key(""))
	return err
}

// DeleteBackup removes what is stored of all runs of a backup, open uploads too. Where something cannot be deleted the rest
// is; the error names it, and calling again takes up what is left. What is not there is no error.
func DeleteBackup(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID, backup remora.BackupID) error {
	ref := Ref{Resource: id, Backup: backup, Epoch: 1}
	if got, ok := ParseKey(ref.key(headName)); !ok || got != ref {
		return errRef
	}
	_, err := deleteAll(ctx, b, strings.TrimSuffix(ref.key(""), "1/"))
	return err
}

// Gone is what was deleted.
type Gone struct {
	Objects int64
	Bytes   int64 // of the objects
	Uploads int64 // that were under way
}

// DeleteResource removes everything that is stored for a resource, open uploads too, and looks again: without an error
// nothing is left. Where something cannot be deleted the rest is; calling again takes up what is left. What is not there is
// no error. It returns what it deleted, beside an error too.
func DeleteResource(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID) (Gone, error) {
	if parsed, err := remora.ParseResourceID(string(id)); err != nil || parsed != id {
		return Gone{}, errRef
	}
	prefix := Prefix + string(id) + "/"
	gone, err := deleteAll(ctx, b, prefix)
	if err != nil {
		return gone, err
	}
	open, err := b.OpenUploads(ctx, prefix)
	if err == nil && len(open) > 0 {
		err = errStays
	}
	return gone, errors.Join(err, b.List(ctx, prefix, func(objectstore.Object) error { return errStays }))
}

// errStays names no key: an operator finds it by the resource.
var errStays = errors.New("archivestore: something is stored of a removed add-on after all was deleted")

// deleteAll removes everything below a prefix, heads before the rest. It does not stop at what it cannot delete, but for a
// run whose head stays: that keeps its bodies, for a head without them would be a backup that lies.
func deleteAll(ctx context.Context, b *objectstore.Bucket, prefix string) (gone Gone, err error) {
	open, err := b.OpenUploads(ctx, prefix)
	errs := []error{err}
	for _, u := range open {
		err := b.AbortUpload(ctx, u)
		errs = append(errs, err)
		if err == nil {
			gone.Uploads++
		}
	}
	stays := map[string]bool{} // runs
	for _, heads := range []bool{true, false} {
		err := b.List(ctx, prefix, func(o objectstore.Object) error {
			run, name := path.Split(o.Key)
			if heads && name != headName || stays[run] {
				return nil
			}
			if err := b.Delete(ctx, o.Key); err != nil {
				stays[run] = stays[run] || heads
				errs = append(errs, err)
			} else {
				gone.Objects, gone.Bytes = gone.Objects+1, gone.Bytes+o.Size
			}
			return ctx.Err()
		})
		errs = append(errs, err)
	}
	return gone, errors.Join(errs...)
}

// RunsOf calls fn for what is stored of each run of a resource's backups, in the order of keys, until fn returns an error,
// which RunsOf returns. Errors: List's.
func RunsOf(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID, fn func(Stored) error) error {
	if parsed, err := remora.ParseResourceID(string(id)); err != nil || parsed != id {
		return errRef
	}
	return list(ctx, b, Prefix+string(id)+"/", "", fn)
}
