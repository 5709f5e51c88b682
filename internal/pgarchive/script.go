package pgarchive

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WriteScript writes the script of Contents.Script for contents that are read as JSON, one table at a time, so that a list
// of any length is not held. After an error what was written is no script. Errors: w's, those of reading and of JSON.
func WriteScript(w io.Writer, contents io.Reader) error {
	s := &script{w: bufio.NewWriterSize(w, 32<<10)}
	s.begin()
	in := json.NewDecoder(contents)
	err := fields(in, func(name string) error {
		switch name {
		case "encoding":
			return one(in, func(name string) { s.encoding = name })
		case "tables":
			return each(in, s.table)
		case "sequences":
			return each(in, s.sequence)
		case "large_objects":
			return one(in, s.end)
		default: // of a newer release
			return one(in, func(json.RawMessage) {})
		}
	})
	if err == nil && !s.ended {
		err = errors.New("there are no large objects in it")
	}
	if err != nil {
		return fmt.Errorf("read contents: %w", err)
	}
	return s.w.Flush()
}

// fields reads an object, whose values do reads.
func fields(in *json.Decoder, do func(name string) error) error {
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return cmp.Or(err, errNotContents)
	}
	for in.More() {
		name, err := in.Token()
		if err == nil {
			err = do(name.(string)) // an object's, by the decoder's word
		}
		if err != nil {
			return err
		}
	}
	_, err := in.Token()
	return err
}

var errNotContents = errors.New("it is no list of contents")

// each reads an array, or null.
func each[T any](in *json.Decoder, do func(T)) error {
	switch t, err := in.Token(); {
	case err != nil || t == nil:
		return err
	case t != json.Delim('['):
		return errNotContents
	}
	for in.More() {
		if err := one(in, do); err != nil {
			return err
		}
	}
	_, err := in.Token()
	return err
}

func one[T any](in *json.Decoder, do func(T)) error {
	var v T
	if err := in.Decode(&v); err != nil {
		return err
	}
	do(v)
	return nil
}

// Script is a psql script that holds a database against the contents and prints one line for each table, each
// sequence and the large objects, which begins with "equal" or "DIFFERENT". It changes nothing. Rows may lie in any order:
// the server writes each as COPY does and adds up their hashes (see RowSum). Tables with a row longer than 64 KiB have no
// such sum; theirs is the SHA-256 of COPY's text in the order in which their rows lie, and needs sha256sum beside psql.
func (c *Contents) Script() string {
	var b strings.Builder
	s := &script{w: bufio.NewWriter(&b), encoding: c.Encoding}
	s.begin()
	for _, t := range c.Tables {
		s.table(t)
	}
	for _, q := range c.Sequences {
		s.sequence(q)
	}
	s.end(c.LargeObjects)
	_ = s.w.Flush() // a builder takes everything
	return b.String()
}

// script writes one, in this order: begin, tables, sequences, end. Errors are the last Flush's.
type script struct {
	w        *bufio.Writer
	encoding string // of the archive
	ended    bool
}

func (s *script) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }

func (s *script) begin() {
	s.printf(`\set QUIET on
\set ON_ERROR_STOP off
\pset tuples_only on
\pset format unaligned
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET search_path = pg_catalog;
SET standard_conforming_strings = on;
SET client_encoding = 'UTF8';
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;
SET extra_float_digits = 3;
SET bytea_output = hex;
SET quote_all_identifiers = on;
SET synchronize_seqscans = off;
SET row_security = off;
`)
}

func (s *script) table(t Table) {
	name := t.Schema + "." + t.Name
	if t.Via != "" {
		s.printf("\\echo 'not checked:' %s 'is restored by way of' %s', which may put its rows into other partitions'\n", echo(name), echo(t.Via))
		return
	}
	if s.unreadable(name, t.Raw) {
		return
	}
	// A savepoint for each, so that a table that is missing is one line and not the end.
	s.printf("SAVEPOINT one;\n")
	if line, ok := t.line(); ok {
		s.printf(`SELECT CASE WHEN count(*) = %[1]d AND coalesce(sum(hashtextextended(line COLLATE "C", 0)), 0) = %[2]s THEN 'equal     ' ELSE 'DIFFERENT ' END || %[3]s
  FROM (SELECT %[4]s AS line FROM ONLY %[5]s.%[6]s) AS lines;
`, t.Rows, t.RowSum, literal(printable(fmt.Sprintf("%s (%d rows)", name, t.Rows))), line, ident(t.Schema), ident(t.Name))
	} else {
		if s.encoding != "" { // the digest is of the text in it
			s.printf("SET client_encoding = %s;\n", literal(s.encoding))
		}
		s.printf(`COPY %s.%s%s TO STDOUT \g | [ "$(sha256sum | cut -c1-64)" = %s ] && printf 'equal     ' || printf 'DIFFERENT '
\echo %s '(%d rows)'
`, s.ident(t.Schema), s.ident(t.Name), s.list(t), t.SHA256, echo(name), t.Rows)
	}
	s.printf("ROLLBACK TO one;\n")
}

func (s *script) sequence(q Sequence) {
	if s.unreadable(q.Schema+"."+q.Name+" (sequence)", q.Raw) {
		return
	}
	s.printf(`SAVEPOINT one;
SELECT CASE WHEN last_value = %d AND is_called = %t THEN 'equal     ' ELSE 'DIFFERENT ' END || %s FROM %s.%s;
ROLLBACK TO one;
`, q.Value, q.Called, literal(printable(q.Schema+"."+q.Name+" (sequence)")), ident(q.Schema), ident(q.Name))
}

// unreadable says of what cannot be asked for by its name that it is not checked. Earlier releases kept no other names
// than those that could be read.
func (s *script) unreadable(name string, raw *Raw) bool {
	if raw == nil && (s.encoding != "" || !strings.ContainsRune(name, utf8.RuneError)) || raw != nil && !raw.Unreadable {
		return false
	}
	s.printf("\\echo 'not checked:' %s 'has a name that cannot be read; its encoding is' %s\n", echo(name), echo(cmp.Or(s.encoding, "not known")))
	return true
}

// ident is a name in a statement that is sent in the archive's encoding: of other characters than ASCII's it has the
// numbers, but in SQL_ASCII, where they are what they are.
func (s *script) ident(name string) string {
	if s.encoding == "" || s.encoding == "UTF8" || s.encoding == "SQL_ASCII" || ascii(name) {
		return ident(name)
	}
	var b strings.Builder
	for _, r := range strings.ReplaceAll(name, `\`, `\\`) {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\+%06X`, r)
		}
	}
	return "U&" + ident(b.String())
}

// end compares the large objects, whose line is the last.
func (s *script) end(l LargeObjects) {
	compared := "ELSE 'equal     '"
	switch {
	case l.Sum != "":
		compared = `WHEN sum(hashtextextended(number || ' ' || piece || ' ' || encode(bytes, 'hex') COLLATE "C", 0)) = ` + l.Sum + ` THEN 'equal     ' ELSE 'DIFFERENT '`
	case l.Count > 0:
		compared = "ELSE 'not checked: the bytes of as many and as long '"
	}
	// Each is opened for its length alone, and closed again. A subquery with OFFSET is evaluated by itself and once.
	s.printf(`SELECT CASE WHEN count(*) FILTER (WHERE piece = 0) <> %d OR coalesce(sum(length(bytes)), 0) <> %d THEN 'DIFFERENT '
            %s END || 'large objects (%[1]d)'
  FROM (SELECT number, piece, lo_get(number, piece * %[4]d, %[4]d) AS bytes
          FROM (SELECT number, lo_lseek64(opened, 0, 2) AS size, lo_close(opened)
                  FROM (SELECT oid AS number, lo_open(oid, 262144) AS opened FROM pg_largeobject_metadata OFFSET 0) AS a OFFSET 0) AS b,
               generate_series(0, greatest(size - 1, 0) / %[4]d) AS piece OFFSET 0) AS pieces;
ROLLBACK;
`, l.Count, l.Bytes, compared, objectPiece)
	s.ended = true
}

// escapes are the characters, as SQL writes them, for which COPY's text has something else, since they would end a value
// or a line (https://www.postgresql.org/docs/current/sql-copy.html, text format). The backslash comes first.
var escapes = [][2]string{
	{`'\'`, `'\\'`}, {`E'\b'`, `'\b'`}, {`E'\f'`, `'\f'`}, {`E'\n'`, `'\n'`}, {`E'\r'`, `'\r'`}, {`E'\t'`, `'\t'`}, {`E'\x0b'`, `'\v'`},
}

// line is an expression that makes of a row what COPY writes for it; ok is false where there is no sum to hold it against.
// format writes a value by its type's own output function, as COPY does, where a cast to text has rules of its own.
func (t Table) line() (sql string, ok bool) {
	if t.RowSum == "" || len(t.Columns) == 0 && t.Bytes != t.Rows { // the archive did not tell the columns
		return "", false
	}
	values := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		v := "format('%s', " + ident(c) + ")"
		for _, e := range escapes {
			v = "replace(" + v + ", " + e[0] + ", " + e[1] + ")"
		}
		values[i] = "CASE WHEN " + ident(c) + " IS DISTINCT FROM NULL THEN " + v + " END"
	}
	return `array_to_string(ARRAY[` + strings.Join(values, ", ") + `]::text[], E'\t', '\N')`, true
}

// list is how a statement names the columns: without one, COPY takes them in the order of the table that it finds.
func (s *script) list(t Table) string {
	if len(t.Columns) == 0 {
		return ""
	}
	quoted := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		quoted[i] = s.ident(c)
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
