package objectstore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/s3test"
)

// Of a bucket's lock a store says that it is on, off, or that the key may not ask; which none of its errors is.
func TestLock(t *testing.T) {
	t.Parallel()
	fourteen := objectstore.Lock{State: objectstore.LockOn, Mode: objectstore.LockCompliance, Days: 14}
	locked := s3test.Locked(t, types.ObjectLockRetentionModeCompliance, 14)
	missing := locked
	missing.Bucket = "nobodys"
	for name, c := range map[string]struct {
		cfg  objectstore.Config
		want objectstore.Lock
		err  bool
	}{
		"off":             {s3test.Config(t), objectstore.Lock{State: objectstore.LockOff}, false},
		"compliance":      {locked, fourteen, false},
		"governance":      {s3test.Locked(t, types.ObjectLockRetentionModeGovernance, 1), objectstore.Lock{State: objectstore.LockOn, Mode: objectstore.LockGovernance, Days: 1}, false},
		"locks nothing":   {s3test.Locked(t, "", 0), objectstore.Lock{State: objectstore.LockOn}, false},
		"the worker's":    {s3test.As(t, locked, "worker"), fourteen, false},
		"the deleter's":   {s3test.Key(locked, "deleter"), fourteen, false},
		"web's, may not":  {s3test.Key(locked, "web"), objectstore.Lock{State: objectstore.LockDenied}, false},
		"no such bucket":  {missing, objectstore.Lock{}, true},
		"another's store": {answers(t, 501, "NotImplemented", ""), objectstore.Lock{}, false},
		"refused":         {answers(t, 400, "InvalidRequest", ""), objectstore.Lock{}, false},
		"elsewhere":       {answers(t, 301, "PermanentRedirect", ""), objectstore.Lock{}, false},
		"another answer":  {answers(t, 200, "", "<ListBucketResult><Name>b</Name></ListBucketResult>"), objectstore.Lock{}, false},
		"a year":          {answers(t, 200, "", retention("<Mode>GOVERNANCE</Mode><Years>1</Years>")), objectstore.Lock{State: objectstore.LockOn, Mode: objectstore.LockGovernance, Days: 365}, false},
		"an odd mode":     {answers(t, 200, "", retention("<Mode>FOREVER</Mode><Days>3</Days>")), objectstore.Lock{State: objectstore.LockOn}, false},
		"too long":        {answers(t, 200, "", retention("<Mode>COMPLIANCE</Mode><Years>2000000000</Years>")), objectstore.Lock{State: objectstore.LockOn}, false},
		"busy":            {answers(t, 503, "SlowDown", ""), objectstore.Lock{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var outcomes []string
			c.cfg.Attempts, c.cfg.Backoff = 2, time.Millisecond
			c.cfg.Observe = func(op, outcome string, _ error) { outcomes = append(outcomes, op+" "+outcome) }
			got, err := s3test.Open(t, c.cfg).Lock(t.Context())
			if got != c.want || (err != nil) != c.err {
				t.Errorf("%+v %v", got, err)
			}
			if !c.err && !slices.Equal(outcomes, []string{"GetObjectLockConfiguration ok"}) { // it wakes nobody
				t.Error(outcomes)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s3test.Open(t, locked).Lock(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func retention(r string) string {
	return "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>" + r + "</DefaultRetention></Rule></ObjectLockConfiguration>"
}

// answers is the configuration of a store that always says the same.
func answers(t *testing.T, status int, code, body string) objectstore.Config {
	t.Helper()
	if body == "" {
		body = "<Error><Code>" + code + "</Code></Error>"
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	cfg := s3test.Config(t)
	cfg.Endpoint = s.URL
	return cfg
}

// written are the writes that pass to a store.
type written struct {
	next http.RoundTripper
	mu   sync.Mutex
	all  []*http.Request
}

func (w *written) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut {
		w.mu.Lock()
		w.all = append(w.all, r.Clone(context.WithoutCancel(r.Context())))
		w.mu.Unlock()
	}
	return w.next.RoundTrip(r)
}

// Everything that is written carries a checksum, which Amazon demands in a bucket that locks what is written to it
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html#object-lock-put-object); and names no lock, but
// what must be able to go, where it would be locked for longer.
func TestEveryWriteToALockedBucketHasAChecksum(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg   objectstore.Config
		names bool // a lock, for what must be able to go
	}{
		"locked":        {s3test.Locked(t, types.ObjectLockRetentionModeCompliance, 14), true},
		"not locked":    {s3test.Config(t), false},
		"locks nothing": {s3test.Locked(t, "", 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &written{next: c.cfg.HTTP.Transport}
			c.cfg.HTTP.Transport = w
			b := s3test.Open(t, c.cfg)
			if _, err := b.PutIfAbsent(t.Context(), "whole", []byte("x")); err != nil {
				t.Error(err)
			}
			if _, err := b.PutErasable(t.Context(), "erasable", []byte("x")); err != nil {
				t.Error(err)
			}
			for key, n := range map[string]int{"small": 10, "parts": 12 * mib} {
				u := b.Create(t.Context(), key)
				if _, err := u.Write(random(1, n)); err != nil {
					t.Error(err)
				}
				if _, err := u.Commit(); err != nil {
					t.Error(err)
				}
			}
			if len(w.all) != 6 {
				t.Errorf("%d writes", len(w.all))
			}
			for _, r := range w.all {
				if r.Header.Get("X-Amz-Checksum-Crc32") == "" {
					t.Errorf("%s has no checksum", r.URL)
				}
				if named := r.Header.Get("X-Amz-Object-Lock-Mode") != ""; named != (c.names && strings.HasSuffix(r.URL.Path, "/erasable")) {
					t.Errorf("%s names a lock: %v", r.URL, named)
				}
			}
			o, err := b.Head(t.Context(), "parts")
			if err != nil || (o.LockMode == objectstore.LockCompliance) != (name == "locked") || o.LockedUntil.IsZero() != (name != "locked") {
				t.Errorf("%+v %v", o, err)
			}
		})
	}
}

// alter is a way to a store on which an answer is another one.
type alter struct {
	next http.RoundTripper
	by   func(*http.Request, *http.Response)
}

func (a alter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	if err == nil {
		a.by(r, resp)
	}
	return resp, err
}

// A store that cannot answer what it locks can be written to all the same; one that is silent is asked again another time.
func TestNoUsefulWordOfALock(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]struct {
		status int
		body   string
	}{"broken": {500, ""}, "a page": {200, "<html><br></html>"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := s3test.Config(t)
			cfg.Attempts, cfg.Backoff = 2, time.Millisecond
			cfg.HTTP.Transport = alter{cfg.HTTP.Transport, func(r *http.Request, resp *http.Response) {
				if r.URL.Query().Has("object-lock") {
					_ = resp.Body.Close()
					resp.StatusCode, resp.Body, resp.ContentLength = says.status, io.NopCloser(strings.NewReader(says.body)), int64(len(says.body))
				}
			}}
			b := s3test.Open(t, cfg)
			if lock, err := b.Lock(t.Context()); err == nil {
				t.Errorf("%+v", lock)
			}
			if _, err := b.PutErasable(t.Context(), "erasable", []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	silent := s3test.Config(t)
	silent.Endpoint, silent.Attempts = "http://127.0.0.1:1", 1
	if _, err := s3test.Open(t, silent).PutErasable(t.Context(), "erasable", []byte("x")); err == nil {
		t.Error("written to a store that is not there")
	}
}

// A time that cannot be written down is none.
func TestALockForAges(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]bool{
		"9999-12-31T23:59:59Z": true, "9999-12-31T23:59:59-12:00": false, "0000-01-01T00:00:00+12:00": false, "1970-01-01T00:00:00Z": true,
	} {
		cfg := s3test.Config(t)
		cfg.HTTP.Transport = alter{cfg.HTTP.Transport, func(r *http.Request, resp *http.Response) {
			if r.Method == http.MethodHead {
				resp.Header.Set("X-Amz-Object-Lock-Mode", objectstore.LockCompliance)
				resp.Header.Set("X-Amz-Object-Lock-Retain-Until-Date", said)
			}
		}}
		b := s3test.Open(t, cfg)
		if _, err := b.PutIfAbsent(t.Context(), "x", []byte("x")); err != nil {
			t.Fatal(err)
		}
		o, err := b.Head(t.Context(), "x")
		if err != nil || (o.LockMode != "") != want || o.LockedUntil.IsZero() == want {
			t.Errorf("%s: %+v %v", said, o, err)
		}
	}
}
