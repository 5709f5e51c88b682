package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/emersion/go-smtp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

var site = Site{BaseURL: "https://remora.example.com", Home: "/dashboard", AddonID: "remora-backup", ServiceAccount: "backups@remora.example"}

func sender(t *testing.T, change ...func(*Config)) *Sender {
	t.Helper()
	cfg := Config{Site: site, Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func news(kind remora.EventKind) remora.News {
	return remora.News{
		ID: "01234567-89ab-4def-8123-456789abcdef", Addon: "postgresql-curved-12345", OwnerApp: "shop", Credential: "remora_ro",
		Event: remora.Event{
			Kind: kind, Database: "11111111-89ab-4def-8123-456789abcdef", Backup: "22222222-89ab-4def-8123-456789abcdef",
			At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
	}
}

func message(kind remora.ChannelKind, address string, all ...remora.News) remora.Message {
	return remora.Message{
		Delivery: "33333333-89ab-4def-8123-456789abcdef", Kind: remora.DeliveryNews, Channel: remora.Channel{Kind: kind, AddedBy: "owner@example.com"},
		Resource: remora.Resource{ID: "44444444-89ab-4def-8123-456789abcdef", Name: "remora-backup-clean-1", Plan: "mako", HelperApp: "shop-backups"},
		Address:  redact.New(address), Secret: redact.New("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), News: all, At: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC),
	}
}

// failed asks for a failure that says something, and heals or does not.
func failed(t *testing.T, err error, word string, heals bool) *Failure {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || !strings.Contains(f.Sentence, word) || f.Heals != heals {
		t.Fatalf("%v (want %q, healing %v)", err, word, heals)
	}
	return f
}

// Names and reasons come from others: what turns the direction of a text, or begins a line, is not handed on.
func TestForeignTextCannotTurnTheWords(t *testing.T) {
	t.Parallel()
	n := news(remora.EventPaused)
	n.Event.Detail, n.Addon = "anna. Why: \u202eevil\u2066\u200f\r\nACT NOW", "db\u202e1"
	m := message(remora.ChannelSlack, "", n)
	w := wordsOf(about{&site, m.Resource, n})
	for _, text := range []string{w.Subject, w.What, w.Act, w.Command, sender(t).lines(m)[0].text} {
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) || r == '\r' }) {
			t.Errorf("%q", text)
		}
	}
	if got := pairs("addon", "a\x1b[31m"); got != `addon="a\x1b[31m"` {
		t.Error(got)
	}
}

func TestEveryKindOfEventHasWords(t *testing.T) {
	t.Parallel()
	if len(words) != len(remora.EventKinds()) {
		t.Errorf("%d kinds have words, of %d", len(words), len(remora.EventKinds()))
	}
	reasons := append(remora.Reasons(), remora.ReasonNone)
	for _, kind := range remora.EventKinds() {
		for _, why := range reasons {
			n := news(kind)
			n.Event.Reason = why
			whole := n
			whole.Event.Database, whole.Event.Backup, whole.Addon, whole.OwnerApp = "", "", "", "" // about the add-on itself
			for _, n := range []remora.News{n, whole} {
				w := wordsOf(about{&site, message(remora.ChannelEmail, "").Resource, n})
				for name, text := range map[string]string{"subject": w.Subject, "what": w.What, "act": w.Act, "command": w.Command, "link": w.Link} {
					if text == "" || line(text) != text || strings.Contains(text, "  ") || strings.Contains(text, "()") {
						t.Errorf("%s %s, %s: %q", kind, why, name, text)
					}
				}
				if !strings.HasPrefix(w.Command, "heroku ") || !strings.HasPrefix(w.Link, site.BaseURL+"/") || len(w.Subject) > 120 {
					t.Errorf("%s %s: %+v", kind, why, w)
				}
			}
		}
	}
	if w := wordsOf(about{&site, remora.Resource{Name: "r"}, news("of_a_later_release")}); w.Subject == "" || w.Link == "" {
		t.Errorf("%+v", w)
	}
}

func TestTheCommandMendsTheReason(t *testing.T) {
	t.Parallel()
	for why, want := range map[remora.Reason]string{
		remora.ReasonNotShared:    "heroku access:add backups@remora.example -a shop-backups",
		remora.ReasonLoginRefused: "heroku pg:credentials:rotate postgresql-curved-12345 --name remora_ro -a shop",
		remora.ReasonDetached:     "heroku addons:attach postgresql-curved-12345 --credential remora_ro -a shop-backups",
		remora.ReasonTokenRevoked: "heroku addons:open remora-backup-clean-1 -a shop-backups",
	} {
		n := news(remora.EventCredentialProblem)
		n.Event.Reason = why
		if w := wordsOf(about{&site, message(remora.ChannelEmail, "").Resource, n}); w.Command != want {
			t.Errorf("%s: %s", why, w.Command)
		}
	}
	w := wordsOf(about{&site, message(remora.ChannelEmail, "").Resource, news(remora.EventLimitNear)})
	if w.Command != "heroku addons:upgrade remora-backup-clean-1 remora-backup:hammerhead -a shop-backups" {
		t.Error(w.Command)
	}
}

// certificate is one for 127.0.0.1, with what trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &tls.Config{Certificates: srv.TLS.Certificates, MinVersion: tls.VersionTLS12}, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

func mailbox(t *testing.T, cfg inbox.Config) *inbox.Inbox {
	t.Helper()
	in, err := inbox.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

func mailer(t *testing.T, url string) func(*Config) {
	t.Helper()
	m, err := NewMailer(redact.New(url), "Remora Backup <news@remora.example.com>")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Mailer = m }
}

func TestAMailArrivesWhole(t *testing.T) {
	t.Parallel()
	in := mailbox(t, inbox.Config{})
	s := sender(t, mailer(t, "smtp://127.0.0.1:"+strconv.Itoa(in.Port())))
	bad := news(remora.EventFailed)
	bad.Event.Reason, bad.Held, bad.OwnerApp = remora.ReasonUnreachable, 2, `sh<o>p & "söhne"`
	if said, err := s.Send(t.Context(), message(remora.ChannelEmail, "owner@example.com", news(remora.EventLinkMade), bad)); err != nil || said == "" {
		t.Fatal(said, err)
	}
	got := in.Mails()[0]
	if got.From != "news@remora.example.com" || fmt.Sprint(got.To) != "[owner@example.com]" {
		t.Errorf("%+v", got)
	}
	if want := `Backup of postgresql-curved-12345 (sh<o>p & "söhne") failed, and 1 more`; got.Subject != want {
		t.Errorf("%s", got.Subject)
	}
	stop := "https://remora.example.com/notifications/stop/" + message("", "").Secret.Reveal()
	for name, want := range map[string]string{
		"List-Unsubscribe": "<" + stop + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "Auto-Submitted": "auto-generated",
		"From": `"Remora Backup" <news@remora.example.com>`, "Message-Id": "<33333333-89ab-4def-8123-456789abcdef@remora.example.com>",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %s", name, got.Header.Get(name))
		}
	}
	for _, want := range []string{
		"The database did not answer. It may be failing over", "It has happened 2 times more since the last message about it.", "Nobody needs to act.",
		"heroku addons:open remora-backup-clean-1 -a shop-backups", "https://remora.example.com/dashboard/backups/22222222-89ab-4def-8123-456789abcdef",
	} {
		if !strings.Contains(got.Text, want) || !strings.Contains(got.HTML, want) {
			t.Errorf("%q is not in both parts:\n%s\n%s", want, got.Text, got.HTML)
		}
	}
	if !strings.Contains(got.Text, `sh<o>p & "söhne"`) || strings.Contains(got.HTML, "<o>") || !strings.Contains(got.Text, stop) {
		t.Errorf("%s\n%s", got.Text, got.HTML)
	}
}

func TestTheMailThatAsksCarriesNoNewsAndNoWayToBeginButThePage(t *testing.T) {
	t.Parallel()
	in := mailbox(t, inbox.Config{})
	s := sender(t, mailer(t, "smtp://127.0.0.1:"+strconv.Itoa(in.Port())))
	m := message(remora.ChannelEmail, "somebody@example.com")
	m.Kind, m.Secret = remora.DeliveryConfirmation, redact.New("token-of-the-mail")
	if _, err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := in.Mails()[0]
	const confirm = "https://remora.example.com/notifications/confirm/token-of-the-mail"
	if !strings.Contains(got.Text, confirm) || !strings.Contains(got.HTML, confirm) || !strings.Contains(got.Text, "owner@example.com asked") ||
		got.Header.Get("List-Unsubscribe") != "" || strings.Contains(got.Text, "dashboard") {
		t.Errorf("%+v", got)
	}
}

// A mail server elsewhere gets nothing without TLS whose certificate is valid.
func TestMailGoesByTLSAndNotWithout(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	for name, c := range map[string]struct {
		inbox  inbox.Config
		scheme string
		trust  *tls.Config
		user   string
		want   string // of the failure; empty where it arrives
	}{
		"STARTTLS with a login":          {inbox.Config{TLS: server, User: "u", Password: "p"}, "smtp", client, "u:p@", ""},
		"TLS from the first byte":        {inbox.Config{TLS: server, Implicit: true, User: "u", Password: "p"}, "smtps", client, "u:p@", ""},
		"a server without TLS":           {inbox.Config{}, "smtp", client, "", "could not be reached"},
		"a certificate of nobody's":      {inbox.Config{TLS: server}, "smtp", nil, "", "could not be reached"},
		"a wrong password":               {inbox.Config{TLS: server, User: "u", Password: "p"}, "smtp", client, "u:q@", "could not be reached"},
		"TLS where none is, at the port": {inbox.Config{}, "smtps", client, "", "could not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := mailbox(t, c.inbox)
			s := sender(t, mailer(t, c.scheme+"://"+c.user+"127.0.0.1:"+strconv.Itoa(in.Port())))
			s.Mailer.local, s.Mailer.roots = false, c.trust // as a server elsewhere
			_, err := s.Send(t.Context(), message(remora.ChannelEmail, "owner@example.com", news(remora.EventFailed)))
			if c.want != "" {
				failed(t, err, c.want, true)
				if len(in.Mails()) != 0 {
					t.Error("it arrived")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := in.Mails()[0]; !got.TLS || got.User != "u" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestARefusedAddressIsGivenUpAndABusyServerIsNot(t *testing.T) {
	t.Parallel()
	in := mailbox(t, inbox.Config{Refuse: func(to string) error {
		if strings.HasPrefix(to, "nobody@") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user: secret words of the relay"}
		}
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}
	}})
	s := sender(t, mailer(t, "smtp://127.0.0.1:"+strconv.Itoa(in.Port())))
	_, err := s.Send(t.Context(), message(remora.ChannelEmail, "nobody@example.com", news(remora.EventFailed)))
	if f := failed(t, err, "refused it (550)", false); strings.Contains(f.Error(), "secret words") || strings.Contains(f.Error(), "nobody@") {
		t.Error(f)
	}
	_, err = s.Send(t.Context(), message(remora.ChannelEmail, "busy@example.com", news(remora.EventFailed)))
	failed(t, err, "did not take it yet", true)
	_, err = sender(t).Send(t.Context(), message(remora.ChannelEmail, "owner@example.com", news(remora.EventFailed)))
	failed(t, err, "operator of this service has not set up e-mail", false)
}

func TestMailSettings(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "mail.example.com:587", "http://mail.example.com", "smtp://:587", "smtp://u:hidden@mail.example.com:x", "smtp://mail.example.com/path"} {
		if _, err := NewMailer(redact.New(bad), "a@example.com"); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewMailer(redact.New("smtp://mail.example.com"), "nobody"); err == nil {
		t.Error("a sender without an address")
	}
}

func TestAWebhookIsSignedAsTheStandardSays(t *testing.T) {
	t.Parallel()
	var got payload
	var verified, tampered error
	var id string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		hook, err := standardwebhooks.NewWebhook(message("", "").Secret.Reveal())
		if err != nil {
			t.Error(err)
			return
		}
		id = r.Header.Get("webhook-id")
		verified, tampered = hook.Verify(body, r.Header), hook.Verify(append(body, ' '), r.Header)
		if err := json.Unmarshal(body, &got); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Error(err, r.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	n := news(remora.EventPermissionGap)
	n.Event.Reason = remora.ReasonPermission
	if said, err := sender(t).Send(t.Context(), message(remora.ChannelWebhook, srv.URL+"/hook?x=1", n)); err != nil || said != "It answered 204 No Content." {
		t.Fatal(said, err)
	}
	if verified != nil || tampered == nil || id != "msg_33333333-89ab-4def-8123-456789abcdef" {
		t.Errorf("verified %v, tampered %v, id %s", verified, tampered, id)
	}
	if got.Type != "remora.permission_gap" || !got.Timestamp.Equal(n.Event.At) || got.Data.EventID != n.ID || got.Data.Database.Addon != n.Addon ||
		got.Data.Reason != remora.ReasonPermission || !got.Data.Trouble || got.Data.Command != "heroku pg:psql postgresql-curved-12345 -a shop" {
		t.Errorf("%+v", got)
	}
	test := message(remora.ChannelWebhook, srv.URL)
	test.Kind = remora.DeliveryTest
	if _, err := sender(t).Send(t.Context(), test); err != nil || got.Type != "remora.test" || verified != nil {
		t.Error(got, err, verified)
	}
	// The library's own signature of the same is the same.
	hook, err := standardwebhooks.NewWebhook(test.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1767323045, 0)
	want, err := hook.Sign("msg_1", at, []byte(`{"a":1}`))
	if ours, oursErr := sign(test.Secret, "msg_1", at, []byte(`{"a":1}`)); err != nil || oursErr != nil || ours != want {
		t.Errorf("%s instead of %s (%v %v)", ours, want, err, oursErr)
	}
}

func TestSlackGetsItsText(t *testing.T) {
	t.Parallel()
	var got struct{ Text string }
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	n := news(remora.EventLinkMade)
	n.Event.Detail = "<!channel> & co"
	if _, err := sender(t).Send(t.Context(), message(remora.ChannelSlack, srv.URL, n)); err != nil {
		t.Fatal(err)
	}
	const want = "*A download link for a backup of postgresql-curved-12345 (shop) was made*\n" +
		"Whoever has the link can download the whole backup until it expires. By &lt;!channel&gt; &amp; co.\n" +
		"If it was nobody of yours, revoke the link on the backup's page at once.\n" +
		"`heroku addons:open remora-backup-clean-1 -a shop-backups`\n" +
		"<https://remora.example.com/dashboard/backups/22222222-89ab-4def-8123-456789abcdef|Open the page>"
	if got.Text != want {
		t.Errorf("%s", got.Text)
	}
}

// The sample of https://devcenter.heroku.com/articles/add-on-provider-log-integration, and what we send, byte for byte.
func TestLogLinesAreFramedByteForByte(t *testing.T) {
	t.Parallel()
	var body string
	var header http.Header
	var length int64
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, header, length = string(b), r.Header, r.ContentLength
		if user, password, ok := r.BasicAuth(); !ok || user != "token" || password != "t.1" || len(r.TransferEncoding) > 0 {
			t.Error(user, r.TransferEncoding)
		}
	}))
	defer srv.Close()
	address := strings.Replace(srv.URL, "http://", "http://token:t.1@", 1) + "/logs"
	bad := news(remora.EventPaused)
	bad.Event.Detail, bad.Event.Backup = "söhne \"x\"\nINJECTED <190>1", ""
	good := news(remora.EventRecovered)
	if _, err := sender(t).Send(t.Context(), message(remora.ChannelLogStream, address, bad, good)); err != nil {
		t.Fatal(err)
	}
	const want = `506 <190>1 2026-01-02T03:04:05+00:00 remora-backup app remora.1 - - event=paused addon=remora-backup-clean-1 database=postgresql-curved-12345 app=shop ` +
		`message="Nobody is backing up postgresql-curved-12345 (shop) until the schedule is resumed. By söhne \"x\" INJECTED <190>1." ` +
		`act="If that is not meant, resume the schedule on the database's page." next="heroku addons:open remora-backup-clean-1 -a shop-backups" ` +
		`page=https://remora.example.com/dashboard/databases/11111111-89ab-4def-8123-456789abcdef#schedule` +
		`468 <190>1 2026-01-02T03:04:05+00:00 remora-backup app remora.1 - - event=recovered addon=remora-backup-clean-1 database=postgresql-curved-12345 app=shop ` +
		`backup=22222222-89ab-4def-8123-456789abcdef message="A backup of postgresql-curved-12345 (shop) was made and verified, after it had failed." act="Nobody needs to act." ` +
		`next="heroku addons:open remora-backup-clean-1 -a shop-backups" page=https://remora.example.com/dashboard/backups/22222222-89ab-4def-8123-456789abcdef`
	if body != want || length != int64(len(want)) {
		t.Errorf("%d bytes announced, of %d\n%s\ninstead of\n%s", length, len(body), body, want)
	}
	if header.Get("Content-Type") != "application/logplex-1" || header.Get("Logplex-Msg-Count") != "2" || !strings.HasPrefix(header.Get("User-Agent"), "Remora-Backup") {
		t.Error(header)
	}
	got := string(frames([]logLine{{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true, "event=backup.succeeded run=r1"}}))
	if got != "93 <188>1 2026-01-02T03:04:05+00:00 remora-backup app remora.1 - - event=backup.succeeded run=r1" {
		t.Error(got)
	}
}

type resolver map[string]string

func (r resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	a, err := netip.ParseAddr(r[strings.TrimSuffix(host, ".")])
	return []netip.Addr{a}, err
}

// What a customer names leads nowhere but to public addresses, whatever its name resolves to.
func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':'):]
	s := sender(t, func(c *Config) {
		c.Policy = dialer.Strict()
		c.Resolver = resolver{"rebound.example": "127.0.0.1", "meta.example": "169.254.169.254", "mapped.example": "::ffff:10.0.0.1", "six.example": "::1", "cgnat.example": "100.64.0.1"}
	})
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "192.168.0.1", "[::ffff:127.0.0.1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "0.0.0.0",
		"rebound.example", "meta.example", "mapped.example", "six.example", "cgnat.example", "2130706433", "0x7f.1",
	} {
		for _, kind := range []remora.ChannelKind{remora.ChannelWebhook, remora.ChannelSlack, remora.ChannelLogStream} {
			_, err := s.Send(t.Context(), message(kind, "https://"+host+port+"/secret-path", news(remora.EventFailed)))
			var f *Failure
			if !errors.As(err, &f) || strings.Contains(err.Error(), "secret-path") {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	for _, plain := range []string{"http://example.com", "http://127.0.0.1" + port, "ftp://example.com", "file:///etc/passwd", "gopher://127.0.0.1"} {
		_, err := s.Send(t.Context(), message(remora.ChannelWebhook, plain, news(remora.EventFailed)))
		failed(t, err, "https://", false)
	}
	// Where this machine is allowed, https is still asked for elsewhere, and a certificate that is valid here.
	_, err := sender(t).Send(t.Context(), message(remora.ChannelWebhook, "http://example.com", news(remora.EventFailed)))
	failed(t, err, "https://", false)
	_, err = sender(t).Send(t.Context(), message(remora.ChannelWebhook, srv.URL, news(remora.EventFailed)))
	failed(t, err, "certificate", true)
	if asked.Load() {
		t.Error("it was reached")
	}
}

func TestAnswersAreJudged(t *testing.T) {
	t.Parallel()
	followed := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed <- r.URL.Path
			return
		}
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("words of the other side"))
	}))
	defer srv.Close()
	for status, c := range map[int]struct {
		word       string
		heals, off bool
	}{
		301: {"redirects", false, false}, 302: {"redirects", false, false}, 307: {"redirects", false, false}, 308: {"redirects", false, false},
		400: {"400", false, false}, 401: {"401", false, false}, 404: {"404", false, false}, 410: {"turned off", false, true},
		408: {"408", true, false}, 429: {"429", true, false}, 500: {"500", true, false}, 503: {"503", true, false},
	} {
		_, err := sender(t).Send(t.Context(), message(remora.ChannelWebhook, srv.URL+"/"+strconv.Itoa(status), news(remora.EventFailed)))
		if f := failed(t, err, c.word, c.heals); f.Off != c.off || strings.Contains(f.Error(), "words of") {
			t.Errorf("%d: %+v", status, f)
		}
	}
	// Heroku changes the log's address; we read it again.
	_, err := sender(t).Send(t.Context(), message(remora.ChannelLogStream, srv.URL+"/403", news(remora.EventFailed)))
	failed(t, err, "403", true)
	select {
	case p := <-followed:
		t.Error("a redirect was followed to", p)
	default:
	}
}

// A side that does not end, at any point, is left in time; one that writes without end is read to a limit.
func TestSlowAndLargeAnswersAreBounded(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	written := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			select {
			case <-r.Context().Done():
			case <-ended:
			}
		case "/large":
			chunk := make([]byte, 1<<16)
			n := 0
			for {
				k, err := w.Write(chunk)
				if n += k; err != nil || n > 1<<30 {
					written <- n
					return
				}
			}
		case "/headers":
			for i := range 100 {
				w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("x", 1000))
			}
		}
	}))
	defer srv.Close()
	defer close(ended) // before the server waits for its handlers
	s := sender(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	_, err := s.Send(t.Context(), message(remora.ChannelWebhook, srv.URL+"/silent", news(remora.EventFailed)))
	failed(t, err, "in time", true)
	patient := sender(t)
	if _, err := patient.Send(t.Context(), message(remora.ChannelWebhook, srv.URL+"/large", news(remora.EventFailed))); err != nil {
		t.Error(err)
	}
	if n := <-written; n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	_, err = patient.Send(t.Context(), message(remora.ChannelWebhook, srv.URL+"/headers", news(remora.EventFailed)))
	failed(t, err, "reached", true)
	// One that takes the connection and says nothing, not even TLS.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it only listens
	_, err = s.Send(t.Context(), message(remora.ChannelWebhook, "https://"+l.Addr().String(), news(remora.EventFailed)))
	failed(t, err, "in time", true)
	mute := sender(t, mailer(t, "smtp://"+l.Addr().String()), func(c *Config) { c.Timeout = 300 * time.Millisecond })
	_, err = mute.Send(t.Context(), message(remora.ChannelEmail, "owner@example.com", news(remora.EventFailed)))
	failed(t, err, "could not be reached", true)
}
