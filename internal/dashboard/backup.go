package dashboard

import (
	"cmp"
	"net/http"
	"slices"

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
