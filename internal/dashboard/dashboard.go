// Package dashboard is what a customer sees after one click on Heroku: the databases found, their backups, how
// to get one back. Pages are rendered on the server and work without JavaScript; a small script keeps what
// goes on before their eyes up to date.
package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
	"github.com/remora-backup/remora/internal/websession"
)

// Store is what the pages need. Every method is bound to a resource; what is another's is not found. Errors
// carry a remora.Kind.
type Store interface {
	NewsStore
	RemovalStore
	TokenStore
	AuditStore
	DangerStore
	KeyStore
	BucketStore
	Session(ctx context.Context, token string) (remora.Session, error)
	CloseSession(ctx context.Context, token string) error
	Overview(ctx context.Context, id remora.ResourceID) (remora.Overview, error)
	Resource(ctx context.Context, id remora.ResourceID) (remora.Resource, error)
	Backup(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.Backup, error)
	RequestBackup(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) (remora.BackupID, error)
	CancelBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	Retention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (retention.Standing, error)
	SetRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, r remora.Retention, may int, person string) (int, error)
	UndoRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	LockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, note, person string) error
	UnlockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	RequestAudit(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Acknowledge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, code, object, person string) error
	RequestCheck(ctx context.Context, id remora.ResourceID, person string) error
	MakeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string, good time.Duration) (remora.Link, string, error)
	UseLink(ctx context.Context, token, from string) (remora.ResourceID, remora.Backup, error)
	LinkEnds(ctx context.Context, token string) (time.Time, error)
	RevokeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, link remora.LinkID, person string) error
	BackupView(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.BackupView, error)
	OwnLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, token string) (remora.Link, error)
	NoteStranger(ctx context.Context, id remora.ResourceID, person, request string, named []string) error
	Database(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, look remora.Look) (remora.DatabaseView, error)
	Schedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (remora.Schedule, error)
	SetSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, rule remora.Rule, person string) error
	PauseSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, why, person string) error
	ResumeSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Outside(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (remora.Outside, error)
	MakeBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, named bool, person string) error
	RemoveBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Badge(ctx context.Context, token string) (remora.Badge, error)
	SetPing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, address redact.Secret, starts bool, person string) error
	RemovePing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	AskCopy(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	RequestProof(ctx context.Context, id remora.ResourceID, b remora.BackupID, kind remora.ProofKind, person string) error
}

// Archive is a stored archive, plain.
type Archive interface {
	io.ReaderAt
	Size() int64
}

// Config of the pages.
type Config struct {
	Store Store
	// Contents opens what a backup's archive contains, as JSON; nil where nobody has counted.
	Contents func(ctx context.Context, id remora.ResourceID, b remora.Backup) (Archive, error)
	// Script writes the psql script that holds a database against what Contents has.
	Script func(w io.Writer, contents io.Reader) error
	// Open opens a backup's archive, or the part of it that holds the named tables. Errors: KindNotFound for a table
	// that is not in it; of Open and Contents remora.ErrAlone where only its owner's keys open it.
	Open func(ctx context.Context, id remora.ResourceID, b remora.Backup, tables []string) (Archive, error)
	// Sealed opens one of a backup's files as it is stored. Errors: KindNotFound for a name that none of them has.
	Sealed func(ctx context.Context, id remora.ResourceID, b remora.Backup, name string) (Archive, error)
	Sealer Sealer
	// Probe tries a customer's own bucket out, and tells whether the key that writes may delete too, although there is another one
	// for that. Errors: KindInvalid, with what is wrong; KindBusy while another is tried.
	Probe func(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys) (remora.Probed, error)
	// Needs reads what restoring a backup needs; nil where nobody can tell.
	Needs func(ctx context.Context, id remora.ResourceID, b remora.Backup) (remora.Needs, error)
	// Callable refuses an address that leads where nobody may be called; nil refuses none. Errors: KindInvalid.
	Callable       func(ctx context.Context, address redact.Secret) error
	Cookie         websession.Cookie
	BaseURL        string        // how the outside reaches us, for links; without a slash at the end
	Mails          bool          // the operator has set up e-mail
	ServiceAccount string        // the account that a Helper App is shared with
	LinkGood       time.Duration // how long a link is good; default 1 h
	// How many downloads may run at a time in this process, of one resource's backups, and by one link; more are refused
	// with 429. Each holds some 250 KiB and a connection to the store. Default 100, 16, and 8, which is more than clients
	// take that download in pieces.
	Downloads, DownloadsOfResource, DownloadsOfLink int
	// AskAgain is how often a download asks whether its link still opens what it reads; default 5 s. One whose link was
	// revoked, whose backup was deleted or whose add-on was removed is cut then.
	AskAgain time.Duration
	// LookAgain is how often a page that follows something is made anew; default 1 s.
	LookAgain time.Duration
	// RunsOn is how long a download that has begun may go on after its link has expired; default 12 h, negative not at all.
	// pg_restore reads for as long as it takes to restore, and cannot resume: a link is short so that it opens nothing
	// later, not so that a large database cannot be restored.
	RunsOn time.Duration
	Now    func() time.Time // default time.Now
	Log    *slog.Logger
}

// Pages are the handlers.
type Pages struct {
	Config
	templates *template.Template
	assets    assets
	room      *room
	seats     *seats
}

//go:embed templates static
var files embed.FS

// New returns the handlers.
func New(cfg Config) (*Pages, error) {
	if cfg.Store == nil || cfg.Open == nil || cfg.Contents == nil || cfg.Script == nil || cfg.Sealed == nil || cfg.Sealer == nil || cfg.Probe == nil || cfg.Log == nil || cfg.BaseURL == "" || cfg.ServiceAccount == "" {
		return nil, errors.New("dashboard: a dependency or setting is missing")
	}
	if cfg.LinkGood == 0 {
		cfg.LinkGood = time.Hour
	}
	cfg.LookAgain = cmp.Or(cfg.LookAgain, time.Second)
	cfg.AskAgain = cmp.Or(cfg.AskAgain, 5*time.Second)
	cfg.RunsOn = max(cmp.Or(cfg.RunsOn, 12*time.Hour), 0)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Pages{Config: cfg, seats: &seats{of: map[string]int{}}, room: &room{
		all: cmp.Or(cfg.Downloads, 100), perResource: cmp.Or(cfg.DownloadsOfResource, 16), perLink: cmp.Or(cfg.DownloadsOfLink, 8),
		of: map[string]int{},
	}}
	var err error
	if p.assets, err = readAssets(files); err != nil {
		return nil, err
	}
	own := template.FuncMap{"asset": p.assets.path, "show": p.show}
	p.templates, err = template.New("").Funcs(functions).Funcs(own).ParseFS(files, "templates/*.html")
	return p, err
}

// Home is where the pages begin.
const Home = "/dashboard"

// Routes adds the handlers to a router. What changes something is a POST of our own origin.
func (p *Pages) Routes(r chi.Router) {
	r.NotFound(p.missing)
	// What is not compressed: pages that show a secret beside what a visitor sent, whose length would tell of it, and streams.
	small := r.With(middleware.Compress(5, "text/html", "text/css", "text/javascript", "image/svg+xml"))
	small.Get("/static/{file}", p.static)
	r.Get("/", p.front)
	r.Get("/d/{token}", p.withLink(p.download))
	r.Get("/d/{token}/contents.json", p.withLink(p.contents))
	r.Get("/d/{token}/check.sql", p.withLink(p.checkScript))
	r.Get("/d/{token}/sealed/{name}", p.withLink(p.sealed))
	r.Get("/badge/{token}.svg", p.badge)
	r.Get("/receipts/{token}", p.receipt)
	r.Head("/d/{token}", p.withLink(p.download))
	r.Group(func(r chi.Router) {
		own := http.NewCrossOriginProtection()
		own.SetDenyHandler(http.HandlerFunc(p.elsewhere))
		r.Use(own.Handler, httpserver.Panicked(p.panicked))
		small := r.With(middleware.Compress(5, "text/html"))
		small.Get(Home, p.with(p.overview))
		r.Get(Home+"/live", p.following(p.live))
		r.Post(Home+"/check", p.with(p.check))
		r.Get(Home+"/settings", p.with(p.settings))
		p.notificationRoutes(r)
		p.tokenRoutes(r)
		p.auditLogRoutes(r)
		p.dangerRoutes(r)
		p.keyRoutes(r)
		p.storageRoutes(r)
		p.mailRoutes(r)
		small.Get(Home+"/databases/{database}", p.with(p.database))
		r.Get(Home+"/databases/{database}/live", p.following(p.liveDatabase))
		r.Post(Home+"/databases/{database}/backups", p.with(p.backUp))
		r.Get(Home+"/databases/{database}/schedule", p.with(p.editSchedule))
		r.Post(Home+"/databases/{database}/schedule", p.with(p.saveSchedule))
		r.Post(Home+"/databases/{database}/schedule/pause", p.onDatabase("#schedule", p.pauseSchedule))
		r.Post(Home+"/databases/{database}/schedule/resume", p.onDatabase("#schedule", p.resumeSchedule))
		r.Post(Home+"/databases/{database}/badge", p.onDatabase("#freshness", p.setBadge))
		r.Post(Home+"/databases/{database}/ping", p.onDatabase("#freshness", p.setPing))
		r.Post(Home+"/databases/{database}/audit", p.onDatabase("#credential", p.audit))
		r.Post(Home+"/databases/{database}/acknowledge", p.onDatabase("#credential", p.acknowledge))
		small.Get(Home+"/backups/{backup}", p.with(p.backup))
		r.Get(Home+"/backups/{backup}/live", p.following(p.liveBackup))
		r.Get(Home+"/backups/{backup}/restore", p.with(p.restore))
		r.Get(Home+"/backups/{backup}/tables", p.with(p.tables))
		r.Get(Home+"/backups/{backup}/links", p.with(p.noLink))
		r.Post(Home+"/backups/{backup}/cancel", p.onBackup("", p.cancel))
		r.Post(Home+"/backups/{backup}/proofs", p.onBackup("#proof", p.prove))
		r.Post(Home+"/backups/{backup}/copy", p.onBackup("#places", p.askCopy))
		r.Post(Home+"/backups/{backup}/links", p.with(p.makeLink))
		r.Post(Home+"/backups/{backup}/links/{link}/revoke", p.with(p.revokeLink))
		r.Get(Home+"/databases/{database}/retention", p.with(p.editRetention))
		r.Post(Home+"/databases/{database}/retention", p.with(p.saveRetention))
		r.Post(Home+"/databases/{database}/retention/undo", p.onDatabase("#retention", p.undoRetention))
		r.Post(Home+"/backups/{backup}/lock", p.onBackup("#kept", p.lockBackup))
		r.Post(Home+"/backups/{backup}/unlock", p.onBackup("#kept", p.unlockBackup))
		r.Post("/logout", p.with(p.logout))
	})
}

// handler is a page for a signed-on person; its error becomes an answer in one place.
type handler func(w http.ResponseWriter, r *http.Request, s remora.Session) error

func (p *Pages) with(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := p.Cookie.Token(r)
		s, err := remora.Session{}, error(&remora.Error{Kind: remora.KindUnauthorized, Public: "You are not signed on. Open the add-on from Heroku: heroku addons:open remora-backup."})
		if token != "" {
			s, err = p.Store.Session(r.Context(), token)
		}
		if err == nil {
			if err = h(w, r, s); remora.KindOf(err) == remora.KindNotFound {
				p.noteStranger(r, s)
			}
		}
		if err != nil {
			p.fail(w, r, err)
		}
	}
}

// noteStranger writes down that somebody asked for an identifier that is not of their add-on.
func (p *Pages) noteStranger(r *http.Request, s remora.Session) {
	asked, named := httpserver.AskedFor(r)
	if err := p.Store.NoteStranger(r.Context(), s.Resource, s.Person(), asked, named); err != nil && r.Context().Err() == nil {
		p.Log.WarnContext(r.Context(), "a stranger's request was not written down", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
}

// headings are what people are told for a status.
var headings = map[int]string{
	http.StatusUnprocessableEntity: "That cannot be", http.StatusConflict: "Not at this moment", http.StatusNotFound: "Not found", http.StatusGone: "No longer here",
	http.StatusForbidden: "Not allowed", http.StatusUnauthorized: "Not signed on", http.StatusTooManyRequests: "Too much at once",
	http.StatusInternalServerError: "Something went wrong",
}

// errorPage says one thing, and where to go on from there.
type errorPage struct {
	Title, Sentence string
	Back            bool // to the databases, which the visitor may see
}

// elsewhere answers what another site's page sent, with whose pages nothing may be changed here.
func (p *Pages) elsewhere(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, &remora.Error{Kind: remora.KindForbidden, Public: "This was sent from another site's page, so nothing was done. Open the add-on from Heroku and do it there."})
}

// fail is the one place where an error becomes a page.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, known := httpserver.Status(err)
	if !known {
		if r.Context().Err() != nil {
			return // the visitor has left
		}
		p.Log.ErrorContext(r.Context(), "page failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
	p.say(w, r, status, remora.Public(err, wentWrong(r.Context())))
}

// panicked answers what broke off; the server has logged it.
func (p *Pages) panicked(w http.ResponseWriter, r *http.Request) {
	p.say(w, r, http.StatusInternalServerError, wentWrong(r.Context()))
}

// wentWrong is said of what is ours to mend.
func wentWrong(ctx context.Context) string {
	return "Something went wrong on our side. Quote request " + httpserver.RequestID(ctx) + " when you write to us."
}

// say answers with one sentence.
func (p *Pages) say(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	page := errorPage{
		Title:    headings[status],
		Sentence: sentence,
		Back:     p.Cookie.Token(r) != "" && status != http.StatusUnauthorized && status != http.StatusGone && status != http.StatusForbidden,
	}
	_ = p.render(w, status, "error.html", page) // if this fails too, there is nothing left to show
}

// render writes a whole page or nothing.
func (p *Pages) render(w http.ResponseWriter, status int, name string, page any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the connection may be gone
	return nil
}

func (p *Pages) missing(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, remora.NotFound("page"))
}

func (p *Pages) front(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, Home, http.StatusSeeOther)
}

func (p *Pages) logout(w http.ResponseWriter, r *http.Request, _ remora.Session) error {
	if err := p.Store.CloseSession(r.Context(), p.Cookie.Token(r)); err != nil {
		return err
	}
	return p.signedOff(w)
}

func (p *Pages) signedOff(w http.ResponseWriter) error {
	p.Cookie.Clear(w)
	return p.render(w, http.StatusOK, "error.html", errorPage{Title: "Signed off", Sentence: "Open the add-on again from Heroku when you need it."})
}

// The identifiers of a path; what is none is not found.

func backupID(r *http.Request) (remora.BackupID, error) {
	return remora.KnownID[remora.BackupID](chi.URLParam(r, "backup"), "backup")
}

func databaseID(r *http.Request) (remora.DatabaseID, error) {
	return remora.KnownID[remora.DatabaseID](chi.URLParam(r, "database"), "database")
}
