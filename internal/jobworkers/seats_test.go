package jobworkers

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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

// One customer's receiver takes every message and answers none: that holds as many couriers as one customer may have, and
// a neighbour's news goes out meanwhile.
func TestAReceiverThatNeverAnswersHoldsFewCouriers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	taken, answer := make(chan struct{}, 10), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/never" {
			taken <- struct{}{}
			<-answer
		}
	}))
	defer srv.Close()
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pgtest.Pool(t), Keys: keys})
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
	courier, err := NewCourier(CourierConfig{Store: store, Sender: sender, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), PerResource: 2})
	if err != nil {
		t.Fatal(err)
	}
	messages := func(path string, n int) (out []remora.DeliveryID) {
		t.Helper()
		id := remora.NewID[remora.ResourceID]()
		_, err := store.ProvisionResource(ctx, remora.Provision{ID: id, Name: "remora-backup-clean-1", Plan: "mako"}, redact.New("key"), "age1")
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := store.AddChannel(ctx, id, remora.NewChannel{Kind: remora.ChannelWebhook, Address: redact.New(srv.URL + path), Shown: path}, "p")
		for range n {
			if err == nil {
				err = store.TestChannel(ctx, id, c, "p")
			}
		}
		all, listed := store.Deliveries(ctx, id)
		if err := errors.Join(err, listed); err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			out = append(out, d.ID)
		}
		return out
	}
	deliver := func(d remora.DeliveryID) error {
		job := &river.Job[jobargs.DeliverNews]{JobRow: &rivertype.JobRow{Attempt: 1}, Args: jobargs.DeliverNews{Delivery: d}}
		return (&deliverNews{Courier: courier}).Work(ctx, job)
	}
	never := messages("/never", 3)
	held := make(chan error, 2)
	for _, d := range never[:2] {
		go func() { held <- deliver(d) }()
		<-taken
	}
	var snooze *river.JobSnoozeError
	if err := deliver(never[2]); !errors.As(err, &snooze) {
		t.Errorf("a third courier went there too: %v", err)
	}
	if err := deliver(messages("/at-once", 1)[0]); err != nil {
		t.Errorf("a neighbour's news: %v", err)
	}
	close(answer)
	for range 2 {
		if err := <-held; err != nil {
			t.Error(err)
		}
	}
	if err := deliver(never[2]); err != nil {
		t.Errorf("with a courier free again: %v", err)
	}
}

func TestASeatIsGivenBackAlsoAfterAPanic(t *testing.T) {
	t.Parallel()
	s := &seats{most: 1, of: map[remora.ResourceID]int{}}
	func() {
		defer func() { _ = recover() }()
		s.hold("a", func() {
			if s.hold("a", func() {}) || !s.hold("b", func() {}) {
				t.Error("one resource's seat is another's")
			}
			panic("a sender's")
		})
	}()
	if !s.hold("a", func() {}) || len(s.of) != 0 {
		t.Error("the seat was not given back", s.of)
	}
}
