package dashboard

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// backupPage is one backup: how far it is, what it is, why it failed, how to get it back.
type backupPage struct {
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
	if page.Report, err = p.reportOf(r, s, page.Backup); err != nil {
		return page, err
	}
	if page.Live = !page.Backup.State.Ended(); page.Live {
		page.Backup.Progress, err = p.progress(r, s, id)
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

// progress tells how far a running backup is; nil where no worker holds it.
func (p *Pages) progress(r *http.Request, s remora.Session, id remora.BackupID) (*remora.Progress, error) {
	o, err := p.Store.Overview(r.Context(), s.Resource)
	if err != nil {
		return nil, err
	}
	for _, b := range o.Backups {
		if b.ID == id {
			return b.Progress, nil
		}
	}
	return nil, nil
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

// stalled is how long a download may stand still. pg_restore reads on while it copies rows; it stands still while
// a lock is waited for, so this is not seconds.
const stalled = 10 * time.Minute

// download serves a backup's plain archive to whoever holds a link, or with ?table=schema.table the part of it that
// holds these tables, with ranges, so that a download can be resumed and pg_restore, curl and
// heroku pg:backups:restore need nothing new. When the store fails midway
// the connection is cut: what was sent is then shorter than its Content-Length, and no client takes it for
// the whole.
func (p *Pages) download(w http.ResponseWriter, r *http.Request) {
	id, b, err := p.Store.UseLink(r.Context(), chi.URLParam(r, "token"), linkUser(r))
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	tables := r.URL.Query()["table"]
	archive, err := p.Open(r.Context(), id, b, tables)
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(b)))
	tag := string(b.ID)
	if len(tables) > 0 {
		tag += fmt.Sprintf("-%x", sha256.Sum256([]byte(strings.Join(tables, "\x00"))))
	}
	h.Set("ETag", `"`+tag+`"`)
	read := watched{archive, http.NewResponseController(w), func(err error) {
		if r.Context().Err() == nil { // else the client has left, which is no fault
			p.Log.ErrorContext(r.Context(), "download was cut", "request_id", httpserver.RequestID(r.Context()), "resource_id", id, "backup_id", b.ID, "error", err)
		}
		panic(http.ErrAbortHandler)
	}}
	http.ServeContent(w, r, "", b.EndedAt, io.NewSectionReader(read, 0, archive.Size()))
}

// contents serves what an archive contains, or the script that holds a database against it.
func (p *Pages) contents(w http.ResponseWriter, r *http.Request) {
	id, b, err := p.Store.UseLink(r.Context(), chi.URLParam(r, "token"), linkUser(r))
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	list, script, err := p.Contents(r.Context(), id, b)
	if err == nil && list == nil {
		err = &remora.Error{Kind: remora.KindNotFound, Public: "The rows of this backup were not counted."}
	}
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, ".sql") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		list = []byte(script)
	}
	_, _ = w.Write(list) // the client may have left
}

// linkUser is who the audit log names for a link's use: whoever has it, from wherever.
func linkUser(r *http.Request) string { return "link, from " + middleware.GetClientIP(r.Context()) }

// watched is an archive on its way out: each read moves the connection's deadline, and a failed one calls
// broken, since ServeContent keeps the error to itself.
type watched struct {
	io.ReaderAt
	conn   *http.ResponseController
	broken func(error)
}

func (w watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.broken(err)
	}
	// An error means that the connection knows no deadline, as in a test's recorder: then there is none to move.
	_ = w.conn.SetWriteDeadline(time.Now().Add(stalled))
	return n, err
}

// fileName is safe in a header: an add-on's name as Heroku makes them, and a time.
func fileName(b remora.Backup) string {
	name := []rune{}
	for _, r := range b.Addon {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			name = append(name, r)
		}
	}
	return string(name) + "-" + b.EndedAt.UTC().Format("20060102T150405Z") + ".dump"
}

func (p *Pages) refuseDownload(w http.ResponseWriter, r *http.Request, err error) {
	status, known := statuses[remora.KindOf(err)]
	if !known {
		status = http.StatusBadGateway
		p.Log.ErrorContext(r.Context(), "download failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
	http.Error(w, remora.Public(err, "The archive cannot be read at the moment. Try again in a minute; request "+httpserver.RequestID(r.Context())+"."), status)
}
