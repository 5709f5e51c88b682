package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Upload is one object on its way. It is an io.Writer for one goroutine. It ends with Commit or Abort, and
// until Commit returns nil there is no object.
type Upload struct {
	b   *Bucket
	ctx context.Context // of this one operation
	end context.CancelFunc
	key string

	part *[]byte // being filled
	fill int
	n    int32 // parts sent
	size int64
	sha  hash.Hash
	crc  hash.Hash32

	id    *string
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	parts []types.CompletedPart
	err   error
	over  bool
}

// abortTime is how long an abort may take; it does not depend on the upload's own context, which is often
// dead by then.
const abortTime = 15 * time.Second

// Create begins an upload. It does no I/O before the first part is full. The upload ends when ctx does, but
// must be ended by Commit or Abort all the same.
func (b *Bucket) Create(ctx context.Context, key string) *Upload {
	u := &Upload{b: b, key: key, sha: sha256.New(), crc: crc32.NewIEEE(), slots: make(chan struct{}, b.cfg.Concurrency)}
	u.ctx, u.end = context.WithCancel(ctx)
	u.parts = make([]types.CompletedPart, 0, 16)
	return u
}

// Room is how many bytes more the object can take before it has all its parts.
func (u *Upload) Room() int64 {
	return int64(u.b.cfg.MaxParts)*int64(u.b.cfg.PartSize) - u.size
}

// Size is how many bytes were written.
func (u *Upload) Size() int64 { return u.size }

// Write takes the next bytes. It returns the error of a part that failed as soon as it is known.
func (u *Upload) Write(p []byte) (int, error) {
	if int64(len(p)) > u.Room() {
		return 0, fmt.Errorf("objectstore: %s has its %d parts", u.key, u.b.cfg.MaxParts)
	}
	written := 0
	for len(p) > 0 {
		if u.part == nil {
			if err := u.failed(); err != nil {
				return written, err
			}
			u.part, _ = u.b.pool.Get().(*[]byte)
			u.fill = 0
		}
		n := copy((*u.part)[u.fill:], p)
		chunk := p[:n]
		u.sha.Write(chunk)
		u.crc.Write(chunk)
		u.fill += n
		u.size += int64(n)
		written += n
		p = p[n:]
		if u.fill == len(*u.part) {
			if err := u.send(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// send uploads the filled part beside the ones in flight, waiting for one of them where there are enough.
func (u *Upload) send() error {
	if u.id == nil {
		out, err := u.b.s3.CreateMultipartUpload(u.ctx, &s3.CreateMultipartUploadInput{
			Bucket: &u.b.cfg.Bucket, Key: &u.key, ContentType: aws.String("application/octet-stream"),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
		})
		if err != nil {
			return u.fail(explain("begin upload", err))
		}
		u.id = out.UploadId
	}
	select {
	case u.slots <- struct{}{}:
	case <-u.ctx.Done():
		return u.fail(u.ctx.Err())
	}
	u.n++
	number, buf, fill := u.n, u.part, u.fill
	u.part = nil
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		defer u.b.pool.Put(buf)
		body := (*buf)[:fill]
		sum := encodeCRC(crc32.ChecksumIEEE(body))
		out, err := u.b.s3.UploadPart(u.ctx, &s3.UploadPartInput{
			Bucket: &u.b.cfg.Bucket, Key: &u.key, UploadId: u.id, PartNumber: &number, Body: bytes.NewReader(body),
			ContentLength: aws.Int64(int64(fill)), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumCRC32: &sum,
		})
		if err != nil {
			_ = u.fail(explain("upload part", err))
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		for int32(len(u.parts)) < number { //nolint:gosec // at most 10,000
			u.parts = append(u.parts, types.CompletedPart{})
		}
		u.parts[number-1] = types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: &sum}
	})
	return nil
}

// fail keeps the first error and stops the parts in flight.
func (u *Upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
		u.end()
	}
	return u.err
}

func (u *Upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// Commit makes what was written an object and has the store confirm it. On any error the object is not there
// (or, for ErrExists, is somebody else's), and the upload is aborted. Errors: ErrExists, ErrFull, ErrDenied,
// ErrMismatch.
func (u *Upload) Commit() (Object, error) {
	if u.over {
		return Object{}, errors.New("objectstore: this upload has ended")
	}
	o, err := u.commit()
	if err != nil {
		return Object{}, errors.Join(err, u.Abort())
	}
	u.over = true
	u.end()
	return o, nil
}

func (u *Upload) commit() (Object, error) {
	if u.id == nil {
		body := []byte{}
		if u.part != nil {
			body = (*u.part)[:u.fill]
		}
		o, err := u.b.PutIfAbsent(u.ctx, u.key, body)
		if u.part != nil && err == nil {
			u.b.pool.Put(u.part)
			u.part = nil
		}
		return o, err
	}
	if u.part != nil {
		if err := u.send(); err != nil {
			return Object{}, err
		}
	}
	u.wg.Wait()
	if err := u.failed(); err != nil {
		return Object{}, err
	}
	sum := encodeCRC(u.crc.Sum32())
	_, err := u.b.s3.CompleteMultipartUpload(u.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.b.cfg.Bucket, Key: &u.key, UploadId: u.id, IfNoneMatch: aws.String("*"),
		MpuObjectSize: &u.size, ChecksumCRC32: &sum, ChecksumType: types.ChecksumTypeFullObject,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	})
	// As with a put: an answer that was lost may hide a success. What is there decides.
	if cerr := u.b.confirm(u.ctx, u.key, u.size, sum); cerr != nil {
		if err != nil {
			return Object{}, explain("complete upload", err)
		}
		return Object{}, cerr
	}
	return Object{Key: u.key, Size: u.size, SHA256: u.sha.Sum(nil)}, nil
}

// Abort drops the upload and everything it has sent. It waits for parts in flight first, since one that
// arrives after the abort would stay; and it uses a context of its own. It may be called at any time, also
// after Commit, where it does nothing.
func (u *Upload) Abort() error {
	if u.over {
		return nil
	}
	u.over = true
	u.end()
	u.wg.Wait()
	if u.part != nil {
		u.b.pool.Put(u.part)
		u.part = nil
	}
	if u.id == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortTime)
	defer cancel()
	return u.b.AbortUpload(ctx, OpenUpload{Key: u.key, ID: *u.id})
}
