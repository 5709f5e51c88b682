package pgarchive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

func encoded(t *testing.T, c *pgarchive.Contents) []byte {
	t.Helper()
	list, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// readerFunc is called for more.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A script is written while its list is read: a list may be hundreds of MB, and the web process is shared.
func TestScriptIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	c := &pgarchive.Contents{Sequences: []pgarchive.Sequence{{Schema: "public", Name: "s", Value: 7, Called: true}}}
	for i := range 20_000 {
		c.Tables = append(c.Tables, pgarchive.Table{Schema: "public", Name: fmt.Sprintf("events_%d", i), Columns: []string{"id"}, Rows: 1, Bytes: 2, RowSum: "1"})
	}
	list := encoded(t, c)
	var out bytes.Buffer
	seen := 0
	half := readerFunc(func([]byte) (int, error) {
		seen = strings.Count(out.String(), "SAVEPOINT")
		return 0, io.EOF
	})
	if err := pgarchive.WriteScript(&out, io.MultiReader(bytes.NewReader(list[:len(list)/2]), half, bytes.NewReader(list[len(list)/2:]))); err != nil {
		t.Fatal(err)
	}
	if seen < 9_000 {
		t.Errorf("half of the list was read, and %d tables of 20000 were written", seen)
	}
	if out.String() != c.Script() {
		t.Error("the script is another one")
	}
	out.Reset()
	if err := pgarchive.WriteScript(&out, bytes.NewReader(encoded(t, &pgarchive.Contents{}))); err != nil || out.String() != (&pgarchive.Contents{}).Script() {
		t.Errorf("of nothing: %v", err)
	}
}

// What is no whole list makes no script that looks whole.
func TestScriptOfNoList(t *testing.T) {
	t.Parallel()
	list := encoded(t, &pgarchive.Contents{Tables: []pgarchive.Table{{Schema: "a", Name: "b"}}, Sequences: []pgarchive.Sequence{{Schema: "a", Name: "s"}}})
	for n := range list {
		if err := pgarchive.WriteScript(io.Discard, bytes.NewReader(list[:n])); err == nil {
			t.Errorf("a list cut at %d makes a script", n)
		}
	}
	for _, bad := range []string{"", "[]", "1", "null", "{}", `{"tables":1}`, `{"tables":[1]}`, `{"tables":[],"large_objects":[]}`} {
		if err := pgarchive.WriteScript(io.Discard, strings.NewReader(bad)); err == nil {
			t.Errorf("%s makes a script", bad)
		}
	}
	if err := pgarchive.WriteScript(io.Discard, strings.NewReader(`{"newer":{"a":[1,{}]},"tables":null,"large_objects":{}}`)); err != nil {
		t.Error(err)
	}
	if err := pgarchive.WriteScript(failing{}, bytes.NewReader(list)); err == nil {
		t.Error("a writer that fails is not told")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
