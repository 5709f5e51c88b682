package randomdb

import (
	"fmt"
	"strings"
)

// makeReferences makes a table that others can refer to, one that does, and one that refers to itself.
func (m *maker) makeReferences() {
	m.has("foreign key")
	parent, child := m.in(), m.in()
	id, ref := m.name(), m.name()
	m.do("CREATE TABLE %s (%s integer PRIMARY KEY, up integer)", parent, id)
	m.do("INSERT INTO %s SELECT g, g / 2 FROM generate_series(0, 20) g", parent)
	m.do("ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (up) REFERENCES %s DEFERRABLE INITIALLY DEFERRED", parent, m.name(), parent)
	m.do("CREATE TABLE %s (%s integer REFERENCES %s ON DELETE CASCADE)", child, ref, parent)
	m.do("INSERT INTO %s SELECT nullif(g, 3) FROM generate_series(0, 9) g", child)
	if m.chance(50) {
		m.do("ALTER TABLE %s CLUSTER ON %s", parent, m.index(parent, id))
	}
}

func (m *maker) index(on, columns string) string {
	name := m.name()
	m.do("CREATE INDEX %s ON %s (%s)", name, on, columns)
	return name
}

func (m *maker) makeView() {
	t := pick(m, m.tables)
	name := m.in()
	columns := "1 AS one"
	for i, c := range t.columns {
		if i < 20 {
			columns += ", t." + c.name
		}
	}
	switch m.n(4) {
	case 0:
		m.has("materialized view")
		m.do("CREATE MATERIALIZED VIEW %s AS SELECT %s FROM ONLY %s t %s", name, columns, t.name, pick(m, []string{"", "WITH NO DATA"}))
		m.comment("MATERIALIZED VIEW " + name)
		return
	case 1:
		if len(m.views) > 0 {
			m.do("CREATE VIEW %s AS SELECT count(*) AS n FROM %s", name, pick(m, m.views))
			break
		}
		fallthrough
	default:
		m.do("CREATE VIEW %s %s AS SELECT %s FROM %s t", name, pick(m, []string{"", "WITH (security_barrier)"}), columns, t.name)
	}
	m.has("view")
	m.comment("VIEW " + name)
	m.views = append(m.views, name)
}

// dress gives a table that has its rows what else a table can have.
func (m *maker) dress(t *table) {
	m.comment("TABLE " + t.name)
	for i, c := range t.columns {
		if i < 10 {
			m.comment("COLUMN " + t.name + "." + c.name)
		}
	}
	keys := t.keys()
	if len(keys) > 0 && m.chance(50) {
		m.has("index")
		k := pick(m, keys)
		m.do("CREATE INDEX %s ON %s (%s DESC NULLS LAST) WHERE %s IS NOT NULL", m.name(), t.name, k, k)
		m.do("CREATE INDEX %s ON %s ((%s IS NULL))", m.name(), t.name, k)
	}
	if len(keys) > 0 && m.chance(30) {
		m.has("unique constraint")
		m.may("ALTER TABLE %s ADD CONSTRAINT %s UNIQUE (%s)", t.name, m.name(), pick(m, keys))
	}
	if len(keys) > 1 && m.chance(30) {
		m.has("statistics")
		m.do("CREATE STATISTICS %s ON %s, %s FROM %s", m.in(), keys[0], keys[1], t.name)
	}
	if len(t.columns) > 0 && m.chance(30) {
		m.has("check constraint")
		m.do("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS DISTINCT FROM NULL OR %s IS NOT DISTINCT FROM NULL OR 'it''s' = E'\\\\\\n') %s", t.name, m.name(), t.columns[0].name, t.columns[0].name,
			pick(m, []string{"", "NOT VALID", "NO INHERIT"}))
	}
	if m.chance(30) {
		m.has("rule")
		rule := m.name()
		m.do("CREATE RULE %s AS ON %s TO %s DO %s", rule, pick(m, []string{"INSERT", "UPDATE", "DELETE"}), t.name, pick(m, []string{"ALSO SELECT 1", "INSTEAD NOTHING", `ALSO NOTIFY "a channel"`}))
		m.comment(fmt.Sprintf("RULE %s ON %s", rule, t.name))
	}
	if m.chance(30) {
		m.has("policy")
		m.do("ALTER TABLE %s ENABLE ROW LEVEL SECURITY", t.name)
		if m.chance(50) {
			m.do("ALTER TABLE %s FORCE ROW LEVEL SECURITY", t.name)
		}
		policy := m.name()
		m.do("CREATE POLICY %s ON %s AS %s TO %s USING (current_user <> %s)", policy, t.name, pick(m, []string{"PERMISSIVE", "RESTRICTIVE"}),
			pick(m, []string{"PUBLIC", ident(Role)}), literal(pick(m, oddTexts)))
		m.comment(fmt.Sprintf("POLICY %s ON %s", policy, t.name))
	}
	if m.chance(30) {
		m.has("trigger")
		function, trigger := m.in(), m.name()
		m.do("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS %s", function, literal("BEGIN RAISE EXCEPTION '%', "+literal(pick(m, oddTexts))+"; RETURN NEW; END"))
		m.do("CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s('it''s', %s)", trigger, t.name, function, literal(pick(m, oddTexts[:20])))
		m.do("ALTER TABLE %s %s TRIGGER %s", t.name, pick(m, []string{"ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"}), trigger)
		m.comment(fmt.Sprintf("TRIGGER %s ON %s", trigger, t.name))
	}
}

func (m *maker) makePublications() {
	for range m.n(3) {
		m.has("publication")
		p := m.name()
		what := pick(m, []string{"", "FOR ALL TABLES", "FOR TABLE "})
		if t := pick(m, m.tables); what == "FOR TABLE " && t.logged {
			what += t.name
		} else if what == "FOR TABLE " {
			what = ""
		}
		m.do("CREATE PUBLICATION %s %s WITH (publish = 'insert, truncate')", p, what)
		m.comment("PUBLICATION " + p)
	}
}

// makeObjects makes large objects, of nothing and of more than a piece too.
func (m *maker) makeObjects() {
	for i := range m.n(5) {
		m.has("large object")
		oid := pick(m, []int{1000, 70_000, 4_000_000_000}) + i
		m.do("SELECT lo_from_bytea(%d, decode(repeat(md5('%d'), %d), 'hex'))", oid, oid, pick(m, []int{0, 1, 3, 128, 129, 40_000}))
		if m.chance(40) {
			m.do("COMMENT ON LARGE OBJECT %d IS %s", oid, literal(strings.TrimSpace(pick(m, oddTexts))+"."))
		}
	}
}
