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
	"net/http"
	"net/url"
	"strconv"
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
	ErrRateLimited  = errors.New("heroku: rate limited")
	ErrUnavailable  = errors.New("heroku: no answer") // worth another try: network, time-out, 5xx
	ErrRefused      = errors.New("heroku: refused")   // any other 4xx
)

// Error is an answer that is no success. It holds no token.
type Error struct {
	Kind       error         // one of the above
	Call       string        // such as "GET /addons/:id"
	Status     int           // 0 where there was no answer
	ID         string        // Heroku's name for the error
	Message    string        // Heroku's words, at most 500 bytes
	RetryAfter time.Duration // 0 where Heroku named none
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
	Timeout      time.Duration // of one call; default 10 s
}

// Client calls Heroku. It is safe for concurrent use.
type Client struct{ cfg Config }

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
	cfg.APIURL, cfg.IDURL = strings.TrimRight(cfg.APIURL, "/"), strings.TrimRight(cfg.IDURL, "/")
	return &Client{cfg}, nil
}

// maxBody bounds an answer; a page of a list has at most 1,000 entries.
const maxBody = 4 << 20

// call is one request to the Platform API. name is its path with placeholders, for errors.
type call struct {
	method, name, path string
	token              redact.Secret
	body               any
	pageRange          string
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
	return c.send(req, r.method+" "+r.name, into)
}

// send performs a request and decodes a success. It returns the range of the next page, if there is one.
func (c *Client) send(req *http.Request, name string, into any) (next string, err error) {
	req.Header.Set("User-Agent", "remora-backup")
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		// The client's error quotes the URL, in which there is no secret, but not the headers.
		return "", &Error{Kind: ErrUnavailable, Call: name, Message: clip(err.Error())}
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		return "", &Error{Kind: ErrUnavailable, Call: name, Status: resp.StatusCode, Message: "the answer could not be read"}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", refusal(resp, name, body)
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

func refusal(resp *http.Response, name string, body []byte) error {
	// Two shapes are seen in the wild: Heroku's own, and OAuth's (RFC 6749, 5.2).
	var said struct {
		ID          string `json:"id"`
		Message     string `json:"message"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing
	e := &Error{Call: name, Status: resp.StatusCode, ID: clip(cmp.Or(said.Code, said.ID)), Message: clip(said.Message + said.Description)}
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
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && s < 24*3600 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

func clip(s string) string {
	if len(s) > 500 {
		s = s[:500]
	}
	return strings.ToValidUTF8(s, "")
}
