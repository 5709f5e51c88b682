package herokuapi_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
)

// limited is a Heroku that answers each token as told, and a clock that the test sets forward.
type limited struct {
	*herokuapi.Client
	mu     sync.Mutex
	now    time.Time
	answer map[string]http.Header // by token; one with a status is a 429
	asked  map[string]int
	said   bytes.Buffer
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{now: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), answer: map[string]http.Header{}, asked: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		l.asked[token]++
		status := http.StatusOK
		for k, v := range l.answer[token] {
			if k == "Status" {
				status = http.StatusTooManyRequests
				continue
			}
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"email":"x"}`)
	}))
	t.Cleanup(s.Close)
	var err error
	l.Client, err = herokuapi.New(herokuapi.Config{
		APIURL: s.URL, IDURL: s.URL, HTTP: s.Client(), Log: slog.New(slog.NewTextHandler(&l.said, nil)), Now: func() time.Time { return l.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// next sets what a token is answered from now on: pairs of header and value.
func (l *limited) next(token string, pairs ...string) {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = []string{pairs[i+1]}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer[token] = h
}

// call makes a call and returns how long to wait where it was refused for the quota.
func call(t *testing.T, c *herokuapi.Client, token string) time.Duration {
	t.Helper()
	_, err := c.Account(t.Context(), redact.New(token))
	var e *herokuapi.Error
	if errors.As(err, &e) && errors.Is(err, herokuapi.ErrRateLimited) && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func TestNoCallBeforeRetryAfter(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"90": 90 * time.Second, "": time.Minute, "0": time.Minute, "-1": time.Minute, "999999": time.Minute, "x": time.Minute,
		"Fri, 01 May 2026 10:02:00 GMT": 2 * time.Minute,
	} {
		l := newLimited(t)
		l.next("a", "Status", "429", "Retry-After", header)
		if got := call(t, l.Client, "a"); got != want {
			t.Errorf("%q: %v", header, got)
		}
		l.next("a")
		l.now = l.now.Add(want - time.Second)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for _, c := range []*herokuapi.Client{l.Client, l.Patient()} {
					if got := call(t, c, "a"); got != time.Second {
						t.Errorf("%q: refused for %v", header, got)
					}
				}
			})
		}
		wg.Wait()
		if got := l.Wait(redact.New("a")); got != time.Second {
			t.Errorf("%q: %v", header, got)
		}
		// Another account has a quota of its own, and so has the token endpoint.
		if call(t, l.Client, "b") != 0 || l.Wait(redact.New("b")) != 0 {
			t.Error("another account is refused")
		}
		if _, err := l.Refresh(t.Context(), redact.New("r")); errors.Is(err, herokuapi.ErrRateLimited) {
			t.Error(err)
		}
		l.now = l.now.Add(time.Second)
		if got := call(t, l.Client, "a"); got != 0 {
			t.Errorf("%q: refused after the time for %v", header, got)
		}
		if want := map[string]int{"a": 2, "b": 1, "": 1}; !maps.Equal(l.asked, want) {
			t.Errorf("%q: asked %v", header, l.asked)
		}
	}
}

func TestTheReserveIsKeptForWhatCannotWait(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	checks := l.Patient()
	l.next("a", "Ratelimit-Remaining", "500")
	if call(t, checks, "a") != 0 || l.said.Len() != 0 {
		t.Error("refused at the reserve")
	}
	l.next("a", "Ratelimit-Remaining", "425")
	if call(t, checks, "a") != 0 {
		t.Error("the answer that says so is refused")
	}
	// 75 are missing, which is a minute; and one more.
	if got := call(t, checks, "a"); got != 2*time.Minute || checks.Wait(redact.New("a")) != got {
		t.Errorf("below the reserve: %v", got)
	}
	for range 3 {
		if call(t, l.Client, "a") != 0 || l.Wait(redact.New("a")) != 0 {
			t.Error("a run is refused")
		}
	}
	if got := l.said.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "remaining=425") || !strings.Contains(got, "reserve=500") {
		t.Errorf("said %q", got)
	}
	l.now = l.now.Add(2 * time.Minute)
	l.next("a", "Ratelimit-Remaining", "574")
	for range 2 {
		if call(t, checks, "a") != 0 {
			t.Error("refused with the reserve full again")
		}
	}
}
