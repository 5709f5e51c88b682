package dashboard_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// proved makes a proof of the backup end as said.
func (n *tenant) proved(t *testing.T, b remora.Backup, kind remora.ProofKind, o remora.ProofOutcome) {
	t.Helper()
	err := n.RequestProof(t.Context(), n.id, b.ID, kind, "owner@example.com")
	if err != nil {
		t.Fatal(err)
	}
	all, err := n.Proofs(t.Context(), n.id, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.ClaimProof(t.Context(), all[0].ID, "v")
	if err == nil {
		err = n.EndProof(t.Context(), c, o)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestProofs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	b := n.keep(t)
	at := "/dashboard/backups/" + string(b.ID)
	// The first verified backup is due at once, and its page follows that before a verifier is asked.
	says(t, n.do(t, "GET", at).body, `<span class="state queued">due</span>`, "A verifier is asked within a minute", "data-live", "Prove it now", "not", `<button class="plain" disabled>Prove it now`)
	says(t, n.do(t, "GET", "/dashboard").body, "not yet", "due <time")
	for range 3 {
		if a := n.do(t, "POST", at+"/proofs"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != at+"#proof" {
			t.Fatal(a.Status, a.body)
		}
	}
	says(t, n.do(t, "GET", at).body, `<span class="state queued">queued</span>`, "asked for by owner@example.com", "It waits for a verifier", `<button class="plain" disabled>Prove it now`, "data-live", "not", "asked within a minute")
	all, err := n.Proofs(t.Context(), n.id, b.ID)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	c, err := n.ClaimProof(t.Context(), all[0].ID, "v")
	if err == nil {
		err = n.BeatProof(t.Context(), c, 1_234_567, `comparing <b>.x`)
	}
	if err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", at+"/live").body, "comparing &lt;b&gt;.x", "1.2 MB read", "not", "<b>.x")
	says(t, n.do(t, "GET", "/dashboard").body, "being restored and compared")
	err = n.EndProof(t.Context(), c, remora.ProofOutcome{
		State: remora.ProofPassed, ServerVersion: "15.18", Tables: 7, Rows: 4711, LeftOut: "event trigger <i>",
	})
	if err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", at).body, `<span class="state proven">proven</span>`, "Restored and compared", "PostgreSQL 15.18 and no network", "7 tables with 4\u202f711 rows are equal",
		"event trigger &lt;i&gt;", "/restore", "It is restored and compared again <time", "unless there is a newer", "not", "data-live", "not restored yet", "asked within a minute")
	says(t, n.do(t, "GET", "/dashboard").body, "Last proven backup", "Restored and compared", "4\u202f711 rows equal", "not", "overdue")

	n.proved(t, b, remora.ProofReread, remora.ProofOutcome{State: remora.ProofPassed, Bytes: 4_200_012})
	says(t, n.do(t, "GET", at).body, "What is stored was read again", "all 4.2 MB are as they were written")
	n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofImpossible, Detail: "it needs dblink"})
	says(t, n.do(t, "GET", at).body, "cannot be proven here", "it needs dblink", `<span class="state proven">`)
	says(t, n.do(t, "GET", "/dashboard").body, "cannot be proven here")
	n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonRestoreDiffers, Detail: "table public.t has 3 rows"})
	says(t, n.do(t, "GET", at).body, `<span class="state incomplete">incomplete</span>`, "what came out is not what was read", "What was found", "table public.t has 3 rows", "/restore")
	says(t, n.do(t, "GET", "/dashboard").body, "does not restore", "no fresh backup", "none yet")
	n.proved(t, b, remora.ProofReread, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged, Detail: "An object is missing."})
	says(t, n.do(t, "GET", at).body, `<span class="state failed">failed</span>`, "no longer what was written", "An object is missing.", "not", "/restore", "Prove it now")
	if a := n.do(t, "POST", at+"/proofs"); a.StatusCode != http.StatusConflict {
		t.Error(a.Status, a.body)
	}
	if a := n.submit(t, at+"/lock", "note", "some of it"); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status, a.body)
	}
	says(t, n.do(t, "GET", at).body, "It is damaged, so it counts for nothing", "owner@example.com locked it", "Unlock it", "not", "goes with the next round")
	says(t, n.do(t, "GET", "/dashboard").body, `class="state queued"`) // the backup that makes it good
}

// What was due and not done is shown as loudly as a failed backup.
// What there is none of is not called equal, and what was made anew is not called compared.
func TestAProofSaysNothingOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, x := range []struct {
		inventory remora.Inventory
		says      []string
	}{
		{nil, []string{"row for row, and so are sequences and large objects, if there are any.", "not", "materialized view"}},
		{remora.Inventory{{Kind: "table", Count: 7}}, []string{"row for row.", "not", "large objects", "materialized view"}},
		{remora.Inventory{{Kind: "sequence", Count: 1}, {Kind: "materialized view", Count: 1}}, []string{"row for row, and so are sequences.", "What the materialized view holds was made anew", "not", "large objects"}},
		{remora.Inventory{{Kind: "large object", Count: 1}, {Kind: "sequence", Count: 1}, {Kind: "materialized view", Count: 2}}, []string{"row for row, and so are sequences and large objects.", "What the materialized views hold was"}},
	} {
		n := s.tenant(t, shop())
		c := n.claim(t)
		err := n.SaveAudit(t.Context(), c, remora.Audit{Role: "remora_ro"}, remora.Server{Version: "15.18", Size: 1})
		if err == nil {
			err = n.KeepBackup(t.Context(), c, remora.Kept{ServerVersion: "15.18", Tables: 7, Rows: 4711, Inventory: x.inventory})
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Backup(t.Context(), n.id, c.Backup)
		if err != nil {
			t.Fatal(err)
		}
		n.proved(t, b, remora.ProofRestore, remora.ProofOutcome{State: remora.ProofPassed, ServerVersion: "15.18", Tables: 7, Rows: 4711})
		says(t, n.do(t, "GET", "/dashboard/backups/"+string(c.Backup)).body, x.says...)
	}
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	n.keep(t)
	if _, err := s.EnqueueProofs(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", "/dashboard").body, "not", "overdue")
	// Nobody stays signed on for so long.
	later := func(d time.Duration) {
		s.ahead, n.session = d, remora.NewToken()
		if err := s.OpenSession(t.Context(), remora.Session{Resource: n.id, Email: "owner@example.com"}, n.session, n.session); err != nil {
			t.Fatal(err)
		}
	}
	later(25 * time.Hour)
	says(t, n.do(t, "GET", "/dashboard/live").body, `<span class="state failed">overdue</span>`, "was to be restored and compared by", "not", "read again")
	later(31 * 24 * time.Hour)
	says(t, n.do(t, "GET", "/dashboard").body, "was to be restored and compared by", "was to be read again by")
}

// Only the newest verified backup of a database is restored by itself; one that could not be, not before it is asked for anew.
func TestWhichBackupIsDue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	first := n.keep(t)
	page := func(b remora.Backup) string {
		t.Helper()
		return n.do(t, "GET", "/dashboard/backups/"+string(b.ID)).body
	}
	if err := n.RequestProof(t.Context(), n.id, first.ID, remora.ProofRestore, "p"); err != nil {
		t.Fatal(err)
	}
	all, err := n.Proofs(t.Context(), n.id, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.ClaimProof(t.Context(), all[0].ID, "v")
	if err != nil {
		t.Fatal(err)
	}
	c.Attempt = 100 // no more are left
	if retried, err := n.RetryProof(t.Context(), c, &remora.Failure{Reason: remora.ReasonWorkerLost}); retried || err != nil {
		t.Fatal(retried, err)
	}
	says(t, page(first), "not to the end", "It is restored and compared again <time", "in 60 min", "not", "data-live", "asked within a minute")
	if _, err := n.RequestBackup(t.Context(), n.id, first.Database, "p"); err != nil {
		t.Fatal(err)
	}
	second := n.keep(t)
	says(t, page(first), "not", "It is restored and compared again", "data-live", "asked within a minute")
	says(t, page(second), "It is restored and compared <time")
}
