package contents_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/contents"
)

func TestAPageOfTables(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for i := range 25 {
		fmt.Fprintf(&list, `{"schema":"public","name":"T%d","rows":%d,"bytes":1,"sha256":"00"},`, i, i)
	}
	text := `{"encoding":"UTF8","other":{"tables":[1]},"tables":[` + strings.TrimSuffix(list.String(), ",") + `],"sequences":[]}`
	p, err := contents.Read(strings.NewReader(text), "PUBLIC.t1", 4, 5)
	if err != nil || p.Most != 11 || len(p.Tables) != 5 || p.First() != 5 || p.Last() != 9 || p.Tables[0].Name != "T13" || p.Tables[0].Rows != 13 {
		t.Errorf("%+v %v", p, err)
	}
	for _, none := range []string{`{}`, `{"tables":null}`, `{"tables":[]}`} {
		if p, err := contents.Read(strings.NewReader(none), "", 0, 5); err != nil || p.Most != 0 || p.Tables != nil {
			t.Errorf("%s: %+v %v", none, p, err)
		}
	}
	for _, bad := range []string{``, `{"tables":7}`, `{"tables":[{"schema":`, `{"x":`} {
		if _, err := contents.Read(strings.NewReader(bad), "", 0, 5); err == nil {
			t.Errorf("%q is no list", bad)
		}
	}
}
