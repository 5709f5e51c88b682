package jobworkers

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
)

// discarder deletes archives that no backup keeps: a run was canceled or overtaken right after its commit, or was killed
// before it could write it down. A worker does it at once with what it has just stored, where its key may; the deleter
// looks through the bucket for the rest.
type discarder struct {
	store  *postgres.Store
	stores *placement.Stores
	log    *slog.Logger
	count  prometheus.Counter
	denied sync.Once
}

func newDiscarder(store *postgres.Store, stores *placement.Stores, log *slog.Logger, r prometheus.Registerer) *discarder {
	d := &discarder{store: store, stores: stores, log: log, count: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "remora_archives_discarded_total", Help: "Stored archives that no backup keeps and that were deleted.",
	})}
	r.MustRegister(d.count)
	return d
}

// discard deletes those archives of our own bucket that no row wants, each with its head first. A key that may not delete leaves them to the
// deleter, which is said once.
func (d *discarder) discard(ctx context.Context, refs ...archivestore.Ref) error {
	asked := make([]postgres.Archive, len(refs))
	for i, ref := range refs {
		asked[i] = postgres.Archive(ref)
	}
	unwanted, err := d.store.Unwanted(ctx, asked)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range unwanted {
		err := archivestore.Delete(ctx, d.stores.Ours, archivestore.Ref(a))
		if errors.Is(err, objectstore.ErrDenied) {
			d.denied.Do(func() {
				d.log.WarnContext(ctx, "archives that no backup keeps are left to the deleter: this key may not delete", "backup_id", a.Backup)
			})
			return nil
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.count.Inc()
		d.log.InfoContext(ctx, "archive that no backup keeps was deleted", "resource_id", a.Resource, "backup_id", a.Backup)
	}
	return errors.Join(errs...)
}
