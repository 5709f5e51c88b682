package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// smallFirst is up to where an upload's first bytes are kept in a buffer of their own, so that thousands of
// small objects do not take a part's memory each.
const smallFirst = 512 << 10

// Upload writes one object of unknown length. Nothing of it can be seen before Commit. It is one operation
// of one goroutine: Write, then Commit, and Abort where anything went wrong (Abort after Commit does nothing,
// so it can be deferred).
type Upload struct {
	b      *Bucket
	ctx    context.Context // of the whole upload: when it ends, nothing new is sent
	cancel context.CancelFunc
	parted context.Context // of what is on its way, which outlives ctx: see Abort
	cut    context.CancelFunc
	want   Object
	sha    hash.Hash
	crc    hash.Hash32

	buf    []byte
	loan   loan
	number int32 // parts begun
	begun  bool  // the store may know of a multipart upload
	ended  bool

	opening sync.Once
	id      string // the store's name of the multipart upload, once it is open

	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	parts []types.CompletedPart
	err   error
}

// Create begins an upload and does no I/O. ctx holds for every part; when it ends, Write fails. The caller
// must call Commit or Abort.
func (b *Bucket) Create(ctx context.Context, key string) *Upload {
	u := &Upload{
		b: b, want: Object{Key: key, writer: newWriter()}, sha: sha256.New(), crc: crc32.NewIEEE(),
		slots: make(chan struct{}, b.cfg.Concurrency),
	}
	u.ctx, u.cancel = context.WithCancel(ctx)
	u.parted, u.cut = context.WithCancel(context.WithoutCancel(ctx))
	return u
}

func newWriter() string { return rand.Text() }

// spell writes a CRC the way S3 does.
func spell(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// Room is how many bytes can still be written before the store's limit on parts.
func (u *Upload) Room() int64 { return u.b.MaxObject() - u.want.Size }

// Size is how many bytes were written.
func (u *Upload) Size() int64 { return u.want.Size }

// Write sends p on its way. It returns when p is buffered, and waits while Concurrency parts travel, or one, while all
// of the bucket's Buffers are lent. After an error the upload can only be aborted. Errors: ErrTooLarge, ErrFull, *Error.
func (u *Upload) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		if err := u.failed(); err != nil {
			return done, err
		}
		if u.Room() == 0 {
			return done, &Error{Op: "UploadPart", Key: u.want.Key, kind: ErrTooLarge}
		}
		k := min(len(p), u.b.cfg.PartSize-len(u.buf))
		if err := u.reserve(k); err != nil {
			return done, err
		}
		u.buf = append(u.buf, p[:k]...)
		_, _ = u.sha.Write(p[:k]) // a hash never fails
		_, _ = u.crc.Write(p[:k])
		u.want.Size += int64(k)
		done += k
		p = p[k:]
		if len(u.buf) == u.b.cfg.PartSize {
			if err := u.flush(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (u *Upload) reserve(k int) error {
	need := len(u.buf) + k
	switch {
	case need <= cap(u.buf):
	case need <= smallFirst && u.number == 0:
		u.buf = slices.Grow(u.buf, k)
	default:
		buf, err := u.b.buffers.get(u.ctx, &u.loan)
		if err != nil {
			return u.fail(fail("UploadPart", u.want.Key, err))
		}
		u.buf = append(buf, u.buf...)
	}
	return nil
}

// flush hands the buffer to a goroutine that sends it.
func (u *Upload) flush() error {
	if err := u.take(1); err != nil {
		return err
	}
	u.number++
	number, buf := u.number, u.buf
	u.buf, u.begun = nil, true
	u.wg.Go(func() {
		if u.opening.Do(u.open); u.failed() == nil {
			u.send(number, buf)
		}
		u.b.buffers.put(buf, &u.loan)
		u.give(1)
	})
	return nil
}

// take waits for n slots, each of which a part on its way holds, or for the upload's end.
func (u *Upload) take(n int) error {
	for i := range n {
		select {
		case u.slots <- struct{}{}:
		case <-u.ctx.Done():
			u.give(i)
			return u.fail(fail("UploadPart", u.want.Key, u.ctx.Err()))
		}
	}
	return nil
}

func (u *Upload) give(n int) {
	for range n {
		<-u.slots
	}
}

// open begins the store's part of the upload, while the next bytes are taken already.
func (u *Upload) open() {
	var out *s3.CreateMultipartUploadOutput
	err := u.b.try(u.ctx, "CreateMultipartUpload", u.want.Key, func(asked context.Context) (err error) {
		if err := asked.Err(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(u.parted, u.b.cfg.AttemptTimeout)
		defer cancel()
		out, err = u.b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &u.b.cfg.Bucket, Key: u.b.at(u.want.Key), Metadata: map[string]string{writerTag: u.want.writer},
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ChecksumType: types.ChecksumTypeFullObject,
		})
		return err
	})
	if err == nil && len(aws.ToString(out.UploadId)) > mostToken {
		err = &Error{Op: "CreateMultipartUpload", Key: u.want.Key, kind: ErrMismatch}
	}
	if err != nil {
		_ = u.fail(err)
		return
	}
	u.id = aws.ToString(out.UploadId)
}

func (u *Upload) send(number int32, buf []byte) {
	crc := spell(crc32.ChecksumIEEE(buf))
	var out *s3.UploadPartOutput
	err := u.b.try(u.ctx, "UploadPart", u.want.Key, func(context.Context) (err error) {
		ctx, cancel := context.WithTimeout(u.parted, u.b.cfg.AttemptTimeout)
		defer cancel()
		out, err = u.b.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &u.b.cfg.Bucket, Key: u.b.at(u.want.Key), UploadId: &u.id, PartNumber: &number,
			Body: bytes.NewReader(buf), ContentLength: aws.Int64(int64(len(buf))), ChecksumCRC32: &crc,
		})
		return err
	})
	if err == nil && len(aws.ToString(out.ETag)) > mostETag {
		err = &Error{Op: "UploadPart", Key: u.want.Key, kind: ErrMismatch}
	}
	if err != nil {
		_ = u.fail(err)
		u.cancel() // the other parts travel for nothing
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: &crc})
}

// fail keeps the first error, which is the one that explains the others.
func (u *Upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
	return u.err
}

func (u *Upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil && u.ended {
		return errors.New("objectstore: the upload has ended")
	}
	return u.err
}

// Finish sends what is buffered and waits for it, so that an upload which waits long for its Commit holds no
// buffer. An object of less than one part stays buffered: it is sent by Commit. Write must not follow.
func (u *Upload) Finish() error {
	if err := u.failed(); err != nil {
		return err
	}
	if len(u.buf) > 0 && u.number > 0 {
		if err := u.flush(); err != nil {
			return err
		}
	}
	if err := u.take(cap(u.slots)); err != nil {
		return err
	}
	u.give(cap(u.slots))
	u.wg.Wait() // for goroutines that have given their slot back
	return u.failed()
}

// Written is what the object will be, once Finish has returned.
func (u *Upload) Written() Object {
	o := u.want
	o.SHA256 = u.sha.Sum(nil)
	return o
}

// Commit makes the object visible, unless the key is taken, and confirms its size and checksum with the
// store. On an error, ErrExists too, the upload has been aborted. Errors: ErrExists, ErrMismatch, ErrFull,
// *Error.
func (u *Upload) Commit() (Object, error) {
	o, err := u.commit()
	if err != nil {
		return Object{}, errors.Join(u.fail(err), u.Abort())
	}
	u.end()
	return o, nil
}

func (u *Upload) commit() (Object, error) {
	if err := u.Finish(); err != nil {
		return Object{}, err
	}
	u.want = u.Written()
	u.want.crc = spell(u.crc.Sum32())
	if u.number == 0 {
		return u.b.put(u.ctx, u.want, u.buf, nil)
	}
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	return u.b.publish(u.ctx, "CompleteMultipartUpload", u.want, func(ctx context.Context) (crc string, err error) {
		out, err := u.b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &u.b.cfg.Bucket, Key: u.b.at(u.want.Key), UploadId: &u.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
			ChecksumCRC32:   &u.want.crc, ChecksumType: types.ChecksumTypeFullObject,
			MpuObjectSize: &u.want.Size, IfNoneMatch: aws.String("*"),
		})
		if err == nil && out.ChecksumType == types.ChecksumTypeFullObject {
			crc = aws.ToString(out.ChecksumCRC32)
		}
		return crc, err
	})
}

// end gives everything back that the upload holds in this process.
func (u *Upload) end() {
	u.ended = true
	u.cancel()
	u.cut()
	u.b.buffers.put(u.buf, &u.loan)
	u.buf = nil
}
