// Package auditlog is an audit log as files that a customer keeps: CSV for a spreadsheet, JSON to check. Both are written
// line by line, so that any number takes little memory.
package auditlog

import (
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// Lines are a log's, oldest first. An error is the last that comes.
type Lines = iter.Seq2[remora.AuditLine, error]

// Head is what an export says of itself before its lines.
type Head struct {
	Resource remora.ResourceID `json:"resource"`
	Addon    string            `json:"addon"`
	At       time.Time         `json:"exported_at"`
	Filtered bool              `json:"filtered"` // lines were left out, so that the chain cannot be followed
	Length   int64             `json:"length"`   // of the whole chain when it was exported
	Hash     string            `json:"hash"`     // and its last line's, in hexadecimal
}

// WriteJSON writes an export that Check reads. What was cut off midway is no JSON.
func WriteJSON(w io.Writer, h Head, lines Lines) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\n\"lines\":[", head[:len(head)-1]); err != nil {
		return err
	}
	before := "\n"
	for l, err := range lines {
		if err != nil {
			return err
		}
		line, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, before+string(line)); err != nil {
			return err
		}
		before = ",\n"
	}
	_, err = io.WriteString(w, "\n]}\n")
	return err
}

// columns are those of a CSV export.
var columns = []string{"seq", "at", "actor", "action", "subject", "hash"}

// WriteCSV writes a table for a spreadsheet, the lines oldest first.
func WriteCSV(w io.Writer, lines Lines) error {
	c := csv.NewWriter(w)
	if err := c.Write(columns); err != nil {
		return err
	}
	for l, err := range lines {
		if err != nil {
			return err
		}
		row := []string{strconv.FormatInt(l.Seq, 10), l.At.UTC().Format(time.RFC3339Nano), inert(l.Actor), inert(l.Action), inert(l.Subject), hex.EncodeToString(l.Hash)}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// What a spreadsheet may take for the beginning of a formula, in ASCII or full width, and what it may take for the end of a
// cell where it separates them by something else than a comma, as many countries' do
// (https://owasp.org/www-community/attacks/CSV_Injection).
const (
	formulas   = "=+-@\t\r\n＝＋－＠"
	separators = ";,\t\r\n"
)

// inert puts an apostrophe before each beginning, of the cell or of what may become one, which makes it text.
func inert(cell string) string {
	var out strings.Builder
	begins := true
	for _, r := range cell {
		if begins && strings.ContainsRune(formulas, r) {
			out.WriteByte('\'')
		}
		out.WriteRune(r)
		if r != '"' { // which is taken off
			begins = strings.ContainsRune(separators, r)
		}
	}
	return out.String()
}

// Check reads a JSON export to its end and follows its chain. The error says where it is broken, or why it cannot be
// checked.
func Check(r io.Reader) (Head, error) {
	var h Head
	var chain remora.AuditChain
	dec := json.NewDecoder(r)
	if err := expect(dec, json.Delim('{')); err != nil {
		return h, err
	}
	fields := map[string]any{"resource": &h.Resource, "addon": &h.Addon, "exported_at": &h.At, "filtered": &h.Filtered, "length": &h.Length, "hash": &h.Hash}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return h, errNoExport
		}
		if name == "lines" {
			if h.Filtered {
				return h, errFiltered
			}
			if err := follow(dec, h.Resource, &chain); err != nil {
				return h, err
			}
			continue
		}
		into, known := fields[fmt.Sprint(name)]
		if !known {
			into = new(any)
		}
		if err := dec.Decode(into); err != nil {
			return h, errNoExport
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return h, err
	}
	if chain.Length != h.Length || hex.EncodeToString(chain.Hash) != h.Hash {
		return h, fmt.Errorf("it says that it has %d lines, and has %d, or the last is another one", h.Length, chain.Length)
	}
	return h, nil
}

var (
	errNoExport = errors.New("this is no whole export of an audit log as JSON")
	errFiltered = errors.New("this export leaves lines out, so that its chain cannot be followed: export all of them")
)

func expect(dec *json.Decoder, want json.Delim) error {
	if got, err := dec.Token(); err != nil || got != want {
		return errNoExport
	}
	return nil
}

// follow reads the lines of an export, whose resource stands before them.
func follow(dec *json.Decoder, id remora.ResourceID, chain *remora.AuditChain) error {
	if err := expect(dec, json.Delim('[')); err != nil {
		return err
	}
	for dec.More() {
		l := remora.AuditLine{Resource: id}
		if err := dec.Decode(&l); err != nil {
			return fmt.Errorf("after line %d: %w", chain.Length, errNoExport)
		}
		if err := chain.Add(l); err != nil {
			return err
		}
	}
	return expect(dec, json.Delim(']'))
}
