package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/remora-backup/remora/"

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// table reads README.md's import table.
func table(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.SplitSeq(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		out[strings.Trim(cells[1], " `")] = strings.Fields(strings.ReplaceAll(cells[3], "`", ""))
	}
	return out
}

func short(path string) (string, bool) {
	p, ours := strings.CutPrefix(path, module)
	return strings.TrimPrefix(p, "internal/"), ours
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	allowed := table(t)
	if len(allowed) < 20 {
		t.Fatalf("README.md's table has %d rows", len(allowed))
	}
	for _, p := range list(t) {
		name, ours := short(p.ImportPath)
		if !ours || strings.HasPrefix(name, "cmd/") || name == "migrations" || name == "internal" {
			continue
		}
		may, known := allowed[name]
		if !known {
			t.Errorf("%s is not in README.md's table", name)
		}
		delete(allowed, name)
		for _, i := range p.Imports {
			if to, ours := short(i); ours && !slices.Contains(may, to) {
				t.Errorf("%s must not import %s", name, to)
			}
		}
	}
	for name := range allowed {
		t.Errorf("README.md's table has %s, which does not exist", name)
	}
}

func TestProductionReachesNoDevelopmentCode(t *testing.T) {
	t.Parallel()
	seen := false
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		if name != "cmd/remora" {
			continue
		}
		seen = true
		for _, d := range p.Deps {
			to, ours := short(d)
			if d == "testing" || ours && (to == "herokusim" || to == "pgtest" || to == "s3test" || to == "logtest" || to == "browsertest" || strings.HasPrefix(to, "devtools")) {
				t.Errorf("cmd/remora reaches %s", d)
			}
		}
	}
	if !seen {
		t.Error("cmd/remora was not looked at")
	}
}
