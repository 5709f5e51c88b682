package proof

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/scratchpg"
)

// harmless are extensions that PostgreSQL does not trust everybody with, and that give their user nothing that reaches
// beyond the database's own tables. dblink, postgres_fdw and file_fdw are none of them.
var harmless = []string{
	"address_standardizer", "bloom", "earthdistance", "hypopg", "intagg", "pg_buffercache", "pg_freespacemap", "pg_stat_statements",
	"pg_visibility", "pgrowlocks", "pgstattuple", "postgis", "postgis_topology", "vector",
}

// prepare makes the database, the extensions and the roles that the archive needs and cannot bring.
func (r *restore) prepare(ctx context.Context) error {
	if err := r.database(ctx); err != nil || r.out.Verdict != Passed {
		return err
	}
	conn, err := r.Connect(ctx, scratchpg.Admin, scratchpg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	if err := r.extensions(ctx, conn); err != nil || r.out.Verdict != Passed {
		return err
	}
	return r.roles(ctx, conn)
}

// roles makes those that policies name, but for what PostgreSQL has itself, such as pg_read_all_data.
func (r *restore) roles(ctx context.Context, conn *pgx.Conn) error {
	var made []string
	for _, role := range slices.Sorted(maps.Keys(r.plan.roles)) {
		var here bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = "+scratchpg.Literal(role)+")").Scan(&here); err != nil {
			return fmt.Errorf("look for a role: %w", err)
		}
		if here {
			continue
		}
		if _, err := conn.Exec(ctx, "CREATE ROLE "+scratchpg.Ident(role)); err != nil {
			r.out.impossible("a policy names the role %s, which cannot be made here", role)
			return nil //nolint:nilerr // it is the verdict
		}
		made = append(made, role)
	}
	if len(made) > 0 {
		r.out.LeftOut = append(r.out.LeftOut, "roles are in no dump; those that policies name were made empty: "+named(made))
	}
	return nil
}

// database makes it with the encoding and the locale that the archive names, or without the locale.
func (r *restore) database(ctx context.Context) error {
	err := r.MakeDatabase(ctx, r.plan.encoding, r.plan.locale)
	if err == nil || scratchpg.SQLState(err) == "" {
		return err
	}
	err = r.MakeDatabase(ctx, r.plan.encoding, scratchpg.Bytes())
	if scratchpg.SQLState(err) != "" {
		r.out.impossible("a database in the encoding %s cannot be made here: %s", r.plan.encoding, words(err))
		return nil
	}
	r.byBytes = true
	r.out.LeftOut = append(r.out.LeftOut, fmt.Sprintf("the locale %s is not installed here: texts were ordered by their bytes", r.plan.locale))
	return err
}

func (r *restore) extensions(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "SELECT name, bool_or(trusted) FROM pg_catalog.pg_available_extension_versions GROUP BY 1")
	if err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	trusted := map[string]bool{}
	var name string
	var t bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &t}, func() error { trusted[name] = t; return nil }); err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	var missing, powerful []string
	for _, x := range r.plan.extensions {
		switch t, here := trusted[x.name]; {
		case !here:
			missing = append(missing, x.name)
		case !t && !slices.Contains(harmless, x.name):
			powerful = append(powerful, x.name)
		}
	}
	if len(missing) > 0 {
		r.out.impossible("it needs extensions that are not installed here: %s", named(missing))
	}
	if len(powerful) > 0 {
		r.out.impossible("it needs extensions that reach beyond the database, which we do not run on a copy: %s", named(powerful))
	}
	if r.out.Verdict != Passed {
		return nil
	}
	for _, x := range r.plan.extensions {
		if err := r.extension(ctx, conn, x); err != nil {
			r.out.impossible("the extension %s cannot be made here: %s", x.name, words(err))
			return nil //nolint:nilerr // it is the verdict
		}
	}
	return r.extensionTables(ctx, conn)
}

// extension makes one, in the schema that the archive names. Only the owner's own objects can be in that schema later,
// so all of it may be his.
func (r *restore) extension(ctx context.Context, conn *pgx.Conn, x extension) error {
	sql := "CREATE EXTENSION IF NOT EXISTS " + scratchpg.Ident(x.name)
	if x.schema != "" && x.schema != "pg_catalog" {
		if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+scratchpg.Ident(x.schema)+" AUTHORIZATION "+scratchpg.Owner); err != nil {
			return err
		}
		sql += " WITH SCHEMA " + scratchpg.Ident(x.schema)
	}
	_, err := conn.Exec(ctx, sql)
	return err
}

// extensionTables finds the tables that belong to extensions and lets the owner fill them.
func (r *restore) extensionTables(ctx context.Context, conn *pgx.Conn) error {
	if len(r.plan.extensions) == 0 {
		return nil
	}
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind IN ('r', 'p', 'S')`)
	if err != nil {
		return fmt.Errorf("list extensions' tables: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) { return t, row.Scan(&t.schema, &t.name) })
	if err != nil {
		return fmt.Errorf("list extensions' tables: %w", err)
	}
	r.own = map[table]bool{}
	for _, t := range all {
		r.own[t] = true
		if _, err := conn.Exec(ctx, "GRANT ALL ON "+qualified(t.schema, t.name)+" TO "+scratchpg.Owner); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
	return nil
}
