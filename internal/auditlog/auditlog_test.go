package auditlog_test

import (
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/auditlog"
	"github.com/remora-backup/remora/internal/remora"
)

const resource = "01234567-89ab-cdef-0123-456789abcdef"

// log is a chain of lines by these actors.
func log(t *testing.T, actors ...string) (lines []remora.AuditLine, chain remora.AuditChain) {
	t.Helper()
	previous := make([]byte, 32)
	for i, actor := range actors {
		l := remora.AuditLine{
			Resource: resource, Seq: int64(i + 1), At: time.Date(2026, 11, 26, 1, 2, 3+i, 450_000_000, time.UTC), Actor: actor,
			Action: "pause schedule", Subject: "before the \"big\"\nmigration", Previous: previous,
		}
		l.Hash = l.Sum()
		previous = l.Hash
		if err := chain.Add(l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines, chain
}

func each(lines []remora.AuditLine, last error) auditlog.Lines {
	return func(yield func(remora.AuditLine, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
		if last != nil {
			yield(remora.AuditLine{}, last)
		}
	}
}

func head(c remora.AuditChain) auditlog.Head {
	return auditlog.Head{Resource: resource, Addon: "remora-backup-clean-1", At: time.Now(), Length: c.Length, Hash: hex.EncodeToString(c.Hash)}
}

// The recipe of docs/audit.md is what is done here: its example has the hash that its line has.
func TestTheRecipe(t *testing.T) {
	t.Parallel()
	lines, _ := log(t, "anna@example.com")
	doc, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	if hash := hex.EncodeToString(lines[0].Hash); !strings.Contains(string(doc), hash) {
		t.Errorf("docs/audit.md does not have %s", hash)
	}
}

func TestExportsAreChecked(t *testing.T) {
	t.Parallel()
	lines, chain := log(t, "anna@example.com", "bob <b>", "Zoë")
	var b strings.Builder
	if err := auditlog.WriteJSON(&b, head(chain), each(lines, nil)); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	if h, err := auditlog.Check(strings.NewReader(whole)); err != nil || h.Length != 3 || h.Addon != "remora-backup-clean-1" {
		t.Errorf("%+v %v in %s", h, err, whole)
	}
	first, rest, ok1 := strings.Cut(whole, `{"seq":2`)
	_, third, ok2 := strings.Cut(rest, `{"seq":3`)
	two, _, ok3 := strings.Cut(whole, ",\n"+`{"seq":3`)
	if !ok1 || !ok2 || !ok3 {
		t.Fatal(whole)
	}
	for name, text := range map[string]string{
		"another name":     strings.Replace(whole, "anna@", "hanna@", 1),
		"another time":     strings.Replace(whole, "01:02:03", "01:02:02", 1),
		"another add-on":   strings.Replace(whole, resource, strings.Replace(resource, "0123", "1123", 1), 1),
		"a line less":      first + `{"seq":3` + third,
		"the last less":    two + "\n]}",
		"filtered":         strings.Replace(whole, `"filtered":false`, `"filtered":true`, 1),
		"cut":              whole[:len(whole)-4],
		"cut in a line":    whole[:len(whole)-40],
		"nothing":          "",
		"not an export":    "[1]",
		"no lines":         `{"resource":"` + resource + `","length":3}`,
		"not hexadecimal":  strings.Replace(whole, `"hash":"`, `"hash":"x`, 2),
		"a time elsewhere": strings.Replace(whole, "450000Z", "450000+01:00", 1),
	} {
		if _, err := auditlog.Check(strings.NewReader(text)); err == nil {
			t.Errorf("%s: it passes", name)
		}
	}
	if _, empty := log(t); auditlog.WriteJSON(&b, head(empty), each(nil, nil)) != nil {
		t.Error("an empty log is no error")
	}
}

// An export that breaks off is not whole, and does not look so.
func TestAnErrorIsNoEnd(t *testing.T) {
	t.Parallel()
	lines, chain := log(t, "a", "b")
	broken := errors.New("broken")
	var b strings.Builder
	if err := auditlog.WriteJSON(&b, head(chain), each(lines, broken)); !errors.Is(err, broken) || strings.Contains(b.String(), "]}") {
		t.Error(err, b.String())
	}
	if err := auditlog.WriteCSV(&b, each(lines, broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// No cell is a formula, whatever a customer's own people are called, and every other is as it was.
func TestCellsAreInert(t *testing.T) {
	t.Parallel()
	inert := [][2]string{
		{"=cmd|'/c calc'!A0", "'=cmd|'/c calc'!A0"},
		{"+1", "'+1"},
		{"-1", "'-1"},
		{"@SUM(1)", "'@SUM(1)"},
		{"\t=1", "'\t'=1"},
		{"\r=1", "'\r'=1"},
		{"＝1", "'＝1"},
		{"x;=1", "x;'=1"},
		{"x\n+1", "x\n'+1"},
		{"x\t\t=cmd", "x\t'\t'=cmd"},
		{";\t=cmd", ";'\t'=cmd"},
		{"x;;;=1", "x;;;'=1"},
		{`x;"=1`, `x;"'=1`},
		{"anna@example.com", "anna@example.com"},
		{"a=1", "a=1"},
		{"“a,b”;\"c\"\nd", "“a,b”;\"c\"\nd"},
		{"", ""},
	}
	var actors []string
	for _, x := range inert {
		actors = append(actors, x[0])
	}
	lines, _ := log(t, actors...)
	var b strings.Builder
	if err := auditlog.WriteCSV(&b, each(lines, nil)); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != len(actors)+1 || fmt.Sprint(rows[0]) != "[seq at actor action subject hash]" {
		t.Fatal(rows, err)
	}
	for i, row := range rows[1:] {
		if row[2] != inert[i][1] {
			t.Errorf("%q became %q", actors[i], row[2])
		}
	}
}
