package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// forgotten lets a removed add-on's days pass, has a deleter do the rest, and looks for what it held in every table and
// under every key.
func (b *bundle) forgotten(t *testing.T, id remora.ResourceID, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+b.longer)
	defer cancel()
	own := b.own(t)
	if stored, rows := b.held(t, own, string(id)); stored == 0 || len(rows) < 10 {
		t.Fatalf("%d keys, %v: the search finds too little", stored, rows)
	}
	b.logged(t, " event=deprovisioned ")
	receipt := regexp.MustCompile(`http\S+/receipts/[0-9a-f]+`).FindString(strings.Join(b.Sim.LogLines(stack.HelperApp), "\n"))
	if _, err := own.Exec(ctx, "UPDATE removals SET asked_at = asked_at - interval '4 days', undo_until = undo_until - interval '4 days' WHERE resource_id = $1", id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Spawn("deleter"); err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for {
		r, err := b.Store.Removal(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if r.Done() {
			if r.DeletedObjects == 0 || r.Backups == 0 {
				t.Errorf("%+v", r)
			}
			break
		}
		<-poll.C
	}
	if stored, rows := b.held(t, own, string(id)); stored != 1 || fmt.Sprint(rows) != "[removals resources]" { // the mark in the bucket
		t.Errorf("its identifier is left under %d keys and in %v", stored, rows)
	}
	for _, name := range names {
		if stored, rows := b.held(t, own, name); stored != 0 || len(rows) != 0 {
			t.Errorf("%s is left under %d keys and in %v", name, stored, rows)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, receipt, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if page, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(page), "Nothing is left of this add-on") {
		t.Errorf("%s: %s %v %s", receipt, resp.Status, err, page)
	}
}

// held counts the keys of the bucket that have a word in them, and lists the tables that have it in any column of a row.
func (b *bundle) held(t *testing.T, own *pgx.Conn, word string) (stored int, tables []string) {
	t.Helper()
	err := b.Bucket.List(t.Context(), "", func(o objectstore.Object) error {
		if strings.Contains(o.Key, word) {
			stored++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := own.Query(t.Context(), `SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace) ORDER BY 1`)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		there := false
		if err := own.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM "+table+" x WHERE strpos(x::text, $1) > 0)", word).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			tables = append(tables, table)
		}
	}
	return stored, tables
}
