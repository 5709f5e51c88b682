package proof

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/scratchpg"
)

// plan is what is restored of an archive, and how.
type plan struct {
	encoding   string
	locale     scratchpg.Locale
	extensions []extension
	roles      map[string]bool // that policies name
	entries    []pgarchive.Entry
	leftOut    []string         // what only a superuser can make, for people
	lost       []string         // of that, tables with their rows
	uncounted  map[string]bool  // kinds of the inventory that something was left out of
	columns    map[table]string // as COPY took them: "(a, b)", or "" for all
	objects    []string         // numbers of large objects in the archive's order; nil is ascending
}

type extension struct{ name, schema string }

type table struct{ schema, name string }

// powers are the kinds of entries that only a superuser can restore, or that would call other servers.
var powers = map[string]bool{
	"EVENT TRIGGER": true, "SUBSCRIPTION": true, "SUBSCRIPTION TABLE": true, "FOREIGN DATA WRAPPER": true, "SERVER": true,
	"USER MAPPING": true, "FOREIGN TABLE": true, "PUBLICATION TABLES IN SCHEMA": true,
}

// silent are the kinds that a restore into a database of another name and owner never takes.
var silent = map[string]bool{
	"DATABASE": true, "DATABASE PROPERTIES": true, "ACL": true, "DEFAULT ACL": true, "SECURITY LABEL": true,
	"ENCODING": true, "STDSTRINGS": true, "SEARCHPATH": true,
}

func planOf(h *pgarchive.Head) *plan {
	p := &plan{encoding: "UTF8", locale: scratchpg.Bytes(), uncounted: map[string]bool{}, columns: map[table]string{}, roles: map[string]bool{}}
	left, made := map[int]bool{}, map[int]bool{}
	objects := map[string][]string{}
	for _, e := range h.Entries {
		p.read(e, objects)
		switch {
		case e.Kind == "DATABASE":
			p.database(e.Definition)
		case silent[e.Kind]:
		case e.Kind == "EXTENSION":
			made[e.DumpID] = true
			p.extensions = append(p.extensions, extensionOf(e))
		case e.Kind == "COMMENT" && slices.ContainsFunc(e.Needs, func(id int) bool { return made[id] }):
			// An extension's own comment, which is its maker's.
		case powers[e.Kind], e.Kind == "PUBLICATION" && strings.Contains(e.Definition, " FOR ALL TABLES"),
			slices.ContainsFunc(e.Needs, func(id int) bool { return left[id] }):
			left[e.DumpID] = true
			if e.Kind == "TABLE DATA" {
				p.lost = append(p.lost, "table "+e.Namespace+"."+e.Tag)
			}
			if e.Kind != "COMMENT" {
				p.leftOut = append(p.leftOut, title(e))
				p.uncount(e.Kind)
			}
		default:
			p.entries = append(p.entries, e)
		}
	}
	return p
}

// kinds are those of the inventory that one kind of entry is in, where they are not called the same.
var kinds = map[string][]string{
	"TABLE":             {"table", "partitioned table"},
	"TYPE":              {"type", "enum", "range", "composite type", "column"},
	"FK CONSTRAINT":     {"constraint"},
	"CHECK CONSTRAINT":  {"constraint"},
	"MATERIALIZED VIEW": {"materialized view"},
	"VIEW":              {"view"},
}

// uncount says that something of that kind was left out, and what belongs to a relation with it.
func (p *plan) uncount(kind string) {
	for _, k := range append(kinds[kind], strings.ToLower(kind)) {
		p.uncounted[k] = true
	}
	if kind == "TABLE" || kind == "VIEW" || kind == "MATERIALIZED VIEW" {
		for _, k := range []string{"column", "index", "constraint", "trigger", "rule", "policy", "row security", "statistics"} {
			p.uncounted[k] = true
		}
	}
}

// read takes from an entry what is needed later.
func (p *plan) read(e pgarchive.Entry, objects map[string][]string) {
	switch e.Kind {
	case "TABLE DATA":
		if m := copyStatement.FindStringSubmatch(e.Copy); m != nil {
			p.columns[table{e.Namespace, e.Tag}] = m[1]
		}
	case "BLOB METADATA": // from 17 on: the numbers of one owner's large objects, one a line
		objects[e.Tag] = strings.Fields(e.Definition)
	case "BLOBS":
		p.objects = append(p.objects, objects[e.Tag]...)
	case "POLICY":
		for _, role := range policyRoles(e.Definition) {
			p.roles[role] = true
		}
	}
}

const name = `(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)`

var (
	copyStatement = regexp.MustCompile(`^COPY ` + name + `(?:\.` + name + `)? (?:(\(` + name + `(?:, ` + name + `)*\)) | ?)FROM stdin;\s*$`)
	policy        = regexp.MustCompile(`^CREATE POLICY ` + name + ` ON ` + name + `(?:\.` + name + `)?(?: AS [A-Z]+)?(?: FOR [A-Z]+)? TO (` + name + `(?:, ` + name + `)*)(?: USING| WITH|;)`)
	inSchema      = regexp.MustCompile(` WITH SCHEMA (` + name + `);\s*$`)
	oneName       = regexp.MustCompile(name)
	encodingOf    = regexp.MustCompile(`\bENCODING = '([A-Za-z0-9_-]+)'`)
	localeOf      = regexp.MustCompile(`\b(LOCALE_PROVIDER|LOCALE|LC_COLLATE|LC_CTYPE|ICU_LOCALE|ICU_RULES|BUILTIN_LOCALE) = (?:([a-z]+)|'((?:[^']|'')*)')`)
)

func unquoted(s string) string {
	if strings.HasPrefix(s, `"`) {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

func policyRoles(definition string) (roles []string) {
	if m := policy.FindStringSubmatch(definition); m != nil {
		for _, r := range oneName.FindAllString(m[1], -1) {
			if r = unquoted(r); r != "public" {
				roles = append(roles, r)
			}
		}
	}
	return roles
}

func extensionOf(e pgarchive.Entry) extension {
	x := extension{name: e.Tag}
	if m := inSchema.FindStringSubmatch(e.Definition); m != nil {
		x.schema = unquoted(m[1])
	}
	return x
}

func (p *plan) database(definition string) {
	if m := encodingOf.FindStringSubmatch(definition); m != nil {
		p.encoding = m[1]
	}
	if all := localeOf.FindAllStringSubmatch(definition, -1); all != nil {
		p.locale = scratchpg.Locale{}
		for _, m := range all {
			p.locale[m[1]] = m[2] + strings.ReplaceAll(m[3], "''", "'")
		}
	}
}

// list is what pg_restore takes it as. Schemas that we made already are not made again.
func (p *plan) list(made map[string]bool) []byte {
	var b bytes.Buffer
	for _, e := range p.entries {
		if e.Kind == "SCHEMA" && made[e.Tag] {
			continue
		}
		b.WriteString(strconv.Itoa(e.DumpID) + ";\n")
	}
	return b.Bytes()
}

// columnsOf are a table's as COPY took them.
func (p *plan) columnsOf(t pgarchive.Table) string {
	schema, name := t.Stored()
	return p.columns[table{schema, name}]
}

// copyOut is the statement that reads a table as pg_dump has read it.
func (p *plan) copyOut(t pgarchive.Table) string {
	schema, name := t.Stored() // statements are sent in the archive's encoding
	return "COPY " + qualified(schema, name) + " " + p.columnsOf(t) + " TO STDOUT"
}

func qualified(schema, name string) string {
	return scratchpg.Ident(schema) + "." + scratchpg.Ident(name)
}

func title(e pgarchive.Entry) string {
	s := strings.ToLower(e.Kind) + " "
	if e.Namespace != "" {
		s += e.Namespace + "."
	}
	return s + e.Tag
}

// most is how many things of a kind are named to a person.
const most = 12

// named joins a list that may be long.
func named(all []string) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
}
