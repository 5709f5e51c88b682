package pgarchive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/everykind"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgarchive"
)

var cluster = sync.OnceValues(func() (*localpg.Cluster, error) {
	started = true
	return localpg.Start(context.Background(), localpg.Config{})
})

var started bool // not in a fuzzing worker, which needs no server

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		if c, err := cluster(); err == nil {
			_ = c.Stop()
		}
	}
	os.Exit(code)
}

var sample = sync.OnceValues(func() ([]byte, error) { return dump("sample", "") })

// dump makes a database of every kind of object and returns pg_dump's archive of it, from a pipe.
func dump(name string, flags ...string) ([]byte, error) {
	c, err := cluster()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.SuperuserURL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // the test's own
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	if err := everykind.Fill(ctx, c.SuperuserURL(name)); err != nil {
		return nil, err
	}
	args := []string{"-Fc", "-d", c.SuperuserURL(name)}
	for _, f := range flags {
		if f != "" {
			args = append(args, f)
		}
	}
	return exec.Command(filepath.Join(c.BinDir(), "pg_dump"), args...).Output()
}

func walk(r io.Reader) (*pgarchive.Archive, []byte, error) {
	var whole bytes.Buffer
	a, err := pgarchive.Walk(r, pgarchive.Handlers{
		Head: func(_ *pgarchive.Head, raw []byte) error { whole.Write(raw); return nil },
		Body: func(p []byte) error { whole.Write(p); return nil },
	})
	return a, whole.Bytes(), err
}

func TestWalkPassesEveryByteAndFillsInOffsets(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"gz": {""}, "plain": {"-Z0"}, "schema_only": {"--schema-only"}, "data_only": {"--data-only"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := dump("walk_"+name, flags...)
			if err != nil {
				t.Fatal(err)
			}
			for size, r := range map[string]io.Reader{"whole": bytes.NewReader(in), "by the byte": iotest.OneByteReader(bytes.NewReader(in))} {
				a, out, err := walk(r)
				if err != nil {
					t.Fatalf("%s: %v", size, err)
				}
				if !bytes.Equal(in, out) || a.Size() != int64(len(in)) {
					t.Errorf("%s: %d bytes in, %d out, size %d", size, len(in), len(out), a.Size())
				}
				seekable := filepath.Join(t.TempDir(), "archive")
				body := out[len(a.Raw):]
				if err := os.WriteFile(seekable, append(bytes.Clone(a.Raw), body...), 0o600); err != nil {
					t.Fatal(err)
				}
				// pg_restore, which can seek in a file, reads the same through our offsets as pg_dump's own stream.
				if got, want := restore(t, nil, seekable), restore(t, in); got != want {
					t.Errorf("%s: pg_restore reads something else with the offsets", size)
				}
				if list := restore(t, nil, "-l", seekable); a.Tables != strings.Count(list, " TABLE DATA ") {
					t.Errorf("%d tables of %s", a.Tables, list)
				}
				if got := restore(t, nil, "-t", "parts_1", seekable); name == "gz" && !strings.Contains(got, "\n1\t2026-01-01\n") {
					t.Errorf("one table by its offset: %s", got)
				}
			}
		})
	}
}

func restore(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(c.BinDir(), "pg_restore"), append([]string{"-f", "-"}, args...)...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pg_restore: %v: %s", err, out)
	}
	// newer minor releases mark each script with a key of its own
	lines := strings.Split(string(out), "\n")
	kept := lines[:0]
	for _, l := range lines {
		if !strings.HasPrefix(l, `\restrict`) && !strings.HasPrefix(l, `\unrestrict`) {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

func TestNoCutIsAnArchive(t *testing.T) {
	t.Parallel()
	in, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	step := max(len(in)/3000, 1)
	for n := 0; n < len(in); n += step {
		var corrupt *pgarchive.CorruptError
		if _, _, err := walk(bytes.NewReader(in[:n])); !errors.As(err, &corrupt) {
			t.Fatalf("cut at %d of %d: %v", n, len(in), err)
		}
	}
	if _, _, err := walk(bytes.NewReader(append(bytes.Clone(in), 0))); err == nil {
		t.Error("a byte too many is accepted")
	}
	if _, _, err := walk(bytes.NewReader(append(bytes.Clone(in), in[len(in)/2:]...))); err == nil {
		t.Error("bytes after the end are accepted")
	}
}

// A failed exit stands where the end of file would be: the walk must return it and no archive.
func TestAFailedReadIsNoEnd(t *testing.T) {
	t.Parallel()
	in, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	died := errors.New("pg_dump died")
	for _, n := range []int{0, 10, len(in) / 2, len(in) - 1, len(in)} {
		a, _, err := walk(io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(died)))
		if !errors.Is(err, died) || a != nil {
			t.Errorf("after %d of %d bytes: %v", n, len(in), err)
		}
	}
}

func TestHandlersStopTheWalk(t *testing.T) {
	t.Parallel()
	in, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("store is full")
	_, err = pgarchive.Walk(bytes.NewReader(in), pgarchive.Handlers{
		Head: func(*pgarchive.Head, []byte) error { return nil }, Body: func([]byte) error { return full },
	})
	if !errors.Is(err, full) {
		t.Error(err)
	}
}

func TestUnknownVersionsAreSaidToBeUnsupported(t *testing.T) {
	t.Parallel()
	in, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	for at, v := range map[int]byte{6: 99, 8: 3, 10: 4} {
		bad := bytes.Clone(in)
		bad[at] = v
		if _, _, err := walk(bytes.NewReader(bad)); !errors.Is(err, pgarchive.ErrUnsupported) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, name := range []string{"1.14-none", "1.15-gzip", "1.16-none", "1.16-zstd"} {
		f.Add(stored(f, name))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, out, err := walk(bytes.NewReader(in))
		if err == nil && (!bytes.Equal(in, out) || a.Size() != int64(len(in))) {
			t.Error("accepted and not passed on whole")
		}
	})
}
