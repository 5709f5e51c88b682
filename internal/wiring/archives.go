package wiring

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// archives is what the pages read of stored archives.
type archives struct {
	process
	store  *postgres.Store
	stores *placement.Stores

	patience time.Duration // ourPatience
}

// in opens where a backup lies.
func (a archives) in(ctx context.Context, id remora.ResourceID, b remora.Backup) (*objectstore.Bucket, error) {
	bucket, err := a.stores.At(ctx, id, b.Bucket)
	return bucket, placement.Refuse(b.Bucket, err)
}

// key returns what opens a backup of a resource. Errors: remora.ErrAlone where that is not ours.
func (a archives) key(ctx context.Context, id remora.ResourceID, b remora.Backup) (seal.Key, error) {
	if b.Alone {
		return seal.Key{}, remora.ErrAlone
	}
	secret, err := a.store.ResourceKey(ctx, id)
	if err != nil {
		return seal.Key{}, err
	}
	return seal.ParseKey(secret)
}

// read has a backup be read where it lies, or, where that is our bucket and does not have it as it was written, or does not let us
// read it, or says nothing for a while, from a copy of it, the newest first. What goes wrong later, in the middle, is not made good from
// there.
func read[T any](ctx context.Context, a archives, id remora.ResourceID, b remora.Backup, from func(*objectstore.Bucket) (T, error)) (T, error) {
	bucket, err := a.in(ctx, id, b)
	if err != nil {
		return *new(T), err
	}
	var copies []remora.Copy
	if b.Bucket == "" {
		all, err := a.store.Copies(ctx, id, b.ID)
		if err != nil {
			return *new(T), err
		}
		copies = remora.CopiesToRead(all)
	}
	if len(copies) == 0 {
		got, err := from(bucket)
		return got, placement.Refuse(b.Bucket, err)
	}
	type answer struct {
		got T
		err error
	}
	ours := make(chan answer, 1)
	go func() {
		got, err := from(bucket)
		ours <- answer{got, err}
	}()
	patience := time.NewTimer(a.patience)
	defer patience.Stop()
	first, answered := answer{}, false
	select {
	case first = <-ours:
		answered = true
	case <-patience.C:
		first.err = errSilent
	}
	if answered && (first.err == nil || ctx.Err() != nil || !unreadable(first.err)) {
		return first.got, first.err
	}
	for _, c := range copies {
		bucket, err := a.stores.At(ctx, id, c.Bucket)
		if err == nil {
			var other T
			if other, err = from(bucket); err == nil {
				a.log.WarnContext(ctx, "backup is read from its copy", "resource_id", id, "backup_id", b.ID, "error", first.err)
				return other, nil
			}
		}
		a.log.InfoContext(ctx, "backup cannot be read from its copy either", "resource_id", id, "backup_id", b.ID, "error", err)
	}
	if !answered {
		first = <-ours
	}
	return first.got, first.err
}

// errSilent is of our store while it may answer yet.
var errSilent = errors.New("our store has not answered yet")

// ourPatience is how long our store may take for its first answers where a copy could be read instead: well below the 30 s after which
// Heroku's router gives a request up (https://devcenter.heroku.com/articles/request-timeout).
const ourPatience = 8 * time.Second

// unreadable tells whether an error says that a bucket does not have an archive as it was written, or does not let it be read.
func unreadable(err error) bool {
	return objectstore.IsStore(err) || errors.Is(err, archivestore.ErrNotOurs) || errors.Is(err, objectstore.ErrMismatch) || errors.Is(err, seal.ErrForged)
}

func refOf(id remora.ResourceID, b remora.Backup) archivestore.Ref {
	return archivestore.Ref{Resource: id, Backup: b.ID, Epoch: b.Epoch}
}

// open is dashboard.Config's Open.
func (a archives) open(ctx context.Context, id remora.ResourceID, b remora.Backup, tables []string) (dashboard.Archive, error) {
	key, err := a.key(ctx, id, b)
	if err != nil {
		return nil, err
	}
	part, err := read(ctx, a, id, b, func(in *objectstore.Bucket) (dashboard.Archive, error) {
		archive, err := archivestore.Open(ctx, in, refOf(id, b), key, a.Keys)
		if err != nil || len(tables) == 0 {
			return archive, err
		}
		return pgarchive.Select(archive, archive.Size(), tables...)
	})
	if errors.Is(err, pgarchive.ErrNoTable) {
		return nil, &remora.Error{Kind: remora.KindNotFound, Public: "This archive has no such table with rows of its own. Name it as schema.table, without quotes, as in table=public.orders; of a partitioned table name the partitions.", Cause: err}
	}
	var long *pgarchive.LongHeadError
	if errors.As(err, &long) {
		return nil, &remora.Error{Kind: remora.KindConflict, Public: "This archive lists so many objects that single tables cannot be taken out of it here. Download it whole and use pg_restore --table.", Cause: err}
	}
	return part, err
}

// contents is dashboard.Config's Contents.
func (a archives) contents(ctx context.Context, id remora.ResourceID, b remora.Backup) (dashboard.Archive, error) {
	key, err := a.key(ctx, id, b)
	if err != nil {
		return nil, err
	}
	list, err := read(ctx, a, id, b, func(in *objectstore.Bucket) (*archivestore.Listing, error) {
		return archivestore.OpenContents(ctx, in, refOf(id, b), key, a.Keys)
	})
	if err != nil || list == nil {
		return nil, err
	}
	return list, nil
}

// list is api.Config's Contents.
func (a archives) list(ctx context.Context, id remora.ResourceID, b remora.Backup) (io.Reader, error) {
	list, err := a.contents(ctx, id, b)
	if err != nil || list == nil {
		return nil, err
	}
	return io.NewSectionReader(list, 0, list.Size()), nil
}

// sealed is dashboard.Config's Sealed.
func (a archives) sealed(ctx context.Context, id remora.ResourceID, b remora.Backup, name string) (dashboard.Archive, error) {
	object, err := read(ctx, a, id, b, func(in *objectstore.Bucket) (*archivestore.Sealed, error) {
		return archivestore.OpenSealed(ctx, in, refOf(id, b), name)
	})
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil, remora.NotFound("part of this backup")
	}
	if err != nil {
		return nil, err
	}
	return object, nil
}

// headOfPage is how much of an archive is read for a page that says what it needs: the objects of some 20,000 tables.
const headOfPage = 16 << 20

// needs is dashboard.Config's Needs.
func (a archives) needs(ctx context.Context, id remora.ResourceID, b remora.Backup) (out remora.Needs, err error) {
	archive, err := a.open(ctx, id, b, nil)
	if err != nil {
		return out, err
	}
	head, err := pgarchive.ReadHead(io.NewSectionReader(archive, 0, min(archive.Size(), headOfPage)))
	if objectstore.IsStore(err) {
		return out, placement.Refuse(b.Bucket, err)
	}
	if err != nil {
		return out, &remora.Error{Kind: remora.KindConflict, Public: "What it needs is not listed here: the archive's list of objects is too long, or newer than our reader.", Cause: err}
	}
	out.Extensions, out.Superuser, out.Schemas = proof.Needs(head)
	return out, nil
}
