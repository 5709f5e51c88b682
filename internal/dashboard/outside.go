package dashboard

import (
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// outsidePart is how a database's freshness is seen from outside: what is promised, its badge, its ping.
type outsidePart struct {
	remora.Outside
	Database remora.Database
	Above    bool   // the page has said above how fresh it is
	BadgeURL string // empty where there is none
}

func readOutside(p *Pages, r *http.Request, s remora.Session, page *databasePage) (*part, error) {
	d := page.Database
	if d.Freshness == nil { // it never had a usable credential
		return nil, nil //nolint:nilnil // no part, as databasePart says
	}
	x, err := p.Store.Outside(r.Context(), s.Resource, d.ID)
	if err != nil {
		return nil, err
	}
	out := outsidePart{Outside: x, Database: d, Above: page.Health().Says == d.Freshness.Says()}
	if x.Badge != nil {
		out.BadgeURL = p.BadgeURL(x.Badge.Token)
	}
	return &part{"freshness", "Freshness", "freshness", out}, nil
}

// BadgeURL is where a badge is seen.
func (p *Pages) BadgeURL(token redact.Secret) string {
	return p.BaseURL + "/badge/" + token.Reveal() + ".svg"
}

// setBadge makes a badge, gives it another address, or takes it away.
func (p *Pages) setBadge(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	if r.PostFormValue("do") == "remove" {
		return p.Store.RemoveBadge(r.Context(), s.Resource, db, s.Person())
	}
	return p.Store.MakeBadge(r.Context(), s.Resource, db, r.PostFormValue("named") != "", s.Person())
}

// setPing has the customer's own watch called, or not any more.
func (p *Pages) setPing(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	if r.PostFormValue("do") == "remove" {
		return p.Store.RemovePing(r.Context(), s.Resource, db, s.Person())
	}
	address := redact.New(r.PostFormValue("address"))
	if err := p.callable(r, address); err != nil {
		return err
	}
	return p.Store.SetPing(r.Context(), s.Resource, db, address, r.PostFormValue("starts") != "", s.Person())
}

// picture is a badge as it is drawn.
type picture struct {
	Label, Says        string
	Left, Right, Whole int // widths
	LeftAt, RightAt    int // middles
	Tone               string
}

// tones are dark enough for white letters (4.5 to 1).
var tones = map[remora.FreshnessState]string{
	remora.Fresh: "#1a7f37", remora.Late: "#9a6700", remora.Stale: "#b42318", remora.Paused: "#57606a", remora.Never: "#b42318",
}

// badgeGood is how long others may keep a badge. Its age is told in hours, so a minute hides nothing.
const badgeGood = time.Minute

// badge draws a database's freshness for whoever has its address.
func (p *Pages) badge(w http.ResponseWriter, r *http.Request) {
	b, err := p.Store.Badge(r.Context(), chi.URLParam(r, "token"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	says := string(b.Freshness.State)
	if !b.Freshness.Verified.IsZero() {
		says += ", " + old(b.Freshness.Age(b.Now))
	}
	pic := picture{Label: b.Label(), Says: says, Tone: tones[b.Freshness.State]}
	pic.Left, pic.Right = wide(pic.Label), wide(pic.Says)
	pic.Whole, pic.LeftAt, pic.RightAt = pic.Left+pic.Right, pic.Left/2, pic.Left+pic.Right/2
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(badgeGood.Seconds())))
	w.Header().Set("Content-Type", "image/svg+xml")
	if err := p.templates.ExecuteTemplate(w, "badge", pic); err != nil && r.Context().Err() == nil {
		p.Log.WarnContext(r.Context(), "a badge was not drawn", "error", err)
	}
}

// old is an age in the largest whole unit.
func old(age time.Duration) string {
	switch {
	case age < time.Hour:
		return fmt.Sprintf("%d min old", int(age.Minutes()))
	case age < 72*time.Hour:
		return fmt.Sprintf("%d h old", int(age.Hours()))
	}
	return fmt.Sprintf("%d days old", int(age.Hours()/24))
}

// wide is how wide a word is drawn, with room around it.
func wide(s string) int { return utf8.RuneCountInString(s)*7 + 14 }
