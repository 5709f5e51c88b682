package dashboard

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

// restorePage is how to get one backup back.
type restorePage struct {
	Frame    frame
	View     remora.BackupView
	Backup   remora.Backup
	To       string // where to: heroku, local or postgres
	App      string // of Heroku, as the command names it
	Wrong    string // what is wrong with what was sent
	URL      string // of a link just made; shown this once
	Needs    *remora.Needs
	NoNeeds  string // why they are not known
	GoodText string
}

// targets are where a backup can be restored to.
var targets = map[string]bool{"heroku": true, "local": true, "postgres": true}

// appName is what Heroku lets an app be called (https://devcenter.heroku.com/articles/platform-api-reference#app). What
// looks otherwise is not put into a command that somebody pastes.
var appName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,28}[a-z0-9]$`)

func restoreURL(b remora.BackupID) string { return Home + "/backups/" + string(b) + "/restore" }

func (p *Pages) restore(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.restorePage(r, s)
	if err != nil {
		return err
	}
	if token := p.Cookie.TakeOnce(w, r, linkCookie, restoreURL(page.Backup.ID)); token != "" {
		if link, err := p.Store.OwnLink(r.Context(), s.Resource, page.Backup.ID, token); err == nil && link.RevokedAt.IsZero() && link.ExpiresAt.After(page.View.Now) {
			page.URL = p.LinkURL(token)
		}
	}
	return p.render(w, http.StatusOK, "restore.html", page)
}

// linkCookie carries a link from the form that made it to the page that shows it, once.
const linkCookie = "remora-link"

func (p *Pages) restorePage(r *http.Request, s remora.Session) (restorePage, error) {
	page := restorePage{To: r.FormValue("to"), App: r.FormValue("app"), GoodText: length(p.LinkGood)}
	id, err := backupID(r)
	if err != nil {
		return page, err
	}
	if page.View, err = p.Store.BackupView(r.Context(), s.Resource, id); err != nil {
		return page, err
	}
	page.Backup = page.View.Backup
	page.Frame = frame{"Restore " + page.Backup.Addon, "overview", page.View.Resource}
	if !targets[page.To] {
		page.To = "heroku"
	}
	if page.App == "" && appName.MatchString(page.Backup.OwnerApp) {
		page.App = page.Backup.OwnerApp
	}
	if page.App != "" && !appName.MatchString(page.App) {
		page.Wrong = "An app’s name on Heroku has small letters, digits and hyphens, 3 to 30 of them. heroku apps lists yours."
	}
	if page.Backup.State.Restorable() && !page.Backup.Alone {
		page.Needs, page.NoNeeds = p.needs(r, s, page.Backup)
	}
	return page, nil
}

// needs reads what a restore of the backup needs. That it cannot be read keeps nobody from restoring.
func (p *Pages) needs(r *http.Request, s remora.Session, b remora.Backup) (*remora.Needs, string) {
	if p.Needs == nil {
		return nil, ""
	}
	n, err := p.Needs(r.Context(), s.Resource, b)
	if err != nil {
		p.Log.WarnContext(r.Context(), "what a restore needs could not be read", "backup_id", b.ID, "error", err)
		return nil, remora.Public(err, "What it needs could not be read at the moment.")
	}
	return &n, ""
}

// Grants are the statements by which the copy's owner lets the backup's credential read it, for each schema that the
// backup has; where nobody could tell them, for public.
func (p restorePage) Grants() string {
	schemas := []string{"public"}
	if p.Needs != nil && len(p.Needs.Schemas) > 0 {
		schemas = p.Needs.Schemas
	}
	role := quoted(cmp.Or(p.View.Reads, "remora_ro"))
	var out []string
	for _, name := range schemas {
		s := quoted(name)
		out = append(
			out, "GRANT USAGE ON SCHEMA "+s+" TO "+role+";",
			"GRANT SELECT ON ALL TABLES IN SCHEMA "+s+" TO "+role+";",
			"GRANT SELECT ON ALL SEQUENCES IN SCHEMA "+s+" TO "+role+";",
			"ALTER DEFAULT PRIVILEGES IN SCHEMA "+s+" GRANT SELECT ON TABLES TO "+role+";",
			"ALTER DEFAULT PRIVILEGES IN SCHEMA "+s+" GRANT SELECT ON SEQUENCES TO "+role+";",
		)
	}
	return strings.Join(out, "\n")
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Parts are the names of what the archive is stored as, in the order in which its bytes follow each other.
func (p restorePage) Parts() string {
	parts := []string{"head"}
	for _, o := range p.View.Objects { // by name
		if strings.HasPrefix(o.Name, "body-") {
			parts = append(parts, o.Name)
		}
	}
	return strings.Join(parts, " ")
}

// Command names the app of the command that restores on Heroku.
func (p restorePage) Command() string { return cmp.Or(p.App, "YOUR-APP") }

// Target names, for psql, the database that the page's first lines restore into.
func (p restorePage) Target() string {
	switch p.To {
	case "local":
		return "restored"
	case "postgres":
		return "'postgres://USER@HOST/DATABASE'"
	}
	return `"$(heroku config:get RESTORED_URL -a ` + p.Command() + `)"`
}

// makeLink makes a link and goes to the page that shows it. The link is in no address, so it is in no history and no log,
// and loading the page again makes no other one.
func (p *Pages) makeLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.restorePage(r, s)
	if err != nil {
		return err
	}
	if page.Wrong != "" {
		return p.render(w, http.StatusUnprocessableEntity, "restore.html", page)
	}
	_, token, err := p.Store.MakeLink(r.Context(), s.Resource, page.Backup.ID, s.Person(), p.LinkGood)
	if err != nil {
		return err
	}
	at := restoreURL(page.Backup.ID)
	p.Cookie.SetOnce(w, linkCookie, token, at)
	http.Redirect(w, r, at+"?"+url.Values{"to": {page.To}, "app": {page.App}}.Encode(), http.StatusSeeOther)
	return nil
}

// noLink leads who opens the form's address, or loads it again, back to where links are made.
func (p *Pages) noLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	if _, err := p.Store.Backup(r.Context(), s.Resource, id); err != nil {
		return err
	}
	http.Redirect(w, r, restoreURL(id), http.StatusSeeOther)
	return nil
}

func (p *Pages) revokeLink(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	id, err := backupID(r)
	if err != nil {
		return err
	}
	link, err := remora.KnownID[remora.LinkID](chi.URLParam(r, "link"), "link")
	if err != nil {
		return err
	}
	if err := p.Store.RevokeLink(r.Context(), s.Resource, id, link, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, restoreURL(id)+"#links", http.StatusSeeOther)
	return nil
}
