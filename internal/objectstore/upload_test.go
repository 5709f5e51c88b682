package objectstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/s3test"
)

func TestUploadsOfEverySizeComeBack(t *testing.T) {
	t.Parallel()
	b := s3test.Open(t, small(t))
	for name, size := range map[string]int{
		"empty": 0, "one byte": 1, "small": 600 << 10, "a part": 5 * mib, "a part and a byte": 5*mib + 1,
		"two parts": 10 * mib, "parts and a rest": 23*mib + 77,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := random(1, size)
			u := b.Create(t.Context(), name)
			if _, err := io.CopyBuffer(u, io.MultiReader(bytes.NewReader(want)), make([]byte, 100_001)); err != nil {
				t.Fatal(err)
			}
			o, err := u.Commit()
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(want); o.Size != int64(size) || !bytes.Equal(o.SHA256, sum[:]) {
				t.Errorf("wrote %d bytes, told of %d", size, o.Size)
			}
			sameBytes(t, fetch(t, b, name, 0, int64(size)), want)
			if err := u.Abort(); err != nil {
				t.Errorf("abort after commit: %v", err)
			}
			if h, err := b.Head(t.Context(), name); err != nil || h.Size != int64(size) {
				t.Errorf("after abort: %+v, %v", h, err)
			}
		})
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *objectstore.Upload, context.CancelFunc){
		"between parts":  func(*testing.T, *objectstore.Upload, context.CancelFunc) {},
		"after a cancel": func(_ *testing.T, _ *objectstore.Upload, cancel context.CancelFunc) { cancel() },
		"after finishing": func(t *testing.T, u *objectstore.Upload, _ context.CancelFunc) {
			if err := u.Finish(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := s3test.Open(t, small(t))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			u := b.Create(ctx, "k")
			if _, err := u.Write(random(2, 17*mib)); err != nil {
				t.Fatal(err)
			}
			end(t, u, cancel)
			for range 2 {
				if err := u.Abort(); err != nil {
					t.Fatal(err)
				}
			}
			nothingPending(t, b)
			if got := keys(t, b); got != "" {
				t.Errorf("the bucket holds %s", got)
			}
			if _, err := u.Write([]byte("x")); err == nil {
				t.Error("an aborted upload takes bytes")
			}
			if _, err := u.Commit(); err == nil {
				t.Error("an aborted upload can be committed")
			}
		})
	}
}

func TestAbortWhileAPartIsOnItsWay(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.Grace = 20 * time.Millisecond
	direct, b, proxy := behind(t, cfg)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	proxy.Add(faultproxy.Rule{Match: isPart, Do: faultproxy.Hold(arrived, release)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := b.Create(ctx, "k")
	if _, err := u.Write(random(3, 10*mib)); err != nil { // two parts
		t.Fatal(err)
	}
	<-arrived
	cancel()
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	close(release)
	nothingPending(t, direct)
}

// A store that takes its time to open an upload would list it only after Abort had looked.
func TestAbortWhileTheUploadIsOpened(t *testing.T) {
	t.Parallel()
	direct, b, proxy := behind(t, small(t))
	arrived, ended, opened := make(chan struct{}), make(chan struct{}), make(chan struct{})
	proxy.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploads") }, Times: 1,
		Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			defer close(opened)
			close(arrived)
			select {
			case <-r.Context().Done(): // nobody waits for it
				<-ended
			case <-time.After(300 * time.Millisecond):
			}
			next.ServeHTTP(w, r.WithContext(t.Context()))
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	u := b.Create(ctx, "k")
	if _, err := u.Write(random(3, 6*mib)); err != nil {
		t.Fatal(err)
	}
	<-arrived
	cancel()
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	close(ended)
	<-opened
	nothingPending(t, direct)
}

func TestAPartIsSentAgain(t *testing.T) {
	t.Parallel()
	const internal = `<Error><Code>InternalError</Code><Message>m</Message></Error>`
	for name, fault := range map[string]faultproxy.Fault{
		"refused":        faultproxy.Answer(503, `<Error><Code>SlowDown</Code></Error>`),
		"failed":         faultproxy.Answer(500, internal),
		"cut on its way": faultproxy.Cut(1 * mib),
		"answer lost":    faultproxy.DropReply(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, b, proxy := behind(t, small(t))
			proxy.Add(faultproxy.Rule{Match: isPart, Skip: 1, Times: 2, Do: fault})
			want := random(4, 21*mib)
			u := b.Create(t.Context(), "k")
			if _, err := u.Write(want); err != nil {
				t.Fatal(err)
			}
			if _, err := u.Commit(); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, fetch(t, direct, "k", 0, int64(len(want))), want)
			nothingPending(t, direct)
		})
	}
}

func TestAPartThatNeverArrivesFailsTheUpload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault faultproxy.Fault
		want  error
	}{
		"cut":       {faultproxy.Cut(100), nil},
		"full":      {faultproxy.Answer(507, `<Error><Code>InsufficientStorage</Code></Error>`), objectstore.ErrFull},
		"quota":     {faultproxy.Answer(403, `<Error><Code>QuotaExceeded</Code></Error>`), objectstore.ErrFull},
		"forbidden": {faultproxy.Answer(403, `<Error><Code>AccessDenied</Code></Error>`), objectstore.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, b, proxy := behind(t, small(t))
			proxy.Add(faultproxy.Rule{Match: isPart, Skip: 1, Do: c.fault})
			u := b.Create(t.Context(), "k")
			_, err := u.Write(random(5, 40*mib))
			if err == nil {
				_, err = u.Commit()
			}
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) || errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err := u.Abort(); err != nil {
				t.Error(err)
			}
			nothingPending(t, direct)
			if got := keys(t, direct); got != "" {
				t.Errorf("the bucket holds %s", got)
			}
		})
	}
}

func TestTheEndOfAnUploadIsKnown(t *testing.T) {
	t.Parallel()
	const failed = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>m</Message></Error>`
	for name, rule := range map[string]faultproxy.Rule{
		"answer lost":            {Times: 1, Do: faultproxy.DropReply()},
		"every answer lost":      {Do: faultproxy.DropReply()},
		"failed with status 200": {Times: 1, Do: faultproxy.Answer(200, failed)},
		"failed":                 {Times: 2, Do: faultproxy.Answer(500, failed)},
	} {
		for size, match := range map[int]struct {
			name  string
			match faultproxy.Rule
		}{
			12 * mib: {"parts", faultproxy.Rule{Match: isComplete}},
			1 * mib:  {"one", faultproxy.Rule{Match: isPut}},
		} {
			t.Run(name+" "+match.name, func(t *testing.T) {
				t.Parallel()
				if size == 1*mib && name == "failed with status 200" {
					return // a PUT has no such answer
				}
				direct, b, proxy := behind(t, small(t))
				rule := rule
				rule.Match = match.match.Match
				proxy.Add(rule)
				want := random(6, size)
				u := b.Create(t.Context(), "k")
				if _, err := u.Write(want); err != nil {
					t.Fatal(err)
				}
				if _, err := u.Commit(); err != nil {
					t.Fatal(err)
				}
				sameBytes(t, fetch(t, direct, "k", 0, int64(size)), want)
				nothingPending(t, direct)
			})
		}
	}
}

func TestAnUploadThatCannotEndIsNoObject(t *testing.T) {
	t.Parallel()
	direct, b, proxy := behind(t, small(t))
	proxy.Add(faultproxy.Rule{Match: isComplete, Do: faultproxy.Answer(500, `<Error><Code>InternalError</Code></Error>`)})
	u := b.Create(t.Context(), "k")
	if _, err := u.Write(random(7, 11*mib)); err != nil {
		t.Fatal(err)
	}
	if o, err := u.Commit(); err == nil {
		t.Fatalf("committed %+v", o)
	}
	if err := u.Abort(); err != nil {
		t.Fatal(err)
	}
	nothingPending(t, direct)
	if got := keys(t, direct); got != "" {
		t.Errorf("the bucket holds %s", got)
	}
}

func TestOneWriterWins(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"one part": 1000, "parts": 6 * mib} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(t)
			b := s3test.Open(t, cfg)
			body := random(8, size) // the same for all: a checksum cannot tell them apart
			const writers = 32
			won, errs := make(chan int, writers), make(chan error, writers)
			var ready, all sync.WaitGroup
			ready.Add(writers)
			for i := range writers {
				all.Go(func() {
					u := b.Create(t.Context(), "k")
					_, err := u.Write(body)
					if err == nil {
						err = u.Finish()
					}
					ready.Done()
					if err == nil {
						ready.Wait()
						_, err = u.Commit()
					}
					switch {
					case err == nil:
						won <- i
					case !errors.Is(err, objectstore.ErrExists):
						errs <- err
					}
					if err := u.Abort(); err != nil && i < 0 {
						errs <- err
					}
				})
			}
			all.Wait()
			close(errs)
			for err := range errs {
				t.Error(err)
			}
			if len(won) != 1 {
				t.Errorf("%d of %d writers won", len(won), writers)
			}
			sameBytes(t, fetch(t, b, "k", 0, int64(size)), body)
		})
	}
}

func TestAnObjectHasNoMorePartsThanItMay(t *testing.T) {
	t.Parallel()
	cfg := small(t)
	cfg.MaxParts = 2
	b := s3test.Open(t, cfg)
	u := b.Create(t.Context(), "k")
	if u.Room() != 10*mib || b.MaxObject() != 10*mib {
		t.Fatalf("room for %d bytes", u.Room())
	}
	if _, err := u.Write(random(9, 10*mib)); err != nil {
		t.Fatal(err)
	}
	if u.Room() != 0 {
		t.Errorf("room for %d bytes more", u.Room())
	}
	if _, err := u.Write([]byte("x")); !errors.Is(err, objectstore.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if o, err := u.Commit(); err != nil || o.Size != 10*mib {
		t.Errorf("committed %d bytes: %v", o.Size, err)
	}
}

// Not parallel: it counts the whole process's allocations.
func TestMemoryDoesNotGrowWithTheObject(t *testing.T) { //nolint:paralleltest // see above
	cfg := small(t)
	b := s3test.Open(t, cfg)
	piece := random(10, 1*mib)
	write := func(key string, mibs int) (allocated uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		u := b.Create(t.Context(), key)
		for range mibs {
			if _, err := u.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := u.Commit(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	write("warm", 30)
	small, large := write("small", 30), write("large", 200)
	// Each part costs what the SDK and net/http allocate for a request, which is far below a part.
	if parts := uint64(200-30) / 5; large > small+parts*mib/2 {
		t.Errorf("30 MiB allocate %d bytes, 200 MiB allocate %d", small, large)
	}
}
