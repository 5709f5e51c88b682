package pgarchive

import (
	"reflect"
	"testing"
)

func TestCopyStatements(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]copyTarget{
		"COPY public.t (a, b_1) FROM stdin;\n":                                         {"public", "t", []string{"a", "b_1"}},
		"COPY \"S 1\".\"t.\"\"(\" (\"a, b)\", \"\"\"\", \"line\nfeed\") FROM stdin;\n": {"S 1", `t."(`, []string{"a, b)", `"`, "line\nfeed"}},
		"COPY public.columnless  FROM stdin;\n":                                        {"public", "columnless", nil},
		"COPY public.columnless FROM stdin;":                                           {"public", "columnless", nil},
		"":                                                                             {},
		"COPY public FROM stdin;":                                                      {},
		"COPY public.t (a FROM stdin;":                                                 {},
		"COPY public.t (a) FROM PROGRAM 'id';":                                         {},
		"COPY public.t (\"a) FROM stdin;":                                              {},
		"COPY public.t (a, ) FROM stdin;":                                              {},
	} {
		if got := parseCopy(statement); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v", statement, got)
		}
	}
}
