package jobworkers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// A resource with a channel of each kind, of which one is dead and one says no: what happens reaches all the others, with
// no worker of any other queue running, and the log tells of each.
func TestNewsReachesEveryChannelButTheDead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	in, err := inbox.Start(inbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // a test's
	var mu sync.Mutex
	heard := map[string]int{}
	came := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		heard[r.URL.Path]++
		mu.Unlock()
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
		came <- r.URL.Path
	}))
	defer srv.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + dead.Addr().String()
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}

	pool := pgtest.Pool(t)
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys, GatherNews: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	mailer, err := notify.NewMailer(redact.New("smtp://127.0.0.1:"+strconv.Itoa(in.Port())), "Remora <news@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := notify.New(notify.Config{
		Site:   notify.Site{BaseURL: "https://remora.example.com", Home: "/dashboard", AddonID: "remora-backup", ServiceAccount: "backups@remora.example"},
		Policy: dialer.AllowLoopback(), Resolver: net.DefaultResolver, Mailer: mailer,
	})
	if err != nil {
		t.Fatal(err)
	}
	courier, err := NewCourier(CourierConfig{Store: store, Sender: sender, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	list := river.NewWorkers()
	courier.Register(list)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: slog.New(slog.DiscardHandler), FetchPollInterval: 100 * time.Millisecond,
		Queues: map[string]river.QueueConfig{jobargs.QueueNotify: {MaxWorkers: 4}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer client.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // a test's

	id := remora.NewID[remora.ResourceID]()
	_, err = store.ProvisionResource(ctx, remora.Provision{
		ID: id, Name: "remora-backup-clean-1", Plan: "mako", LogInput: redact.New(srv.URL + "/logs"),
	}, redact.New("key"), "age1")
	if err != nil {
		t.Fatal(err)
	}
	for address, kind := range map[string]remora.ChannelKind{
		srv.URL + "/hook": remora.ChannelWebhook, srv.URL + "/gone": remora.ChannelWebhook, closed: remora.ChannelWebhook, srv.URL + "/slack": remora.ChannelSlack,
		"owner@example.com": remora.ChannelEmail,
	} {
		if _, _, err := store.AddChannel(ctx, id, remora.NewChannel{Kind: kind, Address: redact.New(address), Shown: address}, "p"); err != nil {
			t.Fatal(err)
		}
	}
	await := func(is func() bool) {
		t.Helper()
		deadline, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		for !is() {
			select {
			case <-came:
			case <-in.Came():
			case <-time.After(50 * time.Millisecond): // another look: our own rows change without a sound
			case <-deadline.Done():
				all, err := store.Deliveries(ctx, id)
				t.Fatalf("%+v %+v %v", heard, all, err)
			}
		}
	}
	await(func() bool { return len(in.Mails()) == 1 })
	if err := store.ConfirmByMail(ctx, tokenOf(t, in.Mails()[0].Text)); err != nil {
		t.Fatal(err)
	}
	if err := store.SaveFound(ctx, id, "helper", nil); err != nil { // later nobody is installing any more
		t.Fatal(err)
	}
	if err := store.SetAttention(ctx, id, remora.ReasonNotShared); err != nil {
		t.Fatal(err)
	}
	state := func() map[string]remora.Delivery {
		out := map[string]remora.Delivery{}
		all, err := store.Deliveries(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d.Kind == remora.DeliveryNews {
				out[d.Channel.Shown] = d
			}
		}
		return out
	}
	await(func() bool {
		ended := 0
		for _, d := range state() {
			if d.State != remora.DeliveryQueued || d.Attempts > 0 {
				ended++
			}
		}
		return ended == 6 && len(in.Mails()) == 2
	})
	mu.Lock()
	for _, path := range []string{"/hook", "/gone", "/slack", "/logs"} {
		if heard[path] != 1 {
			t.Errorf("%s heard it %d times", path, heard[path])
		}
	}
	mu.Unlock()
	all := state()
	if d := all[closed]; d.State != remora.DeliveryQueued || d.Attempts != 1 || d.Outcome == "" {
		t.Errorf("the dead one: %+v", d)
	}
	if d := all[srv.URL+"/gone"]; d.State != remora.DeliveryFailed || d.Channel.Enabled || d.Channel.Problem == "" {
		t.Errorf("the one that says no: %+v", d)
	}
	for _, ok := range []string{srv.URL + "/hook", srv.URL + "/slack", "owner@example.com"} {
		if d := all[ok]; d.State != remora.DeliverySent || d.EndedAt.IsZero() {
			t.Errorf("%s: %+v", ok, d)
		}
	}
}

// tokenOf reads the link of the mail that asks.
func tokenOf(t *testing.T, text string) string {
	t.Helper()
	_, token, found := strings.Cut(text, "https://remora.example.com/notifications/confirm/")
	if !found || len(token) < 64 {
		t.Fatal(text)
	}
	return token[:64]
}

func TestHowOftenAMessageIsTried(t *testing.T) {
	t.Parallel()
	heals := &notify.Failure{Sentence: "It did not answer in time.", Heals: true}
	m := remora.Message{Kind: remora.DeliveryNews}
	dead := m
	dead.Channel.Problem = "It did not answer in time."
	test := m
	test.Kind = remora.DeliveryTest
	for _, c := range []struct {
		m       remora.Message
		err     error
		attempt int
		want    remora.DeliveryState
	}{
		{m, nil, 1, remora.DeliverySent},
		{m, heals, 7, remora.DeliveryQueued},
		{m, heals, 8, remora.DeliveryFailed},
		{m, &notify.Failure{Sentence: "It answered 404."}, 1, remora.DeliveryFailed},
		{dead, heals, 1, remora.DeliveryQueued},
		{dead, heals, 2, remora.DeliveryFailed},
		{test, heals, 1, remora.DeliveryFailed},
	} {
		if got := tried(c.m, "It answered 200 OK.", c.err, c.attempt); got.State != c.want || got.Outcome == "" {
			t.Errorf("%+v, attempt %d: %+v", c.m.Kind, c.attempt, got)
		}
	}
	var longest time.Duration
	for attempt := 1; attempt < len(pauses)+1; attempt++ {
		next := (*deliverNews)(nil).NextRetry(&river.Job[jobargs.DeliverNews]{JobRow: &rivertype.JobRow{Attempt: attempt}})
		wait := time.Until(next)
		if wait < longest {
			t.Errorf("attempt %d waits %s, the one before %s", attempt, wait, longest)
		}
		longest = wait
	}
	if (jobargs.DeliverNews{}).InsertOpts().MaxAttempts != len(pauses)+1 {
		t.Error("River gives up at another time")
	}
}

// Heroku may change where the log takes lines: what its list of attachments says is kept, sealed, as the one channel.
func TestTheLogsAddressIsReadAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	for _, address := range []string{"https://token:t.1@1.us.logplex.io/logs", "https://token:t.2@2.us.logplex.io/logs"} {
		b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/addon-attachments") {
				return false
			}
			_, _ = w.Write([]byte(`[{"id":"t0","name":"REMORA_BACKUP","namespace":null,"log_input_url":"` + address + `","addon":{"id":"` + string(b.id) + `","name":"remora","app":{"id":"h","name":"helper"}},"app":{"id":"h","name":"helper"}},
				{"id":"t2","name":"OTHER","namespace":null,"log_input_url":null,"addon":{"id":"o","name":"other","app":{"id":"h","name":"helper"}},"app":{"id":"h","name":"helper"}}]`))
			return true
		})
		if err := work(t, t.Context(), &findDatabases{Workers: b.Workers}, jobargs.FindDatabases{Resource: b.id}); err != nil {
			t.Fatal(err)
		}
		host, _, _ := strings.Cut(strings.TrimPrefix(address, "https://token:t."), "/")
		all, err := b.Store.Channels(t.Context(), b.id)
		if err != nil || len(all) != 1 || all[0].Kind != remora.ChannelLogStream || all[0].Shown != "https://"+host[2:]+"/…" {
			t.Errorf("%+v %v", all, err)
		}
	}
}
