package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/pgarchive"
)

// checkCounts holds what a backup of a set has counted against the server, whose data nobody changes meanwhile: rows by
// count(*), digests by the script that a customer gets, and the same script on a copy that lacks one row.
func (b *bench) checkCounts(ctx context.Context, set string) error {
	made, err := b.pipe(ctx, task{Level: pgarchive.Fast, Unread: true}, b.pg.SuperuserURL(set))
	if err != nil {
		return err
	}
	contents := made.Contents
	conn, err := pgx.Connect(ctx, b.pg.SuperuserURL(set))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	for _, t := range contents.Tables {
		var rows int64
		name := pgx.Identifier{t.Schema, t.Name}.Sanitize()
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM "+name).Scan(&rows); err != nil || rows != t.Rows {
			return fmt.Errorf("%s has %d rows, %d were counted: %w", name, rows, t.Rows, err)
		}
	}
	var objects, tables int64
	err = conn.QueryRow(ctx, "SELECT (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information_)')").Scan(&objects, &tables)
	if err != nil || objects != contents.LargeObjects.Count || tables != int64(len(contents.Tables)) {
		return fmt.Errorf("%d tables and %d large objects, %d and %d were counted: %w", tables, objects, len(contents.Tables), contents.LargeObjects.Count, err)
	}
	if differs, err := b.differing(ctx, contents, set); err != nil || len(differs) > 0 {
		return fmt.Errorf("of what was counted differs %q: %w", differs, err)
	}
	if err := conn.Close(ctx); err != nil { // a template is copied while nobody uses it
		return err
	}
	first := pgx.Identifier{contents.Tables[0].Schema, contents.Tables[0].Name}.Sanitize()
	less := set + "_less"
	if err := stack.Exec(ctx, b.pg.SuperuserURL("postgres"), `CREATE DATABASE "`+less+`" TEMPLATE "`+set+`"`); err != nil {
		return err
	}
	if err := stack.Exec(ctx, b.pg.SuperuserURL(less), "DELETE FROM "+first+" WHERE ctid = (SELECT min(ctid) FROM "+first+")"); err != nil {
		return err
	}
	if differs, err := b.differing(ctx, contents, less); err != nil || len(differs) != 1 {
		return fmt.Errorf("of a copy that lacks one row differs %q: %w", differs, err)
	}
	fmt.Fprintf(os.Stderr, "%s: what was counted of %d tables with %d rows, %d sequences and %d large objects is what the server has; one row less is seen\n",
		set, tables, contents.Rows(), len(contents.Sequences), objects)
	return stack.Exec(ctx, b.pg.SuperuserURL("postgres"), `DROP DATABASE "`+less+`"`)
}

// differing runs the contents' script on a database and returns its lines of what is not equal, with which psql ends with 3.
func (b *bench) differing(ctx context.Context, c *pgarchive.Contents, db string) (lines []string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.pg.BinDir(), "psql"), "-X", "-f", "-", b.pg.SuperuserURL(db)) //nolint:gosec // ours
	cmd.Stdin, cmd.Stderr = strings.NewReader(c.Script()), os.Stderr
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "equal ") && !strings.HasPrefix(line, "EQUAL: ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 3 && len(lines) > 0 {
		err = nil
	}
	return lines, err
}
