package dashboard

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/remora-backup/remora/internal/remora"
)

// backupPage is one backup: what it is, why it failed, how to get it back.
type backupPage struct {
	Now      time.Time
	Resource remora.Resource
	Backup   remora.Backup
	Links    []remora.Link
	URL      string // of a link just made; shown this once
	Good     time.Duration
}

func (p *Pages) backup(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	return p.showBackup(w, r, s, "")
}

func (p *Pages) showBackup(w http.ResponseWriter, r *http.Request, s remora.Session, url string) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	page := backupPage{URL: url, Good: p.LinkGood, Now: time.Now().UTC()}
	if page.Backup, err = p.Store.Backup(r.Context(), s.Resource, id); err != nil {
		return err
	}
	if page.Resource, err = p.Store.Resource(r.Context(), s.Resource); err != nil {
		return err
	}
	if page.Links, err = p.Store.Links(r.Context(), s.Resource, id); err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "backup.html", page)
}

// makeLink shows a new link on the page itself: it is in no address, so it is in no history and no log.
func (p *Pages) makeLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	_, token, err := p.Store.MakeLink(r.Context(), s.Resource, id, person(s), p.LinkGood)
	if err != nil {
		return err
	}
	return p.showBackup(w, r, s, p.BaseURL+"/d/"+token)
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
	if err := p.Store.RevokeLink(r.Context(), s.Resource, remora.LinkID(link), person(s)); err != nil {
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
	if err := p.Store.CancelBackup(r.Context(), s.Resource, id, person(s)); err != nil {
		return err
	}
	http.Redirect(w, r, Home+"/backups/"+string(id), http.StatusSeeOther)
	return nil
}

// download serves a backup's plain archive to whoever holds a link, with ranges, so that a download can be
// resumed and pg_restore, curl and heroku pg:backups:restore need nothing new. When the store fails midway
// the connection is cut: what was sent is then shorter than its Content-Length, and no client takes it for
// the whole.
func (p *Pages) download(w http.ResponseWriter, r *http.Request) {
	id, b, err := p.Store.UseLink(r.Context(), chi.URLParam(r, "token"), "link, from "+middleware.GetClientIP(r.Context()))
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	archive, err := p.Open(r.Context(), id, b)
	if err != nil {
		p.refuseDownload(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(b)))
	h.Set("ETag", `"`+string(b.ID)+`"`)
	http.ServeContent(w, r, "", b.EndedAt, io.NewSectionReader(watched{archive, func(err error) {
		p.Log.ErrorContext(r.Context(), "download was cut", "backup_id", b.ID, "error", err)
		panic(http.ErrAbortHandler)
	}}, 0, archive.Size()))
}

// watched calls broken when a read fails, since ServeContent keeps the error to itself.
type watched struct {
	io.ReaderAt
	broken func(error)
}

func (w watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF {
		w.broken(err)
	}
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
		p.Log.ErrorContext(r.Context(), "download failed", "request_id", w.Header().Get("X-Request-ID"), "error", err)
	}
	http.Error(w, remora.Public(err, "The archive cannot be read at the moment. Try again in a minute; request "+w.Header().Get("X-Request-ID")+"."), status)
}
