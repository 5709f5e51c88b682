// Package dialer is the only way out of the product: it decides which hosts of customers may be dialled, and
// makes the HTTP clients that everything else uses.
//
// A customer's host is resolved once. When any of its addresses is one that must not be reached, the host is
// refused; otherwise one address is chosen and everything that connects is pinned to it, so that a name
// which answers differently the second time (DNS rebinding) gains nothing.
package dialer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Policy says which addresses of customers may be dialled. It is compiled into each main program and is no
// setting.
type Policy struct {
	loopback bool
}

// Strict allows public addresses only.
func Strict() Policy { return Policy{} }

// AllowLoopback also allows 127.0.0.0/8 and ::1. For the demo and for tests.
func AllowLoopback() Policy { return Policy{loopback: true} }

// refused are ranges that netip's own predicates do not cover, from the IANA special-purpose registries.
var refused = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// RefusedError says that a host must not be dialled.
type RefusedError struct{ Addr netip.Addr }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("dialer: %s is not a public address", e.Addr)
}

// ErrNotFound says that a host has no address.
var ErrNotFound = errors.New("dialer: the host has no address")

// Check returns a *RefusedError for an address that must not be dialled: anything but public unicast.
// An IPv4 address inside of an IPv6 one is refused in every spelling.
func (p Policy) Check(addr netip.Addr) error {
	if p.loopback && addr.IsLoopback() {
		return nil
	}
	bad := !addr.IsValid() || addr.Zone() != "" || addr.Is4In6() || !addr.IsGlobalUnicast() || addr.IsPrivate()
	for _, r := range refused {
		bad = bad || r.Contains(addr)
	}
	if bad {
		return &RefusedError{Addr: addr}
	}
	return nil
}

// Resolver looks a host's addresses up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Resolve returns the one address to dial for a host: IPv4 before IPv6, else in the resolver's order. Errors:
// *RefusedError when any of its addresses must not be dialled, ErrNotFound when it has none, and the
// resolver's own when it could not say.
func (p Policy) Resolve(ctx context.Context, r Resolver, host string) (netip.Addr, error) {
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else {
		found, err := r.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, ".")+".")
		if err != nil {
			var dns *net.DNSError
			if errors.As(err, &dns) && dns.IsNotFound {
				return netip.Addr{}, ErrNotFound
			}
			return netip.Addr{}, fmt.Errorf("resolve: %w", err)
		}
		for _, a := range found {
			addrs = append(addrs, a.Unmap()) // Go's resolver gives IPv4 addresses in the longer form
		}
	}
	chosen := netip.Addr{}
	for _, a := range addrs {
		if err := p.Check(a); err != nil {
			return netip.Addr{}, err
		}
		if !chosen.IsValid() || a.Is4() && !chosen.Is4() {
			chosen = a
		}
	}
	if !chosen.IsValid() {
		return netip.Addr{}, ErrNotFound
	}
	return chosen, nil
}
