package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// counting reads our server's counters, as its superuser.
type counting struct {
	pool       *pgxpool.Pool
	statements bool // pg_stat_statements is here
}

// count begins to count. The server is started anew for it.
func (l *load) count(ctx context.Context) (*counting, error) {
	c := &counting{}
	pool, err := pgxpool.New(ctx, l.Own.SuperuserURL("remora"))
	if err != nil {
		return nil, err
	}
	l.OnClose(func() error { pool.Close(); return nil })
	c.pool = pool
	if err := pool.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'pg_stat_statements'").Scan(&c.statements); err != nil {
		return nil, fmt.Errorf("look for pg_stat_statements: %w", err)
	}
	if !c.statements {
		l.say("pg_stat_statements is not installed: statements are not counted")
		return c, nil
	}
	if _, err := pool.Exec(ctx, "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements"); err != nil {
		return nil, err
	}
	if err := l.Own.Restart(ctx); err != nil {
		return nil, err
	}
	pool.Reset()
	_, err = pool.Exec(ctx, "CREATE EXTENSION pg_stat_statements")
	return c, err
}

// goodBackups counts them.
const goodBackups = "SELECT count(*) FROM backups WHERE state IN ('verified', 'proven')"

// tally is what the counters say at one moment.
type tally struct {
	at         time.Time
	backups    int64            // that are good
	statements map[string]int64 // calls, by whose they are
	calls      map[string]int64 // by their words
	wal        int64            // bytes
	rows       map[string]int64 // inserted, updated, deleted
	sessions   int              // that are open
}

// Whose statements are.
const (
	ours      = "ours"
	riversOwn = "River's"
	frame     = "transactions" // BEGIN, COMMIT, and the statement that says whose rows a transaction is about
)

// kind is whose a statement is.
func kind(words string) string {
	switch {
	case strings.Contains(words, "river"):
		return riversOwn
	case strings.Contains(words, "set_config"), strings.HasPrefix(words, "begin"), strings.HasPrefix(words, "commit"), strings.HasPrefix(words, "rollback"):
		return frame
	}
	return ours
}

func (c *counting) look(ctx context.Context) (t tally, err error) {
	t = tally{at: time.Now(), statements: map[string]int64{}, calls: map[string]int64{}, rows: map[string]int64{}}
	// A process tells its counters to the others after a second at the latest; what is left out here was left out before, too.
	var inserted, updated, deleted int64
	err = c.pool.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, (`+goodBackups+`),
		(SELECT sum(n_tup_ins) FROM pg_stat_user_tables), (SELECT sum(n_tup_upd) FROM pg_stat_user_tables), (SELECT sum(n_tup_del) FROM pg_stat_user_tables),
		(SELECT count(*) FROM pg_stat_activity WHERE usename = 'remora')`).Scan(&t.wal, &t.backups, &inserted, &updated, &deleted, &t.sessions)
	if err != nil {
		return t, fmt.Errorf("read counters: %w", err)
	}
	t.rows["inserted"], t.rows["updated"], t.rows["deleted"] = inserted, updated, deleted
	if !c.statements {
		return t, nil
	}
	rows, _ := c.pool.Query(ctx, "SELECT query, sum(calls)::bigint FROM pg_stat_statements JOIN pg_roles r ON r.oid = userid WHERE r.rolname = 'remora' GROUP BY query")
	var words string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&words, &n}, func() error {
		words = strings.ToLower(strings.Join(strings.Fields(words), " "))
		t.statements[kind(words)] += n
		t.calls[words] += n
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("read statements: %w", err)
	}
	return t, nil
}

// figures is what was measured, for each backup but where it says otherwise.
type figures struct {
	Backups    int64              `json:"backups"`
	Seconds    float64            `json:"seconds"`
	PerSecond  float64            `json:"backups_per_second"`
	Statements map[string]float64 `json:"statements"`
	WAL        float64            `json:"wal_bytes"`
	Rows       map[string]float64 `json:"rows"`
	Sessions   int                `json:"sessions"`        // at the end
	Calls      map[string]float64 `json:"calls,omitempty"` // the statements that are called most
	Partner    *answers           `json:"partner_api,omitempty"`
}

// since is what has happened between two moments, over so many backups.
func (t tally) since(from tally, backups int64) figures {
	each := func(n int64) float64 { return float64(n) / float64(max(backups, 1)) }
	f := figures{
		Backups: backups, Sessions: t.sessions, Seconds: t.at.Sub(from.at).Seconds(), WAL: each(t.wal - from.wal),
		Statements: map[string]float64{}, Rows: map[string]float64{}, Calls: map[string]float64{},
	}
	f.PerSecond = float64(backups) / f.Seconds
	for k, n := range t.statements {
		f.Statements[k] = each(n - from.statements[k])
	}
	for k, n := range t.rows {
		f.Rows[k] = each(n - from.rows[k])
	}
	for words, n := range t.calls {
		if e := each(n - from.calls[words]); e >= 0.5 {
			f.Calls[words] = e
		}
	}
	return f
}

// all is how many statements that were.
func (f figures) all() (n float64) {
	for _, x := range f.Statements {
		n += x
	}
	return n
}

func (f figures) String() string {
	s := fmt.Sprintf("%6d in %5.1f s: %6.1f/s  %5.1f statements (%.1f ours, %.1f transactions, %.1f River's)  %6.1f kB WAL  %.1f rows inserted, %.1f updated, %.1f deleted  %d sessions", f.Backups, f.Seconds, f.PerSecond,
		f.all(), f.Statements[ours], f.Statements[frame], f.Statements[riversOwn], f.WAL/1000, f.Rows["inserted"], f.Rows["updated"], f.Rows["deleted"], f.Sessions)
	if f.Partner != nil {
		s += "  " + f.Partner.String()
	}
	return s
}

// most lists the statements of a measurement, those that are called most first.
func (f figures) most(n int) []string {
	words := slices.SortedFunc(maps.Keys(f.Calls), func(a, b string) int {
		if f.Calls[a] != f.Calls[b] {
			return int(1000 * (f.Calls[b] - f.Calls[a]))
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, w := range words[:min(n, len(words))] {
		out = append(out, fmt.Sprintf("%6.2f  %.120s", f.Calls[w], w))
	}
	return out
}

// sizes are our tables, their indexes included, in bytes.
func (c *counting) sizes(ctx context.Context) (map[string]int64, error) {
	rows, _ := c.pool.Query(ctx, "SELECT relname::text, pg_total_relation_size(relid)::bigint FROM pg_stat_user_tables")
	out := map[string]int64{}
	var name string
	var size int64
	_, err := pgx.ForEachRow(rows, []any{&name, &size}, func() error { out[name] = size; return nil })
	return out, err
}
