// Package wiring knows everyone: it builds each process from its settings and runs it.
package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
)

// Run is a main program: it reads the settings, runs the process that args name until ctx ends, and returns
// what is worth an exit status. policy says which hosts of customers may be dialled; it is the program's own
// and no setting.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, policy dialer.Policy) error {
	return run(ctx, args, stdout, stderr, policy, pgdump.Find)
}

// finder finds the installed pg_dumps; pgdump.Find is one.
type finder func(ctx context.Context, dirs []string, path string) []pgdump.Client

func run(ctx context.Context, args []string, stdout, stderr io.Writer, policy dialer.Policy, find finder) error {
	s, err := config.Load(args, stdout)
	if errors.Is(err, config.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	switch s.Command {
	case config.FetchTable:
		return table(ctx, s.Table, stdout)
	case config.CheckAudit:
		return checkAudit(s.Audit.File, stdout)
	case config.Manifest:
		return partnerapi.Offer{ID: s.Offer.AddonID, PublicURL: s.Offer.PublicURL, Regions: s.Offer.Regions}.WriteManifest(stdout)
	case config.Plans:
		return partnerapi.WritePlans(stdout)
	case config.Template:
		return config.WriteTemplate(stdout, s.Template)
	}
	if s.Command == config.OpenArchive {
		return open(ctx, s.Open, stdout, stderr)
	}
	log := logger(stderr, s.LogText).With("process", string(s.Command))
	p := process{
		Settings: s, log: log, policy: policy, find: find, metrics: prometheus.NewRegistry(),
		queueLog: slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	switch s.Command {
	case config.Checkup:
		return p.checkUp(ctx, stdout)
	case config.Web:
		return p.web(ctx)
	case config.Worker:
		return p.worker(ctx)
	case config.Verifier:
		return p.verifier(ctx)
	case config.Deleter:
		return p.deleter(ctx)
	case config.VerifyAudit:
		return p.verifyAudit(ctx, stdout)
	case config.ShowReceipt, config.UndoRemoval:
		return p.removal(ctx, stdout)
	case config.Rebuild:
		return p.rebuild(ctx, stdout)
	case config.ShowHold, config.Hold, config.Resume:
		return p.deletions(ctx, stdout)
	case config.KeysCheck:
		return p.keysCheck(ctx, stdout)
	case config.KeysRotate:
		return p.keysRotate(ctx, stdout)
	default:
		return p.migrate(ctx)
	}
}

// process is what all processes have.
type process struct {
	config.Settings
	log      *slog.Logger
	queueLog *slog.Logger // River counts its jobs aloud every few seconds; its warnings are enough
	policy   dialer.Policy
	find     finder
	metrics  *prometheus.Registry
}

func logger(w io.Writer, text bool) *slog.Logger {
	if text {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}

// pool opens our database and sees that it answers.
func (p process) pool(ctx context.Context, conns int32) (*pgxpool.Pool, error) {
	pool, err := postgres.NewPool(ctx, p.Database.Reveal(), conns)
	if err != nil {
		return nil, err
	}
	connecting, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := pool.Ping(connecting); err != nil {
		pool.Close()
		p.log.ErrorContext(ctx, "our database does not answer", "error", scrubbed(err))
		return nil, errors.New("our database does not answer: check DATABASE_URL and that the server runs; the log above has its words")
	}
	return pool, nil
}

// store opens our database and sees that it is at this release, that it keeps customers apart for us, and that our keys open
// what it holds. From then on the key ring checks what retired keys have signed.
func (p process) store(ctx context.Context, cfg postgres.Config) (*postgres.Store, error) {
	store, err := postgres.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := atThisRelease(ctx, cfg.Pool); err != nil {
		return nil, err
	}
	if err := store.CheckGuard(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckKeys(ctx); err != nil {
		return nil, err
	}
	return store, store.Remember(ctx)
}

// atThisRelease sees that our database lacks no migration. A process that began without one would answer some requests and fail at
// others; one that does not begin leaves the work to the release before, which is still there.
func atThisRelease(ctx context.Context, pool *pgxpool.Pool) error {
	missing, err := postgres.Behind(ctx, pool)
	if err != nil {
		return fmt.Errorf("look for migrations that our database lacks: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("our database is not at this release: run remora migrate first: it lacks %s (%d of its migrations)", missing[0], len(missing))
	}
	return nil
}

// scrubbed keeps the last part of pgx's words: the first repeats host, user and database.
func scrubbed(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "): "); i >= 0 {
		return text[i+3:]
	}
	return fmt.Sprintf("%T", err)
}

func (p process) migrate(ctx context.Context) error {
	pool, err := p.pool(ctx, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	return postgres.Migrate(ctx, pool, p.log)
}

// bucket counts what becomes of each request to the store. It is called once in a process.
func (p process) bucket() (*objectstore.Bucket, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "remora_store_requests_total", Help: "Requests to the object store, each attempt, by operation and outcome.",
	}, []string{"operation", "outcome"})
	p.metrics.MustRegister(requests)
	for _, op := range objectstore.Operations() { // a first refusal is a rise, and not a beginning
		for _, outcome := range objectstore.Outcomes() {
			requests.WithLabelValues(op, outcome)
		}
	}
	return objectstore.New(objectstore.Config{
		Observe:  func(op, outcome string, _ error) { requests.WithLabelValues(op, outcome).Inc() },
		Endpoint: p.Store.Endpoint, Region: p.Store.Region, Bucket: p.Store.Bucket, AccessKey: p.Store.AccessKey,
		SecretKey: p.Store.SecretKey, PathStyle: p.Store.PathStyle, HTTP: dialer.HTTPClient(0),
	})
}

// stores open our bucket and customers' own; deletes by the keys that delete, where those have one.
func (p process) stores(ours *objectstore.Bucket, store *postgres.Store, deletes bool) (*placement.Stores, error) {
	return placement.New(placement.Config{Ours: ours, Buckets: store, Policy: p.policy, Resolver: net.DefaultResolver, Deletes: deletes})
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}
