package main

import (
	"strings"
	"testing"
	"time"
)

func TestStatementsHaveAnOwner(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"begin": frame, "commit": frame, "begin isolation level repeatable read read only": frame,
		"-- name: scopetoservice :one select set_config($1, $2, $3), now()::timestamptz as at": frame,
		"-- name: keepbackup :execrows update backups set state = $1":                          ours,
		"insert into river.river_job ( args ) values ($1)":                                     riversOwn,
	} {
		if got := kind(words); got != want {
			t.Errorf("%s: %s", words, got)
		}
	}
}

// What is told is the difference of two moments, for each backup, and the words are those of the numbers.
func TestFiguresAreForEachBackup(t *testing.T) {
	t.Parallel()
	at := time.Now()
	from := tally{at: at, wal: 1000, statements: map[string]int64{ours: 10, frame: 4}, calls: map[string]int64{"select": 10}, rows: map[string]int64{"inserted": 5, "updated": 1, "deleted": 0}}
	to := tally{at: at.Add(2 * time.Second), wal: 9000, sessions: 7, statements: map[string]int64{ours: 50, frame: 8, riversOwn: 2}, calls: map[string]int64{"select": 50, "rare": 1}, rows: map[string]int64{"inserted": 17, "updated": 1, "deleted": 4}}
	f := to.since(from, 4)
	if f.all() != 11.5 || f.Statements[ours] != 10 || f.WAL != 2000 || f.PerSecond != 2 || f.Rows["inserted"] != 3 || len(f.Calls) != 1 || f.Calls["select"] != 10 {
		t.Errorf("%+v", f)
	}
	for _, words := range []string{"4 in   2.0 s", "2.0/s", "11.5 statements (10.0 ours, 1.0 transactions, 0.5 River's)", "2.0 kB WAL", "3.0 rows inserted, 0.0 updated, 1.0 deleted", "7 sessions"} {
		if !strings.Contains(f.String(), words) {
			t.Errorf("%s: there is no %s", f, words)
		}
	}
	if none := to.since(from, 0); none.Backups != 0 || none.PerSecond != 0 {
		t.Errorf("%+v", none)
	}
}
