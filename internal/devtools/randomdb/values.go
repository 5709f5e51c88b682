package randomdb

import (
	"fmt"
	"strings"
)

// kind is a type of columns.
type kind struct {
	name  string // in SQL
	value func(m *maker) string
	key   bool // its values have an order and are small: good for indexes and partitions
}

// oddTexts are what a text can be: anything but zero.
var oddTexts = []string{
	"", " ", "a", `\`, `\\`, `\.`, "\\.\n", "\n\\.\n", `\N`, "\n", "\r\n", "\r", "\t", "tab\tand\vand\b\f", "\x01\x7f", "'", `"`, "NULL", "null", "{}", `{"a"}`, "(,)", "ünïcödé", "😀",
	"\u202e", "\ufeff", "\u2028", "e\u0301", "trailing  ", strings.Repeat("long ", 3000), strings.Repeat("\\\n", 900), "COPY x FROM stdin;\n1\n\\.\n", "$$;DROP", "\U0010ffff",
}

func literals(name string, key bool, values ...string) kind {
	return kind{name, func(m *maker) string { return literal(pick(m, values)) + "::" + name }, key}
}

var text = kind{"text", func(m *maker) string {
	if m.chance(70) {
		return literal(pick(m, oddTexts)) + "::text"
	}
	return fmt.Sprintf("md5('%d')", m.n(1000))
}, true}

// bases are the server's own types.
var bases = []kind{
	{"integer", func(m *maker) string { return fmt.Sprintf("(%d)", m.n(1000)-500) }, true},
	literals("integer", true, "2147483647", "-2147483648", "0", "-1"),
	literals("bigint", true, "9223372036854775807", "-9223372036854775808", "0", "7"),
	literals("smallint", true, "32767", "-32768", "0"),
	literals("numeric", true, "NaN", "Infinity", "-Infinity", "0", "0.000", "-0.10", "1e-300", "1e300", "123456789012345678901234567890.1234567890123456789000", "1.0", "1.00"),
	literals("numeric(10,3)", true, "NaN", "0.0005", "-9999999.999"),
	literals("real", true, "NaN", "Infinity", "-Infinity", "0", "-0", "1e-45", "3.4028235e38", "0.1", "16777217"),
	literals("double precision", true, "NaN", "Infinity", "-Infinity", "0", "-0", "5e-324", "1.7976931348623157e308", "0.1", "0.30000000000000004", "9007199254740993"),
	text, text, text,
	{"varchar(20)", func(m *maker) string { return "left(" + text.value(m) + ", 20)" }, true},
	{"character(5)", func(m *maker) string { return "left(" + text.value(m) + ", 5)::character(5)" }, true},
	literals(`"char"`, true, "", "a", "\\", "\n"),
	literals("name", true, "", "a", "\\.", strings.Repeat("n", 63)),
	{"bytea", func(m *maker) string {
		if m.chance(30) {
			return fmt.Sprintf("decode(repeat(md5('%d'), %d), 'hex')", m.n(1000), m.n(2000))
		}
		return pick(m, []string{`''::bytea`, `'\x00'::bytea`, `'\x5c2e0a'::bytea`, `'\xff00ff0d0a09'::bytea`})
	}, false},
	literals("boolean", true, "t", "f"),
	literals("date", true, "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2024-02-29", "0001-01-01"),
	literals("time", true, "00:00", "24:00", "12:34:56.789012"),
	literals("timetz", true, "00:00+14", "23:59:59.999999-11:30"),
	literals("timestamp", true, "infinity", "-infinity", "4713-01-01 00:00 BC", "294276-12-31 23:59:59.999999", "2026-03-29 02:30"),
	literals("timestamptz", true, "infinity", "-infinity", "2026-03-29 02:30 Europe/Berlin", "1883-11-18 12:03:57 America/New_York", "2026-01-01 00:00:00.000001+00"),
	literals("interval", true, "0", "-1 year 2 mons -3 days 04:05:06.789", "178000000 years", "1 mon -1 day", "-00:00:00.000001"),
	literals("uuid", true, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
	literals("json", false, "null", `{"a" : 1, "a":2}`, "[1,  2]", `"\u0041\n"`, `{"":{}}`),
	literals("jsonb", false, "null", `{"a": 1e2, "b": [null, "\\", "\n", "😀"]}`, `[]`, `1.00`),
	literals("inet", true, "::1", "10.0.0.1/8", "0.0.0.0/0", "fe80::1/64"),
	literals("cidr", true, "10.0.0.0/8", "::/0"),
	literals("macaddr", true, "08:00:2b:01:02:03"), literals("macaddr8", true, "08:00:2b:01:02:03:04:05"),
	literals("bit(3)", true, "000", "101"), literals("bit varying", true, "", "1", "0101010101010101"),
	literals("point", false, "(0,-0)", "(NaN,Infinity)", "(1e-300,1e300)"), literals("box", false, "(1,1),(0,0)"), literals("lseg", false, "[(0,0),(1,1)]"),
	literals("path", false, "((0,0),(1,1))", "[(0,0),(1,1)]"), literals("polygon", false, "((0,0),(1,1),(1,0))"), literals("circle", false, "<(0,0),0.1>"), literals("line", false, "{1,-1,0}"),
	literals("tsvector", false, "", "'it''s':1A 'back\\slash':2,3B"), literals("tsquery", false, "'a' & !'b' <-> 'c'", ""),
	literals("pg_lsn", true, "0/0", "FFFFFFFF/FFFFFFFF"), literals("oid", true, "0", "4294967295"), literals("regclass", false, "-", "pg_class", "information_schema.tables"),
	literals("regtype", false, "-", "integer", "name[]"), literals("regnamespace", false, "pg_catalog"), literals("regrole", false, "pg_monitor"), literals("jsonpath", false, `$."a"[*] ? (@ > 1)`),
	literals("int4range", true, "empty", "(,)", "[1,2)", "(,5]"), literals("numrange", true, "[NaN,NaN]", "[1.0,1.00]", "(,Infinity)", "empty"),
	literals("tstzrange", true, "[-infinity,infinity]", "[2026-01-01 00:00+00,)", "empty"), literals("daterange", true, "[2024-02-28,2024-03-01)", "empty"),
	literals("int4multirange", true, "{}", "{(,1),[5,7),[9,)}"), literals("nummultirange", true, "{[1,2],(3.5,4)}", "{}"),
}

// any is a type, an array of one as often as not of the database's own.
func (m *maker) any() kind {
	k := pick(m, bases)
	if len(m.types) > 0 && m.chance(30) {
		k = pick(m, m.types)
	}
	if m.chance(15) {
		k = m.array(k)
	}
	return k
}

func (m *maker) array(k kind) kind {
	m.has("array")
	a := k.name + "[]"
	return kind{a, func(m *maker) string {
		switch m.n(6) {
		case 0:
			return "'{}'::" + a
		case 1:
			return fmt.Sprintf("ARRAY[NULL]::%s", a)
		case 2:
			return fmt.Sprintf("ARRAY[ARRAY[%s, NULL], ARRAY[%s, %s]]::%s", k.value(m), k.value(m), k.value(m), a)
		case 3:
			return fmt.Sprintf("array_fill(%s, ARRAY[2, 1], ARRAY[-3, 7])::%s", k.value(m), a)
		default:
			return fmt.Sprintf("ARRAY[%s, NULL, %s]::%s", k.value(m), k.value(m), a)
		}
	}, false}
}

// orNull is a value of the type, or none.
func (m *maker) orNull(k kind) string {
	if m.chance(15) {
		return "NULL"
	}
	return k.value(m)
}

func (m *maker) makeTypes() {
	for range 1 + m.n(2) {
		m.has("enum")
		name, labels := m.in(), []string{"plain"}
		for _, l := range []string{"", "it's", `"`, `\`, "line\nfeed", "😀", strings.Repeat("l", 63)} {
			if m.chance(50) {
				labels = append(labels, l)
			}
		}
		quoted := make([]string, len(labels))
		for i, l := range labels {
			quoted[i] = literal(l)
		}
		m.do("CREATE TYPE %s AS ENUM (%s)", name, strings.Join(quoted, ", "))
		m.comment("TYPE " + name)
		m.types = append(m.types, kind{name, func(m *maker) string { return literal(pick(m, labels)) + "::" + name }, true})
	}
	if m.chance(70) {
		m.has("domain")
		name, base := m.in(), m.any()
		m.do("CREATE DOMAIN %s AS %s", name, base.name)
		constraint := m.name()
		m.do("ALTER DOMAIN %s ADD CONSTRAINT %s CHECK (VALUE IS NULL OR VALUE::text IS NOT NULL)", name, constraint)
		m.types = append(m.types, kind{name, func(m *maker) string { return base.value(m) + "::" + name }, base.key})
	}
	if m.chance(70) {
		m.has("composite type")
		name := m.in()
		fields := []kind{m.any(), m.any(), text}
		m.do("CREATE TYPE %s AS (%s %s, %s %s, %s text)", name, m.name(), fields[0].name, m.name(), fields[1].name, m.name())
		m.comment("TYPE " + name)
		m.types = append(m.types, kind{name, func(m *maker) string {
			return fmt.Sprintf("ROW(%s, %s, %s)::%s", m.orNull(fields[0]), m.orNull(fields[1]), m.orNull(fields[2]), name)
		}, false})
	}
	if m.chance(70) {
		m.has("range type")
		schema := pick(m, m.schemas)
		name, multi, base := schema+"."+m.name(), schema+"."+m.name(), pick(m, []string{"double precision", "text", "numeric"})
		collation := ""
		if base == "text" {
			collation = `, COLLATION = "C"`
		}
		m.do("CREATE TYPE %s AS RANGE (SUBTYPE = %s, MULTIRANGE_TYPE_NAME = %s%s)", name, base, multi, collation)
		one := func(m *maker) string {
			lo := pick(m, []string{"'0'", "'1'", "NULL"})
			hi := pick(m, []string{"'1'", "'2'", "NULL"})
			return fmt.Sprintf("%s(%s::%s, %s::%s, '%s')", name, lo, base, hi, base, pick(m, []string{"[)", "[]", "(]", "()"}))
		}
		m.types = append(m.types, kind{name, one, true},
			kind{multi, func(m *maker) string { return fmt.Sprintf("%s(%s, %s)", multi, one(m), one(m)) }, true})
	}
}

func (m *maker) comment(on string) {
	if m.chance(40) {
		m.has("comment")
		m.do("COMMENT ON %s IS %s", on, literal("of it: "+pick(m, oddTexts)))
	}
}
