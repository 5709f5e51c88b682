package main

import (
	"fmt"
	"strings"
)

var setNames = []string{"json", "pgbench", "binary", "tables", "tiny"}

// statements make a data set, from a fixed seed. json has as many rows as the laboratory's, by which the goals were set: what a store far away
// costs is three answers at the end of a backup, whatever its size, so its share depends on that.
func statements(set string, scale float64) []string {
	n := func(rows int) int { return max(int(float64(rows)*scale), 1) }
	switch set {
	case "json":
		return []string{
			`SET max_parallel_workers_per_gather = 0`, `SELECT setseed(0.42)`,
			// Sentences that share words, some of them often, as people write them.
			`CREATE TEMP TABLE words AS SELECT row_number() OVER () AS n, w FROM regexp_split_to_table('please deliver to the side door after noon and ring twice the
				parcel was damaged when it arrived so we sent another one by express courier refund approved by support invoice paid in full thank you for shopping
				with us again waiting for stock from supplier colour differs slightly from picture customer called about late delivery address changed before dispatch
				gift card redeemed partially subscription renewed monthly spare part ordered separately assembly required keep dry handle with care fragile glass', '\s+') w`,
			`CREATE TEMP TABLE texts AS SELECT n, (SELECT string_agg(w, ' ') FROM (SELECT w FROM words, generate_series(1, 1) WHERE words.n + g.n > 0 ORDER BY random() LIMIT 6 + g.n % 18) x) AS t,
				md5('t' || n) AS h FROM generate_series(1, 12000) g(n)`,
			fmt.Sprintf(`CREATE TABLE customers AS SELECT g AS id, md5('c' || g)::uuid AS key, split_part(t, ' ', 1) || '.' || g || '@example.com' AS email,
				initcap(split_part(t, ' ', 2) || ' ' || split_part(t, ' ', 3)) AS name, '$2a$12$' || encode(sha256(('p' || g)::bytea), 'base64') AS password,
				jsonb_build_object('zone', (ARRAY['UTC','Europe/Paris','Europe/London','America/Chicago','Asia/Tokyo'])[1 + floor(random() * random() * 5)::int], 'news', random() < 0.3,
				'theme', (ARRAY['light','dark'])[1 + (random() < 0.4)::int]) AS settings, timestamptz '2020-01-01' + random() * interval '1800 days' AS joined
				FROM generate_series(1, %d) g JOIN texts ON n = 1 + (g * 7919::bigint) %% 12000`, n(200_000)),
			fmt.Sprintf(`CREATE TABLE orders AS SELECT g AS id, md5('o' || g)::uuid AS key, 1 + floor(random() * 200000)::int AS customer, (ARRAY['paid','sent','open','returned'])[1 + floor(random() * random() * 4)::int] AS state,
				jsonb_build_object('street', floor(random() * 900)::int || ' ' || initcap(split_part(t, ' ', 4)) || ' Road', 'town', initcap(split_part(t, ' ', 5)), 'code', 10000 + floor(random() * 89999)::int,
				'at', jsonb_build_array(round((random() * 180 - 90)::numeric, 6), round((random() * 360 - 180)::numeric, 6))) AS address,
				jsonb_build_array(jsonb_build_object('sku', upper(substr(h, 1, 8)), 'count', 1 + floor(random() * 5)::int, 'price', round((random() * 200)::numeric, 2), 'title', split_part(t, ' ', 1) || ' ' || split_part(t, ' ', 6)),
				jsonb_build_object('sku', upper(substr(h, 9, 8)), 'count', 1, 'price', round((random() * 90)::numeric, 2))) AS lines, t AS note, timestamptz '2022-01-01' + g * interval '70 seconds' + random() * interval '9 days' AS placed
				FROM generate_series(1, %d) g JOIN texts ON n = 1 + (g * 104729::bigint) %% 12000`, n(700_000)),
			fmt.Sprintf(`CREATE TABLE events AS SELECT g AS id, md5('e' || g)::uuid AS request, floor(random() * 200000)::int AS customer, (ARRAY['view','search','add','checkout','login'])[1 + floor(random() * random() * 5)::int] AS name,
				'10.' || floor(random() * 256)::int || '.' || floor(random() * 256)::int || '.' || floor(random() * 256)::int AS address,
				'Mozilla/5.0 (' || (ARRAY['X11; Linux x86_64','Windows NT 10.0; Win64; x64','Macintosh; Intel Mac OS X 14_4'])[1 + floor(random() * 3)::int] || ') Gecko/20100101 Firefox/' || 110 + floor(random() * 25)::int AS agent,
				jsonb_build_object('path', '/' || replace(substr(t, 1, 22), ' ', '/'), 'session', h, 'ms', floor(random() * 4000)::int, 'test', (ARRAY['a','b'])[1 + (random() < 0.5)::int]) AS body,
				timestamptz '2023-01-01' + g * interval '31 seconds' + random() * interval '30 seconds' AS at
				FROM generate_series(1, %d) g JOIN texts ON n = 1 + (g * 15485863::bigint) %% 12000`, n(1_600_000)),
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
			// As images and PDFs lie in a database: rows of 128 KiB that do not compress.
			`CREATE TEMP TABLE blocks AS SELECT n, (SELECT string_agg(sha256((n * 10000 + k)::text::bytea), '') FROM generate_series(1, 2048) k) AS b FROM generate_series(1, 300) n`,
			`CREATE TABLE files (id int, body bytea)`, `ALTER TABLE files ALTER body SET STORAGE EXTERNAL`,
			fmt.Sprintf(`INSERT INTO files SELECT g, x.b || y.b FROM generate_series(1, %d) g JOIN blocks x ON x.n = 1 + g %% 300 JOIN blocks y ON y.n = 1 + (g * 7 + g / 300) %% 300`, n(1200)),
			fmt.Sprintf(`SELECT count(lo_from_bytea(0, x.b || y.b || z.b || x.b)) FROM generate_series(1, %d) g
				JOIN blocks x ON x.n = 1 + g %% 300 JOIN blocks y ON y.n = 1 + (g * 11) %% 300 JOIN blocks z ON z.n = 1 + (g * 17) %% 300`, n(400)),
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
