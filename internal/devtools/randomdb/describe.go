package randomdb

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed describe.sql
var description string

// Describe says in lines, in order, what a database holds, as its own server sees it: every object with what defines it,
// the rows of every table by digests, and the large objects. Two databases with the same lines are equal but for
// owners, privileges, and the order of rows and of inherited columns. url is a superuser's.
func Describe(ctx context.Context, url string) ([]string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	if _, err := conn.Exec(ctx, "SET search_path = ''; SET extra_float_digits = 3"); err != nil {
		return nil, err
	}
	all, err := lines(ctx, conn, description)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	digests, err := lines(ctx, conn, tableDigests)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	for _, sql := range digests {
		line, err := lines(ctx, conn, sql)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
		all = append(all, line...)
	}
	return all, nil
}

// tableDigests are statements, one for each table and filled materialized view. Columns go by name.
const tableDigests = `SELECT format('SELECT format(''rows of %%s: %%s, %%s'', %L, count(*), sum(hashtextextended(%s, 1)::numeric)) FROM ONLY %s',
	c.oid::regclass, coalesce((SELECT 'ROW(' || string_agg(quote_ident(attname), ', ' ORDER BY attname) || ')::text' FROM pg_catalog.pg_attribute
		WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), ''''''), c.oid::regclass)
	FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'm') AND relispopulated AND c.oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
		AND relnamespace <> 'information_schema'::regnamespace ORDER BY c.oid::regclass::text COLLATE "C"`

func lines(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
