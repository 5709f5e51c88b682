package remora_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

var newsStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// channel plays a channel's days: what happens, and what it is told.
type channel struct {
	kind     remora.ChannelKind
	told     map[string]remora.Told // the newest of each database and kind, as the store has it
	sent     []time.Time
	newest   map[string]remora.Happened
	waiting  []remora.Happened
	heard    []string
	numbered int
}

func (c *channel) at(now time.Time, events ...remora.Event) {
	for _, e := range events {
		c.numbered++
		e.At = now
		h := remora.Happened{ID: remora.EventID(fmt.Sprint(c.numbered)), Event: e}
		c.newest[string(e.Database)+" "+string(e.Kind)] = h
		c.waiting = append(c.waiting, h)
	}
	s := remora.Situation{Now: now, Waiting: c.waiting}
	var newest []remora.Happened
	for _, h := range c.newest {
		newest = append(newest, h)
	}
	s.Troubles = remora.Troubles(newest)
	for _, t := range c.told {
		s.Told = append(s.Told, t)
	}
	for _, at := range c.sent {
		if at.After(s.LastSent) {
			s.LastSent = at
		}
		if at.After(now.Add(-24 * time.Hour)) {
			s.SentDay++
		}
	}
	find := func(id remora.EventID) (h remora.Happened) {
		for _, h := range c.waiting {
			if h.ID == id {
				return h
			}
		}
		for _, t := range c.told {
			if t.ID == id {
				return t.Happened
			}
		}
		return h
	}
	p := c.kind.PlanNews(s)
	gone := map[remora.EventID]bool{}
	for _, id := range p.Held {
		gone[id] = true
	}
	for i, m := range append(p.Messages, p.Remind) {
		if len(m) == 0 {
			continue
		}
		var said []string
		for _, id := range m {
			gone[id] = true
			h := find(id)
			c.told[string(h.Database)+" "+string(h.Kind)] = remora.Told{Happened: h, ToldAt: now}
			said = append(said, string(h.Kind)+string(h.Database))
		}
		word := strings.Join(said, "+")
		if i == len(p.Messages) {
			word = "still:" + word
		}
		c.sent = append(c.sent, now)
		c.heard = append(c.heard, fmt.Sprintf("%s@%s", word, now.Sub(newsStart)))
	}
	var left []remora.Happened
	for _, w := range c.waiting {
		if !gone[w.ID] {
			left = append(left, w)
		}
	}
	c.waiting = left
}

func newChannel(kind remora.ChannelKind) *channel {
	return &channel{kind: kind, told: map[string]remora.Told{}, newest: map[string]remora.Happened{}}
}

func event(kind remora.EventKind, db string) remora.Event {
	return remora.Event{Kind: kind, Database: remora.DatabaseID(db)}
}

// A database that fails hour after hour mails once, then daily, then on recovery.
func TestABrokenDatabaseMailsOnceThenDailyThenOnRecovery(t *testing.T) {
	t.Parallel()
	c := newChannel(remora.ChannelEmail)
	for h := range 60 {
		c.at(newsStart.Add(time.Duration(h)*time.Hour), event(remora.EventFailed, "a"))
	}
	c.at(newsStart.Add(61*time.Hour), event(remora.EventRecovered, "a"))
	for h := 62; h < 200; h++ {
		c.at(newsStart.Add(time.Duration(h) * time.Hour)) // nothing happens
	}
	if got := strings.Join(c.heard, " "); got != "faileda@0s faileda@20h0m0s faileda@40h0m0s recovereda@61h0m0s" {
		t.Error(got)
	}
}

// One that happens once, such as a late backup or a weekly schedule's, is told again each day until it ends.
func TestATroubleThatGoesOnIsToldOnceADay(t *testing.T) {
	t.Parallel()
	c := newChannel(remora.ChannelSlack)
	c.at(newsStart, event(remora.EventLate, "a"))
	for h := 1; h < 60; h++ {
		c.at(newsStart.Add(time.Duration(h) * time.Hour))
	}
	c.at(newsStart.Add(60*time.Hour), event(remora.EventFreshAgain, "a"), event(remora.EventFailed, "b"))
	c.at(newsStart.Add(61*time.Hour), event(remora.EventPaused, "b"))
	for h := 62; h < 200; h++ {
		c.at(newsStart.Add(time.Duration(h) * time.Hour))
	}
	if got := strings.Join(c.heard, " "); got != "latea@0s still:latea@26h0m0s still:latea@52h0m0s fresh_againa+failedb@60h0m0s pausedb@61h0m0s" {
		t.Error(got)
	}
}

func TestDatabasesAreTroublesOfTheirOwnAndAnotherKindIsNews(t *testing.T) {
	t.Parallel()
	c := newChannel(remora.ChannelEmail)
	for h, e := range []remora.Event{
		event(remora.EventFailed, "a"), event(remora.EventFailed, "b"), event(remora.EventFailed, "a"), event(remora.EventCredentialProblem, "a"),
		event(remora.EventLate, "a"), event(remora.EventLinkMade, "a"), event(remora.EventLinkMade, "a"), event(remora.EventLimitNear, ""), event(remora.EventLimitNear, ""),
	} {
		c.at(newsStart.Add(time.Duration(h)*61*time.Minute), e)
	}
	const want = "faileda@0s failedb@1h1m0s credential_problema@3h3m0s latea@4h4m0s link_madea@5h5m0s link_madea@6h6m0s limit_near@7h7m0s"
	if got := strings.Join(c.heard, " "); got != want {
		t.Error(got)
	}
}

func TestManyEventsInAShortTimeAreOneMessage(t *testing.T) {
	t.Parallel()
	c := newChannel(remora.ChannelEmail)
	for s := range 200 { // one each fifteen seconds, each a thing of its own
		c.at(newsStart.Add(time.Duration(s)*15*time.Second), event(remora.EventLinkMade, "a"))
	}
	if len(c.heard) != 6 || len(c.waiting) == 0 {
		t.Errorf("%d messages, %d waiting", len(c.heard), len(c.waiting))
	}
	for s := range 10 * 24 {
		c.at(newsStart.Add(time.Hour+time.Duration(s)*6*time.Minute), event(remora.EventLinkMade, "a"))
	}
	if n := len(c.heard); n > 26 {
		t.Errorf("%d messages within 25 hours", n)
	}
	c.at(newsStart.Add(48 * time.Hour))
	if len(c.waiting) != 0 {
		t.Errorf("%d never told", len(c.waiting))
	}
}

func TestAProgramIsToldEverything(t *testing.T) {
	t.Parallel()
	hook, log := newChannel(remora.ChannelWebhook), newChannel(remora.ChannelLogStream)
	var events []remora.Event
	for range 120 {
		events = append(events, event(remora.EventFailed, "a"))
	}
	hook.at(newsStart, events...)
	log.at(newsStart, events...)
	if len(hook.heard) != 20 {
		t.Errorf("%d at once, past everybody else's", len(hook.heard))
	}
	for i := range 5 {
		hook.at(newsStart.Add(time.Duration(i+1) * time.Minute))
	}
	log.at(newsStart.Add(100 * time.Hour))
	if len(hook.heard) != 120 || len(log.heard) != 3 || len(hook.waiting)+len(log.waiting) != 0 {
		t.Errorf("%d by webhook, %d to the log", len(hook.heard), len(log.heard))
	}
}

// While none of what was made is tried, no more is made; it is looked at again.
func TestAProgramsMessagesDoNotPileUp(t *testing.T) {
	t.Parallel()
	s := remora.Situation{Now: newsStart, OnTheWay: 19}
	for _, id := range []remora.EventID{"a", "b"} {
		s.Waiting = append(s.Waiting, remora.Happened{ID: id, Event: event(remora.EventFailed, "a")})
	}
	if p := remora.ChannelWebhook.PlanNews(s); len(p.Messages) != 1 || !p.Wake.Equal(newsStart.Add(time.Minute)) {
		t.Errorf("%+v", p)
	}
	s.OnTheWay = 200
	if p := remora.ChannelWebhook.PlanNews(s); len(p.Messages) != 0 || p.Wake.IsZero() {
		t.Errorf("%+v", p)
	}
	s.OnTheWay, s.Waiting = 0, s.Waiting[:1]
	if p := remora.ChannelWebhook.PlanNews(s); len(p.Messages) != 1 || !p.Wake.IsZero() {
		t.Errorf("%+v", p)
	}
}

func TestSpellingsOfOneMailbox(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"Victim+a+b@Example.COM": "victim@example.com", "victim@example.com": "victim@example.com", "+a@example.com": "+a@example.com", "none": "none",
	} {
		if got := remora.Mailbox(address); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

func TestChannelsAreParsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    remora.ChannelKind
		address string
		shown   string // empty where it is refused
	}{
		{remora.ChannelEmail, " owner@example.com ", "o…@example.com"},
		{remora.ChannelEmail, "é.owner@example.com", "é…@example.com"},
		{remora.ChannelEmail, "owner@localhost", ""},
		{remora.ChannelEmail, "owner@[127.0.0.1]", ""},
		{remora.ChannelEmail, "Owner <owner@example.com>", ""},
		{remora.ChannelEmail, "a@example.com, b@example.com", ""},
		{remora.ChannelEmail, "a@example.com\r\nBcc: b@example.com", ""},
		{remora.ChannelEmail, strings.Repeat("a", 250) + "@example.com", ""},
		{remora.ChannelWebhook, "https://hooks.example.com/secret?token=1", "https://hooks.example.com/…"},
		{remora.ChannelWebhook, "https://u:p@hooks.example.com:8443", "https://hooks.example.com:8443/…"},
		{remora.ChannelWebhook, "https://hooks.example.com", "https://hooks.example.com"},
		{remora.ChannelWebhook, "http://hooks.example.com/x", ""},
		{remora.ChannelWebhook, "https://", ""},
		{remora.ChannelWebhook, "https://\xff/", ""},
		{remora.ChannelWebhook, "//hooks.example.com", ""},
		{remora.ChannelSlack, "https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/…"},
		{remora.ChannelSlack, "https://hooks.slack.com/services#x", ""},
		{remora.ChannelLogStream, "https://1.us.logplex.io/logs", ""},
		{"pigeon", "https://example.com", ""},
	} {
		n, err := remora.ParseChannel(c.kind, c.address)
		if c.shown == "" {
			if remora.KindOf(err) != remora.KindInvalid || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %q: %v", c.kind, c.address, err)
			}
			continue
		}
		if err != nil || n.Shown != c.shown || n.Address.Reveal() != strings.TrimSpace(c.address) {
			t.Errorf("%s %q: %q %v", c.kind, c.address, n.Shown, err)
		}
	}
}
