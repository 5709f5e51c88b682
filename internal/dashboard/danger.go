package dashboard

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// DangerStore is what the danger zone needs.
type DangerStore interface {
	Access(ctx context.Context, id remora.ResourceID) (remora.Access, error)
	RevokeAllLinks(ctx context.Context, id remora.ResourceID, person string) error
	RevokeAllAPITokens(ctx context.Context, id remora.ResourceID, person string) error
	CloseSessions(ctx context.Context, id remora.ResourceID, person string) error
	ForgetDatabase(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	UndoForget(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
}

// danger is the address of the page.
const danger = Home + "/settings/danger"

// dangerPage is what cannot be taken back, apart from all else.
type dangerPage struct {
	Frame    frame
	Now      time.Time
	Resource remora.Resource
	Access   remora.Access
	Detached []forgettable
	Attached int
	Wrong    string // why nothing was done
	At       string // by the form of which, its anchor
}

// forgettable is a detached database.
type forgettable struct {
	remora.Database
	Held   remora.Holding
	Locked int
}

func (p *Pages) dangerRoutes(r chi.Router) {
	r.Get(danger, p.with(p.danger))
	r.Post(danger+"/links", p.with(p.dangerous("links", p.Store.RevokeAllLinks)))
	r.Post(danger+"/tokens", p.with(p.dangerous("tokens", p.Store.RevokeAllAPITokens)))
	r.Post(danger+"/visits", p.with(p.dangerous("visits", p.Store.CloseSessions)))
	r.Post(Home+"/databases/{database}/forget", p.with(p.forget))
	r.Post(Home+"/databases/{database}/forget/undo", p.with(p.undoForget))
}

func (p *Pages) danger(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	return p.showDanger(w, r, s, "", nil)
}

// showDanger shows the page, with why nothing was done where something was asked for by one of its forms.
func (p *Pages) showDanger(w http.ResponseWriter, r *http.Request, s remora.Session, at string, wrong error) error {
	o, err := p.Store.Overview(r.Context(), s.Resource)
	if err != nil {
		return err
	}
	page := dangerPage{Frame: frame{"Danger zone", "settings", o.Resource}, Now: o.Now, Resource: o.Resource}
	if page.Access, err = p.Store.Access(r.Context(), s.Resource); err != nil {
		return err
	}
	for _, d := range o.Databases {
		if d.State != remora.DatabaseDetached {
			page.Attached++
			continue
		}
		now, err := p.Store.Retention(r.Context(), s.Resource, d.ID)
		if err != nil {
			return err
		}
		f := forgettable{Database: d, Held: o.Stored[d.ID]}
		for _, b := range now.Backups {
			if now.Lock(b.ID) != nil {
				f.Locked++
			}
		}
		page.Detached = append(page.Detached, f)
	}
	if wrong == nil {
		return p.render(w, http.StatusOK, "danger.html", page)
	}
	page.At, page.Wrong = at, remora.Public(wrong, "")
	status, _ := httpserver.Status(wrong)
	return p.render(w, status, "danger.html", page)
}

// confirmed refuses what a person has not typed the name of. Errors: KindInvalid.
func confirmed(r *http.Request, name string) error {
	if typed(r, "confirm") != name {
		return remora.Invalid("Nothing was done. Type %s, just as it is written here, to say that you mean it.", name)
	}
	return nil
}

// dangerous does something to the whole add-on, once its name was typed.
func (p *Pages) dangerous(at string, do func(context.Context, remora.ResourceID, string) error) handler {
	return func(w http.ResponseWriter, r *http.Request, s remora.Session) error {
		resource, err := p.Store.Resource(r.Context(), s.Resource)
		if err != nil {
			return err
		}
		if err := confirmed(r, resource.Name); err != nil {
			return p.showDanger(w, r, s, at, err)
		}
		if err := do(r.Context(), s.Resource, s.Person()); err != nil {
			return err
		}
		if _, err := p.Store.Session(r.Context(), p.Cookie.Token(r)); remora.KindOf(err) == remora.KindUnauthorized {
			return p.signedOff(w)
		}
		http.Redirect(w, r, danger+"#"+at, http.StatusSeeOther)
		return nil
	}
}

// forget asks for a detached database to be forgotten, once its name was typed.
func (p *Pages) forget(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	db, err := databaseID(r)
	if err != nil {
		return err
	}
	v, err := p.Store.Database(r.Context(), s.Resource, db, remora.Look{Most: 1})
	if err != nil {
		return err
	}
	at := string(db)
	if v.Databases[0].State != remora.DatabaseDetached { // which the page has no form of
		at = "forget"
	}
	err = confirmed(r, v.Databases[0].Addon)
	if err == nil {
		err = p.Store.ForgetDatabase(r.Context(), s.Resource, db, s.Person())
	}
	switch remora.KindOf(err) {
	case remora.KindInvalid, remora.KindConflict, remora.KindBusy:
		return p.showDanger(w, r, s, at, err)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, danger+"#"+string(db), http.StatusSeeOther)
	return nil
}

func (p *Pages) undoForget(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	db, err := databaseID(r)
	if err != nil {
		return err
	}
	if err := p.Store.UndoForget(r.Context(), s.Resource, db, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, danger+"#"+string(db), http.StatusSeeOther)
	return nil
}

// dangerPart is what the settings page says of the danger zone.
func dangerPart(*Pages, *http.Request, remora.Session) (*part, error) {
	return &part{"danger", "Danger zone", "dangerpart", nil}, nil
}

// wholly is a form that does something to the whole add-on.
type wholly struct {
	At, Do, Are, Name, Wrong string
	N                        int
}

func whollyOf(p dangerPage, at, do string, n int, one, many string) wholly {
	w := wholly{At: at, Do: do, Are: many, Name: p.Resource.Name, Wrong: wrongAt(p, at).Wrong, N: n}
	if n == 1 {
		w.Are = one
	}
	return w
}

// wrongAt leaves the words of what is wrong to the form that they are about.
func wrongAt(p dangerPage, at string) dangerPage {
	if p.At != at {
		p.Wrong = ""
	}
	return p
}
