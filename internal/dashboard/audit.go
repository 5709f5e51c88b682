package dashboard

import (
	"net/http"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// report is what the permission doctor found, as pages show it.
type report struct {
	remora.Audit
	Database remora.DatabaseID
	Now      time.Time
	Known    []remora.Acknowledgement
	Pasted   string // what the page has said to paste before
}

// group is the findings of one severity.
type group struct {
	Title    string
	Severity remora.Severity
	Findings []remora.Finding
	Above    bool // what to paste stands further up on the page
}

// Fix is what to paste for all of them.
func (g group) Fix() string { return remora.Fixes(g.Findings) }

// folded is findings that say the same of several objects.
type folded struct {
	Objects []string
	Detail  string
}

// Folded are the findings, those that say the same as one.
func (g group) Folded() []folded {
	var out []folded
	at := map[string]int{}
	for _, f := range g.Findings {
		key := f.Code + "\x00" + f.Detail
		i, known := at[key]
		if !known {
			i = len(out)
			at[key], out = i, append(out, folded{Detail: f.Detail})
		}
		out[i].Objects = append(out[i].Objects, f.Object)
	}
	return out
}

// titles are the groups in their order. What needs somebody comes first.
var titles = []group{
	{Title: "It can do more than read", Severity: remora.SeverityDeny},
	{Title: "It cannot read everything", Severity: remora.SeverityFatal},
	{Title: "Not in the archive", Severity: remora.SeverityPartial},
	{Title: "Is this meant to be so?", Severity: remora.SeverityReview},
	{Title: "A later backup will fail on this", Severity: remora.SeverityFuture},
	{Title: "What every login role may do; we do none of it", Severity: remora.SeverityInherent},
	{Title: "Good to know", Severity: remora.SeverityInfo},
}

func (r report) groups(keep func(remora.Severity) bool) []group {
	var out []group
	for _, g := range titles {
		if g.Findings = r.Having(g.Severity); len(g.Findings) > 0 && keep(g.Severity) {
			g.Above = strings.Contains(r.Pasted, g.Fix())
			out = append(out, g)
		}
	}
	return out
}

// All are the groups that there are.
func (r report) All() []group { return r.groups(func(remora.Severity) bool { return true }) }

// Urgent are those that somebody must do something about; what is asked is beside them.
func (r report) Urgent() []group {
	return r.groups(func(s remora.Severity) bool {
		return s == remora.SeverityDeny || s == remora.SeverityFatal || s == remora.SeverityPartial || s == remora.SeverityFuture
	})
}

// Denied are those for which it is not used.
func (r report) Denied() []group {
	return r.groups(func(s remora.Severity) bool { return s == remora.SeverityDeny })
}

// Blinding are those that keep a backup from being made.
func (r report) Blinding() []group {
	return r.groups(func(s remora.Severity) bool { return s == remora.SeverityFatal })
}

// Asked are the findings that no person has answered for.
func (r report) Asked() []remora.Finding { return r.Unanswered(r.Known) }

// Sentence is the report in one.
func (r report) Sentence() string { return r.Audit.Sentence(r.Known) }

// acknowledge takes a person's word that a finding is meant to be so.
func (p *Pages) acknowledge(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	object := strings.ReplaceAll(r.PostFormValue("object"), "\r\n", "\n") // browsers send a line feed in a name as both
	return p.Store.Acknowledge(r.Context(), s.Resource, db, r.PostFormValue("code"), object, s.Person())
}
