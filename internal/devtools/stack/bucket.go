package stack

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
)

// The accounts at the S3 server: its root's, which is ours, and a customer's.
const (
	ourAccess   = "demo-access"
	theirAccess = "their-access"
	theirBucket = "their-archives"
)

// TheirBucket makes a bucket of the customer's, in which the key of his account may do anything and ours nothing. It returns the
// bucket and what the form on the page about storage asks for.
func (s *Stack) TheirBucket(ctx context.Context) (*objectstore.Bucket, url.Values, error) {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(s.S3.Endpoint()), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(ourAccess, s.ourSecret, ""),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(theirBucket)}); err != nil {
		return nil, nil, err
	}
	_, err := client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(theirBucket), Policy: aws.String(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
		"Principal": {"AWS": "` + theirAccess + `"}, "Action": "s3:*", "Resource": ["arn:aws:s3:::` + theirBucket + `", "arn:aws:s3:::` + theirBucket + `/*"]}]}`)})
	if err != nil {
		return nil, nil, err
	}
	b, err := objectstore.New(objectstore.Config{
		Endpoint: s.S3.Endpoint(), Region: "us-east-1", Bucket: theirBucket, AccessKey: theirAccess, SecretKey: redact.New(s.theirSecret), PathStyle: true, HTTP: dialer.HTTPClient(0),
	})
	return b, url.Values{
		"endpoint": {s.S3.Endpoint()}, "bucket": {theirBucket}, "path_style": {"yes"}, "access_key": {theirAccess}, "secret_key": {s.theirSecret},
	}, err
}
