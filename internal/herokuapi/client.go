// Package herokuapi is how we call Heroku: the OAuth token endpoint, and the few calls of the Platform API for
// Partners that the product needs.
//
// Sources: https://devcenter.heroku.com/articles/platform-api-for-partners and
// https://devcenter.heroku.com/articles/platform-api-reference.
package herokuapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// What an error of this package means, for errors.Is.
var (
	ErrUnauthorized = errors.New("heroku: not authorized") // the access token is not (or no longer) good
	ErrRevoked      = errors.New("heroku: revoked")        // the grant or refresh token is not (or no longer) good, for certain
	ErrClientSecret = errors.New("heroku: client refused") // the token endpoint does not know us: our own secret is wrong, and nothing is said of the token
	ErrForbidden    = errors.New("heroku: forbidden")      // known, and outside of what it may see
	ErrNotFound     = errors.New("heroku: not found")
	ErrRateLimited  = errors.New("heroku: rate limited") // now, or a while ago, and not asked again before RetryAfter has passed
	ErrUnavailable  = errors.New("heroku: no answer")    // worth another try: network, time-out, 5xx
	ErrRefused      = errors.New("heroku: refused")      // any other 4xx
)

// Error is an answer that is no success. It holds no token.
type Error struct {
	Kind       error         // one of the above
	Call       string        // such as "GET /addons/:id"
	Status     int           // 0 where there was no answer
	ID         string        // Heroku's name for the error
	Message    string        // Heroku's words, at most 500 bytes
	RetryAfter time.Duration // of ErrRateLimited: no call is made before it has passed
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %v (%d %s: %s)", e.Call, e.Kind, e.Status, e.ID, e.Message)
}

func (e *Error) Unwrap() error { return e.Kind }

// Config of a client.
type Config struct {
	APIURL       string        // https://api.heroku.com
	IDURL        string        // https://id.heroku.com
	ClientSecret redact.Secret // of the add-on, from the partner portal
	HTTP         *http.Client
	Timeout      time.Duration    // of one call; default 10 s
	Reserve      int              // of an account's quota, below which calls that can wait do; default 500 of Heroku's 4,500
	Log          *slog.Logger     // is told when a quota is spent; default: nobody is
	Now          func() time.Time // default time.Now
}

// Client calls Heroku. It is safe for concurrent use. After a 429 it makes no call for that account before the time
// has passed that Heroku named, or a minute: all get ErrRateLimited at once.
type Client struct {
	cfg     Config
	quota   *quota
	patient bool
}

// New returns a client. It does no I/O.
func New(cfg Config) (*Client, error) {
	for _, u := range []string{cfg.APIURL, cfg.IDURL} {
		if p, err := url.Parse(u); err != nil || p.Host == "" || (p.Scheme != "https" && p.Scheme != "http") {
			return nil, errors.New("herokuapi: the addresses of Heroku's API and token endpoint must be http(s) URLs")
		}
	}
	if cfg.HTTP == nil {
		return nil, errors.New("herokuapi: HTTP is required")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 500
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.APIURL, cfg.IDURL = strings.TrimRight(cfg.APIURL, "/"), strings.TrimRight(cfg.IDURL, "/")
	return &Client{cfg: cfg, quota: newQuota(cfg)}, nil
}

// Patient returns the client for calls that can wait: it shares all that is known of quotas, and gets ErrRateLimited
// while less than the reserve is left of one.
func (c *Client) Patient() *Client {
	patient := *c
	patient.patient = true
	return &patient
}

// Wait tells how long calls with a token would get ErrRateLimited; 0 where they would be made.
func (c *Client) Wait(token redact.Secret) time.Duration {
	return c.quota.wait(accountOf(token), c.patient)
}

// maxBody bounds an answer; a page of a list has at most 1,000 entries.
const maxBody = 4 << 20

// call is one request to the Platform API. name is its path with placeholders, for errors.
type call struct {
	method, name, path string
	token              redact.Secret
	body               any
	pageRange, include string
}

func (c *Client) do(ctx context.Context, r call, into any) (next string, err error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", r.name, err)
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.cfg.APIURL+r.path, body)
	if err != nil {
		return "", fmt.Errorf("make request %s: %w", r.name, err)
	}
	req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
	req.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.pageRange != "" {
		req.Header.Set("Range", r.pageRange)
	}
	if r.include != "" {
		req.Header.Set("Accept-Inclusion", r.include)
	}
	return c.send(req, r.method+" "+r.name, accountOf(r.token), into)
}

// send performs a request and decodes a success. It returns the range of the next page, if there is one.
func (c *Client) send(req *http.Request, name string, of account, into any) (next string, err error) {
	if wait := c.quota.wait(of, c.patient); wait > 0 {
		return "", &Error{Kind: ErrRateLimited, Call: name, Message: "not asked: the quota is spent", RetryAfter: wait}
	}
	req.Header.Set("User-Agent", "remora-backup")
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		// The client's error quotes the URL, in which there is no secret, but not the headers.
		return "", &Error{Kind: ErrUnavailable, Call: name, Message: clip(err.Error())}
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	limited := c.quota.learn(of, resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		return "", &Error{Kind: ErrUnavailable, Call: name, Status: resp.StatusCode, Message: "the answer could not be read"}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", refusal(resp, name, body, limited)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil { // the error could quote a config var
			return "", &Error{Kind: ErrUnavailable, Call: name, Status: resp.StatusCode, Message: "the answer is not what was expected"}
		}
	}
	if resp.StatusCode == http.StatusPartialContent {
		next = resp.Header.Get("Next-Range")
	}
	return next, nil
}

func refusal(resp *http.Response, name string, body []byte, limited time.Duration) error {
	// Two shapes are seen in the wild: Heroku's own, and OAuth's (RFC 6749, 5.2).
	var said struct {
		ID          string `json:"id"`
		Message     string `json:"message"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing
	e := &Error{
		Call: name, Status: resp.StatusCode, ID: clip(cmp.Or(said.Code, said.ID)), Message: clip(said.Message + said.Description),
		RetryAfter: limited,
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		e.Kind = ErrUnauthorized
	case resp.StatusCode == http.StatusForbidden:
		e.Kind = ErrForbidden
	case resp.StatusCode == http.StatusNotFound:
		e.Kind = ErrNotFound
	case resp.StatusCode == http.StatusTooManyRequests:
		e.Kind = ErrRateLimited
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusRequestTimeout:
		e.Kind = ErrUnavailable
	default:
		e.Kind = ErrRefused
	}
	return e
}

func clip(s string) string {
	if len(s) > 500 {
		s = s[:500]
	}
	return strings.ToValidUTF8(s, "")
}
