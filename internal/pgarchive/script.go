package pgarchive

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Script is a psql script that holds a database against the contents and prints one line for each table, each
// sequence and the large objects, which begins with "equal" or "DIFFERENT". It needs psql and sha256sum and changes
// nothing. Tables are read in the order in which their rows lie. That is the archive's in a database that was restored and
// not yet written to, but where rows of different widths fit into room left on earlier pages: such a table is called
// DIFFERENT with all its rows in place, so "equal" proves and "DIFFERENT" asks to look closer.
func (c *Contents) Script() string {
	var b strings.Builder
	b.WriteString(`\set QUIET on
\set ON_ERROR_STOP off
\pset tuples_only on
\pset format unaligned
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET search_path = pg_catalog;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
SET extra_float_digits = 3;
SET bytea_output = hex;
SET synchronize_seqscans = off;
SET row_security = off;
`)
	for _, t := range c.Tables {
		name := t.Schema + "." + t.Name
		if t.Via != "" {
			fmt.Fprintf(&b, "\\echo 'not checked:' %s 'is restored by way of' %s', which may put its rows into other partitions'\n", echo(strings.ToValidUTF8(name, "?")), echo(strings.ToValidUTF8(t.Via, "?")))
			continue
		}
		columns := t.list()
		if !utf8.ValidString(name + columns) {
			fmt.Fprintf(&b, "\\echo 'not checked:' %s 'has a name in an encoding other than UTF-8'\n", echo(strings.ToValidUTF8(name, "?")))
			continue
		}
		// A savepoint for each, so that a table that is missing is one line and not the end.
		fmt.Fprintf(&b, `SAVEPOINT one;
COPY %s.%s%s TO STDOUT \g | [ "$(sha256sum | cut -c1-64)" = %s ] && printf 'equal     ' || printf 'DIFFERENT '
\echo %s '(%d rows)'
ROLLBACK TO one;
`, ident(t.Schema), ident(t.Name), columns, t.SHA256, echo(name), t.Rows)
	}
	for _, s := range c.Sequences {
		if !utf8.ValidString(s.Schema + s.Name) {
			continue
		}
		fmt.Fprintf(&b, `SAVEPOINT one;
SELECT CASE WHEN last_value = %d AND is_called = %t THEN 'equal     ' ELSE 'DIFFERENT ' END || %s FROM %s.%s;
ROLLBACK TO one;
`, s.Value, s.Called, literal(printable(s.Schema+"."+s.Name+" (sequence)")), ident(s.Schema), ident(s.Name))
	}
	fmt.Fprintf(&b, `SELECT CASE WHEN count(*) = %d AND coalesce(sum(length(lo_get(oid))), 0) = %d THEN 'equal     ' ELSE 'DIFFERENT ' END
       || 'large objects (%[1]d)' FROM pg_largeobject_metadata;
ROLLBACK;
`, c.LargeObjects.Count, c.LargeObjects.Bytes)
	return b.String()
}

// list is how a statement names the columns: without one, COPY takes them in the order of the table that it finds.
func (t Table) list() string {
	if len(t.Columns) == 0 {
		return ""
	}
	quoted := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		quoted[i] = ident(c)
	}
	return " (" + strings.Join(quoted, ", ") + ")"
}

func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
func literal(s string) string {
	return `E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
}

// printable replaces control characters, which would move the reader's cursor, or make two lines of one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// echo quotes an argument of psql's \echo, which knows backslashes within quotes.
func echo(s string) string {
	s = printable(s)
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
}
