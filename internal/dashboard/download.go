package dashboard

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// stalled is how long a download may stand still. pg_restore reads on while it copies rows; it stands still while
// a lock is waited for, so this is not seconds.
const stalled = 10 * time.Minute

// maxTables is how many tables one download may name.
const maxTables = 100

// link is a request that came with a good link and was admitted.
type link struct {
	token    string
	resource remora.ResourceID
	backup   remora.Backup
}

// withLink admits who has a link, if there is room. What a handler cannot serve it returns as an error before it has
// written anything.
func (p *Pages) withLink(h func(w http.ResponseWriter, r *http.Request, l link) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := chi.URLParam(r, "token")
		id, b, err := p.Store.UseLink(r.Context(), token, linkUser(r))
		if err == nil {
			var leave func()
			if leave, err = p.room.enter(id, token); err == nil {
				defer leave()
				err = h(w, r, link{token, id, b})
			}
		}
		if err != nil {
			p.refuseDownload(w, r, err)
		}
	}
}

// LinkURL is where a link's token opens its backup.
func (p *Pages) LinkURL(token string) string { return p.BaseURL + "/d/" + token }

// linkUser is who the audit log names for a link's use: whoever has it, from wherever.
func linkUser(r *http.Request) string {
	return "link, from " + cmp.Or(middleware.GetClientIP(r.Context()), "an address that nobody told us")
}

// download serves a backup's plain archive to whoever holds a link, or with ?table=schema.table the part of it that
// holds these tables, with ranges, so that a download can be resumed and pg_restore, curl and
// heroku pg:backups:restore need nothing new.
func (p *Pages) download(w http.ResponseWriter, r *http.Request, l link) error {
	tables := r.URL.Query()["table"]
	if len(tables) > maxTables {
		return remora.Invalid("At most %d tables can be named at once. Download the whole archive and use pg_restore --table.", maxTables)
	}
	archive, err := p.Open(r.Context(), l.resource, l.backup, tables)
	if errors.Is(err, remora.ErrAlone) {
		return &remora.Error{Kind: remora.KindConflict, Public: "This backup is sealed to its owner's own keys: we cannot open it. With such a key in key.txt, this does: remora open --key key.txt -o backup.dump " + p.BaseURL + "/d/LINK"}
	}
	if err != nil {
		return err
	}
	tag := string(l.backup.ID)
	if len(tables) > 0 {
		tag += fmt.Sprintf("-%x", sha256.Sum256([]byte(strings.Join(tables, "\x00"))))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(l.backup)))
	p.serve(w, r, l, tag, archive)
	return nil
}

// sealed serves one of a backup's files as it is stored, for whoever has a key that opens it.
func (p *Pages) sealed(w http.ResponseWriter, r *http.Request, l link) error {
	name := chi.URLParam(r, "name")
	file, err := p.Sealed(r.Context(), l.resource, l.backup, name)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment")
	p.serve(w, r, l, string(l.backup.ID)+"-"+name, file)
	return nil
}

// contents serves what an archive contains.
func (p *Pages) contents(w http.ResponseWriter, r *http.Request, l link) error {
	list, err := p.counted(r, l)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	p.serve(w, r, l, string(l.backup.ID)+"-contents", list)
	return nil
}

// checkScript serves the script that holds a database against what an archive contains.
func (p *Pages) checkScript(w http.ResponseWriter, r *http.Request, l link) error {
	list, err := p.counted(r, l)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	read := p.watch(w, r, l, list)
	if err := p.Script(w, io.NewSectionReader(read, 0, list.Size())); err != nil {
		read.broken(err)
	}
	return nil
}

// counted opens the list of what an archive contains.
func (p *Pages) counted(r *http.Request, l link) (Archive, error) {
	list, err := p.Contents(r.Context(), l.resource, l.backup)
	if err == nil && list == nil {
		err = &remora.Error{Kind: remora.KindNotFound, Public: "The rows of this backup were not counted."}
	}
	return list, err
}

// serve sends what was asked for of an archive. When the store fails midway the connection is cut: what was sent is
// then shorter than its Content-Length, and no client takes it for the whole.
func (p *Pages) serve(w http.ResponseWriter, r *http.Request, l link, tag string, a Archive) {
	// Several ranges in one request are as many reads in as many places. A server may ignore a Range that it does not
	// care for, and whoever asks must be ready for the whole (RFC 9110, sections 14.2 and 15.3.7).
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", l.backup.EndedAt, io.NewSectionReader(p.watch(w, r, l, a), 0, a.Size()))
}

// watch returns an archive on its way out.
func (p *Pages) watch(w http.ResponseWriter, r *http.Request, l link, a Archive) *watched {
	asked := p.Now()
	return &watched{
		ReaderAt: a, conn: http.NewResponseController(w),
		ended: func() error {
			if now := p.Now(); now.Sub(asked) >= p.AskAgain {
				asked = now
				return p.ended(r, l, now)
			}
			return nil
		},
		broken: func(err error) {
			level, said := slog.LevelError, "download was cut"
			if kind := remora.KindOf(err); kind == remora.KindGone || kind == remora.KindNotFound {
				level, said = slog.LevelInfo, "download was ended with its link"
			}
			if r.Context().Err() == nil { // else the client has left, which is no fault
				p.Log.Log(r.Context(), level, said, "request_id", httpserver.RequestID(r.Context()), "resource_id", l.resource, "backup_id", l.backup.ID, "error", err)
			}
			panic(http.ErrAbortHandler)
		},
	}
}

// ended asks whether a download may go on, and returns why not.
func (p *Pages) ended(r *http.Request, l link, now time.Time) error {
	expires, err := p.Store.LinkEnds(r.Context(), l.token)
	switch kind := remora.KindOf(err); {
	case err == nil && now.After(expires.Add(p.RunsOn)):
		return &remora.Error{Kind: remora.KindGone, Public: "This link has expired, a long time ago."}
	case kind == remora.KindGone || kind == remora.KindNotFound:
		return err
	}
	return nil // a database of ours that does not answer lets nobody end a link either; it is asked again soon
}

// watched is an archive on its way out: each read asks whether it has ended and moves the connection's deadline, and one
// that failed or was not to be calls broken, which does not return, since ServeContent keeps the error to itself.
type watched struct {
	io.ReaderAt
	conn   *http.ResponseController
	ended  func() error
	broken func(error)
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	if err := w.ended(); err != nil {
		w.broken(err)
	}
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
	return nameOnly(b.Addon) + "-" + b.EndedAt.UTC().Format("20060102T150405Z") + ".dump"
}

// nameOnly leaves what Heroku makes names of.
func nameOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, s)
}

func (p *Pages) refuseDownload(w http.ResponseWriter, r *http.Request, err error) {
	status, known := httpserver.Status(err)
	if !known {
		status = http.StatusBadGateway
		p.Log.ErrorContext(r.Context(), "download failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	http.Error(w, remora.Public(err, "The archive cannot be read at the moment. Try again in a minute; request "+httpserver.RequestID(r.Context())+"."), status)
}
