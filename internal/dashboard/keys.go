package dashboard

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// KeyStore is what the page about keys needs.
type KeyStore interface {
	Sealing(ctx context.Context, id remora.ResourceID) (remora.Sealing, error)
	SetSealing(ctx context.Context, id remora.ResourceID, to remora.Sealing, person string) error
	TakeKey(ctx context.Context, id remora.ResourceID, person string) (key redact.Secret, recipient string, err error)
}

// Sealer knows keys.
type Sealer interface {
	// Recipients reads the public keys that a person pasted. Errors: KindInvalid; KindForbidden where a secret key is among
	// them.
	Recipients(pasted string) ([]string, error)
	// Fingerprint names a public key.
	Fingerprint(recipient string) string
	// Challenge seals a message to recipients, in letters, and a ticket by which Answered knows what it says.
	Challenge(id remora.ResourceID, recipients []string) (message, ticket string, err error)
	Answered(id remora.ResourceID, recipients []string, ticket, answer string) bool
}

// keysURL is the address of the page.
const keysURL = Home + "/settings/keys"

// Who can open archives, as the form says it.
const (
	openedByUs    = "ours"
	openedByBoth  = "both"
	openedByOwner = "alone"
)

// keysPage is whose keys archives are sealed to.
type keysPage struct {
	Frame   frame
	Now     remora.Sealing
	Prints  []string // of its recipients
	Who     string   // as the form has it
	Pasted  string
	Wrong   string // what is wrong with what was sent
	Secret  bool   // a secret key was pasted
	Taking  string // what is wrong with the word that is to be typed for the key
	Looked  bool   // what was sent is good, and what it changes is shown
	Next    []string
	Message string // for the customer to open
	Ticket  string
}

func (p *Pages) keyRoutes(r chi.Router) {
	r.Get(keysURL, p.with(p.keys))
	r.Post(keysURL, p.with(p.setKeys))
	r.Post(keysURL+"/own", p.with(p.takeKey))
}

func (p *Pages) keysPage(r *http.Request, s remora.Session) (keysPage, error) {
	resource, err := p.Store.Resource(r.Context(), s.Resource)
	if err != nil {
		return keysPage{}, err
	}
	page := keysPage{Frame: frame{"Keys", "settings", resource}, Who: openedByUs}
	if page.Now, err = p.Store.Sealing(r.Context(), s.Resource); err != nil {
		return page, err
	}
	switch {
	case page.Now.Alone:
		page.Who = openedByOwner
	case len(page.Now.Recipients) > 0:
		page.Who = openedByBoth
	}
	for _, k := range page.Now.Recipients {
		page.Prints = append(page.Prints, p.Sealer.Fingerprint(k))
		page.Pasted += k + "\n"
	}
	return page, nil
}

func (p *Pages) keys(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.keysPage(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "keys.html", page)
}

// setKeys shows what a change would change, and makes it where that was seen and answered for.
func (p *Pages) setKeys(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.keysPage(r, s)
	if err != nil {
		return err
	}
	page.Who, page.Pasted = r.PostFormValue("who"), r.PostFormValue("keys")
	to := remora.Sealing{Alone: page.Who == openedByOwner}
	if page.Who != openedByUs {
		to.Recipients, err = p.Sealer.Recipients(page.Pasted)
	}
	switch kind := remora.KindOf(err); {
	case kind == remora.KindForbidden:
		page.Secret, page.Pasted = true, ""
		fallthrough
	case kind == remora.KindInvalid:
		page.Wrong = remora.Public(err, "")
		return p.render(w, http.StatusUnprocessableEntity, "keys.html", page)
	case err != nil:
		return err
	}
	if r.PostFormValue("do") == "save" {
		answer := typed(r, "answer")
		to.Shown = answer != "" && p.Sealer.Answered(s.Resource, to.Recipients, r.PostFormValue("ticket"), answer)
		switch {
		case answer != "" && !to.Shown:
			page.Wrong = "That is not what the message says. It is another one each time: open the one below."
		case to.Alone && typed(r, "name") != page.Frame.Resource.Name:
			page.Wrong = "Type the add-on’s name, " + page.Frame.Resource.Name + ", to confirm that nobody but the holders of these keys can open what is made from now on."
		default:
			if err := p.Store.SetSealing(r.Context(), s.Resource, to, s.Person()); err != nil {
				return err
			}
			http.Redirect(w, r, keysURL, http.StatusSeeOther)
			return nil
		}
	}
	page.Looked, page.Next = true, to.Recipients
	if len(to.Recipients) > 0 {
		if page.Message, page.Ticket, err = p.Sealer.Challenge(s.Resource, to.Recipients); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if page.Wrong != "" {
		status = http.StatusUnprocessableEntity
	}
	return p.render(w, status, "keys.html", page)
}

// takeKey hands out the add-on's own key, as a file that age and remora open read.
func (p *Pages) takeKey(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.keysPage(r, s)
	if err != nil {
		return err
	}
	name := page.Frame.Resource.Name
	if typed(r, "name") != name {
		page.Taking = "Type the add-on’s name, " + name + ", to confirm that you will keep the key as you keep the database."
		return p.render(w, http.StatusUnprocessableEntity, "keys.html", page)
	}
	key, recipient, err := p.Store.TakeKey(r.Context(), s.Resource, s.Person())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "remora-key-"+string(s.Resource)+".txt"))
	_, _ = fmt.Fprintf(w, "# The key of the add-on %s at Remora Backup. It opens its archives, but for those that are\n# sealed to keys of your own alone. Whoever has it and an archive has the data.\n# public key: %s\n%s\n", oneLine(name), recipient, key.Reveal()) //nolint:gosec // a text to be saved, which no browser takes for a page
	return nil
}

// oneLine keeps a name, which Heroku gives, within a comment's line.
func oneLine(s string) string {
	return fmt.Sprintf("%.100q", s)
}

// keysPart is what the settings page says of keys.
func keysPart(p *Pages, r *http.Request, s remora.Session) (*part, error) {
	now, err := p.Store.Sealing(r.Context(), s.Resource)
	return &part{"keys", "Keys", "keyspart", now}, err
}
