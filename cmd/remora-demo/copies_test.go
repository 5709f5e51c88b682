package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/objectstore"
)

// A customer on a plan with a second place has each backup copied to his bucket: a new one by itself, an older one when he asks. The
// copy has the same bytes, and what our store has lost is restored from it through the same link.
func TestABackupLiesInTwoPlaces(t *testing.T) {
	t.Parallel()
	b := start(t, 1000)
	ctx := t.Context()
	v := b.connect(t)
	before := b.verified(t, "")
	theirs, form, err := b.TheirBucket(ctx)
	if err != nil {
		t.Fatal(err)
	}
	form.Set("as", "copies")
	if page, err := v.Post(ctx, "/dashboard/settings/storage", form); err == nil || !strings.Contains(page+err.Error(), "422") {
		t.Errorf("plan mako has a second place: %v", err)
	}
	b.heroku(t, "addons:upgrade", "remora-backup", "remora-backup:hammerhead", "-a", stack.HelperApp)
	if _, err := v.Post(ctx, "/dashboard/settings/storage", form); err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(before.Database)+"/backups")
	after := b.verified(t, before.ID)
	if after.Bucket != "" {
		t.Errorf("it lies in theirs: %+v", after)
	}
	copied := func(page string) func() bool {
		return func() bool { return strings.Contains(b.get(t, v, page), "the same sealed files") }
	}
	b.until(t, "the copy of a new backup", copied("/dashboard/backups/"+string(after.ID)))
	b.post(t, v, "/dashboard/backups/"+string(before.ID)+"/copy")
	b.until(t, "the copy of an older one", copied("/dashboard/backups/"+string(before.ID)))

	n := 0
	err = b.Bucket.List(ctx, archivestore.Prefix, func(o objectstore.Object) error {
		ours, err := b.Bucket.Get(ctx, o.Key, 1<<30)
		if err != nil {
			return err
		}
		if got, err := theirs.Get(ctx, o.Key, 1<<30); err != nil || !bytes.Equal(got, ours) {
			t.Errorf("%s is not copied as it is: %v", o.Key, err)
		}
		n++
		if strings.Contains(o.Key, string(after.ID)) {
			return b.Bucket.Delete(ctx, o.Key)
		}
		return nil
	})
	if err != nil || n != 8 {
		t.Fatalf("%d objects: %v", n, err)
	}
	b.equal(t, v, after.ID, "from_copy")
	if !strings.Contains(b.logs.String(), "backup is read from its copy") {
		t.Error("it was read elsewhere")
	}
}
