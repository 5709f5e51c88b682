package pgarchive

import "strings"

// copyTarget is where a COPY statement puts its rows. It is zero where the statement is not as pg_dump writes them.
type copyTarget struct {
	schema, table string
	columns       []string
}

// parseCopy reads COPY schema.table (column, …) FROM stdin; with names in double quotes or without.
func parseCopy(statement string) (t copyTarget) {
	rest, ok := strings.CutPrefix(statement, "COPY ")
	if !ok {
		return copyTarget{}
	}
	if t.schema, rest, ok = takeIdent(rest); !ok || !strings.HasPrefix(rest, ".") {
		return copyTarget{}
	}
	if t.table, rest, ok = takeIdent(rest[1:]); !ok {
		return copyTarget{}
	}
	rest = strings.TrimPrefix(rest, " ")
	for sep := "("; strings.HasPrefix(rest, sep); sep = ", " {
		var column string
		if column, rest, ok = takeIdent(rest[len(sep):]); !ok {
			return copyTarget{}
		}
		t.columns = append(t.columns, column)
	}
	if len(t.columns) > 0 {
		if rest, ok = strings.CutPrefix(rest, ")"); !ok {
			return copyTarget{}
		}
	}
	if strings.TrimSpace(rest) != "FROM stdin;" {
		return copyTarget{}
	}
	return t
}

// takeIdent takes one name off the front.
func takeIdent(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) { // pg_dump leaves only these without quotes
		n := strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' })
		if n < 1 {
			return "", s, false
		}
		return s[:n], s[n:], true
	}
	var b strings.Builder
	for s = s[1:]; ; {
		part, after, closed := strings.Cut(s, `"`)
		if !closed {
			return "", s, false
		}
		b.WriteString(part)
		if s = after; !strings.HasPrefix(s, `"`) {
			return b.String(), s, true
		}
		b.WriteByte('"')
		s = s[1:]
	}
}
