// Package objectstore is one bucket of an S3-compatible store: streaming uploads of unknown length that either
// become a confirmed object or leave nothing, conditional puts, ranged reads.
//
// An object is never overwritten: every write carries If-None-Match: *. What was written is confirmed by the
// store, by size and CRC32 of the whole object, before a write counts; the SHA-256 that is recorded is taken
// from the same bytes.
package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/remora-backup/remora/internal/redact"
)

// What an error of this package means, for errors.Is.
var (
	ErrExists   = errors.New("objectstore: there is such an object already")
	ErrNotFound = errors.New("objectstore: no such object")
	ErrFull     = errors.New("objectstore: the store has no room left")
	ErrDenied   = errors.New("objectstore: the store's key may not do this")
	ErrMismatch = errors.New("objectstore: the store holds something else than was written")
)

// Limits of S3 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const (
	MinPartSize = 5 << 20
	MaxParts    = 10000
)

// Config of a bucket.
type Config struct {
	Endpoint  string // such as https://s3.us-east-1.amazonaws.com
	Region    string
	Bucket    string
	AccessKey string
	SecretKey redact.Secret
	PathStyle bool // the bucket is in the path, not in the host name
	HTTP      *http.Client

	PartSize    int // bytes of every part but the last; default 8 MiB. Below 5 MiB for tests only
	Concurrency int // parts of one upload in flight; default 2. An upload holds Concurrency+1 parts in memory
	MaxParts    int // default 10,000

	MaxBackoff time.Duration // the longest pause between the five tries of one request; default 10 s
}

// Bucket is one bucket. It is safe for concurrent use.
type Bucket struct {
	cfg  Config
	s3   *s3.Client
	pool sync.Pool // of *[]byte, PartSize long, shared by all uploads
}

// New returns a bucket. It does no I/O.
func New(cfg Config) (*Bucket, error) {
	if cfg.Endpoint == "" || cfg.Region == "" || cfg.Bucket == "" || cfg.AccessKey == "" || cfg.SecretKey.IsZero() || cfg.HTTP == nil {
		return nil, errors.New("objectstore: endpoint, region, bucket, access key, secret key and HTTP client are required")
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = 8 << 20
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	if cfg.MaxParts == 0 {
		cfg.MaxParts = MaxParts
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 10 * time.Second
	}
	b := &Bucket{cfg: cfg}
	b.pool.New = func() any {
		p := make([]byte, cfg.PartSize)
		return &p
	}
	b.s3 = s3.New(s3.Options{
		BaseEndpoint: &cfg.Endpoint, Region: cfg.Region, UsePathStyle: cfg.PathStyle, HTTPClient: cfg.HTTP,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), "")),
		Retryer:     retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 5, cfg.MaxBackoff }),
		Logger:      logging.Nop{},
		// Every write names its checksum; what comes back is checked by us, over all of it.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	return b, nil
}

// Object is what is known of a stored object.
type Object struct {
	Key    string
	Size   int64
	SHA256 []byte // of its bytes; nil where this process did not write it
}

// PutIfAbsent stores a small object whole. Errors: ErrExists, ErrFull, ErrDenied, ErrMismatch.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, body []byte) (Object, error) {
	sum := encodeCRC(crc32.ChecksumIEEE(body))
	_, err := b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.cfg.Bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
		IfNoneMatch: aws.String("*"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumCRC32: &sum,
		ContentType: aws.String("application/octet-stream"),
	})
	// An answer that was lost may hide a success, which a retry then meets as "exists": what is there decides.
	if cerr := b.confirm(ctx, key, int64(len(body)), sum); cerr != nil {
		if err != nil {
			return Object{}, explain("put", err)
		}
		return Object{}, cerr
	}
	o := Describe(body)
	o.Key = key
	return o, nil
}

// confirm asks the store for size and checksum of an object.
func (b *Bucket) confirm(ctx context.Context, key string, size int64, crc string) error {
	out, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.cfg.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return explain("confirm", err)
	}
	if aws.ToInt64(out.ContentLength) != size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, aws.ToInt64(out.ContentLength), size)
	}
	if got := aws.ToString(out.ChecksumCRC32); got != crc {
		return fmt.Errorf("%w: CRC32 %q instead of %q", ErrMismatch, got, crc)
	}
	return nil
}

// Head returns an object's size. Errors: ErrNotFound.
func (b *Bucket) Head(ctx context.Context, key string) (Object, error) {
	out, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.cfg.Bucket, Key: &key})
	if err != nil {
		return Object{}, explain("head", err)
	}
	return Object{Key: key, Size: aws.ToInt64(out.ContentLength)}, nil
}

// OpenRange reads n bytes from off on. The caller closes the reader. Errors: ErrNotFound.
func (b *Bucket) OpenRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &b.cfg.Bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	})
	if err != nil {
		return nil, explain("read", err)
	}
	return out.Body, nil
}

// Get reads a small object whole, at most limit bytes. Errors: ErrNotFound, ErrMismatch when it is longer.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.cfg.Bucket, Key: &key})
	if err != nil {
		return nil, explain("read", err)
	}
	defer out.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMismatch, limit)
	}
	return body, nil
}

// Delete removes an object; one that is not there is no error. Errors: ErrDenied.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	_, err := b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.cfg.Bucket, Key: &key})
	return explain("delete", err)
}

// List calls each for every object below prefix, in order of keys, until it returns an error.
func (b *Bucket) List(ctx context.Context, prefix string, each func(Object) error) error {
	pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &b.cfg.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return explain("list", err)
		}
		for _, o := range page.Contents {
			if err := each(Object{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// OpenUpload is a multipart upload that was neither completed nor aborted.
type OpenUpload struct {
	Key, ID string
	Started time.Time
}

// OpenUploads lists the open uploads below prefix.
func (b *Bucket) OpenUploads(ctx context.Context, prefix string) ([]OpenUpload, error) {
	var all []OpenUpload
	pages := s3.NewListMultipartUploadsPaginator(b.s3, &s3.ListMultipartUploadsInput{Bucket: &b.cfg.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain("list uploads", err)
		}
		for _, u := range page.Uploads {
			all = append(all, OpenUpload{Key: aws.ToString(u.Key), ID: aws.ToString(u.UploadId), Started: aws.ToTime(u.Initiated)})
		}
	}
	return all, nil
}

// AbortUpload ends an open upload and frees its parts; one that is not open is no error. A store may still be
// at work on a part whose sender has gone, and keep the upload for it: so it is asked again until the upload
// is not there any more, or ctx ends.
func (b *Bucket) AbortUpload(ctx context.Context, u OpenUpload) error {
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		_, err := b.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.cfg.Bucket, Key: &u.Key, UploadId: &u.ID})
		if err = explain("abort upload", err); err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() != nil {
			return err
		}
		_, err = b.s3.ListParts(ctx, &s3.ListPartsInput{Bucket: &b.cfg.Bucket, Key: &u.Key, UploadId: &u.ID})
		if errors.Is(explain("list parts", err), ErrNotFound) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("abort upload: %w", ctx.Err())
		case <-time.After(wait):
		}
	}
}

// Probe tells whether the bucket is there and answers to our key.
func (b *Bucket) Probe(ctx context.Context) error {
	_, err := b.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.cfg.Bucket, MaxKeys: aws.Int32(1)})
	return explain("reach the bucket", err)
}

// Make creates the bucket, for the demo and the tests; an existing one of ours is no error.
func (b *Bucket) Make(ctx context.Context) error {
	_, err := b.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b.cfg.Bucket})
	var ours *types.BucketAlreadyOwnedByYou
	if errors.As(err, &ours) {
		return nil
	}
	return explain("make the bucket", err)
}

// explain names what an SDK error means. The SDK's texts hold no credential and no signed URL.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	status, code := 0, ""
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		status = resp.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	kind := error(nil)
	switch {
	case status == http.StatusPreconditionFailed:
		kind = ErrExists
	case status == http.StatusNotFound:
		kind = ErrNotFound
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		kind = ErrDenied
	case status == http.StatusInsufficientStorage || code == "QuotaExceeded" || code == "InsufficientStorage" || code == "StorageFull":
		kind = ErrFull
	}
	if kind != nil {
		return fmt.Errorf("%s: %w (%d %s)", what, kind, status, code)
	}
	return fmt.Errorf("objectstore: %s: %w", what, err)
}

// encodeCRC writes a CRC32 as S3 does: big-endian, base64.
func encodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// Describe returns what a stored object of these bytes is to be like.
func Describe(body []byte) Object {
	sum := sha256.Sum256(body)
	return Object{Size: int64(len(body)), SHA256: sum[:]}
}

// IsStore tells whether an error came from the store: one of this package's kinds, or an answer or silence of
// the service itself.
func IsStore(err error) bool {
	for _, kind := range []error{ErrExists, ErrNotFound, ErrFull, ErrDenied, ErrMismatch} {
		if errors.Is(err, kind) {
			return true
		}
	}
	var op *smithy.OperationError
	return errors.As(err, &op)
}
