package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Object is what is known of a stored object.
type Object struct {
	Key      string
	Size     int64     // bytes
	SHA256   []byte    // taken while writing; nil from Head and List, for the store does not keep it
	Modified time.Time // by the store's clock; zero after a write

	LockMode    string    // LockCompliance or LockGovernance; empty where it is not locked or the key may not know (s3:GetObjectRetention); from Head alone
	LockedUntil time.Time // zero where LockMode is empty; may have passed

	crc    string // CRC-32 (IEEE) of the whole object, big-endian, base64, as S3 spells it; not from List
	writer string // the write's own name; not from List
	etag   string
}

// writerTag is the metadata key under which each write leaves its own name.
const writerTag = "remora-write"

// Describe returns what a stored object of these bytes is to be like, but for its key.
func Describe(body []byte) Object {
	sum := sha256.Sum256(body)
	return Object{Size: int64(len(body)), SHA256: sum[:], crc: spell(crc32.ChecksumIEEE(body))}
}

// PutIfAbsent writes an object in one request. Errors: ErrExists where the key is taken, ErrFull, *Error.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, body []byte) (Object, error) {
	want := Describe(body)
	want.Key, want.writer = key, newWriter()
	return b.put(ctx, want, body, nil)
}

// put writes an object, which is locked as the bucket has it, or until a time in governance mode.
func (b *Bucket) put(ctx context.Context, want Object, body []byte, until *time.Time) (Object, error) {
	var mode types.ObjectLockMode
	if until != nil {
		mode = types.ObjectLockModeGovernance
	}
	return b.publish(ctx, "PutObject", want, func(ctx context.Context) (crc string, err error) {
		out, err := b.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.cfg.Bucket, Key: b.at(want.Key), Body: bytes.NewReader(body), ContentLength: &want.Size,
			ChecksumCRC32: &want.crc, IfNoneMatch: aws.String("*"), Metadata: map[string]string{writerTag: want.writer},
			ObjectLockMode: mode, ObjectLockRetainUntilDate: until,
		})
		if err == nil {
			crc = aws.ToString(out.ChecksumCRC32)
		}
		return crc, err
	})
}

// publish makes an object visible and returns only when it is known whether that took place. write returns the checksum
// of the whole object where the store's answer has it: then that is the confirmation, and the store is not asked again.
func (b *Bucket) publish(ctx context.Context, op string, want Object, write func(context.Context) (crc string, err error)) (Object, error) {
	unsure := false // some attempt may have taken place although we heard nothing good of it
	var crc string
	err := b.try(ctx, op, want.Key, func(ctx context.Context) (err error) {
		crc, err = write(ctx)
		if err != nil && isTransient(fail(op, want.Key, err)) {
			unsure = true
		}
		return err
	})
	switch {
	case err != nil && !unsure:
		return Object{}, err
	case err == nil && crc == want.crc:
		return want, nil
	}
	if err := b.confirm(ctx, want, err); err != nil {
		return Object{}, err
	}
	return want, nil
}

// confirm asks the store what it holds. wrote is the write's own error, where it was not clearly refused.
func (b *Bucket) confirm(ctx context.Context, want Object, wrote error) error {
	ctx, cancel := uncanceled(ctx)
	defer cancel()
	got, err := b.Head(ctx, want.Key)
	switch {
	case err != nil && wrote != nil:
		return wrote
	case err != nil:
		return err
	case got.writer != want.writer:
		return &Error{Op: "HeadObject", Key: want.Key, kind: ErrExists}
	case got.Size != want.Size || got.crc != want.crc:
		return &Error{Op: "HeadObject", Key: want.Key, kind: ErrMismatch}
	}
	return nil
}

// Head asks for an object's size, age and lock. Errors: ErrNotFound, *Error.
func (b *Bucket) Head(ctx context.Context, key string) (Object, error) {
	var out *s3.HeadObjectOutput
	err := b.try(ctx, "HeadObject", key, func(ctx context.Context) (err error) {
		out, err = b.client.HeadObject(ctx, &s3.HeadObjectInput{
			Bucket: &b.cfg.Bucket, Key: b.at(key), ChecksumMode: types.ChecksumModeEnabled,
		})
		return err
	})
	if err != nil {
		return Object{}, err
	}
	o := Object{
		Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified),
		crc: aws.ToString(out.ChecksumCRC32), writer: out.Metadata[writerTag], etag: aws.ToString(out.ETag),
	}
	until := aws.ToTime(out.ObjectLockRetainUntilDate).UTC()
	if mode := lockMode(string(out.ObjectLockMode)); mode != "" && until.Year() >= 1970 && until.Year() <= 9999 { // else no JSON has it
		o.LockMode, o.LockedUntil = mode, until
	}
	return o, nil
}

// List calls fn for each object whose key begins with prefix, in the order of keys, until fn returns an
// error, which List returns.
func (b *Bucket) List(ctx context.Context, prefix string, fn func(Object) error) error {
	return b.ListAfter(ctx, prefix, "", fn)
}

// ListAfter is List from the first key on that comes after a given one, which need not be there. Errors: ErrMismatch where there is
// no saying where the next page begins, *Error, fn's.
func (b *Bucket) ListAfter(ctx context.Context, prefix, after string, fn func(Object) error) error {
	in := &s3.ListObjectsV2Input{Bucket: &b.cfg.Bucket, Prefix: b.at(prefix)}
	if after != "" {
		in.StartAfter = b.at(after)
	}
	pages := s3.NewListObjectsV2Paginator(b.client, in)
	for pages.HasMorePages() {
		var page *s3.ListObjectsV2Output
		err := b.try(ctx, "ListObjectsV2", prefix, func(ctx context.Context) (err error) {
			page, err = pages.NextPage(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if len(aws.ToString(page.NextContinuationToken)) > mostToken {
			return &Error{Op: "ListObjectsV2", Key: prefix, kind: ErrMismatch}
		}
		for _, o := range page.Contents {
			err := fn(Object{Key: b.of(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete removes an object; one that is not there is no error. In a bucket that keeps versions it is listed and read no more, by anybody
// who names no version, and stays as one: for as long as it is locked, and until the bucket's own rules end it. Errors: ErrDenied, *Error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	err := b.try(ctx, "DeleteObject", key, func(ctx context.Context) error {
		_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.cfg.Bucket, Key: b.at(key)})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
