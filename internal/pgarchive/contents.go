package pgarchive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"regexp"
	"strconv"
)

// Contents is what an archive's data is, counted while it passed.
type Contents struct {
	Encoding     string       `json:"encoding,omitempty"` // of the archive, by its name in PostgreSQL
	Tables       []Table      `json:"tables"`             // in the archive's order
	Sequences    []Sequence   `json:"sequences"`
	LargeObjects LargeObjects `json:"large_objects"`
}

// Rows is how many rows all tables have.
func (c *Contents) Rows() int64 {
	var n int64
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// Table is one table's rows. SHA256, in hexadecimal, is of COPY's text: of what
// psql -c 'COPY schema.table (columns) TO STDOUT' writes, in the order in which pg_dump read them.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	// Columns are in the order of that text, which need not be that of a restored table: where tables inherit, pg_dump
	// declares inherited columns first. Empty where the table has none, and where an archive does not tell.
	Columns []string `json:"columns,omitempty"`
	// Via is the table, as schema.table, that the rows are restored by way of, which decides anew which partition each of
	// them belongs to; empty for nearly all, whose rows are restored where they were.
	Via    string `json:"via,omitempty"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"` // of that text
	SHA256 string `json:"sha256"`
	// RowSum is the same whatever the rows' order: see the type of that name. Empty where a row is longer than 64 KiB:
	// LongRowSum is there then, but of what an earlier release counted.
	RowSum     string `json:"row_sum,omitempty"`
	LongRowSum string `json:"long_row_sum,omitempty"`
	Raw        *Raw   `json:"raw,omitempty"`
}

// Stored are the names as the archive has them, in its own encoding.
func (t Table) Stored() (schema, name string) { return t.Raw.or(t.Schema, t.Name) }

// Sequence is where a sequence stood. Called tells whether Value was handed out, or is the next one.
type Sequence struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Value  int64  `json:"value"`
	Called bool   `json:"called"`
	Raw    *Raw   `json:"raw,omitempty"`
}

// Stored are the names as the archive has them, in its own encoding.
func (s Sequence) Stored() (schema, name string) { return s.Raw.or(s.Schema, s.Name) }

// LargeObjects are all of them together. SHA256, in hexadecimal, is of each one's number, a line feed and its bytes,
// in the archive's order; it is empty where there is none.
type LargeObjects struct {
	Count  int64  `json:"count"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Sum is the same whatever their order: see docs/checking-a-copy.md. Empty where there is none, and in what earlier
	// releases counted: those had OldSum, of the bytes themselves, or nothing.
	Sum    string `json:"piece_sum,omitempty"`
	OldSum string `json:"object_sum,omitempty"`
}

var setval = regexp.MustCompile(`(?s)^SELECT pg_catalog\.setval\(.*, (-?\d+), (true|false)\);\s*$`)

// sequence reads the statement that sets a sequence.
func sequence(e Entry, definition string) Sequence {
	s := Sequence{Schema: e.Namespace, Name: e.Tag}
	if m := setval.FindStringSubmatch(definition); m != nil {
		s.Value, _ = strconv.ParseInt(m[1], 10, 64) // the server's own bigint
		s.Called = m[2] == "true"
	}
	return s
}

// copyEnd is how pg_dump ends a table's COPY text: the end of data, and two empty lines.
const copyEnd = "\\.\n\n\n"

// counter counts one table after the other.
type counter struct {
	encoding string
	sum      hash.Hash
	rows     RowSum
	table    Table
	held     []byte // the last bytes, which may be the end mark
}

func newCounter(encoding string) *counter {
	return &counter{encoding: encoding, sum: sha256.New(), held: make([]byte, 0, 2*len(copyEnd))}
}

func (c *counter) begin(e Entry) {
	c.sum.Reset()
	c.rows.reset()
	c.held = c.held[:0]
	c.table = Table{Schema: e.Namespace, Name: e.Tag, Columns: e.copy.columns}
	if at := e.copy; at.table != "" && (at.table != e.Tag || at.schema != e.Namespace) {
		c.table.Via = at.schema + "." + at.table
	}
	c.table = c.table.readable(c.encoding)
}

// add counts everything but the last few bytes there were.
func (c *counter) add(p []byte) {
	if len(p) >= len(copyEnd) {
		c.take(c.held)
		c.held = append(c.held[:0], p[len(p)-len(copyEnd):]...)
		c.take(p[:len(p)-len(copyEnd)])
		return
	}
	c.held = append(c.held, p...)
	if more := len(c.held) - len(copyEnd); more > 0 {
		c.take(c.held[:more])
		c.held = append(c.held[:0], c.held[more:]...)
	}
}

// take counts rows by their ends: COPY writes a line feed within a value as \n.
func (c *counter) take(p []byte) {
	_, _ = c.sum.Write(p) // hashes never fail
	_, _ = c.rows.Write(p)
	c.table.Rows += int64(bytes.Count(p, []byte{'\n'}))
	c.table.Bytes += int64(len(p))
}

// end returns what was counted; ok is false where the text did not end as pg_dump ends it.
func (c *counter) end() (t Table, ok bool) {
	c.table.SHA256, c.table.RowSum, c.table.LongRowSum = hex.EncodeToString(c.sum.Sum(nil)), c.rows.String(), c.rows.Long()
	return c.table, string(c.held) == copyEnd
}
