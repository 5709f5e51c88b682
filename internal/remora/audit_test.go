package remora_test

import (
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

func finding(code string, s remora.Severity) remora.Finding {
	return remora.Finding{Code: code, Severity: s, Object: "o-" + code, Detail: "d-" + code, Fix: "fix " + code + ";"}
}

func TestAuditDecides(t *testing.T) {
	t.Parallel()
	deny, review := finding("table_write", remora.SeverityDeny), finding("security_definer", remora.SeverityReview)
	table, large, rows := finding("table_select", remora.SeverityFatal), finding("large_object_select", remora.SeverityFatal), finding("row_security", remora.SeverityFatal)
	open := finding("row_security_open", remora.SeverityInfo)
	known := []remora.Acknowledgement{{Code: "security_definer", Object: "o-security_definer"}}
	for name, c := range map[string]struct {
		findings []remora.Finding
		known    []remora.Acknowledgement
		verdict  remora.Verdict
		refused  remora.Reason
		open     bool
	}{
		"nothing":                {nil, nil, remora.VerdictGood, "", false},
		"what everybody may":     {[]remora.Finding{finding("temp_tables", remora.SeverityInherent), finding("x", remora.SeverityFuture)}, nil, remora.VerdictGood, "", false},
		"writes":                 {[]remora.Finding{deny, table, review}, nil, remora.VerdictWrites, remora.ReasonCanWrite, false},
		"cannot read":            {[]remora.Finding{table, review}, nil, remora.VerdictBlind, remora.ReasonPermission, false},
		"nor large objects":      {[]remora.Finding{table, large}, nil, remora.VerdictBlind, remora.ReasonLargeObject, false},
		"nor rows":               {[]remora.Finding{table, large, rows}, nil, remora.VerdictBlind, remora.ReasonRowSecurity, false},
		"all rows":               {[]remora.Finding{open}, nil, remora.VerdictGood, "", true},
		"all rows of some":       {[]remora.Finding{open, rows}, nil, remora.VerdictBlind, remora.ReasonRowSecurity, false},
		"a hole":                 {[]remora.Finding{finding("subscription", remora.SeverityPartial), review}, nil, remora.VerdictPartial, "", false},
		"a question":             {[]remora.Finding{review}, nil, remora.VerdictAsks, "", false},
		"a question, answered":   {[]remora.Finding{review}, known, remora.VerdictGood, "", false},
		"another's answer":       {[]remora.Finding{{Code: "security_definer", Severity: remora.SeverityReview, Object: "o"}}, known, remora.VerdictAsks, "", false},
		"an answer is no excuse": {[]remora.Finding{{Code: "security_definer", Severity: remora.SeverityDeny, Object: "o-security_definer"}}, known, remora.VerdictWrites, remora.ReasonCanWrite, false},
	} {
		a := remora.Audit{Findings: c.findings}
		f := a.Refusal()
		if a.Verdict(c.known) != c.verdict || (f != nil) != (c.refused != "") || f != nil && f.Reason != c.refused || a.OpenRows() != c.open {
			t.Errorf("%s: %s, %+v, %v", name, a.Verdict(c.known), f, a.OpenRows())
		}
	}
	f := remora.Audit{Findings: []remora.Finding{table, table, large, deny}}.Refusal()
	if f.Fix != "fix table_write;" || f.Detail != "o-table_write: d-table_write" {
		t.Errorf("%+v", f)
	}
	if fix := remora.Fixes([]remora.Finding{table, table, large}); strings.Count(fix, "\n") != 1 {
		t.Errorf("said twice: %s", fix)
	}
	if fix := remora.Fixes([]remora.Finding{{Object: "nothing can be pasted"}, table}); fix != table.Fix {
		t.Errorf("%q", fix)
	}
	hole := remora.Finding{Code: "subscription", Severity: remora.SeverityPartial, Object: "sub", Detail: "is left out"}
	if out := (remora.Audit{Findings: []remora.Finding{table, hole}}).LeftOut(); out != "sub: is left out" {
		t.Errorf("%q", out)
	}
	if v := (remora.Audit{Failed: remora.ReasonUnreachable}).Verdict(nil); v != remora.VerdictUnknown {
		t.Error(v)
	}
}

func TestTestimony(t *testing.T) {
	t.Parallel()
	for w, want := range map[remora.Witness]remora.Testimony{
		{}:                                   remora.TestimonyNone,
		{Before: 7}:                          remora.TestimonyNone,
		{Before: 7, After: 7}:                remora.TestimonyNothing,
		{Before: 7, After: 8}:                remora.TestimonyOthers,
		{Before: 7, After: 7, Standby: true}: remora.TestimonyFollower,
		{Before: 0, After: 100}:              remora.TestimonyNone,
	} {
		if got := w.Testimony(); got != want {
			t.Errorf("%+v: %s", w, got)
		}
	}
}

func TestOwnerOnly(t *testing.T) {
	t.Parallel()
	for plan, want := range map[string]bool{
		"heroku-postgresql:essential-0": true, "heroku-postgresql:essential-2": true, "heroku-postgresql:mini": true, "heroku-postgresql:hobby-dev": true,
		"heroku-postgresql:standard-0": false, "heroku-postgresql:premium-3": false, "heroku-postgresql:private-4": false, "": false, "essential": false,
	} {
		if remora.OwnerOnly(plan) != want {
			t.Errorf("%q", plan)
		}
	}
}
