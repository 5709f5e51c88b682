package objectstore_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/s3test"
)

func TestMain(m *testing.M) { os.Exit(s3test.Main(m)) }

const mib = 1 << 20

// small has the smallest parts that S3 takes.
func small(t *testing.T) objectstore.Config {
	cfg := s3test.Config(t)
	cfg.PartSize = 5 * mib
	return cfg
}

// behind puts a proxy in front of the store and returns the direct way and the way through it.
func behind(t *testing.T, cfg objectstore.Config) (direct, through *objectstore.Bucket, proxy *faultproxy.HTTP) {
	proxy, err := faultproxy.NewHTTP(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cfg.HTTP = &http.Client{Transport: &http.Transport{}} // of its own: a cut must not close a connection of others
	t.Cleanup(cfg.HTTP.CloseIdleConnections)
	direct = s3test.Open(t, cfg)
	cfg.Endpoint = proxy.URL
	return direct, s3test.Open(t, cfg), proxy
}

func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.RawQuery == "x-id=PutObject"
}

// random bytes, the same for the same seed.
func random(seed uint64, n int) []byte {
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = src.Read(b)
	return b
}

func fetch(t *testing.T, b *objectstore.Bucket, key string, off, n int64) []byte {
	t.Helper()
	r, err := b.OpenRange(context.Background(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read to its end
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// nothingPending fails where the store still knows of an upload that has not ended.
func nothingPending(t *testing.T, b *objectstore.Bucket) {
	t.Helper()
	open, err := b.OpenUploads(context.Background(), "")
	if err != nil || len(open) != 0 {
		t.Errorf("open uploads: %v, %v", open, err)
	}
}

func keys(t *testing.T, b *objectstore.Bucket) string {
	t.Helper()
	var all []string
	err := b.List(context.Background(), "", func(o objectstore.Object) error {
		all = append(all, o.Key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return strings.Join(all, " ")
}

func sameBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes that differ from the %d wanted", len(got), len(want))
	}
}
