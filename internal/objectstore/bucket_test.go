package objectstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/s3test"
)

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestUploadsOfEverySize(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	b := s3test.Open(t, cfg)
	for _, size := range []int{0, 1, cfg.PartSize - 1, cfg.PartSize, cfg.PartSize + 1, 3*cfg.PartSize + 7} {
		in := noise(size)
		u := b.Create(t.Context(), "o/"+string(rune('a'+size%23)))
		if _, err := io.Copy(u, bytes.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		o, err := u.Commit()
		if err != nil {
			t.Fatal(size, err)
		}
		if want := sha256.Sum256(in); o.Size != int64(size) || !bytes.Equal(o.SHA256, want[:]) {
			t.Errorf("%+v", o)
		}
		if got, err := b.Get(t.Context(), o.Key, 1<<30); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%d bytes came back as %d: %v", size, len(got), err)
		}
		if size > 10 {
			r, err := b.OpenRange(t.Context(), o.Key, 3, 5)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, in[3:8]) {
				t.Error(got, err)
			}
			_ = r.Close()
		}
		if err := u.Abort(); err != nil {
			t.Error(err)
		}
		if err := b.Delete(t.Context(), o.Key); err != nil {
			t.Error(err)
		}
		if _, err := b.Head(t.Context(), o.Key); !errors.Is(err, objectstore.ErrNotFound) {
			t.Error(err)
		}
	}
	nothingOpen(t, b)
}

func nothingOpen(t *testing.T, b *objectstore.Bucket) {
	t.Helper()
	if open, err := b.OpenUploads(context.Background(), ""); err != nil || len(open) != 0 {
		t.Errorf("open uploads: %v %v", open, err)
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	b := s3test.Open(t, cfg)
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := noise(cfg.PartSize + 10)
			in[0] = byte(i)
			u := b.Create(t.Context(), "same")
			if _, err := u.Write(in); err != nil {
				t.Error(err)
				return
			}
			switch _, err := u.Commit(); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, objectstore.ErrExists) || errors.Is(err, objectstore.ErrMismatch):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
	if _, err := b.PutIfAbsent(t.Context(), "same", []byte("x")); !errors.Is(err, objectstore.ErrExists) {
		t.Error(err)
	}
	nothingOpen(t, b)
}

// faulty stands between the client and the server.
type faulty struct {
	next  http.RoundTripper
	fault func(*http.Request) (*http.Response, error) // nil, nil lets it pass
	after func(*http.Request) error                   // the answer is dropped where it returns an error
}

func (f faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.fault != nil {
		if resp, err := f.fault(r); resp != nil || err != nil {
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
			}
			return resp, err
		}
	}
	resp, err := f.next.RoundTrip(r)
	if err == nil && f.after != nil {
		if lost := f.after(r); lost != nil {
			_ = resp.Body.Close()
			return nil, lost
		}
	}
	return resp, err
}

func withFault(t *testing.T, f faulty) (*objectstore.Bucket, objectstore.Config) {
	t.Helper()
	cfg := s3test.Config(t)
	f.next = cfg.HTTP.Transport
	cfg.HTTP = &http.Client{Transport: f}
	return s3test.Open(t, cfg), cfg
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func unavailable(r *http.Request) *http.Response {
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Slow Down", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
}

func TestAPartThatFailsOnceIsSentAgain(t *testing.T) {
	t.Parallel()
	var failed atomic.Int32
	b, cfg := withFault(t, faulty{fault: func(r *http.Request) (*http.Response, error) {
		if isPart(r) && failed.Add(1) == 2 {
			return unavailable(r), nil
		}
		return nil, nil //nolint:nilnil // lets it pass
	}})
	in := noise(3 * cfg.PartSize)
	u := b.Create(t.Context(), "k")
	if _, err := u.Write(in); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "k", 1<<30); err != nil || !bytes.Equal(got, in) {
		t.Error(err)
	}
}

func TestAPartThatKeepsFailingLeavesNothing(t *testing.T) {
	t.Parallel()
	b, cfg := withFault(t, faulty{fault: func(r *http.Request) (*http.Response, error) {
		if isPart(r) && r.URL.Query().Get("partNumber") == "2" {
			return nil, errors.New("connection reset")
		}
		return nil, nil //nolint:nilnil // lets it pass
	}})
	u := b.Create(t.Context(), "k")
	_, err := u.Write(noise(4 * cfg.PartSize))
	if err == nil {
		_, err = u.Commit()
	}
	if err == nil {
		t.Fatal("no error")
	}
	if err := u.Abort(); err != nil {
		t.Error(err)
	}
	nothingOpen(t, b)
	if _, err := b.Head(t.Context(), "k"); !errors.Is(err, objectstore.ErrNotFound) {
		t.Error(err)
	}
}

// The store completed the upload and its answer was lost: there is an object, and it is known to be ours.
func TestALostAnswerToCompleteIsASuccess(t *testing.T) {
	t.Parallel()
	b, cfg := withFault(t, faulty{after: func(r *http.Request) error {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			return errors.New("connection reset")
		}
		return nil
	}})
	u := b.Create(t.Context(), "k")
	if _, err := u.Write(noise(2 * cfg.PartSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(); err != nil {
		t.Error(err)
	}
	nothingOpen(t, b)
}

func TestAbortAfterCancelLeavesNothing(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	b := s3test.Open(t, cfg)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		u := b.Create(ctx, "k")
		if _, err := u.Write(noise(2*cfg.PartSize + 1)); err != nil {
			t.Fatal(err)
		}
		cancel() // with parts in flight
		if err := u.Abort(); err != nil {
			t.Error(err)
		}
	}
	nothingOpen(t, b)
}

func TestTheJanitorsListAndAbort(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	b := s3test.Open(t, cfg)
	u := b.Create(t.Context(), "r/1/left")
	if _, err := u.Write(noise(cfg.PartSize)); err != nil {
		t.Fatal(err)
	}
	if err := u.Finish(); err != nil {
		t.Fatal(err)
	}
	open, err := b.OpenUploads(t.Context(), "r/")
	if err != nil || len(open) != 1 || open[0].Key != "r/1/left" || open[0].Started.IsZero() {
		t.Fatal(open, err)
	}
	if err := errors.Join(b.AbortUpload(t.Context(), open[0]), b.AbortUpload(t.Context(), open[0])); err != nil {
		t.Error(err)
	}
	nothingOpen(t, b)
	_ = u.Abort()
}

func TestWrongKeysAndMissingBuckets(t *testing.T) {
	t.Parallel()
	cfg := s3test.Config(t)
	if err := s3test.Open(t, cfg).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := cfg
	wrong.SecretKey = redact.New("wrong")
	if err := s3test.Open(t, wrong).Probe(t.Context()); !errors.Is(err, objectstore.ErrDenied) {
		t.Error(err)
	}
	cfg.Bucket = "missing-bucket"
	var e *objectstore.Error
	if err := s3test.Open(t, cfg).Probe(t.Context()); !errors.As(err, &e) || e.Code != "NoSuchBucket" {
		t.Error(err)
	}
}
