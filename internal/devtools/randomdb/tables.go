package randomdb

import (
	"fmt"
	"strings"
)

// table is one that rows can be put into.
type table struct {
	name    string
	columns []column
	logged  bool // whether it can be published
}

type column struct {
	name string
	kind
	written bool // by whoever puts in a row
	filled  bool // always, for it may not be null
}

func (t *table) keys() (names []string) {
	for _, c := range t.columns {
		if c.key {
			names = append(names, c.name)
		}
	}
	return names
}

// rows puts some into a table.
func (m *maker) rows(t *table, n int) {
	var names []string
	for _, c := range t.columns {
		if c.written {
			names = append(names, c.name)
		}
	}
	for range n {
		if len(names) == 0 {
			m.may("INSERT INTO %s DEFAULT VALUES", t.name)
			continue
		}
		var values []string
		for _, c := range t.columns {
			switch {
			case !c.written:
			case c.filled:
				values = append(values, c.value(m))
			default:
				values = append(values, m.orNull(c.kind))
			}
		}
		m.may("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)", t.name, strings.Join(names, ", "), strings.Join(values, ", "))
	}
}

func (m *maker) makeSequence() {
	m.has("sequence")
	s := m.in()
	m.do("CREATE SEQUENCE %s %s", s, pick(m, []string{"", "INCREMENT -3", "MINVALUE -5 START -3 CYCLE", "AS smallint CACHE 7", "START 9223372036854775807"}))
	switch m.n(3) {
	case 1:
		m.do("SELECT nextval(%s)", literal(s))
	case 2:
		m.do("SELECT setval(%s, (SELECT last_value FROM %s), %t)", literal(s), s, m.chance(50))
	}
	m.comment("SEQUENCE " + s)
	m.sequences = append(m.sequences, s)
}

// column draws one, and how it is declared.
func (m *maker) column(generated bool) (column, string) {
	c := column{name: m.name(), kind: m.any(), written: true}
	switch m.n(8) {
	case 0:
		m.has("identity column")
		c.kind, c.written = bases[0], m.chance(50)
		return c, fmt.Sprintf("%s integer GENERATED %s AS IDENTITY", c.name, pick(m, []string{"ALWAYS", "BY DEFAULT"}))
	case 1:
		c.kind, c.written = bases[0], m.chance(50)
		return c, c.name + " serial"
	case 2:
		m.has("default")
		return c, fmt.Sprintf("%s %s DEFAULT %s", c.name, c.kind.name, c.value(m))
	case 3:
		if len(m.sequences) > 0 {
			c.kind, c.written = literals("bigint", true, "1", "2"), false
			return c, fmt.Sprintf("%s bigint DEFAULT nextval(%s)", c.name, literal(pick(m, m.sequences)))
		}
	case 4:
		c.filled = true
		return c, fmt.Sprintf("%s %s NOT NULL", c.name, c.kind.name)
	case 5:
		if generated {
			m.has("generated column")
			c.kind, c.written = text, false
			c.key = false
			return c, c.name + " text GENERATED ALWAYS AS ('of ' || 2 * 2 || E'\\\\\\n') STORED"
		}
	case 6:
		c.kind = text
		return c, c.name + ` text COLLATE "C"`
	}
	return c, c.name + " " + c.kind.name
}

func (m *maker) makeTable() {
	t := &table{name: m.in()}
	var declared []string
	for range m.n(7) {
		c, d := m.column(true)
		t.columns = append(t.columns, c)
		declared = append(declared, d)
	}
	if len(t.columns) > 0 && m.chance(40) {
		m.has("generated column")
		// Of another column, whatever that may be: whether it is there is known.
		c := column{name: m.name(), kind: bases[0]}
		declared = append(declared, fmt.Sprintf("%s integer GENERATED ALWAYS AS (num_nulls(1, NULL) + 1) STORED", c.name))
		t.columns = append(t.columns, c)
	}
	if len(declared) == 0 {
		m.has("table without columns")
	}
	persistence := pick(m, []string{"", "", "", "UNLOGGED"})
	t.logged = persistence == ""
	m.do("CREATE %s TABLE %s (%s) %s", persistence, t.name, strings.Join(declared, ", "), pick(m, []string{"", "WITH (fillfactor = 50)"}))
	if n := m.n(12); n > 2 {
		m.rows(t, n)
	} else {
		m.has("empty table")
	}
	if m.chance(50) && len(t.columns) > 0 { // rows that were there before a column was
		m.has("dropped column")
		gone := m.n(len(t.columns))
		m.do("ALTER TABLE %s DROP COLUMN %s", t.name, t.columns[gone].name)
		t.columns = append(t.columns[:gone:gone], t.columns[gone+1:]...)
		c := column{name: m.name(), kind: text, written: true}
		m.do("ALTER TABLE %s ADD COLUMN %s text DEFAULT %s", t.name, c.name, text.value(m))
		t.columns = append(t.columns, c)
		m.rows(t, 3)
	}
	m.tables = append(m.tables, t)
}

// makeWide makes a table with as many columns as there can be. A row must fit a page, so most of them are small.
func (m *maker) makeWide() {
	m.has("1600 columns")
	t := &table{name: m.in(), logged: true}
	declared := make([]string, 1600)
	for i := range declared {
		c := column{name: ident(fmt.Sprintf("column %d", i)), kind: pick(m, []kind{bases[0], bases[0], literals("boolean", true, "t", "f"), literals("smallint", true, "1", "-1")}), written: i%3 > 0}
		declared[i] = c.name + " " + c.kind.name
		t.columns = append(t.columns, c)
	}
	m.do("CREATE TABLE %s (%s)", t.name, strings.Join(declared, ", "))
	m.rows(t, 2)
	m.tables = append(m.tables, t)
}

// makeLong makes a table of more than one piece of what archives are compressed in.
func (m *maker) makeLong() {
	m.has("long table")
	t := &table{name: m.in(), columns: []column{{name: ident("id"), kind: bases[0]}, {name: ident("text"), kind: text}}}
	m.do(`CREATE TABLE %s AS SELECT g AS "id", repeat(md5(g::text), g %% 9) || E'\\\n' AS "text" FROM generate_series(1, %d) g`, t.name, 2000+m.n(6000))
	m.tables = append(m.tables, t)
}

// makePartitions makes a partitioned table whose partitions are of every kind, and some partitioned again.
func (m *maker) makePartitions() {
	t := &table{name: m.in(), columns: []column{
		{name: m.name(), kind: kind{"integer", func(m *maker) string { return fmt.Sprint(m.n(40)) }, true}, written: true, filled: true},
		{name: m.name(), kind: literals("text", true, "a", "b", "it's", "\\", "elsewhere"), written: true},
		{name: m.name(), kind: m.any(), written: true},
	}}
	declare := func(t *table) string {
		var d []string
		for _, c := range t.columns {
			d = append(d, c.name+" "+c.kind.name)
		}
		return strings.Join(d, ", ")
	}
	m.do("CREATE TABLE %s (%s) PARTITION BY %s", t.name, declare(t), m.partitionBy(t))
	m.partition(t, t.name, m.lastBy, 0)
	m.rows(t, 15)
	if m.chance(50) {
		m.has("partitioned index")
		m.do("CREATE INDEX ON %s (%s)", t.name, t.columns[0].name)
	}
	m.comment("TABLE " + t.name)
}

var ways = []string{"list", "range", "hash"}

func (m *maker) partitionBy(t *table) string {
	m.lastBy = pick(m, ways)
	return m.by(t, m.lastBy)
}

func (m *maker) by(t *table, way string) string {
	switch way {
	case "list":
		return "LIST (" + t.columns[1].name + ")"
	case "range":
		return "RANGE (" + t.columns[0].name + ")"
	default:
		return "HASH (" + t.columns[0].name + ")"
	}
}

func (m *maker) partition(root *table, parent, way string, depth int) {
	m.has(way + " partition")
	var bounds []string
	switch way {
	case "list":
		bounds = []string{"FOR VALUES IN ('a', NULL)", "FOR VALUES IN ('it''s', E'\\\\')", "DEFAULT"}
	case "range":
		bounds = []string{"FOR VALUES FROM (MINVALUE) TO (10)", "FOR VALUES FROM (10) TO (30)", "DEFAULT"}
	default:
		bounds = []string{"FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 4, REMAINDER 1)", "FOR VALUES WITH (MODULUS 4, REMAINDER 3)"}
	}
	for _, b := range bounds {
		name := m.in()
		switch {
		case depth < 2 && m.chance(25):
			m.has("nested partition")
			way := pick(m, ways)
			m.do("CREATE TABLE %s PARTITION OF %s %s PARTITION BY %s", name, parent, b, m.by(root, way))
			m.partition(root, name, way, depth+1)
		case m.chance(30): // with its columns in another order, and one that is gone
			m.has("attached partition")
			m.do("CREATE TABLE %s (%s %s, gone text, %s %s, %s %s)", name, root.columns[2].name, root.columns[2].kind.name, root.columns[1].name, root.columns[1].kind.name,
				root.columns[0].name, root.columns[0].kind.name)
			m.do("ALTER TABLE %s DROP COLUMN gone", name)
			m.do("ALTER TABLE %s ATTACH PARTITION %s %s", parent, name, b)
		default:
			m.do("CREATE TABLE %s PARTITION OF %s %s", name, parent, b)
		}
	}
}

// makeFamily makes tables that inherit, also such whose columns lie in another order than a new one's would.
func (m *maker) makeFamily() {
	m.has("inheritance")
	parent := &table{name: m.in(), columns: []column{{name: m.name(), kind: bases[0], written: true}, {name: m.name(), kind: text, written: true}}}
	a, b := parent.columns[0], parent.columns[1]
	m.do("CREATE TABLE %s (%s integer, %s text)", parent.name, a.name, b.name)
	own := column{name: m.name(), kind: m.any(), written: true}
	child := &table{name: m.in(), columns: []column{a, b, own}}
	m.do("CREATE TABLE %s (%s %s) INHERITS (%s)", child.name, own.name, own.kind.name, parent.name)
	if m.chance(60) {
		m.has("column added to a parent")
		late := column{name: m.name(), kind: m.any(), written: true}
		m.do("ALTER TABLE %s ADD COLUMN %s %s", parent.name, late.name, late.kind.name)
		parent.columns, child.columns = append(parent.columns, late), append(child.columns, late)
	}
	m.tables = append(m.tables, parent, child)
	if m.chance(60) {
		m.has("adopted child")
		adopted := &table{name: m.in(), columns: []column{own}}
		declared := own.name + " " + own.kind.name
		for i := len(parent.columns) - 1; i >= 0; i-- {
			c := parent.columns[i]
			adopted.columns = append(adopted.columns, c)
			declared += ", " + c.name + " " + c.kind.name
		}
		m.do("CREATE TABLE %s (%s)", adopted.name, declared)
		m.do("ALTER TABLE %s INHERIT %s", adopted.name, parent.name)
		m.tables = append(m.tables, adopted)
	}
	for _, t := range m.tables[len(m.tables)-2:] {
		m.rows(t, 4)
	}
}
