// Command s3dev is a real S3 server on loopback, for the demo and the tests: versitygw over a folder.
//
// It is a module and a process of its own, because versitygw brings the clients of many clouds along and
// changes the working directory. It prints one line when it serves, and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// maxParts is what Amazon S3 allows in a multipart upload.
const maxParts = 10000

func main() {
	addr := flag.String("addr", "127.0.0.1:7070", "where to listen")
	dir := flag.String("dir", "", "where buckets are kept")
	flag.Parse()
	if err := run(*addr, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "s3dev:", err)
		os.Exit(1)
	}
}

// run serves until standard input ends. The root account comes by S3_ACCESS_KEY and S3_SECRET_KEY, and others by S3_USERS, as
// key:secret separated by commas; these may do what a bucket's policy lets them, and create only what is not there.
func run(addr, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	buckets, versions := filepath.Join(dir, "buckets"), filepath.Join(dir, "versions")
	for _, d := range []string{buckets, versions} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	store, err := posix.New(buckets, attributes{}, posix.PosixOpts{VersioningDir: versions, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	root := middlewares.RootUserConfig{Access: os.Getenv("S3_ACCESS_KEY"), Secret: os.Getenv("S3_SECRET_KEY")}
	iam, err := accounts(filepath.Join(dir, "iam"), root, os.Getenv("S3_USERS"))
	if err != nil {
		return err
	}
	server, err := s3api.New(locking{store}, root, "us-east-1", iam, nil, nil, nil, nil,
		s3api.WithMiddleware("/", createOnly(root.Access)),
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts), s3api.WithConcurrencyLimiter(1000, 500),
		s3api.WithOnListen(func() { fmt.Println("s3dev serves on", addr) }))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeMultiPort([]string{addr}) }()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended <- nil
	}()
	return <-ended
}

// attributes are what is known of objects besides their bytes, as extended attributes of their files. ext4 gives those of a file
// one block, where the sizes of some hundred parts have no room: they are left out then, for nobody here asks for an object's part by
// its number.
type attributes struct{ meta.XattrMeta }

func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	err := a.XattrMeta.StoreAttribute(f, bucket, object, attribute, value)
	if attribute == "mp-metadata" && errors.Is(err, s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)) {
		return nil
	}
	return err
}

// locking has a bucket's default retention become each new object's own, as Amazon's does
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html): versitygw's protects what it was set for, and tells nobody
// who asks for an object until when that is.
type locking struct{ *posix.Posix }

// PutObject writes an object.
func (l locking) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	if in.ObjectLockMode == "" {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = l.byDefault(ctx, *in.Bucket)
	}
	return l.Posix.PutObject(ctx, in)
}

// CreateMultipartUpload begins an upload, from whose beginning its object counts.
func (l locking) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	if in.ObjectLockMode == "" {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = l.byDefault(ctx, *in.Bucket)
	}
	return l.Posix.CreateMultipartUpload(ctx, in)
}

func (l locking) byDefault(ctx context.Context, bucket string) (types.ObjectLockMode, *time.Time) {
	var cfg auth.BucketLockConfig
	raw, err := l.GetObjectLockConfiguration(ctx, bucket)
	if err != nil || json.Unmarshal(raw, &cfg) != nil || cfg.DefaultRetention == nil {
		return "", nil
	}
	until := time.Now().AddDate(int(aws.ToInt32(cfg.DefaultRetention.Years)), 0, int(aws.ToInt32(cfg.DefaultRetention.Days)))
	return types.ObjectLockMode(cfg.DefaultRetention.Mode), &until
}

// accounts makes the accounts of users beside root.
func accounts(dir string, root middlewares.RootUserConfig, users string) (auth.IAMService, error) {
	admin := auth.Account{Access: root.Access, Secret: root.Secret, Role: auth.RoleAdmin}
	if users == "" {
		return auth.NewIAMServiceSingle(admin), nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	iam, err := auth.NewInternal(admin, dir)
	if err != nil {
		return nil, err
	}
	for _, user := range strings.Split(users, ",") {
		key, secret, _ := strings.Cut(user, ":")
		err := iam.CreateAccount(auth.Account{Access: key, Secret: secret, Role: auth.RoleUser})
		if err != nil && !errors.Is(err, auth.ErrUserExists) {
			return nil, fmt.Errorf("make the account %s: %w", key, err)
		}
	}
	return iam, nil
}

// createOnly refuses all but root what would replace an object: a write without If-None-Match. Amazon's policies can say so,
// with the condition s3:if-none-match, which versitygw does not know
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html).
func createOnly(root string) fiber.Handler {
	return func(c fiber.Ctx) error {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(c.Path(), "/"), "/")
		upload := c.Query("uploadId") != ""
		creates := c.Method() == fiber.MethodPut && !upload || c.Method() == fiber.MethodPost && upload // whole, or the end of an upload
		if !creates || bucket == "" || key == "" || c.Get("If-None-Match") == "*" || strings.Contains(c.Get("Authorization"), "Credential="+root+"/") {
			return c.Next()
		}
		c.Set("Content-Type", "application/xml")
		return c.Status(fiber.StatusForbidden).SendString("<Error><Code>AccessDenied</Code><Message>Only what is not there may be created.</Message></Error>")
	}
}
