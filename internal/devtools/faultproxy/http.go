// Package faultproxy stands between a client and a server in tests and does what networks and servers do on
// bad days: it refuses, cuts, holds and forgets. HTTP knows requests, TCP knows bytes only. Both listen on a
// free loopback port and end with Close.
package faultproxy

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
)

// Fault answers one request in the server's place. next is the server.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Rule says which requests get a fault.
type Rule struct {
	Match func(*http.Request) bool // nil: every request
	Skip  int                      // matching requests that pass first
	Times int                      // faults after those; 0: every one
	Do    Fault
}

// HTTP is a proxy in front of one server. The Host header passes as the client sent it, so that signatures
// stay valid.
type HTTP struct {
	URL string

	server *httptest.Server
	idle   *http.Transport
	mu     sync.Mutex
	rules  []*counted
}

type counted struct {
	Rule
	seen int
}

// NewHTTP starts a proxy for target, such as http://127.0.0.1:9000. The caller closes it.
func NewHTTP(target string) (*HTTP, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("faultproxy: %q is no address", target)
	}
	p := &HTTP{idle: &http.Transport{DisableCompression: true, DialContext: (&net.Dialer{}).DialContext}}
	next := &httputil.ReverseProxy{
		Transport: p.idle,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // a cut connection is what we are for
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler)
		},
	}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if do := p.pick(r); do != nil {
			do(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	p.URL = p.server.URL
	return p, nil
}

// Add puts a rule behind those there are. The first that has a fault for a request decides.
func (p *HTTP) Add(r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &counted{Rule: r})
}

// Clear removes all rules.
func (p *HTTP) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

func (p *HTTP) pick(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.rules {
		if c.Match != nil && !c.Match(r) {
			continue
		}
		c.seen++
		if n := c.seen - c.Skip; n > 0 && (c.Times == 0 || n <= c.Times) {
			return c.Do
		}
	}
	return nil
}

// Close ends the proxy and waits for requests in flight.
func (p *HTTP) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
	p.idle.CloseIdleConnections()
}
