package jobworkers

import (
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// A watch whose certificate nobody trusts: each try is written down, and it is tried again until the last, but for what
// would not be true later.
func TestAPingThatDoesNotArriveIsTriedAgainAndShown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	watch := httptest.NewUnstartedServer(nil)
	watch.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	watch.StartTLS()
	defer watch.Close()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.Pool(t)
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := notify.New(notify.Config{
		Site:   notify.Site{BaseURL: "https://remora.example.com", Home: "/dashboard", AddonID: "remora-backup", ServiceAccount: "backups@remora.example"},
		Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver,
	})
	if err != nil {
		t.Fatal(err)
	}
	courier, err := NewCourier(CourierConfig{Store: store, Sender: sender, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	id := remora.NewID[remora.ResourceID]()
	_, err = store.ProvisionResource(ctx, remora.Provision{ID: id, Name: "remora-backup-clean-1", Plan: "mako"}, redact.New("key"), "age1")
	if err == nil {
		err = store.SetReady(ctx, id, "app-id", "helper")
	}
	if err == nil {
		err = store.SaveFound(ctx, id, "helper", []postgres.Found{{AddonID: "id-1", Addon: "db-1", Attachment: "REMORA_DB", Credential: "remora_ro"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	view, err := store.Overview(ctx, id)
	if err == nil {
		err = store.SetPing(ctx, id, view.Databases[0].ID, redact.New(watch.URL+"/5e3d"), true, "anna")
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := store.ClaimBackup(ctx, view.Backups[0].ID, "w")
	if err == nil {
		err = store.KeepBackup(ctx, c, remora.Kept{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		about   remora.PingKind
		attempt int
		again   bool
	}{{remora.PingStart, 1, false}, {remora.PingSuccess, 1, true}, {remora.PingSuccess, 6, false}} {
		var args jobargs.Ping
		err = pool.QueryRow(ctx, "SELECT args FROM river.river_job WHERE kind = 'ping' AND args->>'about' = $1", string(try.about)).Scan(&args)
		if err != nil {
			t.Fatal(err)
		}
		job := &river.Job[jobargs.Ping]{JobRow: &rivertype.JobRow{Attempt: try.attempt, MaxAttempts: 6}, Args: args}
		if err := (&ping{Courier: courier}).Work(ctx, job); errors.Is(err, errAgain) != try.again {
			t.Errorf("%+v: %v", try, err)
		}
		x, err := store.Outside(ctx, id, view.Databases[0].ID)
		if err != nil || x.Ping.OK || x.Ping.Kind != try.about || !strings.Contains(x.Ping.Outcome, "certificate") || strings.Contains(x.Ping.Outcome, "again") != try.again {
			t.Errorf("%+v: %+v %v", try, x.Ping, err)
		}
	}
}
