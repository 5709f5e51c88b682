package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/secrets.md names a test at least, and every test that it names is there.
func TestSecretsAreShownByTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9-]+)\\.(Test[A-Za-z]+)`")
	rows := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test shows it: %.60s", line)
		}
		for _, x := range tests {
			if !hasTest(t, x[1], x[2]) {
				t.Errorf("%.60s: there is no %s in %s", line, x[2], x[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("the table has %d rows", rows)
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
