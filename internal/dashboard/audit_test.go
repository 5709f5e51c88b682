package dashboard_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// post sends a form as the tenant's browser would.
func (n *tenant) post(t *testing.T, path string, form url.Values) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "remora="+n.session)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body), err}
}

func TestWhatTheCredentialMayDo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	at := "/dashboard/databases/" + string(n.view(t).Databases[0].ID)
	says(t, n.do(t, "GET", at).body, "has not been looked at yet", "Check again")
	c := n.claim(t)
	finding := func(code string, severity remora.Severity, fix string) remora.Finding {
		return remora.Finding{Code: code, Severity: severity, Object: "object of <" + code + ">", Detail: "why " + code, Fix: fix}
	}
	save := func(all ...remora.Finding) string {
		t.Helper()
		if err := n.SaveAudit(t.Context(), c, remora.Audit{Role: "remora_ro", Findings: all, Witness: remora.Witness{Before: 7}}, remora.Server{Version: "15.18", Size: 1}); err != nil {
			t.Fatal(err)
		}
		return n.do(t, "GET", at).body
	}

	inherent, info := finding("temp_tables", remora.SeverityInherent, ""), finding("foreign_table", remora.SeverityInfo, "")
	says(t, save(inherent, info), "can read everything and change nothing", `class="verdict good"`, "not", "temp_tables", "foreign_table")
	page := save(finding("table_write", remora.SeverityDeny, "REVOKE INSERT ON t FROM remora_ro;"), finding("table_select", remora.SeverityFatal, "GRANT SELECT ON u TO remora_ro;"), inherent)
	says(t, page, "can do more than read, so it is not used", `class="verdict can_write"`, "object of &lt;table_write&gt;", "why table_write", "REVOKE INSERT ON t FROM remora_ro;",
		"It cannot read everything", "GRANT SELECT ON u TO remora_ro;", "not", "<table_write>")
	says(t, save(finding("table_select", remora.SeverityFatal, "GRANT …;")), "cannot read everything, so nothing is backed up")
	says(t, save(finding("subscription", remora.SeverityPartial, "")), "backups lack something that it has no way to read", "Not in the archive", "why subscription")
	says(t, save(finding("no_default_select", remora.SeverityFuture, "ALTER DEFAULT PRIVILEGES …;")), "can read everything and change nothing", "A later backup will fail on this", "ALTER DEFAULT PRIVILEGES …;")

	triggers := []remora.Finding{}
	for _, name := range []string{"one", "two", "three"} {
		triggers = append(triggers, remora.Finding{Code: "event_trigger", Severity: remora.SeverityFuture, Object: "EVENT TRIGGER " + name, Detail: "cannot be restored by it"})
	}
	if page := save(triggers...); strings.Count(page, "cannot be restored by it") != 1 {
		t.Errorf("the same is said again and again: %s", page)
	} else {
		says(t, page, "EVENT TRIGGER one", "EVENT TRIGGER two", "EVENT TRIGGER three")
	}

	asked := finding("security_definer", remora.SeverityReview, "")
	page = save(asked, inherent)
	says(t, page, "please do", "Is this meant to be so?", "why security_definer", "I know of this", `name="object" value="object of &lt;security_definer&gt;"`)
	if a := n.post(t, at+"/acknowledge", url.Values{"code": {asked.Code}, "object": {"another"}}); a.StatusCode != http.StatusNotFound {
		t.Error(a.Status)
	}
	if a := n.post(t, at+"/acknowledge", url.Values{"code": {asked.Code}, "object": {asked.Object}}); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", at).body, "can read everything and change nothing", "not", "I know of this", "why security_definer")

	// The backup's own page has all of it, also while it runs, and what is known at its end.
	b := "/dashboard/backups/" + string(c.Backup)
	says(t, n.do(t, "GET", b).body, "What the credential may do", "as remora_ro", "why security_definer", "why temp_tables", "not", "was not read to the end", "What it meant for your database")
	err := n.KeepBackup(t.Context(), c, remora.Kept{Witness: remora.Witness{Before: 7, After: 7}, Inventory: remora.Inventory{{Kind: "table", Count: 4711}}})
	if err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", b).body, "Nothing was written", "table: 4711")
}

// A refused backup says what to paste once, with what the next one would fail on, and nothing of a dump that there was not;
// one that failed later says once what could not be counted.
func TestARefusedBackupSaysItOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refused := remora.Audit{Role: "remora_ro", Witness: remora.Witness{Before: 7}, Findings: []remora.Finding{
		{Code: "table_select", Severity: remora.SeverityFatal, Object: "u", Detail: "has no SELECT", Fix: "GRANT SELECT ON u TO remora_ro;"},
		{Code: "no_default_select", Severity: remora.SeverityFuture, Object: "new tables", Detail: "will have none", Fix: "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO remora_ro;"},
	}}
	page := func(a remora.Audit, f *remora.Failure) string {
		t.Helper()
		n := s.tenant(t, shop())
		c := n.claim(t)
		err := n.SaveAudit(t.Context(), c, a, remora.Server{Version: "15.18", Size: 1})
		if err == nil {
			err = n.SaveImpact(t.Context(), c, remora.Impact{Held: time.Second})
		}
		if err == nil {
			_, err = n.FailRun(t.Context(), c, f, f.Fix)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n.do(t, "GET", "/dashboard/backups/"+string(c.Backup)).body
	}
	no := page(refused, refused.Refusal())
	says(t, no, "GRANT SELECT ON u TO remora_ro;\nALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO remora_ro;</bdi>", "What was found", "What the credential may do", "The statements for it are above",
		"not", "on the backup's page", "The words of pg_dump", "What it meant for your database", "was not read to the end", "nobody could look")
	if n := strings.Count(no, "GRANT SELECT ON u"); n != 1 {
		t.Errorf("to paste %d times: %s", n, no)
	}
	refused.Findings[0].Severity, refused.Findings[0].Fix = remora.SeverityDeny, "REVOKE INSERT ON u FROM remora_ro;"
	says(t, page(refused, refused.Refusal()), "REVOKE INSERT ON u FROM remora_ro;</bdi>", "ALTER DEFAULT PRIVILEGES", "not", "remora_ro;\nALTER")
	refused.Findings = refused.Findings[1:]
	late := page(refused, &remora.Failure{Reason: remora.ReasonTooLong, Detail: "pg_dump: a word"})
	says(t, late, "What it meant for your database", "nobody could look")
	if n := strings.Count(late, "was not read to the end"); n != 1 {
		t.Errorf("said %d times: %s", n, late)
	}
	says(t, page(remora.Audit{}, &remora.Failure{Reason: remora.ReasonPermission, Detail: "pg_dump: a word"}), "The words of pg_dump", "not", "What was found")
}

func TestCheckAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	page := "/dashboard/databases/" + string(b.Database)
	at := page + "/audit"
	says(t, n.do(t, "GET", page).body, `action="`+at+`"`, "not", "being looked at", "data-live")
	if a := n.do(t, "POST", at); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	says(t, n.do(t, "GET", page).body, "being looked at", "data-live", "not", `action="`+at+`"`)
	if err := n.SaveCheck(t.Context(), n.id, b.Database, remora.Audit{Failed: remora.ReasonLoginRefused, Words: "FATAL: <no>"}, remora.Server{}); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", page).body, "could not be checked", "refused the credential", "FATAL: &lt;no&gt;", `action="`+at+`"`, "not", "being looked at")
}

// A database that can have no read-only credential is refused with that reason, and no command that would not work.
func TestEssentialPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	f := shop()
	f.Credential, f.Plan, f.Problem = "", "heroku-postgresql:essential-0", "This database is of an Essential plan."
	says(t, s.tenant(t, f).do(t, "GET", "/dashboard").body, "is of an Essential plan", "needs you", "not", "pg:credentials:create", "Back up now")
}
