package dashboard_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// What is missing is said at the start and not to whoever needs it first.
func TestNewRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	whole := func() dashboard.Config {
		return dashboard.Config{
			Store: &postgres.Store{}, BaseURL: "http://x", ServiceAccount: serviceAccount, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Open: func(context.Context, remora.ResourceID, remora.Backup, []string) (dashboard.Archive, error) {
				return nil, nil
			},
			Contents: func(context.Context, remora.ResourceID, remora.Backup) (dashboard.Archive, error) { return nil, nil },
			Script:   func(io.Writer, io.Reader) error { return nil },
			Sealed: func(context.Context, remora.ResourceID, remora.Backup, string) (dashboard.Archive, error) {
				return nil, nil
			},
			Sealer: sealer{},
			Probe: func(context.Context, remora.ResourceID, remora.Place, remora.BucketKeys) (remora.Probed, error) {
				return remora.Probed{}, nil
			},
		}
	}
	if _, err := dashboard.New(whole()); err != nil {
		t.Error(err)
	}
	for name, without := range map[string]func(*dashboard.Config){
		"store": func(c *dashboard.Config) { c.Store = nil }, "log": func(c *dashboard.Config) { c.Log = nil },
		"address": func(c *dashboard.Config) { c.BaseURL = "" }, "account": func(c *dashboard.Config) { c.ServiceAccount = "" },
		"archives": func(c *dashboard.Config) { c.Open = nil }, "contents": func(c *dashboard.Config) { c.Contents = nil }, "script": func(c *dashboard.Config) { c.Script = nil },
		"sealed files": func(c *dashboard.Config) { c.Sealed = nil }, "keys": func(c *dashboard.Config) { c.Sealer = nil }, "buckets": func(c *dashboard.Config) { c.Probe = nil },
	} {
		cfg := whole()
		without(&cfg)
		if _, err := dashboard.New(cfg); err == nil {
			t.Errorf("made without %s", name)
		}
	}
}
