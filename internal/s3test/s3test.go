// Package s3test gives each test a bucket of its own on a real S3 server, which is started once per test
// process and ends with it.
package s3test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	_, file, _, _ := runtime.Caller(0)
	s, err := locals3.Start(filepath.Join(filepath.Dir(file), "..", "..", "bin", "s3dev"), dir, accessKey, secretKey)
	return running{s, dir}, err
})

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

// Open opens a bucket.
func Open(t testing.TB, cfg objectstore.Config) *objectstore.Bucket {
	t.Helper()
	b, err := objectstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
