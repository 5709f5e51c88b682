package wiring

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// rebuild makes the rows again that our database lacks, from what the bucket says. Whatever it finds and cannot use, it names.
func (p process) rebuild(ctx context.Context, stdout io.Writer) error {
	pool, err := p.pool(ctx, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys})
	if err != nil {
		return err
	}
	bucket, err := p.bucket()
	if err != nil {
		return err
	}
	if err := errors.Join(bucket.Reach(ctx, archivestore.Prefix), bucket.Reach(ctx, archivestore.KeysPrefix)); err != nil {
		return fmt.Errorf("the bucket cannot be read: run this with the worker's settings, whose storage key may: %w", err)
	}
	if !p.DryRun { // before anything else, and whatever becomes of the rest
		if _, err := store.HoldDeletions(ctx, "our database was rebuilt from the bucket"); err != nil {
			return err
		}
	}
	known, err := archivestore.ReadKnown(ctx, bucket, p.Keys)
	if err != nil {
		return fmt.Errorf("read the bucket's copies of keys: %w", err)
	}
	r := &rebuilder{process: p, store: store, bucket: bucket, known: known, out: stdout, next: time.Now().Add(tellEvery)}
	for _, key := range slices.Sorted(maps.Keys(known.Unreadable)) {
		r.unusable(key, known.Unreadable[key])
	}
	if err := r.all(ctx); err != nil {
		return err
	}
	return r.say()
}

// rebuilder goes through the bucket, one add-on after the other.
type rebuilder struct {
	process
	store  *postgres.Store
	bucket *objectstore.Bucket
	known  archivestore.Known
	out    io.Writer
	next   time.Time // when it is said again how far it is

	addons, archives int // seen
	made             postgres.Rebuilt
	removed          int      // add-ons that are not revived
	leftover         int      // runs that were never committed
	unused           []string // what could not be used, and why
}

func (r *rebuilder) unusable(what string, err error) {
	r.unused = append(r.unused, what+": "+err.Error())
}

func (r *rebuilder) all(ctx context.Context) error {
	seen := map[remora.ResourceID]bool{}
	var of []archivestore.Stored // of one add-on: the listing has them one after the other
	flush := func() error {
		if len(of) == 0 {
			return nil
		}
		id := of[0].Resource
		seen[id] = true
		err := r.addon(ctx, id, of)
		of = nil
		return err
	}
	err := archivestore.List(ctx, r.bucket, archivestore.Ref{}, func(s archivestore.Stored) error {
		if len(of) > 0 && of[0].Resource != s.Resource {
			if err := flush(); err != nil {
				return err
			}
		}
		of = append(of, s)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	rest := slices.Concat(slices.Collect(maps.Keys(r.known.Keys)), slices.Collect(maps.Keys(r.known.Removed)))
	slices.Sort(rest)
	for _, id := range slices.Compact(rest) { // of which nothing is stored
		if !seen[id] {
			if err := r.addon(ctx, id, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// errNotMarked says that an add-on may have been given back to its customer since our database was put back.
var errNotMarked = errors.New("our database says that this add-on was removed, and the bucket does not: if its removal was undone since our database was put back, undo it again (remora removal undo) before deletions go on")

// addon makes the rows of one add-on. Its error is our database's or the store's, which ends the command; it may be called again.
func (r *rebuilder) addon(ctx context.Context, id remora.ResourceID, stored []archivestore.Stored) error {
	r.addons++
	r.archives += len(stored)
	if now := time.Now(); now.After(r.next) {
		_, _ = fmt.Fprintf(r.out, "… %s, %s of archives\n", remora.Count(r.addons, "add-on"), remora.Count(r.archives, "run"))
		r.next = now.Add(tellEvery)
	}
	b := postgres.FromBucket{Resource: id}
	if c, ok := r.known.Keys[id]; ok {
		b.Key, b.Recipient, b.Addon = c.Key, c.Recipient, c.Addon
	}
	if gone, ok := r.known.Removed[id]; ok {
		return r.gone(ctx, b, gone, stored)
	}
	key, err := r.key(ctx, b)
	if remora.KindOf(err) == remora.KindGone {
		if len(stored) > 0 {
			r.unusable(archivestore.Prefix+string(id)+"/", errNotMarked)
		}
		return nil
	}
	if err != nil {
		return err
	}
	archives, err := r.read(ctx, stored, key)
	if err != nil {
		return err
	}
	if b.Archives = archives; len(archives) == 0 && b.Key.IsZero() {
		return nil
	}
	made, err := r.store.Rebuild(ctx, b, r.DryRun)
	var of *remora.Error
	switch {
	case errors.Is(err, postgres.ErrOtherKey) || errors.As(err, &of):
		r.unusable(archivestore.Prefix+string(id)+"/", err)
		return nil
	case err != nil:
		return fmt.Errorf("add-on %s: %w", id, err)
	}
	r.made = r.made.Add(made)
	return nil
}

// gone sees that a removed add-on stays removed.
func (r *rebuilder) gone(ctx context.Context, b postgres.FromBucket, gone archivestore.Removed, stored []archivestore.Stored) error {
	if gone.AskedAt.IsZero() { // it is in the list already
		return nil
	}
	for _, s := range stored {
		b.Archives = append(b.Archives, postgres.FromManifest{Backup: s.Backup, Kept: remora.Kept{Objects: sizes(s)}})
	}
	changed, err := r.store.RebuildRemoved(ctx, b, postgres.Removed(gone), r.DryRun)
	if errors.Is(err, postgres.ErrUndone) {
		r.unusable(archivestore.KeysPrefix+string(b.Resource)+"/removed", err)
		return nil
	}
	if changed {
		r.removed++
	}
	return err
}

func sizes(s archivestore.Stored) (out []remora.Object) {
	for name, size := range s.Sizes {
		out = append(out, remora.Object{Name: name, Size: size})
	}
	return out
}

// key is the resource's own: of the bucket, or where that has none, of our database.
func (r *rebuilder) key(ctx context.Context, b postgres.FromBucket) (seal.Key, error) {
	ours, err := r.store.ResourceKey(ctx, b.Resource)
	if remora.KindOf(err) == remora.KindNotFound {
		ours, err = b.Key, nil
	}
	if err != nil || ours.IsZero() {
		return seal.Key{}, err
	}
	return seal.ParseKey(ours)
}

// readers is how many manifests are read at a time.
const readers = 8

// read returns the archives that our database does not have, each from its newest run that was committed.
func (r *rebuilder) read(ctx context.Context, stored []archivestore.Stored, key seal.Key) (out []postgres.FromManifest, err error) {
	ids := make([]remora.BackupID, len(stored))
	for i, s := range stored {
		ids[i] = s.Backup
	}
	states, err := r.store.BackupStates(ctx, ids)
	if err != nil {
		return nil, err
	}
	type answer struct {
		archive postgres.FromManifest
		err     error
	}
	answers := make([]answer, len(stored))
	room := make(chan struct{}, readers)
	var wg sync.WaitGroup
	for i, s := range stored {
		if at, ok := states[s.Backup]; ok && at.Ended() {
			continue // what became of it is known
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			answers[i].archive, answers[i].err = r.archive(ctx, s, key)
		})
	}
	wg.Wait()
	newest := map[remora.BackupID]int{}
	for i, s := range stored {
		a := answers[i]
		switch {
		case errors.Is(a.err, archivestore.ErrNoHead):
			r.leftover++
		case a.err != nil && transient(a.err):
			return nil, a.err
		case a.err != nil:
			r.unusable(fmt.Sprintf("%s%s/b/%s/%d/", archivestore.Prefix, s.Resource, s.Backup, s.Epoch), a.err)
		case a.archive.Backup == "":
		default:
			if at, ok := newest[s.Backup]; !ok {
				newest[s.Backup] = len(out)
				out = append(out, a.archive)
			} else if out[at].Epoch < s.Epoch {
				out[at] = a.archive
			}
		}
	}
	return out, nil
}

// transient tells whether the store could not be asked, which says nothing of what is stored.
func transient(err error) bool {
	return objectstore.IsStore(err) && !errors.Is(err, objectstore.ErrMismatch) && !errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, context.Canceled)
}

// errNoKey says that nothing is left that could open an archive, or say what it is of.
var errNoKey = errors.New("neither our database nor the bucket has the add-on's key")

// archive reads what one run's manifest says, where what is stored is what it names.
func (r *rebuilder) archive(ctx context.Context, s archivestore.Stored, key seal.Key) (out postgres.FromManifest, err error) {
	m, err := archivestore.Check(ctx, r.bucket, s, r.Keys)
	if err != nil {
		return out, err
	}
	if key.Recipient() == "" {
		return out, errNoKey
	}
	out = postgres.FromManifest{Backup: s.Backup, Epoch: s.Epoch, MadeAt: m.MadeAt, Kept: remora.Kept{
		ServerVersion: m.ServerVersion, ClientVersion: m.ClientVersion, ArchiveVersion: m.ArchiveVersion, Tables: m.Tables, PlainSize: m.PlainSize,
	}}
	for _, o := range m.Stored() {
		sum, err := hex.DecodeString(o.SHA256)
		if err != nil {
			return out, archivestore.ErrNotOurs
		}
		out.Objects = append(out.Objects, remora.Object{Name: o.Name, Size: o.Size, PlainSize: o.PlainSize, SHA256: sum})
	}
	own := seal.Fingerprint(key.Recipient())
	out.Alone = len(m.SealedTo) > 0
	for _, to := range m.SealedTo {
		if to == own {
			out.Alone = false
		} else {
			out.OpenedBy = append(out.OpenedBy, to)
		}
	}
	if !out.Alone {
		if _, err := archivestore.Open(ctx, r.bucket, s.Ref, key, r.Keys); err != nil {
			return out, err
		}
	}
	out.Origin, err = m.OpenOrigin(key)
	return out, err
}

// say prints what was done and what was not.
func (r *rebuilder) say() error {
	did := "were added"
	if r.DryRun {
		did = "would be added"
	}
	_, _ = fmt.Fprintf(r.out, "The bucket has %s and %s of archives.\n%s, %s and %s %s.\n",
		remora.Count(r.addons, "add-on"), remora.Count(r.archives, "run"),
		remora.Count(r.made.Addons, "add-on"), remora.Count(r.made.Databases, "database"), remora.Count(r.made.Backups, "backup"), did)
	for _, x := range []struct {
		n    int
		says string
	}{
		{r.made.Ended, "of the backups that our database took for queued or running have ended"},
		{r.made.Plans, "of the add-ons are on another plan than our database had, as their newest archive says"},
		{r.made.Nameless, "of the backups are older than manifests that name the database; they are those of a database called unknown"},
		{r.removed, "of the add-ons were removed, which our database did not know; they are not revived"},
		{r.leftover, "of the runs were never committed, or are being made; they are no archives"},
	} {
		if x.n > 0 {
			_, _ = fmt.Fprintf(r.out, "%d %s.\n", x.n, x.says)
		}
	}
	if !r.DryRun {
		_, _ = fmt.Fprintln(r.out, "Nothing is deleted until you say so: remora deletions resume")
	}
	if len(r.unused) == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(r.out, "Not used, and left as they are:")
	for _, what := range r.unused {
		_, _ = fmt.Fprintln(r.out, "  "+what)
	}
	return fmt.Errorf("%s in the bucket could not be used; the list above says which and why", remora.Count(len(r.unused), "thing"))
}

// deletions shows, begins or ends that nothing is deleted.
func (p process) deletions(ctx context.Context, stdout io.Writer) error {
	return p.withKeys(ctx, func(store *postgres.Store) error {
		switch p.Command {
		case config.Hold:
			if _, err := store.HoldDeletions(ctx, p.Because); err != nil {
				return err
			}
		case config.Resume:
			if was, err := store.ResumeDeletions(ctx); err != nil || !was {
				return errors.Join(err, say(stdout, "Deletions were not held."))
			}
			p.log.InfoContext(ctx, "deletions go on")
			return say(stdout, "Deletions go on: the deleter's next round lets go what nothing keeps, and a day later it is deleted.")
		}
		h, err := store.DeletionHold(ctx)
		switch {
		case err != nil:
			return err
		case !h.InForce():
			return say(stdout, "Deletions are not held.")
		}
		return say(stdout, fmt.Sprintf("Nothing is deleted since %s: %s. remora deletions resume lets deletions go on.", h.Since.Format(time.RFC3339), h.Because))
	})
}

func say(w io.Writer, line string) error {
	_, err := fmt.Fprintln(w, line)
	return err
}
