package archivestore

import (
	"context"
	"path"
	"time"

	"github.com/remora-backup/remora/internal/objectstore"
)

// Stored is what lies in the bucket of one run, whole or not.
type Stored struct {
	Ref
	Newest time.Time        // when the last of it was written, by the store's clock
	Sizes  map[string]int64 // of its objects, in bytes, by name
}

// Committed tells whether there is a head, without which it is no backup.
func (s Stored) Committed() bool {
	_, there := s.Sizes[headName]
	return there
}

// mostObjects is how many objects one run may have: of bodies of 50 GB each, 250 TB. A store may list what it likes.
const mostObjects = 5000

// List calls fn for what is stored of each run, in the order of keys, from behind after on, or from the start where
// that is zero, until fn returns an error, which List returns. What is no archive's is passed over. Errors: ErrEndless where more
// is listed of one run than any has.
func List(ctx context.Context, b *objectstore.Bucket, after Ref, fn func(Stored) error) error {
	from := ""
	if after != (Ref{}) {
		from = after.key("~") // no name of ours comes after it
	}
	return list(ctx, b, Prefix, from, fn)
}

func list(ctx context.Context, b *objectstore.Bucket, prefix, from string, fn func(Stored) error) error {
	var at Stored
	err := b.ListAfter(ctx, prefix, from, func(o objectstore.Object) error {
		ref, ours := ParseKey(o.Key)
		switch {
		case !ours:
			return nil
		case ref != at.Ref && at.Ref != (Ref{}):
			if err := fn(at); err != nil {
				return err
			}
			at = Stored{}
		}
		if at.Ref = ref; at.Sizes == nil {
			at.Sizes = map[string]int64{}
		}
		if at.Sizes[path.Base(o.Key)] = o.Size; len(at.Sizes) > mostObjects {
			return ErrEndless
		}
		if o.Modified.After(at.Newest) {
			at.Newest = o.Modified
		}
		return nil
	})
	if err != nil || at.Ref == (Ref{}) {
		return err
	}
	return fn(at)
}
