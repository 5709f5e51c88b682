// Package everykind fills a database with every kind of object that pg_dump writes into an archive's table of
// contents, so that what handles archives is tried on all of them.
package everykind

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed everykind.sql
var statements string

// separator begins the line before each statement, since some have semicolons of their own. A number after it is the
// first major whose servers know the statement.
const separator = "\n-- next"

// Fill makes the objects in an empty database, of which url is a superuser's. Databases of one cluster share the role.
func Fill(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // everything is there or was an error
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	for _, s := range strings.Split(statements, separator) {
		first, sql, _ := strings.Cut(s, "\n")
		var since int
		if _, err := fmt.Sscanf(first, " %d", &since); err == nil && since > version/10000 {
			continue
		}
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(sql), err)
		}
	}
	return nil
}

// Kinds are those that pg_dump of a major gives entries of such a database: all that it knows (pg_dump.c, where each
// calls ArchiveEntry), but SECURITY LABEL, for which a server must have loaded a provider, and what only pg_upgrade
// asks for.
func Kinds(major int) []string {
	kinds := []string{
		"ACCESS METHOD", "ACL", "AGGREGATE", "BLOBS", "CAST", "CHECK CONSTRAINT", "COLLATION", "COMMENT", "CONSTRAINT", "CONVERSION",
		"DATABASE", "DATABASE PROPERTIES", "DEFAULT", "DEFAULT ACL", "DOMAIN", "ENCODING", "EVENT TRIGGER", "EXTENSION", "FK CONSTRAINT",
		"FOREIGN DATA WRAPPER", "FOREIGN TABLE", "FUNCTION", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA",
		"OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "POLICY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "PUBLICATION TABLE",
		"ROW SECURITY", "RULE", "SCHEMA", "SEARCHPATH", "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET", "SERVER", "SHELL TYPE",
		"STATISTICS", "STDSTRINGS", "SUBSCRIPTION", "TABLE", "TABLE DATA", "TEXT SEARCH CONFIGURATION",
		"TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM", "TRIGGER", "TYPE", "USER MAPPING", "VIEW",
	}
	if major >= 14 {
		kinds = append(kinds, "TABLE ATTACH")
	}
	if major >= 15 {
		kinds = append(kinds, "PUBLICATION TABLES IN SCHEMA")
	}
	if major >= 17 {
		return append(kinds, "BLOB METADATA")
	}
	return append(kinds, "BLOB")
}
