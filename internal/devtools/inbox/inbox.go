// Package inbox is a real SMTP server that keeps what it is given, for tests and for the demo, where it stands for the
// operator's mail server and every customer's mailbox.
package inbox

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is one message as it came.
type Mail struct {
	From    string   // of the envelope
	To      []string // of the envelope
	Header  mail.Header
	Subject string
	Text    string // the plain part
	HTML    string
	TLS     bool   // it came encrypted
	User    string // who had logged in; empty for nobody
}

// Config of an inbox.
type Config struct {
	TLS      *tls.Config // offered by STARTTLS; nil for none
	Implicit bool        // TLS from the first byte
	User     string      // who must log in; empty for nobody
	Password string
	Refuse   func(to string) error // what to say to a recipient; nil takes all
	Deliver  func(Mail)            // is told of each, if not nil
}

// Inbox is a running server.
type Inbox struct {
	cfg    Config
	server *smtp.Server
	addr   net.Addr
	ended  chan struct{}

	mu    sync.Mutex
	mails []Mail
	came  chan struct{} // closed when the next one comes
}

// Start starts a server on a free port of this machine.
func Start(cfg Config) (*Inbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	in := &Inbox{cfg: cfg, addr: l.Addr(), ended: make(chan struct{}), came: make(chan struct{})}
	in.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{in: in, conn: c}, nil }))
	in.server.Domain, in.server.MaxMessageBytes, in.server.MaxRecipients = "inbox.example", 1<<20, 10
	in.server.ReadTimeout, in.server.WriteTimeout = 30*time.Second, 30*time.Second
	if cfg.Implicit {
		l = tls.NewListener(l, cfg.TLS)
	} else {
		in.server.TLSConfig = cfg.TLS
	}
	go func() {
		defer close(in.ended)
		_ = in.server.Serve(l) // until it is closed
	}()
	return in, nil
}

// Port is where it listens.
func (in *Inbox) Port() int { return in.addr.(*net.TCPAddr).Port }

// Close stops the server and waits for it.
func (in *Inbox) Close() error {
	err := in.server.Close()
	<-in.ended
	return err
}

// Mails are all that came, oldest first.
func (in *Inbox) Mails() []Mail {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]Mail(nil), in.mails...)
}

// Came is closed when the next one comes.
func (in *Inbox) Came() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.came
}

func (in *Inbox) keep(m Mail) {
	in.mu.Lock()
	in.mails = append(in.mails, m)
	close(in.came)
	in.came = make(chan struct{})
	in.mu.Unlock()
	if in.cfg.Deliver != nil {
		in.cfg.Deliver(m)
	}
}

// session is one client's visit.
type session struct {
	in   *Inbox
	conn *smtp.Conn
	user string
	from string
	to   []string
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	if s.in.cfg.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.in.cfg.User || password != s.in.cfg.Password {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout implements smtp.Session.
func (*session) Logout() error { return nil }

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.in.cfg.User != "" && s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.in.cfg.Refuse != nil {
		if err := s.in.cfg.Refuse(to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	m, err := parse(raw)
	if err != nil {
		return fmt.Errorf("554 this is no mail: %w", err)
	}
	_, m.TLS = s.conn.TLSConnectionState()
	m.From, m.To, m.User = s.from, s.to, s.user
	s.in.keep(m)
	return nil
}

func parse(raw []byte) (m Mail, err error) {
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return m, err
	}
	m.Header = msg.Header
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return m, err
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return m, fmt.Errorf("content type %q: %w", kind, err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			return m, err
		}
		switch kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind {
		case "text/plain":
			m.Text = strings.ReplaceAll(string(body), "\r\n", "\n")
		case "text/html":
			m.HTML = string(body)
		}
	}
}
