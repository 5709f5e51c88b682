package stack

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
)

func localpgConfig() localpg.Config { return localpg.Config{} }

// Comparison is what Compare looked at.
type Comparison struct {
	Tables, Sequences int
	Rows              int64
}

// Compare holds two databases against each other: the schema as pg_dump writes it, and a digest of every table
// and sequence computed by their servers. Its error says what differs.
func Compare(ctx context.Context, binDir, one, two string) (Comparison, error) {
	a, err := schema(ctx, binDir, one)
	if err != nil {
		return Comparison{}, err
	}
	b, err := schema(ctx, binDir, two)
	if err != nil {
		return Comparison{}, err
	}
	if a != b {
		return Comparison{}, fmt.Errorf("the schemas differ: %s", firstDifference(a, b))
	}
	var c Comparison
	want, err := digests(ctx, one, &c)
	if err != nil {
		return c, err
	}
	got, err := digests(ctx, two, new(Comparison))
	if err != nil {
		return c, err
	}
	for name, d := range want {
		if got[name] != d {
			return c, fmt.Errorf("the contents of %s differ: %s and %s", name, d, got[name])
		}
	}
	if len(got) != len(want) {
		return c, fmt.Errorf("%d tables and sequences instead of %d", len(got), len(want))
	}
	return c, nil
}

// volatile lines differ between two dumps of the same schema.
var volatile = regexp.MustCompile(`(?m)^(--.*|\\(un)?restrict .*|)\n`)

func schema(ctx context.Context, binDir, url string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "pg_dump"), "--schema-only", "--no-owner", "--no-acl", "--exclude-schema=_heroku", "--exclude-schema=heroku_ext", "-d", url) //nolint:gosec // our own servers
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("pg_dump --schema-only: %s", stderr.String())
	}
	return volatile.ReplaceAllString(out.String(), ""), nil
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("%q and %q", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// digests are count and two order-free sums of hashes for each table, and the state of each sequence.
func digests(ctx context.Context, url string, c *Comparison) (map[string]string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', nspname, relname), relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'm', 'S') AND nspname NOT IN ('pg_catalog', 'information_schema', '_heroku', 'heroku_ext') AND nspname !~ '^pg_' ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	type relation struct{ Name, Kind string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[relation])
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range all {
		sql := "SELECT count(*), coalesce(sum(hashtextextended(t::text, 1)), 0)::text || '/' || coalesce(sum(hashtextextended(t::text, 2)), 0)::text FROM ONLY " + r.Name + " t"
		if r.Kind == "S" {
			sql = "SELECT 0, last_value::text || '/' || is_called::text FROM " + r.Name
			c.Sequences++
		} else {
			c.Tables++
		}
		var n int64
		var digest string
		if err := conn.QueryRow(ctx, sql).Scan(&n, &digest); err != nil {
			return nil, fmt.Errorf("digest of %s: %w", r.Name, err)
		}
		c.Rows += n
		out[r.Name] = fmt.Sprintf("%d rows %s", n, digest)
	}
	return out, nil
}
