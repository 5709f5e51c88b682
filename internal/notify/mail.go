package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"fmt"
	"html/template"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	text "text/template"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Mailer is a mail server of the operator's.
type Mailer struct {
	host     string
	port     int
	user     string
	password redact.Secret
	implicit bool // TLS from the first byte
	local    bool // on this machine: no TLS needed
	from     string
	roots    *tls.Config // nil but in tests
}

// NewMailer reads the operator's settings: smtp://user:password@host:587, which goes on by STARTTLS and not without, or
// smtps://user:password@host:465. Only a server on this machine may do without TLS. from is the sender, as
// "Name <address>". It does no I/O, and its errors hold no secret.
func NewMailer(server redact.Secret, from string) (*Mailer, error) {
	u, err := url.Parse(server.Reveal())
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("SMTP_URL must be an address such as smtp://user:password@mail.example.com:587")
	}
	if _, err := netmail.ParseAddress(from); err != nil {
		return nil, errors.New("MAIL_FROM must be an e-mail address, such as Remora Backup <backups@example.com>")
	}
	m := &Mailer{host: u.Hostname(), port: 587, implicit: u.Scheme == "smtps", from: from}
	if m.implicit {
		m.port = 465
	}
	if p := u.Port(); p != "" {
		if m.port, err = strconv.Atoi(p); err != nil {
			return nil, errors.New("SMTP_URL has a port that is no number")
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		m.user, m.password = u.User.Username(), redact.New(password)
	}
	addr, err := netip.ParseAddr(m.host)
	m.local = m.host == "localhost" || err == nil && addr.IsLoopback()
	return m, nil
}

// Reach connects to the server and signs in, as for a mail, and sends none. Its error holds no secret.
func (m *Mailer) Reach(ctx context.Context) error {
	client, err := m.client(10 * time.Second)
	if err != nil {
		return errors.New("the settings of mail are wrong")
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("the mail server cannot be reached, or refuses the sign-in: %w", err)
	}
	return client.Close()
}

func (m *Mailer) client(timeout time.Duration) (*mail.Client, error) {
	options := []mail.Option{mail.WithPort(m.port), mail.WithTimeout(timeout), mail.WithTLSPolicy(mail.TLSMandatory)}
	switch {
	case m.implicit:
		options = append(options, mail.WithSSL())
	case m.local:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if m.roots != nil {
		options = append(options, mail.WithTLSConfig(m.roots))
	}
	if m.user != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.user), mail.WithPassword(m.password.Reveal()))
	}
	return mail.NewClient(m.host, options...)
}

// mail sends by the operator's server. What that says is not shown: it speaks to the operator.
func (s *Sender) mail(ctx context.Context, m remora.Message) (string, error) {
	if s.Mailer == nil {
		return "", &Failure{Sentence: "The operator of this service has not set up e-mail."}
	}
	letter, err := s.envelope(m)
	if err != nil {
		return "", &Failure{Sentence: "The mail could not be written.", Cause: err}
	}
	client, err := s.Mailer.client(s.Timeout)
	if err != nil {
		return "", &Failure{Sentence: "The operator's mail settings are wrong.", Heals: true, Cause: err}
	}
	err = client.DialAndSendWithContext(ctx, letter)
	var refused *mail.SendError
	switch {
	case err == nil:
		return "The mail server took it.", nil
	case errors.As(err, &refused) && refused.ErrorCode() >= 500:
		return "", &Failure{
			Sentence: fmt.Sprintf("The mail server refused it (%d). Check the address.", refused.ErrorCode()),
			Cause:    fmt.Errorf("smtp %d %s", refused.ErrorCode(), refused.EnhancedStatusCode()),
		}
	case errors.As(err, &refused):
		return "", &Failure{
			Sentence: "The mail server did not take it yet.", Heals: true, Cause: fmt.Errorf("smtp %d %s", refused.ErrorCode(), refused.EnhancedStatusCode()),
		}
	}
	return "", &Failure{Sentence: "The mail server could not be reached.", Heals: true, Cause: err}
}

// letter is a message in words.
type letter struct {
	Subject  string
	Intro    string
	All      []Words
	Stop     string // the link that ends these mails; empty elsewhere
	Confirm  string // the link that begins them; in the one mail that asks
	Resource string
	Settings string
}

func (s *Sender) letter(m remora.Message) letter {
	l := letter{Resource: m.Resource.Name, Settings: s.Site.BaseURL + s.Site.Home + "/settings/notifications"}
	if m.Channel.Kind == remora.ChannelEmail {
		l.Stop = s.Site.BaseURL + "/notifications/stop/" + m.Secret.Reveal()
	}
	switch m.Kind {
	case remora.DeliveryTest:
		w := s.testWords(m)
		l.Subject, l.All = w.Subject, []Words{w}
		return l
	case remora.DeliveryConfirmation:
		l.Confirm = s.Site.BaseURL + "/notifications/confirm/" + m.Secret.Reveal()
		l.Subject = "Do you want news of " + m.Resource.Name + "?"
		l.Intro = m.Channel.AddedBy + " asked that news of the database backups of " + m.Resource.Name + " go to this address. " +
			"If you want them, say so on the page that the link below opens, within seven days. If not, do nothing: you get no other mail."
		return l
	case remora.DeliveryNews, remora.DeliveryReminder:
	}
	for _, n := range m.News {
		l.All = append(l.All, wordsOf(about{&s.Site, m.Resource, n}))
	}
	l.Subject = subject(m, l.All)
	if m.Kind == remora.DeliveryReminder {
		l.Intro = "This goes on, and was told before. It is told once a day until it ends."
	}
	return l
}

// subject names the first trouble, else the first of the rest, and how many there are beside it.
func subject(m remora.Message, all []Words) string {
	if len(all) == 0 {
		return "News of " + m.Resource.Name
	}
	first := all[0].Subject
	for i, n := range m.News {
		if n.Event.Kind.Trouble() {
			first = all[i].Subject
			break
		}
	}
	if m.Kind == remora.DeliveryReminder {
		first = "Still: " + first
	}
	if n := len(all) - 1; n > 0 {
		first += fmt.Sprintf(", and %d more", n)
	}
	return first
}

func (s *Sender) testWords(m remora.Message) Words {
	a := about{&s.Site, m.Resource, remora.News{}}
	return Words{
		Subject: "Test: news of " + m.Resource.Name + " arrive here",
		What:    "Somebody has sent this test from the page of " + m.Resource.Name + ". Nothing has happened to your backups.",
		Act:     nobody, Command: a.open(), Link: a.page() + "/settings/notifications",
	}
}

//go:embed mail.txt mail.html
var templates embed.FS

var (
	plainMail = text.Must(text.ParseFS(templates, "mail.txt"))
	htmlMail  = template.Must(template.ParseFS(templates, "mail.html"))
)

func (s *Sender) envelope(m remora.Message) (*mail.Msg, error) {
	l := s.letter(m)
	var plain, html bytes.Buffer
	if err := errors.Join(plainMail.Execute(&plain, l), htmlMail.Execute(&html, l)); err != nil {
		return nil, err
	}
	out := mail.NewMsg()
	if err := out.From(s.Mailer.from); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	if err := out.To(m.Address.Reveal()); err != nil {
		return nil, errors.New("the address is none")
	}
	out.Subject(line(l.Subject))
	out.SetDateWithValue(s.Now())
	out.SetMessageIDWithValue(string(m.Delivery) + "@" + s.Mailer.domain()) // the same when it is tried again
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	if l.Confirm == "" {
		out.SetGenHeader("List-Unsubscribe", "<"+l.Stop+">")
		out.SetGenHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click") // RFC 8058
	}
	out.SetBodyString(mail.TypeTextPlain, plain.String())
	out.AddAlternativeString(mail.TypeTextHTML, html.String())
	return out, nil
}

// domain is the sender's.
func (m *Mailer) domain() string {
	a, err := netmail.ParseAddress(m.from)
	if err != nil {
		return m.host
	}
	return a.Address[strings.LastIndexByte(a.Address, '@')+1:]
}
