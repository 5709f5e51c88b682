package objectstore

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Reach asks whether the bucket is there and the key may look at what lies below a prefix. To ask for the bucket itself would
// need the right to list all of it.
func (b *Bucket) Reach(ctx context.Context, prefix string) error {
	return b.try(ctx, "ListObjectsV2", b.cfg.Bucket, func(ctx context.Context) error {
		_, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.cfg.Bucket, Prefix: b.at(prefix), MaxKeys: aws.Int32(1)})
		return err
	})
}

// ProbePrefix is where Probe's uploads are: what a process that was killed in one has left.
const ProbePrefix = "probe/"

// Probe asks whether the bucket is there and can be written to. It begins an upload and aborts it, which needs
// no right to delete and leaves nothing.
func (b *Bucket) Probe(ctx context.Context) error {
	u := b.Create(ctx, ProbePrefix+newWriter())
	u.begun = true
	u.open()
	err := u.failed()
	ended := u.Abort() // also where the answer was lost, and the upload is there
	if err != nil {
		return err
	}
	return ended
}

// Make makes the bucket, for the demo and for tests; one of ours that is there already is no error.
func (b *Bucket) Make(ctx context.Context) error {
	return b.try(ctx, "CreateBucket", b.cfg.Bucket, func(ctx context.Context) error {
		in := &s3.CreateBucketInput{Bucket: &b.cfg.Bucket}
		if b.cfg.Region != "us-east-1" { // which the service takes from an empty configuration only
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.cfg.Region)}
		}
		_, err := b.client.CreateBucket(ctx, in)
		var ours *types.BucketAlreadyOwnedByYou
		if errors.As(err, &ours) {
			return nil
		}
		return err
	})
}
