package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/s3test"
)

func TestObjects(t *testing.T) {
	t.Parallel()
	b := s3test.Open(t, s3test.Config(t))
	ctx := t.Context()
	if _, err := b.Head(ctx, "a/1"); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("head of nothing: %v", err)
	}
	if _, err := b.OpenRange(ctx, "a/1", 0, 1); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("read of nothing: %v", err)
	}
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		if _, err := b.PutIfAbsent(ctx, key, []byte("body of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PutIfAbsent(ctx, "a/1", []byte("another")); !errors.Is(err, objectstore.ErrExists) {
		t.Errorf("second put: %v", err)
	}
	if got := string(fetch(t, b, "a/1", 5, 3)); got != "of " {
		t.Errorf("range: %q", got)
	}
	var listed []string
	err := b.List(ctx, "a/", func(o objectstore.Object) error {
		listed = append(listed, fmt.Sprint(o.Key, " ", o.Size, " ", time.Since(o.Modified) < time.Hour))
		return nil
	})
	if got := strings.Join(listed, ","); err != nil || got != "a/1 11 true,a/2 11 true" {
		t.Errorf("list: %q, %v", got, err)
	}
	stop := errors.New("stop")
	if err := b.List(ctx, "", func(objectstore.Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("list: %v", err)
	}
	for range 2 {
		if err := b.Delete(ctx, "a/1"); err != nil {
			t.Error(err)
		}
	}
	if got := keys(t, b); got != "a/2 b/1" {
		t.Errorf("left: %s", got)
	}
}

func TestListingsOfManyPages(t *testing.T) {
	t.Parallel()
	b := s3test.Open(t, s3test.Config(t))
	const many = 1003
	for i := range many {
		if _, err := b.PutIfAbsent(t.Context(), fmt.Sprintf("k%04d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(strings.Fields(keys(t, b))); got != many {
		t.Errorf("listed %d of %d", got, many)
	}
}

func TestPendingUploadsAreFoundAndAborted(t *testing.T) {
	t.Parallel()
	b := s3test.Open(t, small(t))
	for _, key := range []string{"r/1/x", "r/2/x"} {
		u := b.Create(t.Context(), key)
		if _, err := u.Write(random(11, 11*mib)); err != nil {
			t.Fatal(err)
		}
		if err := u.Finish(); err != nil {
			t.Fatal(err)
		} // and its process dies here
	}
	open, err := b.OpenUploads(t.Context(), "r/1/")
	if err != nil || len(open) != 1 || open[0].Key != "r/1/x" || time.Since(open[0].Started) > time.Hour {
		t.Fatalf("found %+v: %v", open, err)
	}
	for range 2 {
		if err := b.AbortUpload(t.Context(), open[0]); err != nil {
			t.Error(err)
		}
	}
	if open, err := b.OpenUploads(t.Context(), ""); err != nil || len(open) != 1 {
		t.Errorf("left %+v: %v", open, err)
	}
}

func TestADownloadSurvivesBreaks(t *testing.T) {
	t.Parallel()
	direct, b, proxy := behind(t, small(t))
	want := random(12, 3*mib)
	if _, err := direct.PutIfAbsent(t.Context(), "k", want); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{Match: isGet, Times: 3, Do: faultproxy.CutReply(700_000)})
	sameBytes(t, fetch(t, b, "k", 10, int64(len(want))-20), want[10:len(want)-10])
}

func isGet(r *http.Request) bool { return r.Method == http.MethodGet }

// A server may ignore a range. What it sends then is not taken for what was asked for, nor for damage or for silence.
func TestAStoreWithoutRanges(t *testing.T) {
	t.Parallel()
	direct, b, proxy := behind(t, small(t))
	want := random(15, mib)
	if _, err := direct.PutIfAbsent(t.Context(), "k", want); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{Match: isGet, Do: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", strconv.Itoa(len(want)))
		if r.Header.Get("Range") == fmt.Sprintf("bytes=0-%d", mib-2) {
			_, _ = w.Write(want[:700_000])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(want)
	}})
	sameBytes(t, fetch(t, b, "k", 0, mib), want) // from the start on it is the same
	_, err := b.OpenRange(t.Context(), "k", 10, 20)
	var refused *objectstore.Error
	if !errors.Is(err, objectstore.ErrRange) || errors.Is(err, objectstore.ErrMismatch) || !errors.As(err, &refused) || refused.Status == 0 {
		t.Errorf("got %v", err)
	}
	broken, err := b.OpenRange(t.Context(), "k", 0, mib-1)
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close() //nolint:errcheck // broken on purpose
	if _, err := io.Copy(io.Discard, broken); !errors.Is(err, objectstore.ErrRange) {
		t.Errorf("the rest of it: %v", err)
	}
}

func TestADownloadNeverMixesTwoObjects(t *testing.T) {
	t.Parallel()
	direct, b, proxy := behind(t, small(t))
	if _, err := direct.PutIfAbsent(t.Context(), "k", random(13, 2*mib)); err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{Match: isGet, Times: 1, Do: faultproxy.CutReply(mib)})
	r, err := b.OpenRange(t.Context(), "k", 0, 2*mib)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // broken on purpose
	if err := direct.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.PutIfAbsent(t.Context(), "k", random(14, 2*mib)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for err == nil {
		_, err = r.Read(buf)
	}
	if !errors.Is(err, objectstore.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	cfg.Attempts = 2
	b := s3test.Open(t, cfg)
	if err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingPending(t, b)
	if got := keys(t, b); got != "" {
		t.Errorf("left %s", got)
	}
	absent, wrong, away := cfg, cfg, cfg
	absent.Bucket = "no-such-bucket"
	wrong.SecretKey = redact.New("canary-secret")
	away.Endpoint = "http://127.0.0.1:1"
	for _, c := range []objectstore.Config{absent, wrong, away} {
		err := s3test.Open(t, c).Probe(t.Context())
		if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "X-Amz") {
			t.Errorf("probe: %v", err)
		}
		t.Log(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Probe(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("probe: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := objectstore.Config{Endpoint: "https://s3.example.com", Bucket: "b", AccessKey: "a", SecretKey: redact.New("s"), HTTP: http.DefaultClient}
	if b, err := objectstore.New(good); err != nil {
		t.Fatal(err)
	} else if b.MaxObject() != 10_000*5*mib {
		t.Errorf("default: %d", b.MaxObject())
	}
	for name, change := range map[string]func(*objectstore.Config){
		"no endpoint":   func(c *objectstore.Config) { c.Endpoint = "" },
		"no TLS":        func(c *objectstore.Config) { c.Endpoint = "http://s3.example.com" },
		"user":          func(c *objectstore.Config) { c.Endpoint = "https://canary@s3.example.com" },
		"path":          func(c *objectstore.Config) { c.Endpoint = "https://s3.example.com/bucket" },
		"no bucket":     func(c *objectstore.Config) { c.Bucket = "" },
		"no key":        func(c *objectstore.Config) { c.AccessKey = "" },
		"no secret":     func(c *objectstore.Config) { c.SecretKey = redact.Secret{} },
		"no client":     func(c *objectstore.Config) { c.HTTP = nil },
		"tiny parts":    func(c *objectstore.Config) { c.PartSize = 1 },
		"too many":      func(c *objectstore.Config) { c.MaxParts = 10_001 },
		"no attempts":   func(c *objectstore.Config) { c.Attempts = -1 },
		"no concurrent": func(c *objectstore.Config) { c.Concurrency = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := objectstore.New(cfg); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever runs the service sees what becomes of requests, by a few words.
func TestRequestsAreObserved(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	cfg.Attempts = 2
	seen := map[string]int{}
	cfg.Observe = func(op, outcome string, _ error) {
		if !slices.Contains(objectstore.Operations(), op) || !slices.Contains(objectstore.Outcomes(), outcome) {
			t.Errorf("%s %q", op, outcome)
		}
		seen[op+" "+outcome]++
	}
	wrong, away := cfg, cfg
	wrong.SecretKey, away.Endpoint = redact.New("wrong"), "http://127.0.0.1:1"
	good := s3test.Open(t, cfg)
	_, _ = good.Head(t.Context(), "r/nothing") // an answer
	_, _ = good.PutIfAbsent(t.Context(), "r/one", []byte("x"))
	_ = s3test.Open(t, wrong).Reach(t.Context(), "r/")
	_ = s3test.Open(t, away).Reach(t.Context(), "r/")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = good.Reach(ended, "r/")
	for what, n := range map[string]int{"HeadObject ok": 1, "PutObject ok": 1, "ListObjectsV2 denied": 1, "ListObjectsV2 silent": 2, "ListObjectsV2 canceled": 1} {
		if seen[what] < n {
			t.Errorf("%s: %d of %d in %v", what, seen[what], n, seen)
		}
	}
}
