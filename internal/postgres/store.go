package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// RiverSchema is where River's own tables are.
const RiverSchema = "river"

// Config is what a Store needs.
type Config struct {
	Pool *pgxpool.Pool    // open; the caller closes it
	Keys *keyring.Keyring // seals tokens and resource keys

	// Lease is how long a run is held without a sign of life. Default 90 s.
	Lease time.Duration
	// RetryAfter are the pauses before the second, third … attempt at a backup; there is one attempt more
	// than pauses. Default 30 s, 2 min, 10 min.
	RetryAfter []time.Duration
	// YieldAfter are the pauses instead where the customer's own work was in the way (remora.Reason.Yields). Default 5 min,
	// 20 min, 1 h.
	YieldAfter []time.Duration
	// CopyAfter are the pauses before the second, third … attempt at a copy, while its owner's store is silent, or ours; there is
	// one attempt more than pauses. Default 1 min, 10 min, 1 h, 2 h, 4 h, 8 h, 8 h: a store may be away for a day.
	CopyAfter []time.Duration
	// PerServer is how many runs may read from one server of a customer's, its address and port, at a time. Default 2.
	PerServer int
	// GiveWay is how long a backup that waits makes others give way. After that something else keeps it, and one customer's
	// backup that cannot begin must not keep those of all. Default 30 min.
	GiveWay time.Duration
	// MaxAsked is how many backups that people have asked for may wait in one resource. Default 20.
	MaxAsked int
	// ProveAgain is how long a proof that could not be made, attempt after attempt, waits until it is asked for anew.
	// Default 1 h.
	ProveAgain time.Duration
	// CheckEvery is how often a resource's attachments are listed, while ChecksPerMinute allows. Default 5 min.
	CheckEvery time.Duration
	// ChecksPerMinute is how many resources' attachments are listed in a minute at most, but for those that somebody asks
	// for. Default 60, of the 75 calls that Heroku lets a service account make (docs/heroku-quota.md).
	ChecksPerMinute int
	// GatherNews is how long what happens is gathered into one message. Default 10 s.
	GatherNews time.Duration
	// UndoWithin is how long the operator can undo that an add-on was removed; then its key is destroyed. Negative is not at
	// all. Default remora.DefaultUndo.
	UndoWithin time.Duration
	// Now maps the database's clock to the one that the store goes by, for tests that step through days.
	// Leases always go by the database's own. Default: unchanged.
	Now func(database time.Time) time.Time
}

// Store is our database. Its methods are safe for concurrent use.
type Store struct {
	Config
	queue *river.Client[pgx.Tx] // inserts only
}

// New returns a store. It does no I/O.
func New(cfg Config) (*Store, error) {
	if cfg.Pool == nil || cfg.Keys == nil {
		return nil, errors.New("postgres: Pool and Keys are required")
	}
	if cfg.Lease == 0 {
		cfg.Lease = 90 * time.Second
	}
	if cfg.RetryAfter == nil {
		cfg.RetryAfter = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute}
	}
	if cfg.YieldAfter == nil {
		cfg.YieldAfter = []time.Duration{5 * time.Minute, 20 * time.Minute, time.Hour}
	}
	if cfg.CopyAfter == nil {
		cfg.CopyAfter = []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour}
	}
	if cfg.PerServer == 0 {
		cfg.PerServer = 2
	}
	if cfg.GiveWay == 0 {
		cfg.GiveWay = 30 * time.Minute
	}
	if cfg.MaxAsked == 0 {
		cfg.MaxAsked = 20
	}
	if cfg.ProveAgain == 0 {
		cfg.ProveAgain = time.Hour
	}
	if cfg.CheckEvery == 0 {
		cfg.CheckEvery = 5 * time.Minute
	}
	if cfg.ChecksPerMinute == 0 {
		cfg.ChecksPerMinute = 60
	}
	if cfg.GatherNews == 0 {
		cfg.GatherNews = 10 * time.Second
	}
	if cfg.UndoWithin == 0 {
		cfg.UndoWithin = remora.DefaultUndo
	}
	cfg.UndoWithin = max(cfg.UndoWithin, 0)
	if cfg.Now == nil {
		cfg.Now = func(t time.Time) time.Time { return t }
	}
	// It runs no job, and returns every error: else River would say it once more, on a log of its own and as if a person should look,
	// also where somebody stops the process.
	queue, err := river.NewClient(riverpgxv5.New(cfg.Pool), &river.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("insert-only river client: %w", err)
	}
	return &Store{Config: cfg, queue: queue}, nil
}

// NewPool opens a pool on our database. The URL is the operator's own setting. Times are scanned as UTC,
// where pgx would take the machine's zone. The caller closes the pool.
func NewPool(ctx context.Context, url string, maxConns int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil { // pgx's error may hold the password
		return nil, errors.New("DATABASE_URL cannot be read as a Postgres address")
	}
	cfg.MaxConns = maxConns
	cfg.ConnConfig.RuntimeParams["application_name"] = "remora"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		c.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return pool, nil
}

// Ready tells whether our database answers and has our tables.
func (s *Store) Ready(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		_, err := t.q.GetResource(ctx, "00000000-0000-0000-0000-000000000000")
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
}

// Clock is our database's.
func (s *Store) Clock(ctx context.Context) (at time.Time, err error) {
	err = s.forService(ctx, func(t *tx) error {
		at = t.now
		return nil
	})
	return at, err
}

// CheckKeys tells whether the key ring opens what our database holds, of each key that sealed something: with another
// ring, or with one from which a key was taken too early, a service would run and could not open its customers' archives.
func (s *Store) CheckKeys(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		rows, err := t.q.KeysInUse(ctx)
		if err != nil {
			return fmt.Errorf("read sealed keys: %w", err)
		}
		for _, row := range rows {
			if _, err := s.open(row.SealedKey, sealedKey, remora.ResourceID(row.ID)); err != nil {
				return fmt.Errorf("KEYRING does not open what our database holds; it must hold every key that sealed something, under its old id: %w", err)
			}
		}
		return nil
	})
}

// tx is one transaction: its statements, its one time, and whose rows it sees.
type tx struct {
	pgx.Tx
	q   *pgsql.Queries
	now time.Time
	s   *Store

	done []pgsql.InsertAuditParams // what the audit log is told once all else is done
}

func (s *Store) forResource(ctx context.Context, id remora.ResourceID, do func(*tx) error) error {
	return s.scoped(ctx, pgx.TxOptions{}, id, do)
}

// seeResource reads one moment: what its statements find belongs together, though others write between them.
func (s *Store) seeResource(ctx context.Context, id remora.ResourceID, do func(*tx) error) error {
	return s.scoped(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, id, do)
}

func (s *Store) scoped(ctx context.Context, how pgx.TxOptions, id remora.ResourceID, do func(*tx) error) error {
	return s.begin(ctx, how, do, func(q *pgsql.Queries) (time.Time, error) {
		row, err := q.ScopeToResource(ctx, string(id))
		return row.At, err
	})
}

func (s *Store) forService(ctx context.Context, do func(*tx) error) error {
	return s.begin(ctx, pgx.TxOptions{}, do, func(q *pgsql.Queries) (time.Time, error) {
		row, err := q.ScopeToService(ctx)
		return row.At, err
	})
}

func (s *Store) begin(ctx context.Context, how pgx.TxOptions, do func(*tx) error, scope func(*pgsql.Queries) (time.Time, error)) error {
	return pgx.BeginTxFunc(ctx, s.Pool, how, func(p pgx.Tx) error {
		q := pgsql.New(p)
		at, err := scope(q)
		if err != nil {
			return fmt.Errorf("scope: %w", err)
		}
		t := &tx{Tx: p, q: q, now: s.Now(at), s: s}
		if err := do(t); err != nil {
			return err
		}
		return t.writeDown(ctx)
	})
}

// enqueue inserts a job in the transaction.
func (t *tx) enqueue(ctx context.Context, args river.JobArgs, at ...time.Time) error {
	var opts *river.InsertOpts
	if len(at) == 1 {
		opts = &river.InsertOpts{ScheduledAt: at[0]}
	}
	if _, err := t.s.queue.InsertTx(ctx, t.Tx, args, opts); err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	return nil
}

// or404 turns "no rows" into the one answer for what is missing and for what is somebody else's.
func or404(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return remora.NotFound(what)
	}
	return err
}

var errStale = &remora.Error{Kind: remora.KindStale, Public: "A later run has taken over."}

// changed returns errStale where a run's write found nothing to write to.
func changed(rows int64, err error) error {
	if err == nil && rows == 0 {
		return errStale
	}
	return err
}

// Most of foreign text that is kept, in bytes: a name or a version with its surroundings, and what pg_dump said.
const (
	maxWord  = 1 << 10
	maxWords = 64 << 10
)

// foreign makes what a customer's server said or named fit for a column and a page: UTF-8, since names come in
// the database's own encoding, of at most so many bytes, and without the control characters that Postgres or a
// terminal would stumble over.
func foreign(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return s
}
