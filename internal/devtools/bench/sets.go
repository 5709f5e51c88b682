package main

import (
	"fmt"
	"strings"
)

var setNames = []string{"json", "pgbench", "binary", "tables", "tiny"}

// statements make a data set. Nothing in them is random, so that every machine has the same.
func statements(set string, scale float64) []string {
	n := func(rows int) int { return max(int(float64(rows)*scale), 1) }
	switch set {
	case "json":
		return []string{
			fmt.Sprintf(`CREATE TABLE customers AS SELECT g AS id, md5(g::text)::uuid AS key, 'customer' || g || '@example.com' AS email,
				timestamptz '2020-01-01' + g * interval '7 minutes' AS joined, sha256(g::text::bytea) AS secret FROM generate_series(1, %d) g`, n(100_000)),
			fmt.Sprintf(`CREATE TABLE orders AS SELECT g AS id, g %% 100000 AS customer, jsonb_build_object('number', md5('o' || g), 'total', g::bigint * 7919 %% 100000,
				'currency', (ARRAY['EUR','USD','GBP'])[g %% 3 + 1], 'lines', jsonb_build_array(jsonb_build_object('sku', md5('s' || g %% 5000), 'quantity', g %% 7),
				jsonb_build_object('sku', md5('s' || g * 31 %% 5000), 'quantity', g %% 5, 'note', 'as discussed'))) AS body FROM generate_series(1, %d) g`, n(600_000)),
			fmt.Sprintf(`CREATE TABLE events AS SELECT g AS id, md5('e' || g)::uuid AS trace, timestamptz '2024-01-01' + g * interval '13 seconds' AS at,
				jsonb_build_object('path', '/orders/' || g %% 99991, 'agent', 'Mozilla/5.0 (X11; Linux x86_64)', 'status', 200 + g %% 5, 'took', g * 31 %% 977) AS body
				FROM generate_series(1, %d) g`, n(600_000)),
			`ALTER TABLE customers ADD PRIMARY KEY (id)`, `ALTER TABLE orders ADD PRIMARY KEY (id)`, `CREATE INDEX ON events (at)`,
		}
	case "pgbench":
		return []string{
			fmt.Sprintf(`CREATE TABLE pgbench_accounts AS SELECT g AS aid, g / 100000 + 1 AS bid, 0 AS abalance, ''::char(84) AS filler FROM generate_series(1, %d) g`, n(4_000_000)),
			`CREATE TABLE pgbench_branches AS SELECT g AS bid, 0 AS bbalance, NULL::char(88) AS filler FROM generate_series(1, 40) g`,
			`CREATE TABLE pgbench_tellers AS SELECT g AS tid, g / 10 + 1 AS bid, 0 AS tbalance, NULL::char(84) AS filler FROM generate_series(1, 400) g`,
			`ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)`,
		}
	case "binary":
		return []string{
			fmt.Sprintf(`CREATE TABLE files AS SELECT g AS id, (SELECT string_agg(sha256((g * 1000 + k)::text::bytea), '') FROM generate_series(1, 256) k) AS body
				FROM generate_series(1, %d) g`, n(16_000)),
			fmt.Sprintf(`SELECT count(lo_from_bytea(0, (SELECT string_agg(body, '') FROM files WHERE id BETWEEN g * 32 AND g * 32 + 31))) FROM generate_series(1, %d) g`, n(300)),
		}
	case "tables":
		var b strings.Builder
		for s := range n(100) {
			fmt.Fprintf(&b, "CREATE SCHEMA s%d;\n", s)
			for t := range 20 {
				fmt.Fprintf(&b, `CREATE TABLE s%[1]d.t%[2]d (id bigserial PRIMARY KEY, name text NOT NULL, state int DEFAULT 0, body jsonb, created_at timestamptz, updated_at timestamptz);
					CREATE INDEX ON s%[1]d.t%[2]d (name); INSERT INTO s%[1]d.t%[2]d (name, body, created_at) SELECT md5(g::text), '{"a": 1}', timestamptz '2024-01-01' FROM generate_series(1, 100) g;
				`, s, t)
			}
		}
		return []string{b.String()}
	default:
		var b strings.Builder
		for t := range 10 {
			fmt.Fprintf(&b, "CREATE TABLE t%[1]d (id bigserial PRIMARY KEY, name text, at timestamptz); INSERT INTO t%[1]d (name, at) SELECT md5(g::text), timestamptz '2024-01-01' FROM generate_series(1, 100) g;\n", t)
		}
		return []string{b.String()}
	}
}
