package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/logtest"
)

// lines is what was logged, as JSON.
type lines struct{ logtest.Buffer }

func (l *lines) find(t *testing.T, msg string) map[string]any {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == msg {
			return m
		}
	}
	t.Fatalf("no line %q in: %s", msg, l.String())
	return nil
}

type running struct {
	*httpserver.Server
	url  string
	log  *lines
	stop context.CancelFunc
	end  chan error
}

// run serves on a free port until the test's end, or until it stops it.
func run(t *testing.T, cfg httpserver.Config, routes func(*httpserver.Server)) *running {
	t.Helper()
	r := &running{log: &lines{}, end: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewJSONHandler(r.log, nil))
	r.Server = httpserver.New(cfg)
	if routes != nil {
		routes(r.Server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.end <- r.Run(ctx, l); close(r.end) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
	})
	return r
}

func ask(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return ask(t, req)
}

func TestEveryAnswerIsNamedAndGuarded(t *testing.T) {
	t.Parallel()
	r := run(t, httpserver.Config{}, func(s *httpserver.Server) {
		s.Mux().Get("/things/{id}", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, httpserver.RequestID(r.Context()))
		})
	})
	for header, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
		"Strict-Transport-Security":    "max-age=63072000; includeSubDomains",
	} {
		for _, path := range []string{"/things/1", "/healthz", "/nowhere"} {
			if resp, _ := get(t, r.url+path); resp.Header.Get(header) != want {
				t.Errorf("%s: %s is %q", path, header, resp.Header.Get(header))
			}
		}
	}
	given := "8f7a2b1c-0000-4000-8000-000000000001"
	if resp, body := get(t, r.url+"/things/1", "X-Request-ID", given); body != given || resp.Header.Get("X-Request-ID") != given {
		t.Errorf("Heroku's name of the request is lost: %q", body)
	}
	for _, bad := range []string{"", "short", strings.Repeat("a", 65), "8f7a2b1c-0000-4000-8000-00000000000 <script>"} {
		if _, body := get(t, r.url+"/things/1", "X-Request-ID", bad); body == bad || len(body) != 36 {
			t.Errorf("%q became %q", bad, body)
		}
	}
	line := r.log.find(t, "request")
	for _, key := range []string{"request_id", "method", "route", "status", "bytes", "duration"} {
		if _, ok := line[key]; !ok {
			t.Errorf("the line about a request has no %s: %v", key, line)
		}
	}
}

func TestPathsStayOutOfLogAndMetrics(t *testing.T) {
	t.Parallel()
	r := run(t, httpserver.Config{MetricsToken: "let-me"}, func(s *httpserver.Server) {
		s.Mux().Get("/d/{token}", func(http.ResponseWriter, *http.Request) {})
	})
	const token = "c4nary-t0ken"
	get(t, r.url+"/d/"+token+"?also="+token)
	get(t, r.url+"/nowhere/"+token)
	_, metrics := get(t, r.url+"/metrics", "Authorization", "Bearer let-me")
	if !strings.Contains(metrics, `route="/d/{token}"`) || !strings.Contains(metrics, `route="none"`) {
		t.Error(metrics)
	}
	if strings.Contains(metrics+r.log.String(), token) {
		t.Error("a token is in the log or the metrics")
	}
}

func TestMetricsAreForTheOperator(t *testing.T) {
	t.Parallel()
	closed := run(t, httpserver.Config{}, nil)
	if resp, _ := get(t, closed.url+"/metrics", "Authorization", "Bearer "); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without a token set: %s", resp.Status)
	}
	open := run(t, httpserver.Config{MetricsToken: "let-me", Metrics: prometheus.NewRegistry()}, nil)
	for auth, want := range map[string]int{
		"": http.StatusNotFound, "let-me": http.StatusNotFound, "Bearer let-m": http.StatusNotFound, "Bearer let-me": http.StatusOK,
	} {
		if resp, _ := get(t, open.url+"/metrics", "Authorization", auth); resp.StatusCode != want {
			t.Errorf("%q: %s", auth, resp.Status)
		}
	}
	if resp, _ := get(t, open.url+"/debug/pprof/"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("pprof: %s", resp.Status)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	r := run(t, httpserver.Config{Ready: func(context.Context) error { return errors.New("the database said: secret words") }}, nil)
	if resp, _ := get(t, r.url+"/healthz"); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	if resp, body := get(t, r.url+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
		t.Error(resp.Status, body)
	}
	r.log.find(t, "not ready")
}

func TestPanicIsOneAnswerAndNotTheEnd(t *testing.T) {
	t.Parallel()
	r := run(t, httpserver.Config{}, func(s *httpserver.Server) {
		s.Mux().Get("/boom", func(http.ResponseWriter, *http.Request) { panic("inner words") })
	})
	resp, body := get(t, r.url+"/boom")
	if id := resp.Header.Get("X-Request-ID"); resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, id) || strings.Contains(body, "inner") {
		t.Error(resp.Status, body)
	}
	if line := r.log.find(t, "handler panicked"); line["stack"] == nil || line["request_id"] == nil {
		t.Error(line)
	}
	if line := r.log.find(t, "request"); line["status"] != 500.0 {
		t.Error(line)
	}
	if resp, _ := get(t, r.url+"/healthz"); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

// A handler that cannot go on cuts the connection, so that no client takes half an answer for the whole.
func TestAbortedAnswerIsCut(t *testing.T) {
	t.Parallel()
	r := run(t, httpserver.Config{}, func(s *httpserver.Server) {
		s.Mux().Get("/half", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 1<<20)) // chunked: only the cut tells that it is not all
			panic(http.ErrAbortHandler)
		})
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/half", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("%d bytes looked whole", n)
	}
	r.stop()
	if err := <-r.end; err != nil {
		t.Error(err)
	}
	if line := r.log.find(t, "request"); line["cut"] != true {
		t.Error(line)
	}
}

func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	s := httpserver.New(httpserver.Config{})
	var got error
	s.Mux().Post("/", func(_ http.ResponseWriter, r *http.Request) { _, got = io.Copy(io.Discard, r.Body) })
	for size, fits := range map[int]bool{64 << 10: true, 64<<10 + 1: false, 10 << 20: false} {
		s.Mux().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, size))))
		var large *http.MaxBytesError
		if fits != (got == nil) || !fits && !errors.As(got, &large) {
			t.Errorf("%d bytes: %v", size, got)
		}
	}
}

func TestSlowRequestIsLeft(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	r := run(t, httpserver.Config{Read: 50 * time.Millisecond}, func(s *httpserver.Server) {
		s.Mux().Post("/", func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		})
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1")
	if err := <-read; err == nil {
		t.Error("a body that never came was read")
	}
}

// An answer that does not leave in time is cut, unless its handler moves the deadline.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	const deadline = 50 * time.Millisecond
	r := run(t, httpserver.Config{Read: deadline, Write: deadline}, func(s *httpserver.Server) {
		answer := func(w http.ResponseWriter, r *http.Request) {
			wait := time.NewTimer(4 * deadline)
			defer wait.Stop()
			select {
			case <-r.Context().Done():
				t.Error("a deadline ended the request's context")
			case <-wait.C:
			}
			fmt.Fprint(w, "whole")
		}
		s.Mux().Get("/short", answer)
		s.Mux().Get("/long", func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
				t.Error(err)
			}
			answer(w, r)
		})
	})
	if _, body := get(t, r.url+"/long"); body != "whole" {
		t.Errorf("cut after %q", body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/short", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Error("an answer after the deadline got through")
	}
}

func TestStopLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	began, may := make(chan struct{}), make(chan struct{})
	r := run(t, httpserver.Config{}, func(s *httpserver.Server) {
		s.Mux().Get("/slow", func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-may
			fmt.Fprint(w, "whole")
		})
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	r.stop()
	close(may)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "whole" || err != nil {
		t.Error(string(body), err)
	}
	if err := <-r.end; err != nil {
		t.Error(err)
	}
}

// Who sends a request to a server that was told to stop, and has not heard of it, is answered, on a connection that is the last of its
// kind.
func TestStopLingers(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	r := run(t, httpserver.Config{Linger: 10 * time.Second}, func(s *httpserver.Server) {
		s.Mux().Get("/endless", func(_ http.ResponseWriter, req *http.Request) { <-httpserver.Stopping(req.Context()) })
	})
	go func() {
		defer close(heard)
		get(t, r.url+"/endless")
	}()
	keeping, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer keeping.Close()
	answers := bufio.NewReader(keeping)
	for _, closes := range []bool{false, true} {
		fmt.Fprint(keeping, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "ok\n" || err != nil || resp.Close != closes {
			t.Errorf("%q %v, and it closes: %v", body, err, resp.Close)
		}
		r.stop()
		<-heard
	}
	if resp, body := get(t, r.url+"/healthz"); resp.StatusCode != http.StatusOK {
		t.Errorf("a new connection: %s %s", resp.Status, body)
	}
}

// An answer without an end hears that the server stops, and ends whole.
func TestStopIsHeard(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	r := run(t, httpserver.Config{}, func(s *httpserver.Server) {
		s.Mux().Get("/endless", func(w http.ResponseWriter, req *http.Request) {
			close(began)
			<-httpserver.Stopping(req.Context())
			fmt.Fprint(w, "bye")
		})
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	r.stop()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "bye" || err != nil {
		t.Error(string(body), err)
	}
	if err := <-r.end; err != nil {
		t.Error(err)
	}
	if httpserver.Stopping(t.Context()) != nil {
		t.Error("outside of a request something stops")
	}
}

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	r := run(t, httpserver.Config{Stop: 20 * time.Millisecond}, func(s *httpserver.Server) {
		s.Mux().Get("/endless", func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
		})
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	r.stop()
	if err := <-r.end; err != nil {
		t.Error(err)
	}
}
