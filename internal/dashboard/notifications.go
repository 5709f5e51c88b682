package dashboard

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// NewsStore is what the pages about notifications need.
type NewsStore interface {
	Channels(ctx context.Context, id remora.ResourceID) ([]remora.Channel, error)
	Deliveries(ctx context.Context, id remora.ResourceID) ([]remora.Delivery, error)
	AddChannel(ctx context.Context, id remora.ResourceID, n remora.NewChannel, person string) (remora.ChannelID, redact.Secret, error)
	SetChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, enabled bool, mutes []remora.EventKind, person string) error
	RemoveChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error
	TestChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error
	ByMail(ctx context.Context, token string) (remora.MailedChannel, error)
	ConfirmByMail(ctx context.Context, token string) error
	StopByMail(ctx context.Context, token string) error
}

// notifications is the address of the page.
const notifications = Home + "/settings/notifications"

// notificationsPage is who is told what.
type notificationsPage struct {
	Frame      frame
	Now        time.Time
	Channels   []channelView
	Full       bool // there are as many as there may be
	Mails      bool // the operator has set up e-mail
	Kinds      []remora.EventKind
	Deliveries []remora.Delivery
	Kind       string // what was typed, where it is to be mended
	Address    string
	Wrong      string
	Added      string // the channel that was just added, masked
	Secret     string // and its secret, this once
}

// channelView is a channel on the page.
type channelView struct {
	remora.Channel
	Now   time.Time
	Wants []want
}

type want struct {
	Kind remora.EventKind
	Yes  bool
}

func (p *Pages) notificationRoutes(r chi.Router) {
	r.Get(notifications, p.with(p.notifications))
	r.Post(notifications, p.with(p.addChannel))
	r.Post(notifications+"/{channel}/set", p.with(p.onChannel(func(r *http.Request, s remora.Session, c remora.ChannelID) error {
		var mutes []remora.EventKind
		for _, k := range remora.EventKinds() {
			if !slices.Contains(r.PostForm["wants"], string(k)) {
				mutes = append(mutes, k)
			}
		}
		return p.Store.SetChannel(r.Context(), s.Resource, c, r.PostForm.Get("enabled") != "", mutes, s.Person())
	})))
	r.Post(notifications+"/{channel}/test", p.with(p.onChannel(func(r *http.Request, s remora.Session, c remora.ChannelID) error {
		return p.Store.TestChannel(r.Context(), s.Resource, c, s.Person())
	})))
	r.Post(notifications+"/{channel}/remove", p.with(p.onChannel(func(r *http.Request, s remora.Session, c remora.ChannelID) error {
		return p.Store.RemoveChannel(r.Context(), s.Resource, c, s.Person())
	})))
}

func (p *Pages) notificationsPage(r *http.Request, s remora.Session) (notificationsPage, error) {
	page := notificationsPage{Now: p.Now(), Kinds: remora.EventKinds(), Mails: p.Mails}
	resource, err := p.Store.Resource(r.Context(), s.Resource)
	if err != nil {
		return page, err
	}
	page.Frame = frame{"Notifications", "settings", resource}
	channels, err := p.Store.Channels(r.Context(), s.Resource)
	if err != nil {
		return page, err
	}
	for _, c := range channels {
		v := channelView{Channel: c, Now: page.Now}
		for _, k := range page.Kinds {
			v.Wants = append(v.Wants, want{k, !slices.Contains(c.Mutes, k)})
		}
		page.Channels = append(page.Channels, v)
	}
	page.Full = len(channels) >= remora.MaxChannels
	page.Deliveries, err = p.Store.Deliveries(r.Context(), s.Resource)
	return page, err
}

func (p *Pages) notifications(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.notificationsPage(r, s)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "notifications.html", page)
}

// callable refuses, while it is saved, what no call would be let through to.
func (p *Pages) callable(r *http.Request, address redact.Secret) error {
	if p.Callable == nil {
		return nil
	}
	return p.Callable(r.Context(), address)
}

// addChannel adds a channel. What cannot be added is shown again as it was typed, with what is wrong. A webhook's secret
// is on the page that answers, and on no other.
func (p *Pages) addChannel(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	if err := r.ParseForm(); err != nil {
		return remora.Invalid("The form cannot be read.")
	}
	kind, address := r.PostForm.Get("kind"), r.PostForm.Get("address")
	n, failed := remora.ParseOffered(remora.ChannelKind(kind), address, p.Mails)
	var secret redact.Secret
	if failed == nil && n.Kind == remora.ChannelWebhook {
		failed = p.callable(r, n.Address)
	}
	if failed == nil {
		_, secret, failed = p.Store.AddChannel(r.Context(), s.Resource, n, s.Person())
	}
	status, known := httpserver.Status(failed)
	if failed != nil && (!known || status == http.StatusGone) {
		return failed
	}
	if failed == nil && secret.IsZero() {
		http.Redirect(w, r, notifications, http.StatusSeeOther)
		return nil
	}
	page, err := p.notificationsPage(r, s)
	if err != nil {
		return err
	}
	if failed != nil {
		page.Kind, page.Address, page.Wrong = kind, address, remora.Public(failed, "")
		return p.render(w, status, "notifications.html", page)
	}
	page.Added, page.Secret = n.Shown, secret.Reveal()
	return p.render(w, http.StatusOK, "notifications.html", page)
}

func (p *Pages) onChannel(do func(*http.Request, remora.Session, remora.ChannelID) error) handler {
	return func(w http.ResponseWriter, r *http.Request, s remora.Session) error {
		c, err := remora.KnownID[remora.ChannelID](chi.URLParam(r, "channel"), "channel")
		if err != nil {
			return err
		}
		if err := r.ParseForm(); err != nil {
			return remora.Invalid("The form cannot be read.")
		}
		if err := do(r, s, c); err != nil {
			return err
		}
		http.Redirect(w, r, notifications, http.StatusSeeOther)
		return nil
	}
}

// notificationsPart is what the settings page says of notifications.
func notificationsPart(p *Pages, r *http.Request, s remora.Session) (*part, error) {
	page, err := p.notificationsPage(r, s)
	return &part{"notifications", "Notifications", "notificationspart", page}, err
}

// mailedPage asks the reader of a mail, who need not be signed on: a link that is merely looked at changes nothing, for
// programs look at the links of mails.
type mailedPage struct {
	Title   string
	Channel remora.MailedChannel
	Confirm bool // or stop
	Done    bool
	Action  string // where the form goes
}

// mailRoutes are for whoever has a mail. What changes something is a POST of our own page, or of a mail program's one click
// (RFC 8058), which is no browser's and names no origin.
func (p *Pages) mailRoutes(r chi.Router) {
	r.Get("/notifications/confirm/{token}", p.mailed(true))
	r.Post("/notifications/confirm/{token}", p.mailed(true))
	r.Get("/notifications/stop/{token}", p.mailed(false))
	r.Post("/notifications/stop/{token}", p.mailed(false))
}

func (p *Pages) mailed(confirm bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := p.answerMail(w, r, confirm); err != nil {
			p.fail(w, r, err)
		}
	}
}

func (p *Pages) answerMail(w http.ResponseWriter, r *http.Request, confirm bool) error {
	token := chi.URLParam(r, "token")
	page := mailedPage{Title: "No more mail", Confirm: confirm, Action: r.URL.Path}
	if confirm {
		page.Title = "News of your backups"
	}
	c, err := p.Store.ByMail(r.Context(), token)
	if err == nil && r.Method == http.MethodPost {
		end := p.Store.StopByMail
		if confirm {
			end = p.Store.ConfirmByMail
		}
		err = end(r.Context(), token)
		page.Done = true
	}
	if err != nil {
		return err
	}
	page.Channel = c
	page.Done = page.Done || confirm && !c.ConfirmedAt.IsZero() && !c.Removed || !confirm && c.Removed
	return p.render(w, http.StatusOK, "mailed.html", page)
}
