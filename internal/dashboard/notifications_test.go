package dashboard_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

const notifications = "/dashboard/settings/notifications"

func withMail(c *dashboard.Config) { c.Mails = true }

// told makes a resource with a log stream and what its customer might have added, and a log of messages.
func (n *tenant) told(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if err := n.SaveLogInput(ctx, n.id, redact.New("https://token:t.1@1.us.logplex.io/logs")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind    remora.ChannelKind
		address string
	}{{remora.ChannelEmail, "owner@example.com"}, {remora.ChannelSlack, "https://hooks.slack.com/services/T0/B0/secret"}, {remora.ChannelWebhook, "https://ops.example.com/hooks/remora?key=secret"}} {
		if a := n.post(t, notifications, url.Values{"kind": {string(c.kind)}, "address": {c.address}}); a.StatusCode >= 400 {
			t.Fatal(a.Status, a.body)
		}
	}
	n.fail(t, &remora.Failure{Reason: remora.ReasonPermission}, "")
	if err := n.PlanNews(ctx, n.id); err != nil {
		t.Fatal(err)
	}
	all, err := n.Deliveries(ctx, n.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		was := postgres.Tried{State: remora.DeliverySent, Outcome: "It answered 200 OK."}
		if d.Channel.Kind == remora.ChannelWebhook {
			was = postgres.Tried{State: remora.DeliveryFailed, Outcome: "It did not answer in time. Given up after 8 tries."}
		}
		m, err := n.ToDeliver(ctx, d.ID)
		if err == nil {
			err = n.SaveTried(ctx, m, was)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNotificationsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMail)
	empty := s.tenant(t)
	says(t, empty.do(t, "GET", notifications).body, "Nobody is told of anything yet", "Nothing yet.", "E-mail", "Add")
	says(t, empty.do(t, "GET", "/dashboard/settings").body, "Nobody is told when a backup fails.", notifications)

	n := s.tenant(t, shop())
	n.told(t)
	page := n.do(t, "GET", notifications).body
	says(t, page, "Heroku log stream", "https://1.us.logplex.io/…", "<code>heroku logs ", "</span> helper</code>", "o…@example.com", "unconfirmed", "https://hooks.slack.com/…", "https://ops.example.com/…",
		"It did not answer in time. Given up after 8 tries.", "Permission gap", "Question whether it wants news", "Send a test", "Remove",
		"not", "secret", "t.1@", "owner@example.com</bdi>")
	says(t, n.do(t, "GET", "/dashboard/settings").body, "https://hooks.slack.com/…", "failing")
}

func TestAWebhooksSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t)
	a := n.post(t, notifications, url.Values{"kind": {"webhook"}, "address": {"https://ops.example.com/hook"}})
	says(t, a.body, "whsec_", "shown this once")
	says(t, n.do(t, "GET", notifications).body, "https://ops.example.com/…", "not", "whsec_")
}

func TestWhatCannotBeAddedIsShownAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t)
	for _, c := range []struct{ kind, address, says string }{
		{"webhook", "http://ops.example.com/<x>", "begins with https://"},
		{"pigeon", "https://ops.example.com", "no such kind"},
		{"log_stream", "https://ops.example.com", "no such kind"},
		{"email", "owner@example.com", "The operator of this service has not set up e-mail"},
		{"", "", "no such kind"},
	} {
		a := n.post(t, notifications, url.Values{"kind": {c.kind}, "address": {c.address}})
		if a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s %s: %s", c.kind, c.address, a.Status)
		}
		says(t, a.body, c.says, `aria-invalid="true"`, strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(c.address), "There is no e-mail")
	}
	n.post(t, notifications, url.Values{"kind": {"slack"}, "address": {"https://hooks.slack.com/services/x"}})
	a := n.post(t, notifications, url.Values{"kind": {"slack"}, "address": {"https://hooks.slack.com/services/x"}})
	if says(t, a.body, "among the channels already"); a.StatusCode != http.StatusConflict {
		t.Error(a.Status)
	}
}

func TestAChannelIsSetTestedAndRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, other := s.tenant(t), s.tenant(t)
	n.post(t, notifications, url.Values{"kind": {"slack"}, "address": {"https://hooks.slack.com/services/x"}})
	channel := func() remora.Channel {
		t.Helper()
		all, err := n.Channels(t.Context(), n.id)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	at := notifications + "/" + string(channel().ID)
	n.post(t, at+"/set", url.Values{"enabled": {"yes"}, "wants": {"failed", "late"}})
	if c := channel(); !c.Enabled || len(c.Mutes) != len(remora.EventKinds())-2 {
		t.Errorf("%+v", c)
	}
	n.post(t, at+"/set", url.Values{"wants": {"failed"}})
	if channel().Enabled {
		t.Error("it is on")
	}
	n.post(t, at+"/test", nil)
	if all, err := n.Deliveries(t.Context(), n.id); err != nil || len(all) != 1 || all[0].Kind != remora.DeliveryTest {
		t.Error(all, err)
	}
	for _, do := range []string{"/set", "/test", "/remove"} {
		if a := other.post(t, at+do, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("a neighbour's %s: %s", do, a.Status)
		}
		if a := n.post(t, notifications+"/x"+do, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s of no channel: %s", do, a.Status)
		}
	}
	n.post(t, at+"/remove", nil)
	if all, err := n.Channels(t.Context(), n.id); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	says(t, n.do(t, "GET", notifications).body, "Test", "https://hooks.slack.com/…") // the log stays
}

// A mail's link that is looked at changes nothing; the button on its page does, and so does a mail program's one click,
// which has no session.
func TestTheLinksOfAMail(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMail)
	n := s.tenant(t)
	token := n.asked(t)
	nobody := &tenant{site: s}
	confirm, stop := "/notifications/confirm/"+token, "/notifications/stop/"+token
	state := func() (confirmed, there bool) {
		t.Helper()
		c, err := n.ByMail(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return !c.ConfirmedAt.IsZero(), !c.Removed
	}
	says(t, nobody.do(t, "GET", confirm).body, "owner@example.com asked", "Yes, send them", `action="`+confirm+`"`)
	if yes, _ := state(); yes {
		t.Error("confirmed by a look")
	}
	says(t, nobody.post(t, confirm, nil).body, "is told what happens", "not", "Yes, send them")
	says(t, nobody.do(t, "GET", confirm).body, "is told what happens")
	says(t, nobody.do(t, "GET", stop).body, "Send no more", `action="`+stop+`"`)
	if yes, there := state(); !yes || !there {
		t.Error(yes, there)
	}
	says(t, nobody.post(t, stop, url.Values{"List-Unsubscribe": {"One-Click"}}).body, "gets no more mail")
	if _, there := state(); there {
		t.Error("it is still there")
	}
	if a := nobody.post(t, confirm, nil); a.StatusCode != http.StatusGone {
		t.Error(a.Status)
	}
	if a := nobody.do(t, "GET", "/notifications/stop/"+remora.NewToken()); a.StatusCode != http.StatusNotFound {
		t.Error(a.Status)
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the log has the token")
	}
}

// What no call would be let through to is not saved.
func TestAnAddressThatNobodyMayCallIsNotSaved(t *testing.T) {
	t.Parallel()
	n := newSite(t, func(c *dashboard.Config) {
		c.Callable = func(_ context.Context, address redact.Secret) error {
			if strings.Contains(address.Reveal(), "ops.example.com") {
				return remora.Invalid("This address leads to a network that is not public.")
			}
			return nil
		}
	}).tenant(t, shop())
	says(t, n.post(t, notifications, url.Values{"kind": {"webhook"}, "address": {"https://ops.example.com/x"}}).body, "leads to a network that is not public")
	if a := n.post(t, databaseOf(n, t)+"/ping", url.Values{"address": {"https://ops.example.com/x"}}); a.StatusCode < 400 {
		t.Error(a.Status)
	}
	if all, err := n.Channels(t.Context(), n.id); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if a := n.post(t, notifications, url.Values{"kind": {"webhook"}, "address": {"https://hooks.example.com/x"}}); a.StatusCode != http.StatusOK {
		t.Error(a.Status)
	}
}
