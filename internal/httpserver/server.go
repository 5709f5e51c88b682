// Package httpserver serves: it is given handlers and adds what every request has, a name, limits, headers,
// a log line and a measure, and it stops without cutting off what runs.
package httpserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config of a server.
type Config struct {
	Log     *slog.Logger         // default: nowhere
	Metrics *prometheus.Registry // default: one of its own
	// Ready tells whether the service can do its work; /readyz answers with it. Default: it can.
	Ready func(context.Context) error
	// MetricsToken opens /metrics as a bearer token. Where it is empty there is no /metrics.
	MetricsToken string
	// Plain is set where the server is reached without https, as in the demo: no HSTS then.
	Plain bool
	// Read is how long a request may take to arrive, and Write how long from then on an answer may take to
	// leave. Default 30 s each, which is when Heroku's router gives up. A handler whose answer takes longer, a
	// download, moves its write deadline by http.ResponseController as long as it gets on.
	Read, Write time.Duration
	// Linger is how long the server goes on taking requests after it was told to stop, since whoever sends them hears of it
	// later than we do: what waits to be accepted when a listener closes is reset. Each answer then ends its connection.
	// Default: not at all.
	Linger time.Duration
	// Stop is how long requests may go on after that. Default 20 s: Heroku kills after 30.
	Stop time.Duration
}

// Server is a router with everything that is common around it.
type Server struct {
	cfg     Config
	mux     *chi.Mux
	seconds *prometheus.HistogramVec

	stop     sync.Once
	stopping chan struct{} // closed once the server was told to stop
}

// maxBody bounds what a request may send: the largest that Heroku sends is below 4 KiB.
const maxBody = 64 << 10

// New returns a server whose routes are added by the callers of Mux.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) error { return nil }
	}
	cfg.Read = cmp.Or(cfg.Read, 30*time.Second)
	cfg.Write = cmp.Or(cfg.Write, 30*time.Second)
	cfg.Stop = cmp.Or(cfg.Stop, 20*time.Second)
	s := &Server{cfg: cfg, mux: chi.NewRouter(), seconds: histogram(), stopping: make(chan struct{})}
	cfg.Metrics.MustRegister(s.seconds)
	// Heroku's router is the one proxy before us; what a client itself puts into the header counts for nothing.
	s.mux.Use(s.observe, s.headers, limit, middleware.ClientIPFromXFFTrustedProxies(1))
	s.mux.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	s.mux.Get("/readyz", s.ready)
	if cfg.MetricsToken != "" {
		s.mux.Get("/metrics", s.metrics)
	}
	return s
}

// Mux is where routes are added.
func (s *Server) Mux() *chi.Mux { return s.mux }

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := s.cfg.Ready(ctx); err != nil {
		s.cfg.Log.ErrorContext(ctx, "not ready", "error", err)
		http.Error(w, "not ready; the log says why", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	got, want := sha256.Sum256([]byte(r.Header.Get("Authorization"))), sha256.Sum256([]byte("Bearer "+s.cfg.MetricsToken))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		http.NotFound(w, r)
		return
	}
	promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// headers are those of every answer; pages of tenants are never stored.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.cfg.Plain {
			h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		}
		select {
		case <-s.stopping:
			h.Set("Connection", "close") // so that no next request is sent on it
		default:
		}
		next.ServeHTTP(w, r)
	})
}

func limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// Run serves on l until ctx ends, lingers, then takes no new request and lets those that run end for as long as
// configured; what is left then is cut off. It closes l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: s.cfg.Read, WriteTimeout: s.cfg.Write,
		IdleTimeout: 60 * time.Second, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.stop.Do(func() { close(s.stopping) })
	if s.cfg.Linger > 0 {
		select {
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-time.After(s.cfg.Linger):
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Stop)
	defer cancel()
	err := srv.Shutdown(stopping)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
