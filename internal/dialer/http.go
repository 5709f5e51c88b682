package dialer

import (
	"context"
	"net"
	"net/http"
	"time"
)

// HTTPClient makes a client for a service that the operator has named: Heroku's API, the object store.
// Redirects are not followed, so that no credential goes where it was not sent. timeout bounds a whole
// exchange, body included; 0 leaves that to the request's context.
func HTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       nil, // a proxy of the environment would see what we send
			DialContext: (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			// Connections to few hosts, kept as long as a part takes to fill.
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 60 * time.Second, ExpectContinueTimeout: time.Second,
			ForceAttemptHTTP2: true, WriteBufferSize: 64 << 10,
		},
	}
}

// Dial connects to an address that was resolved and checked before.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	return d.DialContext(ctx, network, addr)
}
