package archivestore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

// denied tells whether the store refused, and nothing else went wrong.
func denied(err error) bool { return errors.Is(err, objectstore.ErrDenied) }

// Each process's storage key (deploy/storage/) does the process's own work, and the store refuses it everything else.
func TestStorageKeys(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	root := s3test.Open(t, cfg)
	as := map[string]*objectstore.Bucket{}
	raw := map[string]*s3.Client{}
	for _, process := range s3test.Processes {
		own := s3test.As(t, cfg, process)
		as[process] = s3test.Open(t, own)
		raw[process] = s3test.Client(own)
	}
	b := newBundle(t)
	ref, ctx := newRef(), t.Context()

	// The worker: everything that a backup does, with bodies in parts.
	b.bucket = as["worker"]
	if err := b.bucket.Probe(ctx); err != nil {
		t.Fatal(err)
	}
	head, body := noise(1000), noise(7<<20)
	b.store(t, ref, head, body)
	aborted := archivestore.Create(ctx, b.bucket, newRef(), b.key.Recipient())
	if _, err := aborted.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := aborted.Abort(); err != nil {
		t.Error(err)
	}
	if open, err := b.bucket.OpenUploads(ctx, archivestore.Prefix); err != nil || len(open) != 0 {
		t.Error(open, err)
	}
	kept := archivestore.KeyCopy{Resource: ref.Resource, Key: b.key.Secret(), Recipient: b.key.Recipient()}
	by, err := archivestore.PutKey(ctx, b.bucket, b.keys, kept)
	if err == nil {
		err = archivestore.PutRemoved(ctx, b.bucket, b.keys, archivestore.Removed{Resource: ref.Resource, AskedAt: time.Now()})
	}
	if _, rerr := archivestore.ReadKnown(ctx, b.bucket, b.keys); errors.Join(err, rerr) != nil {
		t.Fatal(err, rerr)
	}
	copied := archivestore.KeysPrefix + string(ref.Resource) + "/key/" + by
	// And what its thief might try.
	at := keyOf(ref, "head")
	for name, err := range map[string]error{
		"delete":                   b.bucket.Delete(ctx, at),
		"delete a key":             b.bucket.Delete(ctx, copied),
		"take back a removal":      archivestore.EraseRemoved(ctx, b.bucket, ref.Resource),
		"list the whole bucket":    b.bucket.List(ctx, "", func(objectstore.Object) error { return nil }),
		"list another prefix":      b.bucket.List(ctx, "other/", func(objectstore.Object) error { return nil }),
		"read outside of archives": b.get(t, root, "other/secret"),
		"write elsewhere":          b.put("other/x"),
		"make it public":           policy(t, raw["worker"], cfg.Bucket),
		"keep no versions":         versions(t, raw["worker"], cfg.Bucket),
		"delete the bucket":        unmake(t, raw["worker"], cfg.Bucket),
	} {
		if !denied(err) && !refused(err) {
			t.Errorf("the worker's key: %s: %v", name, err)
		}
	}
	overwrites(t, raw["worker"], cfg.Bucket, at)
	overwrites(t, raw["worker"], cfg.Bucket, copied)
	if stored, err := root.Get(ctx, at, 1<<20); err != nil || bytes.Equal(stored, []byte("forged")) {
		t.Error("the head was replaced: ", err)
	}

	// Web and the verifier read, and do nothing else.
	for _, process := range []string{"web", "verifier"} {
		reader := as[process]
		if err := reader.Reach(ctx, archivestore.Prefix); err != nil {
			t.Error(process, err)
		}
		m, err := archivestore.ReadManifest(ctx, reader, ref, b.keys)
		if err == nil {
			err = archivestore.Verify(ctx, reader, m)
		}
		if err != nil {
			t.Error(process, err)
		}
		r, err := archivestore.Open(ctx, reader, ref, b.key, b.keys)
		if err != nil {
			t.Fatal(process, err)
		}
		if n, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size())); err != nil || n != int64(len(head)+len(body)) {
			t.Error(process, n, err)
		}
		_, perr := reader.PutIfAbsent(ctx, keyOf(newRef(), "head"), []byte("x"))
		_, kerr := reader.Get(ctx, copied, 1<<20)
		for name, err := range map[string]error{
			"read a key": kerr, "list keys": reader.Reach(ctx, archivestore.KeysPrefix),
			"write": perr, "delete": reader.Delete(ctx, at), "begin an upload": reader.Probe(ctx),
			"list the whole bucket": reader.List(ctx, "", func(objectstore.Object) error { return nil }),
		} {
			if !denied(err) {
				t.Errorf("%s's key: %s: %v", process, name, err)
			}
		}
		overwrites(t, raw[process], cfg.Bucket, at)
	}

	// The deleter lists and deletes, and can neither read nor write.
	deleter := as["deleter"]
	_, gerr := deleter.Get(ctx, at, 1<<20)
	_, perr := deleter.PutIfAbsent(ctx, keyOf(newRef(), "head"), []byte("x"))
	_, oerr := deleter.OpenRange(ctx, at, 0, 1)
	_, kerr := deleter.Get(ctx, copied, 1<<20)
	for name, err := range map[string]error{"head": gerr, "read a key": kerr, "read": oerr, "write": perr, "delete elsewhere": deleter.Delete(ctx, "other/secret")} {
		if !denied(err) {
			t.Errorf("the deleter's key: %s: %v", name, err)
		}
	}
	if err := deleter.Reach(ctx, archivestore.Prefix); err != nil {
		t.Error(err)
	}
	if err := archivestore.DeleteBackup(ctx, deleter, ref.Resource, ref.Backup); err != nil {
		t.Error(err)
	}
	if err := archivestore.EraseKeys(ctx, deleter, ref.Resource, by); err != nil {
		t.Error(err)
	}
	if _, err := root.Head(ctx, copied); err != nil {
		t.Error("the copy that was to stay: ", err)
	}
	if err := errors.Join(archivestore.EraseKeys(ctx, deleter, ref.Resource, ""), archivestore.EraseRemoved(ctx, deleter, ref.Resource)); err != nil {
		t.Error(err)
	}
	left := 0
	if err := root.List(ctx, archivestore.KeysPrefix, func(objectstore.Object) error { left++; return nil }); err != nil || left != 0 {
		t.Error(left, "copies are left: ", err)
	}
	if err := root.List(ctx, archivestore.Prefix, func(objectstore.Object) error { left++; return nil }); err != nil || left != 0 {
		t.Error(left, "objects are left: ", err)
	}
}

// get has root put an object at a key, and reads it.
func (b bundle) get(t *testing.T, root *objectstore.Bucket, key string) error {
	t.Helper()
	if _, err := root.PutIfAbsent(t.Context(), key, []byte("x")); err != nil {
		t.Fatal(err)
	}
	in, err := b.bucket.OpenRange(t.Context(), key, 0, 1)
	if err == nil {
		_ = in.Close()
	}
	return err
}

func (b bundle) put(key string) error {
	_, err := b.bucket.PutIfAbsent(context.Background(), key, []byte("x"))
	return err
}

// refused tells whether the store's answer to a plain client was a refusal.
func refused(err error) bool {
	var answer interface{ HTTPStatusCode() int }
	return errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusForbidden
}

func policy(t *testing.T, c *s3.Client, bucket string) error {
	t.Helper()
	_, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::` + bucket + `/*"}]}`)})
	return err
}

func versions(t *testing.T, c *s3.Client, bucket string) error {
	t.Helper()
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}})
	return err
}

func unmake(t *testing.T, c *s3.Client, bucket string) error {
	t.Helper()
	_, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}

// overwrites tries to replace an object, at once and in parts, as no process of ours ever does.
func overwrites(t *testing.T, c *s3.Client, bucket, key string) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader([]byte("forged"))}); !refused(err) {
		t.Errorf("overwrite: %v", err)
	}
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: &key, CopySource: aws.String(bucket + "/" + key)}); !refused(err) {
		t.Errorf("copy over: %v", err)
	}
	upload, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if refused(err) {
		return // of whoever may not even begin
	}
	if err != nil {
		t.Fatal(err)
	}
	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("forged"))})
	if err != nil {
		t.Fatal(err)
	}
	done := &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}}}
	if _, err := c.CompleteMultipartUpload(ctx, done); !refused(err) {
		t.Errorf("overwrite in parts: %v", err)
	}
	done.IfNoneMatch = aws.String("*")
	if _, err := c.CompleteMultipartUpload(ctx, done); err == nil {
		t.Error("an object that is there was replaced")
	}
}

// A resource's key opens its own archives and nobody else's, also where somebody has put a neighbour's files in their place; so
// does its owner's.
func TestOneKeyOpensOneAddOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	mine, theirs := newRef(), newRef()
	ours, owner, neighbour := newKey(t), newKey(t), newKey(t)
	head, body := noise(1000), noise(100_000)
	for _, sealedTo := range [][]string{{ours.Recipient()}, {ours.Recipient(), owner.Recipient()}, {owner.Recipient()}} {
		mine.Epoch++
		theirs.Epoch++
		b.fetched(t, mine, head, body, sealedTo...)
		files := b.fetched(t, theirs, head, body, neighbour.Recipient())
		for _, key := range []seal.Key{ours, owner} {
			if _, err := archivestore.Open(t.Context(), b.bucket, theirs, key, b.keys); !errors.Is(err, seal.ErrWrongKey) {
				t.Errorf("a neighbour's archive: %v", err)
			}
			if _, _, err := copied(files, key); !errors.Is(err, seal.ErrWrongKey) {
				t.Errorf("a copy of a neighbour's archive: %v", err)
			}
		}
		for name, stored := range files { // all of a neighbour's in mine's place, whose key the thief has
			b.replace(t, keyOf(mine, name), stored)
		}
		for _, key := range []seal.Key{ours, owner, neighbour} {
			if _, err := archivestore.Open(t.Context(), b.bucket, mine, key, b.keys); !errors.Is(err, archivestore.ErrNotOurs) {
				t.Errorf("a neighbour's archive in another's place: %v", err)
			}
		}
	}
}
