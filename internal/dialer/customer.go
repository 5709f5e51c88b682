package dialer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// ErrPlainHTTP says that a customer's address is not one of https.
var ErrPlainHTTP = errors.New("dialer: the address must begin with https://")

// CheckURL returns ErrPlainHTTP for anything but https. Plain http to this machine passes where the policy allows this
// machine, since nothing in between could listen.
func (p Policy) CheckURL(u *url.URL) error {
	local := u.Hostname() == "localhost"
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		local = a.IsLoopback()
	}
	if u.Scheme == "https" || u.Scheme == "http" && p.loopback && local {
		return nil
	}
	return ErrPlainHTTP
}

// HTTPClient makes a client for addresses that customers name. Each request resolves its host anew and dials the one
// address that Resolve chose, so that what was checked is what is reached; what is not https is refused; redirects are
// not followed, and come back as they are; no connection is kept, so that the next request is checked as this one was.
// timeout bounds a whole exchange, body included. Errors: *RefusedError, ErrNotFound and ErrPlainHTTP, wrapped.
func (p Policy) HTTPClient(r Resolver, timeout time.Duration) *http.Client {
	transport := p.transport(r)
	transport.DisableKeepAlives, transport.MaxResponseHeaderBytes = true, 16<<10
	return p.client(transport, timeout)
}

// StoreClient is HTTPClient for stores that customers name, over which much is sent: an exchange has no timeout but its context's,
// and connections are kept for a while. One that is kept leads where it was checked to lead when it was made.
func (p Policy) StoreClient(r Resolver) *http.Client {
	transport := p.transport(r)
	transport.MaxResponseHeaderBytes, transport.WriteBufferSize = 64<<10, 64<<10
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = 64, 4, 30*time.Second
	transport.ResponseHeaderTimeout = time.Minute
	return p.client(transport, 0)
}

func (p Policy) transport(r Resolver) *http.Transport {
	return &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, hostport string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(hostport)
			if err != nil {
				return nil, fmt.Errorf("split: %w", err)
			}
			addr, err := p.Resolve(ctx, r, host)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		},
		TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
	}
}

func (p Policy) client(over *http.Transport, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     checked{p, over},
	}
}

type checked struct {
	policy Policy
	next   *http.Transport
}

// CloseIdleConnections is what http.Client's calls.
func (c checked) CloseIdleConnections() { c.next.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.policy.CheckURL(r.URL); err != nil {
		return nil, err
	}
	return c.next.RoundTrip(r)
}
