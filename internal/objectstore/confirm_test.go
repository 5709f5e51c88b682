package objectstore_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
)

// answering lets the server write, and puts another checksum into its answer.
func answering(crc string) faultproxy.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("X-Amz-Checksum-Crc32")
		if crc != "" {
			w.Header().Set("X-Amz-Checksum-Crc32", crc)
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}
}

// An answer that has the checksum of what was written confirms it. One that has none, or another, does not: then the
// store is asked what it holds.
func TestAnAnswerConfirms(t *testing.T) {
	t.Parallel()
	body := []byte("what is written")
	for name, c := range map[string]struct {
		crc   string
		heads int32
	}{"its checksum": {"ZDewnA==", 0}, "no checksum": {"", 1}, "another": {"AAAAAA==", 1}} {
		direct, through, proxy := behind(t, small(t))
		var heads atomic.Int32
		proxy.Add(faultproxy.Rule{Match: isPut, Do: answering(c.crc)})
		proxy.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return r.Method == http.MethodHead }, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			heads.Add(1)
			next.ServeHTTP(w, r)
		}})
		if _, err := through.PutIfAbsent(t.Context(), "k", body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if heads.Load() != c.heads {
			t.Errorf("%s: asked %d times", name, heads.Load())
		}
		sameBytes(t, fetch(t, direct, "k", 0, int64(len(body))), body)
	}
}

// A store that says nothing of what it took, and took something else, is found out.
func TestWhatIsHeldIsComparedWhereTheAnswerSaysNothing(t *testing.T) {
	t.Parallel()
	_, through, proxy := behind(t, small(t))
	proxy.Add(faultproxy.Rule{Match: isPut, Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		other := r.Clone(r.Context())
		other.Body, other.ContentLength = http.NoBody, 0
		other.Header.Set("Content-Length", "0")
		other.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
		next.ServeHTTP(httptest.NewRecorder(), other)
		w.WriteHeader(http.StatusOK)
	}})
	if _, err := through.PutIfAbsent(t.Context(), "k", bytes.Repeat([]byte("x"), 100)); !errors.Is(err, objectstore.ErrMismatch) && !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
