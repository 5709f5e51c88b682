package objectstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// OpenUpload is a multipart upload that was neither completed nor aborted.
type OpenUpload struct {
	Key     string
	ID      string
	Started time.Time // by the store's clock
}

// mostListed bounds what is held of a list of open uploads, in bytes: a hundred thousand.
const mostListed = 32 << 20

// OpenUploads lists the open uploads whose keys begin with prefix. Errors: ErrMismatch where there is no end to them, *Error.
func (b *Bucket) OpenUploads(ctx context.Context, prefix string) ([]OpenUpload, error) {
	var all []OpenUpload
	held := 0
	in := &s3.ListMultipartUploadsInput{Bucket: &b.cfg.Bucket, Prefix: b.at(prefix)}
	for {
		var out *s3.ListMultipartUploadsOutput
		err := b.try(ctx, "ListMultipartUploads", prefix, func(ctx context.Context) (err error) {
			out, err = b.client.ListMultipartUploads(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, u := range out.Uploads {
			held += len(aws.ToString(u.Key)) + len(aws.ToString(u.UploadId)) + 64 // for what there is besides
			if held > mostListed || len(aws.ToString(u.UploadId)) > mostToken {
				return nil, &Error{Op: "ListMultipartUploads", Key: prefix, kind: ErrMismatch}
			}
			all = append(all, OpenUpload{Key: b.of(u.Key), ID: aws.ToString(u.UploadId), Started: aws.ToTime(u.Initiated)})
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) == "" {
			return all, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		if len(aws.ToString(in.KeyMarker)) > mostToken || len(aws.ToString(in.UploadIdMarker)) > mostToken {
			return nil, &Error{Op: "ListMultipartUploads", Key: prefix, kind: ErrMismatch}
		}
	}
}

// AbortUpload drops an open upload and its parts; one that is not there is no error. A part that is still
// on its way can survive it: list and abort again.
func (b *Bucket) AbortUpload(ctx context.Context, u OpenUpload) error {
	err := b.try(ctx, "AbortMultipartUpload", u.Key, func(ctx context.Context) error {
		_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.cfg.Bucket, Key: b.at(u.Key), UploadId: &u.ID})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// errStill says that the store lists an upload again which it has aborted.
var errStill = errors.New("objectstore: an aborted upload is still listed")

// Abort drops the upload and everything the store keeps of it, even when the upload's context has ended.
//
// It waits for what is on its way first, because a part that the store is still receiving when it is told to abort can be
// kept, with the upload, and an upload that it is still opening is not listed yet. After Grace they are cut off; Abort takes 15
// seconds more at most. It may be called after anything, any number of times, and does nothing after a Commit that succeeded. An error means that parts may be left for the janitor, nothing worse.
func (u *Upload) Abort() error {
	if u.ended {
		return nil
	}
	_ = u.fail(context.Canceled) // no Write after this
	u.cancel()
	cutter := time.AfterFunc(u.b.cfg.Grace, u.cut)
	u.wg.Wait()
	late := !cutter.Stop()
	u.end()
	if !u.begun {
		return nil
	}
	ctx, cancel := uncanceled(u.ctx)
	defer cancel()
	for n := 1; ; n++ {
		err := u.dropOpen(ctx)
		switch {
		case err == nil && !late:
			return nil
		case err == nil:
			late = false // look once more, for what was cut off
		}
		if n == u.b.cfg.Attempts || u.b.pause(ctx, n) != nil {
			return err
		}
	}
}

// dropOpen aborts the upload and looks whether the store still lists it. Where the answer to Create was lost
// its id was never learned: then it is every upload of the key, which is used by one run only.
func (u *Upload) dropOpen(ctx context.Context) error {
	for range 2 {
		all, err := u.b.OpenUploads(ctx, u.want.Key)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(o OpenUpload) bool {
			return o.Key != u.want.Key || (u.id != "" && o.ID != u.id)
		})
		if len(all) == 0 {
			return nil
		}
		for _, o := range all {
			if err := u.b.AbortUpload(ctx, o); err != nil {
				return err
			}
		}
	}
	return errStill
}
