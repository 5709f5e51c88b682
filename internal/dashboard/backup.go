package dashboard

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

// backupPage is one backup: how far it is, what it is, why it failed, how to get it back.
type backupPage struct {
	Frame    frame
	Now      time.Time
	Resource remora.Resource
	Backup   remora.Backup
	Links    []remora.Link
	Proofs   proofs
	URL      string // of a link just made; shown this once
	Good     time.Duration
	Live     bool    // it is queued or running
	Report   *report // nil where none was made
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
			p.Now = first(p.Now, x)
		case x.Kind == remora.ProofRestore:
			p.Proven = first(p.Proven, x)
		default:
			p.Reread = first(p.Reread, x)
		}
	}
	return p
}

func first(a, b *remora.Proof) *remora.Proof {
	if a != nil {
		return a
	}
	return b
}

func (p *Pages) backup(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.backupPage(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "backup.html", page)
}

// liveBackup is the part of a backup's page that changes, for the script.
func (p *Pages) liveBackup(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.backupPage(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "livebackup", page)
}

func (p *Pages) backupPage(r *http.Request, s remora.Session) (backupPage, error) {
	page := backupPage{Good: p.LinkGood, Now: p.Now().UTC()}
	id, err := backupID(r)
	if err != nil {
		return page, err
	}
	if page.Backup, err = p.Store.Backup(r.Context(), s.Resource, id); err != nil {
		return page, err
	}
	if page.Resource, err = p.Store.Resource(r.Context(), s.Resource); err != nil {
		return page, err
	}
	page.Frame = frame{"Backup of " + page.Backup.Addon, "overview", page.Resource}
	if page.Report, err = p.reportOf(r, s, page.Backup); err != nil {
		return page, err
	}
	if page.Live = !page.Backup.State.Ended(); page.Live {
		page.Backup.Progress, err = p.Store.Progress(r.Context(), s.Resource, id)
		return page, err
	}
	all, err := p.Store.Proofs(r.Context(), s.Resource, id)
	if err != nil {
		return page, err
	}
	page.Proofs = sorted(all)
	page.Links, err = p.Store.Links(r.Context(), s.Resource, id)
	return page, err
}

// prove asks for the backup to be restored and compared.
func (p *Pages) prove(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	if err := p.Store.RequestProof(r.Context(), s.Resource, id, remora.ProofRestore, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, Home+"/backups/"+string(id)+"#proof", http.StatusSeeOther)
	return nil
}

// makeLink shows a new link on the page itself: it is in no address, so it is in no history and no log.
func (p *Pages) makeLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	_, token, err := p.Store.MakeLink(r.Context(), s.Resource, id, s.Person(), p.LinkGood)
	if err != nil {
		return err
	}
	page, err := p.backupPage(r, s)
	if err != nil {
		return err
	}
	page.URL = p.BaseURL + "/d/" + token
	return p.render(w, http.StatusOK, "backup.html", page)
}

func (p *Pages) revokeLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	link := chi.URLParam(r, "link")
	if err != nil || !canonical(link) {
		return remora.NotFound("link")
	}
	if _, err := p.Store.Backup(r.Context(), s.Resource, id); err != nil {
		return err
	}
	if err := p.Store.RevokeLink(r.Context(), s.Resource, remora.LinkID(link), s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, Home+"/backups/"+string(id), http.StatusSeeOther)
	return nil
}

func (p *Pages) cancel(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	if err := p.Store.CancelBackup(r.Context(), s.Resource, id, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, Home+"/backups/"+string(id), http.StatusSeeOther)
	return nil
}
