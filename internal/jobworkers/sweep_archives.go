package jobworkers

import (
	"context"
	"errors"
	"sync"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/postgres"
)

// sweepMost is how many archives one round of the sweep looks at; the next goes on behind them.
const sweepMost = 2000

// archives deletes what runs have stored that no row keeps: the run was canceled or overtaken right after its commit,
// or was killed before it could write it down.
type archives struct {
	mu     sync.Mutex
	behind archivestore.Ref // where the next round begins; zero is the start
	denied sync.Once
}

// sweepArchives looks at the next archives.
func (w *Workers) sweepArchives(ctx context.Context) error {
	if !w.archives.mu.TryLock() {
		return nil // a round is at it
	}
	defer w.archives.mu.Unlock()
	enough := errors.New("enough for one round")
	n := 0
	var old []archivestore.Ref
	var last archivestore.Ref
	err := archivestore.List(ctx, w.Bucket, w.archives.behind, func(s archivestore.Stored) error {
		if n == sweepMost {
			return enough
		}
		n, last = n+1, s.Ref
		if w.Now().Sub(s.Newest) >= w.SweepAfter {
			old = append(old, s.Ref)
		}
		return nil
	})
	if err == nil {
		last = archivestore.Ref{} // that was the end
	} else if !errors.Is(err, enough) {
		return err
	}
	w.archives.behind = last // what cannot be deleted now does not keep the round from the rest
	return w.discard(ctx, old...)
}

// discard deletes those archives that no row wants, each with its head first. In production the worker's key may not
// delete: then they are the deleter's, which is said once.
func (w *Workers) discard(ctx context.Context, refs ...archivestore.Ref) error {
	asked := make([]postgres.Archive, len(refs))
	for i, ref := range refs {
		asked[i] = postgres.Archive(ref)
	}
	unwanted, err := w.Store.Unwanted(ctx, asked)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range unwanted {
		err := archivestore.Delete(ctx, w.Bucket, archivestore.Ref(a))
		if errors.Is(err, objectstore.ErrDenied) {
			w.archives.denied.Do(func() {
				w.Log.WarnContext(ctx, "archives that no backup keeps are left to the deleter: this key may not delete", "backup_id", a.Backup)
			})
			return nil
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.metrics.discarded.Inc()
		w.Log.InfoContext(ctx, "archive that no backup keeps was deleted", "resource_id", a.Resource, "backup_id", a.Backup)
	}
	return errors.Join(errs...)
}
