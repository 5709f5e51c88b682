package wiring

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/remora"
)

// queues are those of some pools.
func queues(pools []remora.Pool, queue func(remora.Pool) string, most int) map[string]river.QueueConfig {
	out := map[string]river.QueueConfig{}
	for _, p := range pools {
		out[queue(p)] = river.QueueConfig{MaxWorkers: most}
	}
	return out
}

// run works a queue until ctx ends, and serves the process's measures at addr, which a setting of that name gave.
func (p process) run(ctx context.Context, client *river.Client[pgx.Tx], setting, addr string) error {
	stopMetrics, err := p.serveMetrics(ctx, setting, addr)
	if err != nil {
		return err
	}
	defer stopMetrics()
	stopped, err := p.start(ctx, client)
	if err != nil {
		return err
	}
	if err := stopped(); err != nil {
		return err
	}
	p.log.InfoContext(ctx, "stopped")
	return nil
}

// start works a queue until ctx ends. stopped waits for that, and for what is at work then to end.
func (p process) start(ctx context.Context, client *river.Client[pgx.Tx]) (stopped func() error, err error) {
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("start the queue: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), softStop+10*time.Second)
		defer cancel()
		ended <- client.Stop(stopping)
	}()
	return func() error {
		if err := <-ended; err != nil {
			return fmt.Errorf("stop the queue: %w", err)
		}
		return nil
	}, nil
}

// serveMetrics serves the process's measures where the operator wants them.
func (p process) serveMetrics(ctx context.Context, setting, addr string) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", setting, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l) // until it is closed
	}()
	return func() { _ = srv.Close(); <-ended }, nil
}
