package pgarchive

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WriteScript writes the script of Contents.Script for contents that are read as JSON, one table at a time, so that a list
// of any length is not held. After an error what was written is no script. Errors: w's, those of reading and of JSON, and where the
// contents have what no counting writes: they may be anybody's who could replace an archive's files, and psql runs commands.
func WriteScript(w io.Writer, contents io.Reader) error {
	s := &script{w: bufio.NewWriterSize(w, 32<<10)}
	s.begin()
	in := json.NewDecoder(contents)
	err := fields(in, func(name string) error {
		switch name {
		case "encoding":
			return one(in, func(name string) error {
				s.encoding = name
				return sound([]string{name})
			})
		case "tables":
			return each(in, func(t Table) error {
				if err := sound(append([]string{t.Schema, t.Name, t.Via}, t.Columns...), t.RowSum, t.LongRowSum, t.SHA256); err != nil {
					return err
				}
				s.table(t)
				return nil
			})
		case "sequences":
			return each(in, func(q Sequence) error {
				if err := sound([]string{q.Schema, q.Name}); err != nil {
					return err
				}
				s.sequence(q)
				return nil
			})
		case "large_objects":
			return one(in, func(l LargeObjects) error {
				if err := sound(nil, l.Sum, l.OldSum); err != nil {
					return err
				}
				s.end(l)
				return nil
			})
		default: // of a newer release
			return one(in, func(json.RawMessage) error { return nil })
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
func each[T any](in *json.Decoder, do func(T) error) error {
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

func one[T any](in *json.Decoder, do func(T) error) error {
	var v T
	if err := in.Decode(&v); err != nil {
		return err
	}
	return do(v)
}

var errChanged = errors.New("the list of what was counted is not as we write it: somebody else did, so do not trust what lies beside it")

// counted is what sums and digests look like, or nothing.
var counted = regexp.MustCompile(`^(-?[0-9]*|[0-9a-f]{64})$`)

// sound tells whether names and what was counted are what an archive's can be. A NUL ends what psql reads of a line, within quotes too, and what
// was counted stands in a script as it is.
func sound(names []string, sums ...string) error {
	if slices.ContainsFunc(names, func(name string) bool { return strings.ContainsRune(name, 0) }) {
		return fmt.Errorf("%w: a name holds a NUL", errChanged)
	}
	for _, sum := range sums {
		if !counted.MatchString(sum) {
			return fmt.Errorf("%w: %.80q is no sum", errChanged, sum)
		}
	}
	return nil
}

// Script is a psql script that holds a database against the contents and prints one line for each table, each
// sequence and the large objects, which begins with "equal", "DIFFERENT" or "MISSING", and one of all in the end. psql ends
// with 3 where something differs or is missing. Where the script did not arrive whole, that line is missing.
// It changes nothing. Rows may lie in any
// order: the server writes each as COPY does and adds up their hashes (see RowSum). Tables of which there is no such sum
// are held against the SHA-256 of COPY's text in the order in which their rows lie, which needs sha256sum beside psql.
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
	w         *bufio.Writer
	encoding  string // of the archive
	checked   int
	unchecked int
	ended     bool
}

func (s *script) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }

// An \if that is never ended is an error of psql's at the end of what it reads, as where the rest got lost. What gets lost
// may begin within \echo: \e would open an editor and wait.
func (s *script) begin() {
	s.printf(`\set QUIET on
\set ON_ERROR_STOP on
\setenv PSQL_EDITOR true
\set different 0
\pset tuples_only on
\pset format unaligned
\if true
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
		s.unchecked++
		s.printf("\\echo 'not checked:' %s 'is restored by way of' %s', which may put its rows into other partitions'\n", echo(name), echo(t.Via))
		return
	}
	if s.unreadable(name, t.Raw) {
		return
	}
	relation := ident(t.Schema) + "." + ident(t.Name)
	var check string
	if line, ok := t.line(); ok {
		check = fmt.Sprintf(`SELECT count(*) = %d AND coalesce(sum(hashtextextended((%s) COLLATE "C", 0)), 0) = %s AS equal
  FROM (SELECT %s AS line FROM ONLY %s) AS lines \gset
`, t.Rows, t.hashed(), cmp.Or(t.RowSum, t.LongRowSum), line, relation)
	} else {
		check = s.digest(t)
	}
	s.check(relation, "equal    ", fmt.Sprintf("%s (%d rows)", name, t.Rows), check)
}

// digest holds COPY's text in the order of the rows against its SHA-256. What a pipe comes to, psql tells by a file only.
func (s *script) digest(t Table) string {
	set := ""
	if s.encoding != "" { // the digest is of the text in it
		set = fmt.Sprintf("SET client_encoding = %s;\n", literal(s.encoding))
	}
	return "\\setenv REMORA_EQUAL `mktemp`\n" + set + fmt.Sprintf(`COPY %s.%s%s TO STDOUT \g | [ "$(sha256sum | cut -c1-64)" = %s ] && echo true >"$REMORA_EQUAL"
`, s.ident(t.Schema), s.ident(t.Name), s.list(t), t.SHA256) + "\\set equal `grep true \"$REMORA_EQUAL\" || echo false; rm -f \"$REMORA_EQUAL\"`\n"
}

// check writes a check, which sets the variable equal, and what is printed of it. What is missing is one line, and so is
// what cannot be read, below psql's own words: neither is the end. relation is "" where there is nothing to be missing.
func (s *script) check(relation, equal, title, check string) {
	s.checked++
	there := `\set there true`
	if relation != "" {
		there = `\set there false
SELECT to_regclass(` + literal(relation) + `) IS NOT NULL AS there \gset`
	}
	s.printf(`\set ON_ERROR_STOP off
\set equal false
SAVEPOINT one;
%s
\if :there
%s\endif
ROLLBACK TO one;
\set ON_ERROR_STOP on
\if :equal
\echo %s %[4]s
\else
SELECT :different + 1 AS different \gset
\if :there
\echo 'DIFFERENT' %[4]s
\else
\echo 'MISSING  ' %[4]s
\endif
\endif
`, there, check, echo(equal), echo(title))
}

func (s *script) sequence(q Sequence) {
	name := q.Schema + "." + q.Name + " (sequence)"
	if s.unreadable(name, q.Raw) {
		return
	}
	relation := ident(q.Schema) + "." + ident(q.Name)
	s.check(relation, "equal    ", name, fmt.Sprintf("SELECT last_value = %d AND is_called = %t AS equal FROM %s \\gset\n", q.Value, q.Called, relation))
}

// unreadable says of what cannot be asked for by its name that it is not checked. Earlier releases kept no other names
// than those that could be read.
func (s *script) unreadable(name string, raw *Raw) bool {
	if raw == nil && (s.encoding != "" || !strings.ContainsRune(name, utf8.RuneError)) || raw != nil && !raw.Unreadable {
		return false
	}
	s.unchecked++
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

// end compares the large objects, and says what all comes to.
func (s *script) end(l LargeObjects) {
	const sums = ` AND coalesce(sum(hashtextextended(number || ' ' || piece || ' ' || encode(%s, 'hex') COLLATE "C", 0)), 0) = %s`
	equal, sum := "equal    ", ""
	switch {
	case l.Sum != "":
		sum = fmt.Sprintf(sums, "sha256(bytes)", l.Sum)
	case l.OldSum != "":
		sum = fmt.Sprintf(sums, "bytes", l.OldSum)
	case l.Count > 0:
		equal = "not checked: the bytes of as many and as long"
		s.unchecked++
	}
	// Each is opened for its length alone, and closed again. A subquery with OFFSET is evaluated by itself and once.
	s.check("", equal, fmt.Sprintf("large objects (%d)", l.Count), fmt.Sprintf(`SELECT count(*) FILTER (WHERE piece = 0) = %d AND coalesce(sum(length(bytes)), 0) = %d%s AS equal
  FROM (SELECT number, piece, lo_get(number, piece * %[4]d, %[4]d) AS bytes
          FROM (SELECT number, lo_lseek64(opened, 0, 2) AS size, lo_close(opened)
                  FROM (SELECT oid AS number, lo_open(oid, 262144) AS opened FROM pg_largeobject_metadata OFFSET 0) AS a OFFSET 0) AS b,
               generate_series(0, greatest(size - 1, 0) / %[4]d) AS piece OFFSET 0) AS pieces \gset
`, l.Count, l.Bytes, sum, objectPiece))
	s.printf("ROLLBACK;\n")
	unchecked := ""
	if s.unchecked > 0 {
		unchecked = fmt.Sprintf("; %d could not be checked", s.unchecked)
	}
	s.printf(`SELECT :different = 0 AS equal, set_config('remora.different', :'different', false) AS ignored \gset
\if :equal
\echo 'EQUAL: all %[1]d that were checked%[2]s'
\else
\set VERBOSITY terse
DO $$BEGIN RAISE EXCEPTION '%% of %[1]d are DIFFERENT or MISSING%[2]s', current_setting('remora.different'); END$$;
\endif
\endif
`, s.checked, unchecked)
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
	if t.RowSum+t.LongRowSum == "" || len(t.Columns) == 0 && t.Bytes != t.Rows { // the archive did not tell the columns
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

// hashed is what of a line goes into its hash.
func (t Table) hashed() string {
	if t.RowSum != "" {
		return "line"
	}
	return fmt.Sprintf("CASE WHEN octet_length(line) > %d THEN encode(sha256(convert_to(line, getdatabaseencoding())), 'hex') ELSE line END", longestRow)
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
