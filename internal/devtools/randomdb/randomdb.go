// Package randomdb makes databases up: schemas and data that nobody would think of, for tests of what must come through
// whatever a database holds. They are drawn by rapid, so that a seed makes the same one again and a failure is made
// smaller.
package randomdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"
)

// Role is one that the databases' policies name. It belongs to the cluster: make it before Fill.
const Role = `a "role" of the cluster`

// Database is how one is made.
type Database struct {
	Statements []Statement
	Has        map[string]int // how often it has what it can have, such as "hash partition"
}

// Statement is one of SQL.
type Statement struct {
	SQL string
	May bool // fail, where its random data breaks a constraint; then it adds nothing
}

// GoString is what rapid prints of a database that a test fails with.
func (d Database) GoString() string {
	var b strings.Builder
	for _, s := range d.Statements {
		b.WriteString("\n" + s.SQL + ";")
	}
	return b.String()
}

// Generator draws databases for servers of PostgreSQL 14 and later.
func Generator() *rapid.Generator[Database] {
	return rapid.Custom(func(t *rapid.T) Database {
		m := &maker{t: t, used: map[string]bool{}, db: Database{Has: map[string]int{}}}
		m.make()
		return m.db
	})
}

// Fill makes the objects in an empty database, of which url is a superuser's.
func (d Database) Fill(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything is there or was an error
	for _, s := range d.Statements {
		_, err := conn.Exec(ctx, s.SQL)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && s.May && (refused.Code[:2] == "23" || refused.Code == "2200H") { // a constraint; a sequence's end
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.SQL, err)
		}
	}
	return nil
}

// maker draws one database.
type maker struct {
	t     *rapid.T
	db    Database
	names int
	used  map[string]bool

	schemas   []string // quoted, like all names from here on
	types     []kind   // of its own
	tables    []*table
	sequences []string
	views     []string
	lastBy    string // how the last table was partitioned
}

// n draws a number below max, each as often as the others, as rapid's own do not.
func (m *maker) n(max int) int {
	v := 0
	for bit := 1; bit < 8*max; bit *= 2 {
		if rapid.Bool().Draw(m.t, "bit") {
			v += bit
		}
	}
	return v % max
}

// chance is true in so many of a hundred draws.
func (m *maker) chance(percent int) bool { return m.n(100) >= 100-percent }

func pick[T any](m *maker, all []T) T { return all[m.n(len(all))] }

func (m *maker) do(format string, args ...any) {
	m.db.Statements = append(m.db.Statements, Statement{SQL: fmt.Sprintf(format, args...)})
}

func (m *maker) may(format string, args ...any) {
	m.db.Statements = append(m.db.Statements, Statement{SQL: fmt.Sprintf(format, args...), May: true})
}

func (m *maker) has(what string) { m.db.Has[what]++ }

func (m *maker) make() {
	m.schemas = []string{"public"}
	for range 1 + m.n(2) {
		s := m.name()
		m.do("CREATE SCHEMA %s", s)
		m.schemas = append(m.schemas, s)
	}
	m.makeTypes()
	for range m.n(3) {
		m.makeSequence()
	}
	for range 2 + m.n(4) {
		m.makeTable()
	}
	if m.chance(50) {
		m.makeWide()
	}
	if m.chance(50) {
		m.makeLong()
	}
	for range 1 + m.n(2) {
		m.makePartitions()
	}
	if m.chance(60) {
		m.makeFamily()
	}
	m.makeReferences()
	for range 1 + m.n(3) {
		m.makeView()
	}
	for _, t := range m.tables {
		m.dress(t)
	}
	m.makePublications()
	m.makeObjects()
}

// in is a new name in one of the schemas.
func (m *maker) in() string { return pick(m, m.schemas) + "." + m.name() }

// name is a new name, quoted.
func (m *maker) name() string {
	m.names++
	n := pick(m, oddNames)
	if m.chance(40) {
		n = fmt.Sprintf("plain_%d", m.names)
	}
	if m.used[n] {
		n = cut(n, 58) + fmt.Sprintf("~%d", m.names)
	}
	m.used[n] = true
	return ident(n)
}

// oddNames are what a name can be: at most 63 bytes of anything but zero.
var oddNames = []string{
	"select", "user", "Mixed Case", "1st", " ", " leading", "trailing ", "semi;colon", "-- comment", "/* open", `quo"ted`, `"`, `""`, "apostrophe's", "''",
	`back\slash`, `\`, `\.`, `\N`, `\"`, "line\nfeed", "\n", "line\n\\connect nowhere\n", "carriage\rreturn", "tab\tbed", "\x01\x1b[31m", "$$", "$body$", "%s%n%I", "${HOME}",
	"`id`", "$(id)", ":variable", ":'quoted'", ":\"ident\"", "*", "a.b", `a"."b`, "(a, b)", "FROM stdin;", "ünïcödé", "e\u0301", "e", "é", "日本語", "עברית", "\u202eoverride",
	"😀", "👩‍👩‍👧‍👦", strings.Repeat("😀", 15) + "abc", strings.Repeat("x", 63), strings.Repeat(`"`, 63), strings.Repeat("\n", 63), "null", "NULL", "ctid_", "<img src=x onerror=alert(1)>", "=cmd()",
}

// cut keeps at most n bytes, and whole characters.
func cut(s string, n int) string {
	for len(s) > n {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return s
}

func ident(s string) string   { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
func literal(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
