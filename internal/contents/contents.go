// Package contents reads the list of what an archive contains, contents.json, page by page: the list may be longer than
// what a process should hold.
package contents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Table is one table of an archive.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`  // of its text, as COPY writes it
	SHA256 string `json:"sha256"` // of that text, in hexadecimal
}

// Page is some of the tables that are looked for.
type Page struct {
	Tables  []Table
	Skipped int // how many come before them
	Most    int // how many there are in all
}

// First is the number of the first of them, counted from 1.
func (p Page) First() int { return p.Skipped + 1 }

// Last is First's other end; less than it where there is none.
func (p Page) Last() int { return p.Skipped + len(p.Tables) }

// Read keeps the tables after so many, at most so many, of those whose names have find in them, and counts all of these.
// Upper and lower case are the same. Errors: those of reading and of JSON.
func Read(list io.Reader, find string, skip, most int) (Page, error) {
	p := Page{Skipped: skip}
	d := json.NewDecoder(list)
	if err := toTables(d); err != nil {
		return p, fmt.Errorf("read contents: %w", err)
	}
	find = strings.ToLower(find)
	for d.More() {
		var t Table
		if err := d.Decode(&t); err != nil {
			return p, fmt.Errorf("read contents: %w", err)
		}
		if !strings.Contains(strings.ToLower(t.Schema+"."+t.Name), find) {
			continue
		}
		if p.Most++; p.Most > skip && len(p.Tables) < most {
			p.Tables = append(p.Tables, t)
		}
	}
	return p, nil
}

// toTables reads on to the first of the tables; where the list has none, there is none more to read.
func toTables(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if name == "tables" {
			open, err := d.Token()
			if err == nil && open != json.Delim('[') && open != nil {
				err = errors.New("tables are no list")
			}
			return err
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return err
		}
	}
	return nil
}
