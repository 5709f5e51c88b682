package placement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// A probe's requests are not repeated, and have four seconds each: a person waits for them, on a page whose request Heroku's router
// ends after 30 seconds. Whole, it takes probeTime at most, and as long again as Grace and what deletes its object.
const (
	probeTime    = 15 * time.Second
	probeRequest = 4 * time.Second
)

// Probe tries a bucket out as backups will use it, below its prefix: an object is written, not written over, read and listed, an
// upload is begun and aborted, and everything is deleted, by the key that is to do it. What the bucket locks, or keeps a version of,
// stays behind: a few hundred bytes, as no object that anybody lists or reads. Errors: KindInvalid, with what is wrong in words for the
// person who gave them; KindBusy while another is tried.
func (s *Stores) Probe(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys) (found remora.Probed, err error) {
	if p, err = remora.ParsePlace(p); err != nil {
		return found, err
	}
	if err := keys.Check(); err != nil {
		return found, err
	}
	done, err := s.begin(id)
	if err != nil {
		return found, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	writer, err := s.prober(p, keys, false)
	if err != nil {
		return found, err
	}
	deleter, err := s.prober(p, keys, true)
	if err != nil {
		return found, err
	}
	if err := probe(ctx, writer, deleter, objectstore.ProbePrefix+remora.NewToken()); err != nil {
		return found, err
	}
	if keys.DeleteAccessKey != "" {
		if found.WriterDeletes, err = mayDelete(ctx, writer, deleter); err != nil {
			return found, err
		}
	}
	if lock, err := writer.Lock(ctx); err == nil { // else nothing is known of it, which is no reason not to use the bucket
		found.ObjectLock = bucketLock(lock)
	}
	return found, nil
}

func bucketLock(l objectstore.Lock) remora.BucketLock {
	switch {
	case l.State == objectstore.LockOff:
		return remora.BucketLock{State: remora.BucketLockOff}
	case l.State != objectstore.LockOn:
		return remora.BucketLock{}
	case l.Mode == "":
		return remora.BucketLock{State: remora.BucketLockNothing}
	}
	return remora.BucketLock{State: remora.BucketLockState(remora.LockModeOf(l.Mode)), Days: l.Days}
}

// mostProbes is how many probes this process makes at a time: one is slow where a stranger's store wants it to be.
const mostProbes = 8

// begin admits one probe of a resource at a time.
func (s *Stores) begin(id remora.ResourceID) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probing[id] || len(s.probing) >= mostProbes {
		return nil, &remora.Error{Kind: remora.KindBusy, Public: "A bucket is being tried out at this moment. Try again in half a minute."}
	}
	s.probing[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.probing, id)
	}, nil
}

func (s *Stores) prober(p remora.Place, keys remora.BucketKeys, deletes bool) (*objectstore.Bucket, error) {
	cfg := s.config(p, keys, deletes)
	cfg.Attempts, cfg.AttemptTimeout, cfg.Grace = 1, probeRequest, time.Second
	b, err := s.Ours.Beside(cfg)
	if err != nil { // the package is stricter than what a person is told
		return nil, &remora.Error{Kind: remora.KindInvalid, Public: "The endpoint must begin with https://.", Cause: err}
	}
	return b, nil
}

// failed is a step of a probe that did not go as it must.
func failed(step string, err error) error {
	return &remora.Error{Kind: remora.KindInvalid, Public: "The bucket cannot be used: " + step + " failed. " + words(err), Cause: fmt.Errorf("probe: %w", err)}
}

func probe(ctx context.Context, writer, deleter *objectstore.Bucket, key string) (wrong error) {
	body := []byte("Remora Backup was here to see whether it may write, read and delete. Nobody needs it any more.\n")
	if _, err := writer.PutIfAbsent(ctx, key, body); err != nil {
		return failed("writing an object", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeRequest)
		defer cancel()
		if err := deleter.Delete(after, key); err != nil && wrong == nil {
			wrong = failed("deleting an object", err)
		}
	}()
	switch _, err := writer.PutIfAbsent(ctx, key, []byte("something else")); {
	case err == nil:
		return remora.Invalid("The bucket cannot be used: the store let us write over an object although we asked it not to (If-None-Match), so a backup there could be lost to a mistake. Its provider may offer that in a newer version.")
	case !errors.Is(err, objectstore.ErrExists):
		return failed("asking that an object is not written over (If-None-Match)", err)
	}
	got, err := writer.Get(ctx, key, 1<<10)
	if err != nil {
		return failed("reading an object", err)
	}
	if !bytes.Equal(got, body) {
		return remora.Invalid("The bucket cannot be used: what we read is not what we had written.")
	}
	if err := writer.Probe(ctx); err != nil {
		return failed("beginning an upload in parts, and aborting it,", err)
	}
	for _, b := range []*objectstore.Bucket{writer, deleter} {
		if err := b.Reach(ctx, objectstore.ProbePrefix); err != nil {
			return failed("listing objects", err)
		}
		if _, err := b.OpenUploads(ctx, objectstore.ProbePrefix); err != nil {
			return failed("listing unfinished uploads", err)
		}
	}
	return nil
}

// mayDelete tells whether the key that writes deletes too.
func mayDelete(ctx context.Context, writer, deleter *objectstore.Bucket) (bool, error) {
	key := objectstore.ProbePrefix + remora.NewToken()
	if _, err := writer.PutIfAbsent(ctx, key, []byte("Remora Backup was here.\n")); err != nil {
		return false, failed("writing an object", err)
	}
	err := writer.Delete(ctx, key)
	if err == nil {
		return true, nil
	}
	if err := deleter.Delete(ctx, key); err != nil {
		return false, failed("deleting an object", err)
	}
	return false, nil
}
