package pgdump_test

import (
	"errors"
	"io"
	"testing"

	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// One row that is small on the server's disk takes twice its length in pg_dump, and no more than pg_dump was given.
func TestALargeRowCostsPgDumpAlone(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "large_row", append([]string{"CREATE TABLE bomb AS SELECT repeat('x', 50000000) AS v"}, grant("large_row")...)...)
	for most, want := range map[int64]remora.Reason{
		16 << 20:  remora.ReasonMoreMemory, // not even once
		64 << 20:  remora.ReasonMoreMemory, // once
		128 << 20: remora.ReasonNone,
	} {
		d := start(t, cfg)
		if err := d.Limit(most); err != nil {
			t.Fatal(err)
		}
		_, err := io.Copy(io.Discard, d)
		f := &remora.Failure{}
		errors.As(err, &f)
		if f.Reason != want || want == "" && (err != nil || d.Memory() < 100_000_000) || d.Memory() > most {
			t.Errorf("with %d bytes, of which it took %d: %v", most, d.Memory(), err)
		}
	}
}

// What pg_dump may take holds from its start, whatever the sandbox, and can be raised.
func TestMemoryIsBoundedFromTheStart(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "bounded", append([]string{"CREATE TABLE bomb AS SELECT repeat('x', 50000000) AS v"}, grant("bounded")...)...)
	cfg.Memory = 16 << 20
	for name, box := range map[string]sandbox.Sandbox{"detected": sandbox.Detect(t.Context()), "none": {}} {
		cfg.Client.Sandbox = box
		for raised, want := range map[int64]remora.Reason{0: remora.ReasonMoreMemory, 128 << 20: remora.ReasonNone} {
			d := start(t, cfg)
			if raised > 0 {
				if err := d.Limit(raised); err != nil {
					t.Fatal(err)
				}
			}
			_, err := io.Copy(io.Discard, d)
			f := &remora.Failure{}
			errors.As(err, &f)
			if f.Reason != want || want == "" && err != nil {
				t.Errorf("%s, raised to %d: %v", name, raised, err)
			}
		}
	}
}

// What an archive lists is held by pg_restore, in as much as it was given.
func TestALongHeadCostsPgRestoreAlone(t *testing.T) {
	t.Parallel()
	cfg := customer(t, "long_head", append([]string{
		"CREATE TABLE t (id int)",
		"DO $$ BEGIN EXECUTE format('COMMENT ON TABLE t IS %L', repeat('x', 20000000)); END $$",
	}, grant("long_head")...)...)
	for most, want := range map[int64]remora.Reason{8 << 20: remora.ReasonMoreMemory, 128 << 20: remora.ReasonNone} {
		check, err := pgdump.StartCheck(t.Context(), cfg.Client, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer check.Close()
		if err := check.Limit(most); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(check, start(t, cfg))
		if err == nil {
			err = check.Finish()
		}
		f := &remora.Failure{}
		errors.As(err, &f)
		if f.Reason != want || want == "" && (err != nil || check.Memory() < 20_000_000) || check.Memory() > most {
			t.Errorf("with %d bytes, of which it took %d: %v", most, check.Memory(), err)
		}
	}
}

func TestWantOfMemoryIsTold(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]remora.Reason{
		"out of memory": remora.ReasonMoreMemory,
		"pg_dump: detail: Error message from server: out of memory":                        remora.ReasonMoreMemory,
		"pg_dump: error: query failed: out of memory for query result":                     remora.ReasonMoreMemory,
		"pg_dump: error: query failed: cannot allocate memory for input buffer\nlost sync": remora.ReasonMoreMemory,
		"pg_dump: error: query failed: ERROR:  out of memory":                              remora.ReasonDumpFailed, // the server's own
	} {
		if got := pgdump.Classify(said); got != want {
			t.Errorf("%q: %s", said, got)
		}
	}
}
