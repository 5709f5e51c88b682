package wiring

import (
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/jobworkers"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/postgres"
)

// couriers is how many messages web delivers at a time. Each waits for another side for 20 s at most.
const couriers = 16

// news is the queue that web works, so that customers hear of what happens when every worker is stopped. It may lead:
// without a leader no job that waits for its time would begin.
func (p process) news(pool *pgxpool.Pool, store *postgres.Store) (*river.Client[pgx.Tx], error) {
	cfg := notify.Config{
		Site:   notify.Site{BaseURL: p.Site.PublicURL, Home: dashboard.Home, AddonID: p.Partner.AddonID, ServiceAccount: p.Site.ServiceAccount},
		Policy: p.policy, Resolver: net.DefaultResolver,
	}
	var err error
	if p.mails() {
		if cfg.Mailer, err = notify.NewMailer(p.Mail.SMTPURL, p.Mail.MailFrom); err != nil {
			return nil, err
		}
	}
	sender, err := notify.New(cfg)
	if err != nil {
		return nil, err
	}
	courier, err := jobworkers.NewCourier(jobworkers.CourierConfig{Store: store, Sender: sender, Log: p.log, Metrics: p.metrics})
	if err != nil {
		return nil, err
	}
	list := river.NewWorkers()
	courier.Register(list)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: p.queueLog, ID: hostname(),
		Queues:     map[string]river.QueueConfig{jobargs.QueueNotify: {MaxWorkers: couriers}},
		JobTimeout: time.Minute, RescueStuckJobsAfter: 2 * time.Minute, SoftStopTimeout: softStop,
		FetchOnlyKnownKinds: true, PeriodicJobs: p.rounds(),
	})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return client, nil
}

// mails tells whether the operator has set up e-mail.
func (p process) mails() bool { return !p.Mail.SMTPURL.IsZero() }
