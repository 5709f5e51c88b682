package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Site is what the words name of us.
type Site struct {
	BaseURL        string // how the outside reaches us, without a slash at the end
	Home           string // where the pages begin, such as /dashboard
	AddonID        string // the add-on's slug
	ServiceAccount string // the account that Helper Apps are shared with
}

// Config of a Sender.
type Config struct {
	Site     Site
	Policy   dialer.Policy   // which addresses of customers may be dialled
	Resolver dialer.Resolver // net.DefaultResolver in production
	Mailer   *Mailer         // nil where the operator has set up no mail
	Timeout  time.Duration   // of one exchange with another side, answer included; default 10 s
	Now      func() time.Time
}

// Sender sends messages. Its methods are safe for concurrent use.
type Sender struct {
	Config
	http *http.Client
}

// New returns a sender. It does no I/O.
func New(cfg Config) (*Sender, error) {
	if cfg.Site.BaseURL == "" || cfg.Site.Home == "" || cfg.Site.AddonID == "" || cfg.Site.ServiceAccount == "" || cfg.Resolver == nil {
		return nil, errors.New("notify: a dependency or setting is missing")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sender{cfg, cfg.Policy.HTTPClient(cfg.Resolver, cfg.Timeout)}, nil
}

// Failure is why a message did not arrive.
type Failure struct {
	Sentence string // for the customer: whole, and without what the other side wrote
	Heals    bool   // trying again later can help
	Off      bool   // the other side wants nothing more
	Cause    error  // for our log: holds no secret; may be nil
}

func (f *Failure) Error() string {
	if f.Cause == nil {
		return "notify: " + f.Sentence
	}
	return "notify: " + f.Sentence + ": " + f.Cause.Error()
}

func (f *Failure) Unwrap() error { return f.Cause }

// Send sends a message and returns what the other side answered, in a few words. Errors: *Failure.
func (s *Sender) Send(ctx context.Context, m remora.Message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.Timeout)
	defer cancel()
	switch m.Channel.Kind {
	case remora.ChannelEmail:
		return s.mail(ctx, m)
	case remora.ChannelWebhook:
		return s.webhook(ctx, m)
	case remora.ChannelSlack:
		return s.slack(ctx, m)
	case remora.ChannelLogStream:
		return s.logLines(ctx, m)
	}
	return "", &Failure{Sentence: "There is no such kind of channel."}
}

// answerRead is how much of an answer is read, in bytes, before the connection is closed.
const answerRead = 4 << 10

// post makes one request to a customer's address and judges the status of its answer.
func (s *Sender) post(ctx context.Context, to redact.Secret, header http.Header, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.Reveal(), bytes.NewReader(body))
	if err != nil { // it quotes the address
		return "", &Failure{Sentence: "The address cannot be read. Remove the channel and add it again."}
	}
	req.Header = header
	req.Header.Set("User-Agent", "Remora-Backup (+"+s.Site.BaseURL+")")
	resp, err := s.http.Do(req)
	if err != nil {
		return "", unreached(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as we want
	if _, err := io.CopyN(io.Discard, resp.Body, answerRead); err != nil && !errors.Is(err, io.EOF) && resp.StatusCode >= 300 {
		return "", unreached(err)
	}
	return judge(resp.StatusCode)
}

// judge reads a status. What says "later" or "broken" may heal; what says that it does not want this does not.
func judge(status int) (string, error) {
	said := fmt.Sprintf("It answered %d %s.", status, http.StatusText(status))
	switch {
	case status >= 200 && status < 300:
		return said, nil
	case status >= 300 && status < 400:
		return "", &Failure{Sentence: said + " We do not follow redirects: give the address that it leads to."}
	case status == http.StatusGone:
		return "", &Failure{Sentence: said + " That means that it wants nothing more, so the channel was turned off.", Off: true}
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status == http.StatusLocked:
		return "", &Failure{Sentence: said, Heals: true}
	}
	return "", &Failure{Sentence: said + " Check the address, and what listens there."}
}

// unreached says why no answer came. The cause loses the address, which may be a secret.
func unreached(err error) *Failure {
	var wrapped *url.Error
	timeout := false
	if errors.As(err, &wrapped) {
		timeout, err = wrapped.Timeout(), wrapped.Err
	}
	var refused *dialer.RefusedError
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return &Failure{Sentence: "The address leads to a network that is not public, so we do not call it.", Cause: err}
	case errors.Is(err, dialer.ErrPlainHTTP):
		return &Failure{Sentence: "The address must begin with https://.", Cause: err}
	case errors.Is(err, dialer.ErrNotFound):
		return &Failure{Sentence: "The address's host does not exist.", Heals: true, Cause: err}
	case timeout, errors.As(err, &network) && network.Timeout():
		return &Failure{Sentence: "It did not answer in time.", Heals: true, Cause: err}
	}
	return &Failure{Sentence: "It could not be reached: no connection, or no certificate that is valid for its name.", Heals: true, Cause: err}
}
