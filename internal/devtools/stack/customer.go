package stack

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/herokusim"
)

// Fill makes the customer's apps and a database with realistic contents, owned by a role that is no superuser.
// rows is the size of the large table: 600,000 make about 150 MB.
func (s *Stack) Fill(ctx context.Context, rows int) error { return s.FillWith(ctx, contents(rows)...) }

// FillWith makes the same apps and a database of other contents.
func (s *Stack) FillWith(ctx context.Context, statements ...string) error {
	err := Exec(ctx, s.Customer.SuperuserURL("postgres"),
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", s.Owner, s.Password), "CREATE DATABASE shop OWNER "+s.Owner)
	if err != nil {
		return err
	}
	if err := Exec(ctx, s.Customer.SuperuserURL("shop"), herokusim.OwnObjects(s.Owner)...); err != nil {
		return err
	}
	if err := Exec(ctx, s.OwnerURL("shop"), statements...); err != nil {
		return fmt.Errorf("fill the customer's database: %w", err)
	}
	s.Sim.CreateApp(ShopApp)
	s.Sim.CreateApp(HelperApp)
	host, port := s.Customer.Addr()
	return s.Sim.AddDatabase(herokusim.Database{
		Name: Addon, App: ShopApp, AdminURL: s.Customer.SuperuserURL("shop"), Owner: s.Owner, Password: s.Password,
		DBName: "shop", Host: host, Port: port,
	})
}

// LargestTable is the size of the customer's largest table, without its indexes, in bytes.
func (s *Stack) LargestTable(ctx context.Context) (size int64, err error) {
	conn, err := pgx.Connect(ctx, s.OwnerURL("shop"))
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	err = conn.QueryRow(ctx, "SELECT max(pg_table_size(oid)) FROM pg_class WHERE relkind = 'r'").Scan(&size)
	return size, err
}

// OwnerURL connects as the customer's role.
func (s *Stack) OwnerURL(db string) string { return s.Customer.URL(s.Owner, s.Password, db) }

func contents(rows int) []string {
	return []string{
		`CREATE SCHEMA sales`, `CREATE SCHEMA "Odd Names"`,
		`CREATE TYPE sales.state AS ENUM ('open', 'paid', 'shipped', 'it''s back')`,
		`CREATE DOMAIN sales.email AS text CHECK (VALUE ~ '@')`,
		`CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email sales.email UNIQUE,
			profile jsonb NOT NULL DEFAULT '{}', full_text tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED)`,
		`INSERT INTO customers (name, email, profile) SELECT 'Customer ' || g, 'c' || g || '@example.com',
			jsonb_build_object('tags', jsonb_build_array(g % 7, 'ä' || g), 'nested', jsonb_build_object('n', g)) FROM generate_series(1, 20000) g`,
		`CREATE TABLE sales.orders (id serial, customer bigint NOT NULL REFERENCES customers, state sales.state NOT NULL, amount numeric(12,2),
			placed date NOT NULL, note text, PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed)`,
		`CREATE TABLE sales.orders_2025 PARTITION OF sales.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')`,
		`CREATE TABLE sales.orders_2026 PARTITION OF sales.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`,
		`INSERT INTO sales.orders (customer, state, amount, placed, note) SELECT 1 + g % 20000, (enum_range(NULL::sales.state))[1 + g % 4],
			g * 1.01, date '2025-01-01' + g % 700, CASE WHEN g % 10 = 0 THEN E'tab\tline\nback\\slash' END FROM generate_series(1, 50000) g`,
		`CREATE TABLE sales.events (id bigint, kind text, at timestamptz, payload text)`,
		fmt.Sprintf(`INSERT INTO sales.events SELECT g, 'kind ' || g %% 50, timestamptz '2026-01-01' + g * interval '1 second',
			md5(g::text) || repeat(' lorem', g %% 30) || md5((g * 7)::text) || md5((g * 13)::text) FROM generate_series(1, %d) g`, rows),
		`CREATE INDEX events_at ON sales.events (at)`,
		`CREATE TABLE "Odd Names"."Table; with ""quotes""" ("Column 1" int, "select" text, "ümlaut" bytea, "float" float8, "list" int[])`,
		`INSERT INTO "Odd Names"."Table; with ""quotes""" VALUES (1, 'x', '\x00ff', 'NaN', '{1,NULL,3}'), (NULL, '', '', '-Infinity', '{}')`,
		`CREATE TABLE nothing_in_it (id int)`, `CREATE TABLE no_columns ()`,
		`CREATE SEQUENCE sales.invoice START 1000 INCREMENT 7`, `SELECT nextval('sales.invoice') FROM generate_series(1, 5)`,
		`CREATE MATERIALIZED VIEW sales.by_state AS SELECT state, count(*) AS orders, sum(amount) AS amount FROM sales.orders GROUP BY state`,
		`CREATE VIEW sales.open_orders AS SELECT * FROM sales.orders WHERE state = 'open'`,
		`CREATE FUNCTION sales.total(c bigint) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(amount) FROM sales.orders WHERE customer = c'`,
		`COMMENT ON TABLE customers IS 'who buys, and "why"'`, `ANALYZE`,
	}
}

// Grants are what the contract asks of the customer, for every schema of the owner's.
func (s *Stack) Grants(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.OwnerURL("shop"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	rows, err := conn.Query(ctx, "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspowner = quote_ident(current_user)::regrole")
	if err != nil {
		return err
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, schema := range schemas {
		for _, grant := range []string{
			"GRANT USAGE ON SCHEMA %s TO %s", "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA %s TO %s",
			"ALTER DEFAULT PRIVILEGES IN SCHEMA %s GRANT SELECT ON TABLES TO %s", "ALTER DEFAULT PRIVILEGES IN SCHEMA %s GRANT SELECT ON SEQUENCES TO %s",
		} {
			if _, err := conn.Exec(ctx, fmt.Sprintf(grant, schema, Credential)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Failover moves the customer's database to a follower at another address, as Heroku's high availability does:
// the old server is gone, and only the config var knows the new one.
func (s *Stack) Failover(ctx context.Context) error {
	next, err := s.Customer.Follower(ctx, localpgConfig())
	if err != nil {
		return err
	}
	old := s.Customer
	s.Customer = next // and the closer stops this one
	if err := old.Kill(); err != nil {
		return err
	}
	if err := next.Promote(ctx); err != nil {
		return err
	}
	host, port := next.Addr()
	s.Sim.MoveDatabase(Addon, next.SuperuserURL("shop"), host, port)
	return nil
}
