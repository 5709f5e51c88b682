package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// backupPage is one backup: how far it is, what it is, why it failed, what shows that it is good.
type backupPage struct {
	remora.BackupView
	Frame  frame
	Proofs proofs
	Report *report // nil where none was made
	Phases []phase
	Keep   *keepPart // nil where nothing of it is stored
}

// proofs are a backup's, newest first.
type proofs struct {
	All    []remora.Proof
	Now    *remora.Proof // the one that is queued or running; nil where there is none
	Proven *remora.Proof // the newest restore that has ended
	Reread *remora.Proof // the newest reading again that has ended
}

func sorted(all []remora.Proof) proofs {
	p := proofs{All: all}
	for i := range all {
		x := &all[i]
		switch {
		case !x.State.Ended():
			p.Now = cmp.Or(p.Now, x)
		case x.Kind == remora.ProofRestore:
			p.Proven = cmp.Or(p.Proven, x)
		default:
			p.Reread = cmp.Or(p.Reread, x)
		}
	}
	return p
}

// Live tells whether the page will change by itself soon.
func (p backupPage) Live() bool {
	return !p.Backup.State.Ended() || p.Proofs.Now != nil || p.ProofDue() || slices.ContainsFunc(p.Copies, func(c remora.Copy) bool { return c.Live(p.Now) })
}

// Dumped tells whether pg_dump has read the database and is done: then there is something to say of what it cost. A refused
// credential's dump gave nothing, and of a run that goes on nothing is known yet.
func (p backupPage) Dumped() bool {
	return p.Backup.State.Restorable() || p.Backup.State.Ended() && p.Report != nil && p.Report.Refusal() == nil
}

// Refused tells whether the permission doctor ended the backup: then the words of why are ours.
func (p backupPage) Refused() bool {
	if p.Report == nil {
		return false
	}
	f := p.Report.Refusal()
	return f != nil && f.Reason == p.Backup.Reason
}

// Paste is what mends it: for a credential that cannot read everything, also what keeps later backups from failing.
func (p backupPage) Paste() string {
	if !p.Refused() || p.Backup.Reason == remora.ReasonCanWrite {
		return p.Backup.Fix
	}
	return strings.TrimSpace(p.Backup.Fix + "\n" + remora.Fixes(p.Report.Having(remora.SeverityFuture)))
}

// Has is how many objects of a kind the database had; 0 too where nobody has counted.
func (p backupPage) Has(kind string) int64 {
	if p.Report != nil {
		for _, k := range p.Report.Inventory {
			if k.Kind == kind {
				return k.Count
			}
		}
	}
	return 0
}

// EqualToo says what beside rows was found equal in a copy.
func (p backupPage) EqualToo() string {
	if p.Report == nil || p.Report.Inventory == nil {
		return ", and so are sequences and large objects, if there are any"
	}
	switch sequences, objects := p.Has("sequence") > 0, p.Has("large object") > 0; {
	case sequences && objects:
		return ", and so are sequences and large objects"
	case sequences:
		return ", and so are sequences"
	case objects:
		return ", and so are large objects"
	}
	return ""
}

// Stored tells whether something of it lies anywhere.
func (p backupPage) Stored() bool { return p.Backup.Stored() }

// phase is one part of a backup's way.
type phase struct {
	Title string
	State stepState
}

// phasesOf tells where a live backup is on its way; nil where it has ended.
func phasesOf(b remora.Backup) []phase {
	if b.State.Ended() {
		return nil
	}
	at := 0
	if b.Progress != nil {
		at = map[remora.RunState]int{remora.RunClaimed: 1, remora.RunDumping: 2, remora.RunConfirming: 3}[b.Progress.State]
	}
	titles := []string{
		"Waiting for a worker", "Connecting, and asking what the credential may do", "Reading, sealing and storing, while stock pg_restore reads it back",
		"Confirming every stored object", "Verified",
	}
	out := make([]phase, len(titles))
	for i, title := range titles {
		out[i] = phase{title, stepLater}
		if i < at {
			out[i].State = stepDone
		} else if i == at {
			out[i].State = stepRunning
		}
	}
	return out
}

func (p *Pages) backup(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.backupPage(r, s)
	if err != nil {
		return err
	}
	if page.Keep, err = p.keepPart(r, s, page.Backup); err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "backup.html", page)
}

// liveBackup is the part of a backup's page that changes.
func (p *Pages) liveBackup(r *http.Request, s remora.Session) (string, any, bool, error) {
	page, err := p.backupPage(r, s)
	return "livebackup", page, page.Live(), err
}

func (p *Pages) backupPage(r *http.Request, s remora.Session) (backupPage, error) {
	var page backupPage
	id, err := backupID(r)
	if err != nil {
		return page, err
	}
	if page.BackupView, err = p.Store.BackupView(r.Context(), s.Resource, id); err != nil {
		return page, err
	}
	page.Frame = frame{"Backup of " + page.Backup.Addon, "overview", page.Resource}
	page.Proofs, page.Phases = sorted(page.BackupView.Proofs), phasesOf(page.Backup)
	if page.Audit != nil {
		page.Report = &report{Audit: *page.Audit, Database: page.Backup.Database}
		page.Report.Pasted = page.Paste()
	}
	return page, nil
}

// prove asks for the backup to be restored and compared.
func (p *Pages) prove(r *http.Request, s remora.Session, id remora.BackupID) error {
	return p.Store.RequestProof(r.Context(), s.Resource, id, remora.ProofRestore, s.Person())
}

// askCopy asks for the backup to be copied to the bucket that takes copies.
func (p *Pages) askCopy(r *http.Request, s remora.Session, id remora.BackupID) error {
	return p.Store.AskCopy(r.Context(), s.Resource, id, s.Person())
}

func (p *Pages) cancel(r *http.Request, s remora.Session, id remora.BackupID) error {
	return p.Store.CancelBackup(r.Context(), s.Resource, id, s.Person())
}
