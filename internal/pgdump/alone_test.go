package pgdump_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// A program that was taken over starts no other one, by which it could hide its own end from us or outlive it.
func TestAProgramStartsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the program runs as another user where we are root
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // nothing but the script below
			t.Fatal(err)
		}
	}
	script := "#!/usr/bin/perl\nmy $p = fork(); if (defined $p) { exit !$p } print STDERR \"none: $!\";\n"
	if err := os.WriteFile(filepath.Join(dir, "pg_restore"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	for name, box := range map[string]sandbox.Sandbox{"detected": sandbox.Detect(t.Context()), "none": {}} { // the other shows that the script tells
		check, err := pgdump.StartCheck(t.Context(), pgdump.Client{Dir: dir, Sandbox: box}, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = check.Finish()
		var f *remora.Failure
		errors.As(err, &f)
		if name == "none" != (err == nil) || err != nil && (f == nil || !strings.Contains(f.Detail, "none: Resource temporarily unavailable")) {
			t.Errorf("%s: %v", name, err)
		}
		if err := check.Close(); err != nil {
			t.Error(err)
		}
	}
}
