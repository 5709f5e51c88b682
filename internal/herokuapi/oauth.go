package herokuapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// Tokens are what an exchange or a refresh brings.
type Tokens struct {
	Access    redact.Secret
	Refresh   redact.Secret // may be empty after a refresh: then the old one stays good
	ExpiresIn time.Duration
}

// ExchangeGrant turns the code of a provision request into tokens. The code is good once, for five minutes.
// Errors: ErrRevoked for a code that is used, expired or not ours; ErrClientSecret; ErrUnavailable.
func (c *Client) ExchangeGrant(ctx context.Context, code redact.Secret) (Tokens, error) {
	return c.token(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code.Reveal()}})
}

// Refresh gets a new access token. Errors: ErrRevoked when the authorization was revoked; ErrClientSecret; ErrUnavailable.
func (c *Client) Refresh(ctx context.Context, refresh redact.Secret) (Tokens, error) {
	return c.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}})
}

func (c *Client) token(ctx context.Context, form url.Values) (Tokens, error) {
	form.Set("client_secret", c.cfg.ClientSecret.Reveal())
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.IDURL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return Tokens{}, fmt.Errorf("make token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	var got struct {
		Access    redact.Secret `json:"access_token"`
		Refresh   redact.Secret `json:"refresh_token"`
		ExpiresIn int64         `json:"expires_in"` // seconds
	}
	if _, err := c.send(req, "POST /oauth/token", account{}, &got); err != nil {
		return Tokens{}, refusedToken(err)
	}
	if got.Access.IsZero() || got.ExpiresIn <= 0 {
		return Tokens{}, &Error{Kind: ErrUnavailable, Call: "POST /oauth/token", Status: http.StatusOK, Message: "the answer holds no token"}
	}
	return Tokens{Access: got.Access, Refresh: got.Refresh, ExpiresIn: time.Duration(got.ExpiresIn) * time.Second}, nil
}

// refusedToken tells a token that is not good from a secret that is not. Only invalid_grant says that of the token
// (https://www.rfc-editor.org/rfc/rfc6749#section-5.2); a 401 that says nothing may be either, and is taken for what
// condemns nobody.
func refusedToken(err error) error {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRateLimited) {
		return err
	}
	switch {
	case e.ID == "invalid_grant":
		e.Kind = ErrRevoked
	case e.ID == "invalid_client", e.Status == http.StatusUnauthorized:
		e.Kind = ErrClientSecret
	}
	return e
}
