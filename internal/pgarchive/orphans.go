package pgarchive

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// takeOrphans takes out of the head the event triggers that call a function in one of the schemas, with what is said of
// them: pg_dump leaves out a schema that it is told to, but its event triggers belong to no schema and stay, and then
// nobody can restore them. It returns their names. No entry with data is touched.
func (h *Head) takeOrphans(schemas []string) (names []string) {
	gone := map[int]bool{}
	for _, e := range h.Entries {
		if e.Kind == "EVENT TRIGGER" && !e.HasData && slices.Contains(schemas, h.calls[e.DumpID]) {
			gone[e.DumpID] = true
			names = append(names, e.Tag)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	raw := bytes.Clone(h.raw[:h.Entries[0].start])
	var kept []Entry
	for i, e := range h.Entries {
		if gone[e.DumpID] || !e.HasData && h.isAbout(e, gone) {
			continue
		}
		end := len(h.raw)
		if i+1 < len(h.Entries) {
			end = h.Entries[i+1].start
		}
		moved := len(raw) - e.start
		raw = append(raw, h.raw[e.start:end]...)
		e.start, e.dumperAt, e.needsAt, e.offsetAt = e.start+moved, e.dumperAt+moved, e.needsAt+moved, e.offsetAt+moved
		if e.HasData {
			h.byID[e.DumpID] = len(kept)
		}
		kept = append(kept, e)
	}
	copy(raw[h.countAt:], appendInt(nil, h.intSize, len(kept)))
	h.raw, h.Entries = raw, kept
	return names
}

// isAbout tells whether an entry is a comment or a label of one of those.
func (h *Head) isAbout(e Entry, ids map[int]bool) bool {
	if e.Kind != "COMMENT" && e.Kind != "SECURITY LABEL" {
		return false
	}
	for at := e.needsAt; ; {
		n, ok := decodeInt(h.raw[at : at+1+h.intSize])
		if !ok || n < 0 {
			return false
		}
		at += 1 + h.intSize
		if id, err := strconv.Atoi(string(h.raw[at : at+n])); err == nil && ids[id] {
			return true
		}
		at += n
	}
}

// called matches the end of an event trigger's definition as pg_dump writes it, from its last line on; what may follow
// is ALTER EVENT TRIGGER, to say when it fires.
var called = regexp.MustCompile(`\n   EXECUTE (?:FUNCTION|PROCEDURE) ("(?:[^"]|"")+"|[^\s".(]+)\.("(?:[^"]|"")+"|[^\s".(]+)\(\);\n(?:\nALTER EVENT TRIGGER [^\n]*\n)?$`)

// calls is the schema of the function that an event trigger calls, or "" where the definition is not as expected.
func calls(definition string) string {
	m := called.FindStringSubmatch(definition)
	if m == nil {
		return ""
	}
	if q, ok := strings.CutPrefix(m[1], `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(q, `"`), `""`, `"`)
	}
	return m[1]
}
