package remora_test

import (
	"testing"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestPingsGoWhereWatchesExpectThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address, want string
		kind          remora.PingKind
	}{
		{"https://hc-ping.com/5e3d", "https://hc-ping.com/5e3d", remora.PingSuccess},
		{"https://hc-ping.com/5e3d", "https://hc-ping.com/5e3d/fail", remora.PingFail},
		{"https://hc-ping.com/5e3d/", "https://hc-ping.com/5e3d/fail", remora.PingFail},
		{"https://hc-ping.com/key/nightly?create=1", "https://hc-ping.com/key/nightly/start?create=1", remora.PingStart},
		{"https://example.com/a%2Fb", "https://example.com/a%2Fb/fail", remora.PingFail},
	} {
		got, err := remora.PingAddress(redact.New(c.address), c.kind)
		if err != nil || got.Reveal() != c.want {
			t.Errorf("%s %s: %s %v", c.kind, c.address, got.Reveal(), err)
		}
	}
}
