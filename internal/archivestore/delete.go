package archivestore

import (
	"context"
	"errors"
	"strings"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// errRef keeps an empty id from naming everybody's objects.
var errRef = errors.New("archivestore: a resource, a backup and an epoch from 1 on are needed")

// Delete removes what is stored of one run, open uploads too: the head first, so that what a failure leaves is
// no backup. What is not there is no error. Only the deleter's key may do it.
func Delete(ctx context.Context, b *objectstore.Bucket, ref Ref) error {
	if got, ok := ParseKey(ref.key(headName)); !ok || got != ref || ref.Epoch < 1 {
		return errRef
	}
	return deleteAll(ctx, b, ref.key(""))
}

// DeleteResource removes everything that is stored for a resource.
func DeleteResource(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID) error {
	if parsed, err := remora.ParseResourceID(string(id)); err != nil || parsed != id {
		return errRef
	}
	return deleteAll(ctx, b, Prefix+string(id)+"/")
}

func deleteAll(ctx context.Context, b *objectstore.Bucket, prefix string) error {
	open, err := b.OpenUploads(ctx, prefix)
	if err != nil {
		return err
	}
	for _, u := range open {
		if err := b.AbortUpload(ctx, u); err != nil {
			return err
		}
	}
	for _, heads := range []bool{true, false} {
		err := b.List(ctx, prefix, func(o objectstore.Object) error {
			if heads && !strings.HasSuffix(o.Key, "/"+headName) {
				return nil
			}
			return b.Delete(ctx, o.Key)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
