package httpserver

import (
	"context"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

type requestIDKey struct{}

// RequestID is the name of the request that ctx belongs to: what a person is shown and the log is searched by.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type stoppingKey struct{}

// Stopping is closed once the server of the request that ctx belongs to was told to stop: an answer without an end ends
// then. Outside of a request it never is.
func Stopping(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(stoppingKey{}).(chan struct{})
	return c
}

// Answer is how a panic is answered; nothing was answered before.
type Answer func(w http.ResponseWriter, r *http.Request)

type panickedKey struct{}

// Panicked has what panics behind it answered in the words of those who serve there. It is logged and counted as everywhere.
func Panicked(answer Answer) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if to, ok := r.Context().Value(panickedKey{}).(*Answer); ok {
				*to = answer
			}
			next.ServeHTTP(w, r)
		})
	}
}

// inPlainWords answers a panic where nobody serves in words of their own.
func inPlainWords(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "Something went wrong on our side. Quote request "+RequestID(r.Context())+" when you write to us.", http.StatusInternalServerError)
}

// Heroku's router names each request in X-Request-ID (https://devcenter.heroku.com/articles/http-request-id).
var saneID = regexp.MustCompile(`^[A-Za-z0-9-]{20,64}$`)

func histogram() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "remora_http_request_seconds", Help: "Requests by method, route and status.",
		Buckets: []float64{.005, .025, .1, .25, 1, 5, 30},
	}, []string{"method", "route", "status"})
}

// observe names a request, writes one line about it at its end, measures it, and turns a panic into a 500.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		id := r.Header.Get("X-Request-ID")
		if !saneID.MatchString(id) {
			id = uuid.NewString()
		}
		ctx := context.WithValue(r.Context(), requestIDKey{}, id)
		ctx = context.WithValue(ctx, stoppingKey{}, s.stopping)
		answer := Answer(inPlainWords)
		ctx = context.WithValue(ctx, panickedKey{}, &answer)
		r = r.WithContext(ctx)
		w.Header().Set("X-Request-ID", id)
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			panicked := recover()
			cut := panicked == any(http.ErrAbortHandler) //nolint:errorlint // a panic's value, compared as net/http does
			if panicked != nil && !cut {
				s.cfg.Log.ErrorContext(ctx, "handler panicked", "request_id", id, "panic", panicked, "stack", string(debug.Stack()))
				if ww.Status() == 0 {
					for _, of := range []string{"Content-Length", "Content-Disposition", "ETag", "Location"} { // of the answer that did not come
						ww.Header().Del(of)
					}
					answer(ww, r)
				}
			}
			route := chi.RouteContext(ctx).RoutePattern() // the pattern: paths hold identifiers and tokens
			if route == "" {
				route = "none"
			}
			status := ww.Status()
			if status == 0 {
				status = http.StatusOK // what net/http sends for a handler that wrote nothing
			}
			took := time.Since(started)
			s.seconds.WithLabelValues(method(r), route, strconv.Itoa(status)).Observe(took.Seconds())
			s.cfg.Log.InfoContext(ctx, "request", "request_id", id, "method", method(r), "route", route, "status", status,
				"bytes", ww.BytesWritten(), "duration", took.Round(time.Microsecond), "cut", cut)
			if cut {
				panic(panicked) // net/http cuts the connection
			}
		}()
		next.ServeHTTP(ww, r)
	})
}

// method keeps made-up methods out of labels.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return r.Method
	}
	return "OTHER"
}
