package wiring

import (
	"context"
	"fmt"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"github.com/remora-backup/remora/internal/operator"
	"github.com/remora-backup/remora/internal/postgres"
)

// operator adds the operator's pages to web, where a password is set for them. River's counters end with ctx.
func (p process) operator(ctx context.Context, to chi.Router, pool *pgxpool.Pool, store *postgres.Store, plain bool) error {
	if p.Site.OperatorPassword.IsZero() {
		return nil
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: postgres.RiverSchema, Logger: p.queueLog})
	if err != nil {
		return fmt.Errorf("queue for the operator's pages: %w", err)
	}
	queue, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(client, nil), Logger: p.queueLog, Prefix: operator.Home + "/queue",
	})
	if err != nil {
		return fmt.Errorf("pages of River: %w", err)
	}
	if err := queue.Start(ctx); err != nil {
		return fmt.Errorf("start River's pages: %w", err)
	}
	pages, err := operator.New(operator.Config{Store: store, Password: p.Site.OperatorPassword, Queue: queue, Plain: plain, Log: p.log})
	if err != nil {
		return err
	}
	pages.Routes(to)
	p.log.InfoContext(ctx, "the operator's pages are served", "at", p.Site.PublicURL+operator.Home)
	return nil
}
