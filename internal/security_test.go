package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of the pages about security that claims something names a test at least, and every test that they name anywhere is there.
func TestSecurityIsShownByTests(t *testing.T) {
	t.Parallel()
	for page, rows := range map[string]int{"secrets.md": 20, "security.md": 20, "hostile.md": 7} {
		t.Run(page, func(t *testing.T) { shownByTests(t, page, rows) })
	}
}

func shownByTests(t *testing.T, page string, least int) {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9-]+)\\.(Test[A-Za-z]+)`")
	rows := 0
	shown := false // in a table that says so
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			shown = false
		} else if strings.HasSuffix(line, "| shown by |") {
			shown = true
		}
		if !shown || !strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		if !named.MatchString(line) {
			t.Errorf("no test shows it: %.60s", line)
		}
	}
	for _, x := range named.FindAllStringSubmatch(string(text), -1) {
		if !hasTest(t, x[1], x[2]) {
			t.Errorf("there is no %s in %s", x[2], x[1])
		}
	}
	if rows < least {
		t.Errorf("%s has %d rows", page, rows)
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	var files []string
	for _, dir := range []string{pkg, "../cmd/" + pkg} {
		found, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}
