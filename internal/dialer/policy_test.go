package dialer_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/remora-backup/remora/internal/dialer"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"100.100.100.200", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a9fe:a9fe",
		"64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
		"192.0.2.1", "203.0.113.5", "2001:db8::1", "fec0::1", "::",
	} {
		var r *dialer.RefusedError
		if err := dialer.Strict().Check(netip.MustParseAddr(bad)); !errors.As(err, &r) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, good := range []string{"8.8.8.8", "52.1.2.3", "2600:1f18::1", "172.32.0.1", "100.128.0.1"} {
		if err := dialer.Strict().Check(netip.MustParseAddr(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	local := dialer.AllowLoopback()
	if local.Check(netip.MustParseAddr("127.0.0.1")) != nil || local.Check(netip.MustParseAddr("10.0.0.1")) == nil {
		t.Error("loopback, and nothing more, is allowed where it is allowed")
	}
}

type answers []string

func (a answers) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range a {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

func TestResolvePinsOneAddressAndRefusesAMixedHost(t *testing.T) {
	t.Parallel()
	p := dialer.Strict()
	if got, err := p.Resolve(t.Context(), answers{"2600:1f18::1", "::ffff:52.1.2.3", "52.1.2.4"}, "db.example"); err != nil || got.String() != "52.1.2.3" {
		t.Error(got, err)
	}
	var r *dialer.RefusedError
	if _, err := p.Resolve(t.Context(), answers{"52.1.2.3", "127.0.0.1"}, "db.example"); !errors.As(err, &r) {
		t.Error(err)
	}
	if _, err := p.Resolve(t.Context(), answers{}, "db.example"); !errors.Is(err, dialer.ErrNotFound) {
		t.Error(err)
	}
	if _, err := p.Resolve(t.Context(), nil, "169.254.169.254"); !errors.As(err, &r) {
		t.Error(err)
	}
}
