package notify

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

type answers map[string]string

func (a answers) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a[host] == "" {
		return nil, errors.New("the server does not answer")
	}
	return []netip.Addr{netip.MustParseAddr(a[host])}, nil
}

func TestWhoeverSavesAPrivateAddressIsTold(t *testing.T) {
	t.Parallel()
	names := answers{"ops.example.com.": "192.168.1.4", "hooks.example.com.": "93.184.215.14"}
	for address, ok := range map[string]bool{
		"https://ops.example.com/x": false, "https://169.254.169.254/latest": false, "https://[::1]/": false,
		"https://hooks.example.com/x": true, "https://not-yet.example.com/": true,
	} {
		err := Callable(t.Context(), dialer.Strict(), names, redact.New(address))
		if (err == nil) != ok || err != nil && remora.KindOf(err) != remora.KindInvalid {
			t.Errorf("%s: %v", address, err)
		}
	}
}
