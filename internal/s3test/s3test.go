// Package s3test gives each test a bucket of its own on a real S3 server, which is started once per test
// process and ends with it.
package s3test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/devtools/locals3"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
)

// The root account of a server that lives as long as a test process.
const (
	accessKey = "test-access"
	secretKey = "test-secret-key"
)

type running struct {
	*locals3.Server
	dir string
}

var started = sync.OnceValues(func() (running, error) {
	dir, err := os.MkdirTemp("", "s3test-")
	if err != nil {
		return running{}, err
	}
	var users []string
	for _, process := range Processes {
		users = append(users, user(process)+":"+secretOf(process))
	}
	s, err := locals3.Start(atTop("bin", "s3dev"), dir, accessKey, secretKey, users...)
	return running{s, dir}, err
})

// atTop is a path from the top of the repository.
func atTop(parts ...string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(file), "..", ".."}, parts...)...)
}

// Processes are those that have a storage key of their own, whose policy is deploy/storage/PROCESS.json.
var Processes = []string{"worker", "web", "verifier", "deleter"}

func user(process string) string     { return "test-" + process }
func secretOf(process string) string { return "test-secret-of-" + process }

// Main ends the server after the tests of a package. Call it from TestMain and pass its result to os.Exit.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	if s, err := started(); err == nil {
		if err := s.Stop(); err != nil {
			fmt.Println("s3test:", err)
			code = 1
		}
		_ = os.RemoveAll(s.dir)
	}
	return code
}

var numbered atomic.Int64

// Config describes a new bucket that only this test uses. Parts are of the smallest size that S3 allows.
func Config(t testing.TB) objectstore.Config {
	t.Helper()
	s, err := started()
	if err != nil {
		t.Fatal(err)
	}
	cfg := objectstore.Config{
		Endpoint: s.Endpoint(), Region: "us-east-1", Bucket: fmt.Sprintf("bucket-%d", numbered.Add(1)),
		AccessKey: accessKey, SecretKey: redact.New(secretKey), PathStyle: true, HTTP: dialer.HTTPClient(0),
		PartSize: objectstore.MinPartSize, MaxBackoff: 50 * time.Millisecond,
	}
	t.Cleanup(cfg.HTTP.CloseIdleConnections)
	if err := Open(t, cfg).Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Locked is Config of a bucket with Object Lock, which locks by itself what is written to it for some days, in the mode GOVERNANCE or
// COMPLIANCE; for 0 days nothing.
func Locked(t testing.TB, mode types.ObjectLockRetentionMode, days int32) objectstore.Config {
	t.Helper()
	cfg := Config(t)
	cfg.Bucket += "-locked"
	client := Client(cfg)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &cfg.Bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if days == 0 {
		return cfg
	}
	_, err := client.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &cfg.Bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled,
		Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: mode, Days: &days}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Client asks what no process of ours does, by the key of cfg.
func Client(cfg objectstore.Config) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &cfg.Endpoint, Region: cfg.Region, UsePathStyle: true, HTTPClient: cfg.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), ""),
	})
}

// As is cfg with the key of one process, which may do in the bucket what deploy/storage/ says, and nothing else.
func As(t testing.TB, cfg objectstore.Config, process string) objectstore.Config {
	t.Helper()
	policies := map[string]string{}
	for _, x := range Processes {
		text, err := os.ReadFile(atTop("deploy", "storage", x+".json"))
		if err != nil {
			t.Fatal(err)
		}
		policies[x] = string(text)
	}
	Allow(t, cfg, policies)
	return Key(cfg, process)
}

// Key is cfg with the key of one process.
func Key(cfg objectstore.Config, process string) objectstore.Config {
	cfg.AccessKey, cfg.SecretKey = user(process), redact.New(secretOf(process))
	return cfg
}

// Allow has the keys of processes do in the bucket what a policy of each says, in whose text it is called BUCKET, and nothing
// else; one that has none may do nothing.
func Allow(t testing.TB, cfg objectstore.Config, policies map[string]string) {
	t.Helper()
	root := cfg
	root.AccessKey, root.SecretKey = accessKey, redact.New(secretKey)
	client := Client(root)
	policy, err := bucketPolicy(cfg.Bucket, policies)
	if err != nil {
		t.Fatal(err)
	}
	if len(policies) == 0 {
		_, err = client.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &cfg.Bucket})
	} else {
		_, err = client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &cfg.Bucket, Policy: &policy})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// statement is one of a policy.
type statement map[string]any

// bucketPolicy makes one policy of a bucket from those of the processes' keys: the same statements, each with whom it is for.
// What it leaves out is two statements whose conditions the local server does not know: about overwriting, which it keeps by itself
// (internal/devtools/s3dev), and about how long copies of keys may be locked.
func bucketPolicy(bucket string, policies map[string]string) (string, error) {
	var all []statement
	for process, text := range policies {
		var own struct{ Statement []statement }
		if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "BUCKET", bucket)), &own); err != nil {
			return "", fmt.Errorf("policy of %s: %w", process, err)
		}
		for _, s := range own.Statement {
			if s["Sid"] == "OverwriteNothing" || s["Sid"] == "AndForNoLonger" {
				continue
			}
			delete(s, "Sid")
			s["Principal"] = map[string]string{"AWS": user(process)}
			all = append(all, s)
		}
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	return string(policy), err
}

// Open opens a bucket.
func Open(t testing.TB, cfg objectstore.Config) *objectstore.Bucket {
	t.Helper()
	b, err := objectstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
