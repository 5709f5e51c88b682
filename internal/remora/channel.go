package remora

import (
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remora-backup/remora/internal/redact"
)

// ChannelKind is a way to be told.
type ChannelKind string

// The kinds of channel.
const (
	ChannelLogStream ChannelKind = "log_stream" // the Helper App's own log on Heroku
	ChannelEmail     ChannelKind = "email"
	ChannelWebhook   ChannelKind = "webhook"
	ChannelSlack     ChannelKind = "slack"
)

// Title is the kind's name for people.
func (k ChannelKind) Title() string {
	return map[ChannelKind]string{
		ChannelLogStream: "Heroku log stream", ChannelEmail: "E-mail", ChannelWebhook: "Webhook", ChannelSlack: "Slack",
	}[k]
}

// forPeople tells whether a person reads every message, so that what the person knows already is held back. A program
// gets everything, and decides by itself.
func (k ChannelKind) forPeople() bool { return k == ChannelEmail || k == ChannelSlack }

// Channel is one place where a customer is told of events.
type Channel struct {
	ID          ChannelID
	Kind        ChannelKind
	Shown       string      // the address, masked
	Mutes       []EventKind // what it does not want to hear of
	Enabled     bool
	Problem     string // why the last message did not arrive; empty where it did
	AddedBy     string
	AddedAt     time.Time
	ConfirmedAt time.Time // zero for an e-mail address whose owner has not said yes
}

// State is where the channel stands: unconfirmed, off, failing or on.
func (c Channel) State() string {
	switch {
	case c.ConfirmedAt.IsZero():
		return "unconfirmed"
	case !c.Enabled:
		return "off"
	case c.Problem != "":
		return "failing"
	}
	return "on"
}

// MailedChannel is the channel that a mail's link is about, and the add-on it belongs to.
type MailedChannel struct {
	Channel
	Resource  string // the add-on's name
	HelperApp string
	Removed   bool
}

// Limits on channels.
const (
	// MaxChannels is how many channels one resource may have.
	MaxChannels = 10
	// MaxConfirmations is how many confirmation mails one resource, and one address, may cause in a day.
	MaxConfirmations = 5
	// MaxAdded is how many channels one resource may add in a day, removed ones included.
	MaxAdded = 30
	// ConfirmGood is how long the link in a confirmation mail is good.
	ConfirmGood = 7 * day
	// MaxTests is how many tests of one channel may be sent in an hour.
	MaxTests = 6
)

// NewChannel is what a person asks for.
type NewChannel struct {
	Kind    ChannelKind
	Address redact.Secret // an e-mail address, or a URL
	Shown   string        // the address, masked
	Mutes   []EventKind
}

// ParseOffered is ParseChannel where e-mail is offered only if the operator has set it up.
func ParseOffered(kind ChannelKind, address string, mails bool) (NewChannel, error) {
	if kind == ChannelEmail && !mails {
		return NewChannel{}, Invalid("The operator of this service has not set up e-mail. Choose a webhook or Slack.")
	}
	return ParseChannel(kind, address)
}

// ParseChannel reads what a person has typed. Errors: KindInvalid, with what to do.
func ParseChannel(kind ChannelKind, address string) (NewChannel, error) {
	address = strings.TrimSpace(address)
	if len(address) > maxAddress || !utf8.ValidString(address) || strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return NewChannel{}, Invalid("The address is too long, or has characters that no address has.")
	}
	var shown string
	var err error
	switch kind {
	case ChannelEmail:
		shown, err = parseEmail(address)
	case ChannelWebhook, ChannelSlack:
		shown, err = parseURL(address)
	default:
		err = Invalid("There is no such kind of channel. Choose e-mail, webhook or Slack.")
	}
	if err != nil {
		return NewChannel{}, err
	}
	return NewChannel{Kind: kind, Address: redact.New(address), Shown: shown}, nil
}

const maxAddress = 1024

func parseEmail(address string) (shown string, err error) {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address || len(address) > 254 { // RFC 5321, 4.5.3.1.3
		return "", Invalid("That is not an e-mail address. Give one such as name@example.com, without a name around it.")
	}
	at := strings.LastIndexByte(address, '@')
	if !strings.Contains(address[at+1:], ".") || strings.HasPrefix(address[at+1:], "[") {
		return "", Invalid("The e-mail address needs a whole domain after its @, such as example.com.")
	}
	_, first := utf8.DecodeRuneInString(address)
	return address[:first] + "…" + address[at:], nil
}

// Mailbox is what addresses of one mailbox have in common, as far as mail servers agree: upper and lower case, and what
// follows a plus, are the same.
func Mailbox(address string) string {
	address = strings.ToLower(address)
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	name, _, _ := strings.Cut(address[:at], "+")
	if name == "" {
		name = address[:at]
	}
	return name + address[at:]
}

func parseURL(address string) (shown string, err error) {
	shown, usable := ShowURL(redact.New(address))
	if !usable || !strings.HasPrefix(shown, "https://") || strings.Contains(address, "#") {
		return "", Invalid("That is not an address that we can call. Give one that begins with https:// and has no #.")
	}
	return shown, nil
}

// ShowURL shows where a URL leads and nothing that opens it, and tells whether it is one.
func ShowURL(address redact.Secret) (string, bool) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", false
	}
	if strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil {
		return u.Scheme + "://" + u.Host, true
	}
	return u.Scheme + "://" + u.Host + "/…", true
}

// DeliveryKind is what a message is.
type DeliveryKind string

// The kinds of message.
const (
	DeliveryNews         DeliveryKind = "news"
	DeliveryReminder     DeliveryKind = "reminder"     // a trouble goes on
	DeliveryTest         DeliveryKind = "test"         // a person asked for it
	DeliveryConfirmation DeliveryKind = "confirmation" // whether an e-mail address wants any
)

// DeliveryState is where a message stands.
type DeliveryState string

// The states of a message.
const (
	DeliveryQueued DeliveryState = "queued" // also between two tries
	DeliverySent   DeliveryState = "sent"
	DeliveryFailed DeliveryState = "failed" // given up
)

// Delivery is one message to one channel, as the log shows it.
type Delivery struct {
	ID       DeliveryID
	Channel  Channel
	Kind     DeliveryKind
	State    DeliveryState
	Attempts int
	Outcome  string      // what the other side said
	Events   []EventKind // what it tells of, each kind once
	QueuedAt time.Time
	EndedAt  time.Time // zero while queued
}

// Message is everything that a channel is to be told at once.
type Message struct {
	Delivery DeliveryID
	Kind     DeliveryKind
	Channel  Channel
	Resource Resource
	Address  redact.Secret // where to
	Secret   redact.Secret // what a webhook is signed with, or a mail's links carry
	News     []News        // oldest first
	At       time.Time     // when it was made
}

// News is one event with the names that its words need.
type News struct {
	ID         EventID
	Event      Event
	Addon      string        // the database's add-on; empty where it is about the add-on Remora as a whole
	OwnerApp   string        // the app of that database
	Credential string        // the name of the attached credential; empty for the owner's own
	Receipt    redact.Secret // what the address of a removed add-on's receipt ends with; zero otherwise
	Held       int           // how many more like it were held back since the channel was told last
}
