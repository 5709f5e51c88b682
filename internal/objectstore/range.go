package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// OpenRange reads n bytes of an object from off on. Where the connection breaks, the reader asks for the
// rest by itself, and fails if the object has changed in between. It ends with io.EOF after n bytes and with
// io.ErrUnexpectedEOF where the object is shorter. The caller closes it; ctx must live until then.
// Errors: ErrNotFound, ErrRange, *Error.
func (b *Bucket) OpenRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 {
		return nil, fmt.Errorf("objectstore: read %d bytes at %d", n, off)
	}
	d := &download{b: b, ctx: ctx, key: key, off: off, left: n}
	if n == 0 {
		return d, nil
	}
	if err := b.try(ctx, "GetObject", key, d.open); err != nil {
		return nil, err
	}
	return d, nil
}

// Get reads a small object whole. Errors: ErrNotFound, ErrMismatch where it is longer than limit bytes.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	o, err := b.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	if o.Size > limit {
		return nil, &Error{Op: "GetObject", Key: key, kind: ErrMismatch}
	}
	r, err := b.OpenRange(ctx, key, 0, o.Size)
	if err != nil {
		return nil, err
	}
	body := make([]byte, o.Size)
	_, err = io.ReadFull(r, body)
	return body, errors.Join(err, r.Close())
}

// download is one operation, so it keeps its context.
type download struct {
	b         *Bucket
	ctx       context.Context
	key       string
	etag      string
	off, left int64
	body      io.ReadCloser
	stop      context.CancelFunc // of the request that body belongs to
	broken    int                // breaks since the last byte
}

// open asks for what is left. The attempt's own context ends with the attempt, but the body lives longer, so
// the request gets another, which the silence timer and Close end.
func (d *download) open(attempt context.Context) error {
	ctx, stop := context.WithCancel(d.ctx)
	linked := context.AfterFunc(attempt, stop)
	in := &s3.GetObjectInput{
		Bucket: &d.b.cfg.Bucket, Key: d.b.at(d.key),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", d.off, d.off+d.left-1)),
	}
	if d.etag != "" {
		in.IfMatch = &d.etag
	}
	out, err := d.b.client.GetObject(ctx, in)
	if !linked() && err == nil {
		_ = out.Body.Close()
		err = attempt.Err()
	}
	if err != nil {
		stop()
		return err
	}
	// A server may ignore the range and send all (RFC 9110, 14.2): its bytes would be taken for those from off on.
	if d.off > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", d.off)) {
		_ = out.Body.Close()
		stop()
		return &Error{Op: "GetObject", Key: d.key, Status: 200, kind: ErrRange}
	}
	d.body, d.stop, d.etag = out.Body, stop, aws.ToString(out.ETag)
	return nil
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.left == 0 {
			return 0, io.EOF
		}
		if d.body == nil {
			if err := d.b.once(d.ctx, "GetObject", d.key, d.open); err != nil {
				if !isTransient(err) || !d.again() {
					return 0, err
				}
				continue
			}
		}
		n, err := d.read(p[:min(int64(len(p)), d.left)])
		d.off += int64(n)
		d.left -= int64(n)
		if n > 0 {
			d.broken = 0
		}
		if err == nil || d.left == 0 {
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		_ = d.Close()
		if n > 0 {
			return n, nil
		}
		if !d.again() {
			return 0, fail("GetObject", d.key, err)
		}
	}
}

// read ends the request when no byte comes for AttemptTimeout.
func (d *download) read(p []byte) (int, error) {
	silence := time.AfterFunc(d.b.cfg.AttemptTimeout, d.stop)
	defer silence.Stop()
	return d.body.Read(p)
}

func (d *download) again() bool {
	d.broken++
	return d.broken < d.b.cfg.Attempts && d.b.pause(d.ctx, d.broken) == nil
}

// Close implements io.Closer. It may be called twice.
func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	err := d.body.Close()
	d.stop()
	d.body, d.stop = nil, nil
	return err
}
