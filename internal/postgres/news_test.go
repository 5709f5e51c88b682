package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func (b *bundle) channel(t *testing.T, id remora.ResourceID, kind remora.ChannelKind, address string) (remora.ChannelID, redact.Secret) {
	t.Helper()
	n, err := remora.ParseChannel(kind, address)
	if err != nil {
		t.Fatal(err)
	}
	c, secret, err := b.AddChannel(t.Context(), id, n, "owner@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return c, secret
}

// queued are the messages that wait to be delivered, oldest first.
func (b *bundle) queued(t *testing.T, id remora.ResourceID) []remora.Message {
	t.Helper()
	all, err := b.Deliveries(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out []remora.Message
	for _, d := range all {
		if d.State != remora.DeliveryQueued {
			continue
		}
		m, err := b.ToDeliver(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		out = append([]remora.Message{m}, out...)
	}
	return out
}

func (b *bundle) plan(t *testing.T, id remora.ResourceID) {
	t.Helper()
	if err := b.PlanNews(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) sent(t *testing.T, m remora.Message) {
	t.Helper()
	if err := b.SaveTried(t.Context(), m, postgres.Tried{State: remora.DeliverySent, Outcome: "It answered 200 OK."}); err != nil {
		t.Fatal(err)
	}
}

func TestAnAddressHearsNothingUntilItsOwnerSaysYes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	c, _ := b.channel(t, id, remora.ChannelEmail, "Owner@example.com")
	asks := b.queued(t, id)
	if len(asks) != 1 || asks[0].Kind != remora.DeliveryConfirmation || asks[0].Address.Reveal() != "Owner@example.com" || asks[0].Secret.IsZero() {
		t.Fatalf("%+v", asks)
	}
	token := asks[0].Secret.Reveal()
	b.sent(t, asks[0])
	b.run(t, id, func(c postgres.Claim) error { return b.KeepBackup(ctx, c, remora.Kept{}) })
	b.plan(t, id)
	if got := b.queued(t, id); len(got) != 0 {
		t.Errorf("told before it was confirmed: %+v", got)
	}
	if err := b.TestChannel(ctx, id, c, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	if _, err := b.ByMail(ctx, "no such token"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if got, err := b.ByMail(ctx, token); err != nil || got.ID != c || got.Shown != "O…@example.com" || !got.ConfirmedAt.IsZero() || got.Removed {
		t.Errorf("%+v %v", got, err)
	}
	for range 2 {
		if err := b.ConfirmByMail(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	b.run(t, id, func(c postgres.Claim) error {
		_, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonPermission}, "")
		return err
	})
	b.plan(t, id)
	got := b.queued(t, id)
	if len(got) != 1 || len(got[0].News) != 1 || got[0].News[0].Event.Kind != remora.EventPermissionGap || got[0].News[0].Addon != "db-1" || got[0].News[0].Credential != "remora_ro" {
		t.Fatalf("%+v", got)
	}
	for range 2 {
		if err := b.StopByMail(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.ToDeliver(ctx, got[0].Delivery); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Errorf("a message to an address that wants none: %v", err)
	}
	if err := b.ConfirmByMail(ctx, token); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if n := b.addresses(t); n != 0 {
		t.Errorf("%d secrets are kept", n)
	}
}

// addresses counts the addresses and secrets of channels that our database holds.
func (b *bundle) addresses(t *testing.T) (n int) {
	t.Helper()
	ctx := t.Context()
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it only reads
	if _, err := tx.Exec(ctx, "SELECT set_config('remora.service', 'on', true)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(ctx, "SELECT count(sealed_address) + count(sealed_secret) FROM channels").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnOldConfirmationIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t)
	b.channel(t, id, remora.ChannelEmail, "owner@example.com")
	token := b.queued(t, id)[0].Secret.Reveal()
	b.ahead += remora.ConfirmGood + time.Minute
	if err := b.ConfirmByMail(t.Context(), token); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
}

func TestChannelsAreLimited(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t)
	add := func(id remora.ResourceID, kind remora.ChannelKind, address string) error {
		n, err := remora.ParseChannel(kind, address)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = b.AddChannel(ctx, id, n, "p")
		return err
	}
	if err := add(id, remora.ChannelWebhook, "https://a.example.com/1"); err != nil {
		t.Fatal(err)
	}
	if err := add(id, remora.ChannelWebhook, "https://a.example.com/1"); remora.KindOf(err) != remora.KindConflict {
		t.Errorf("twice: %v", err)
	}
	for i := range 9 {
		if err := add(id, remora.ChannelSlack, "https://a.example.com/s"+strings.Repeat("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(id, remora.ChannelSlack, "https://a.example.com/eleven"); remora.KindOf(err) != remora.KindPlanLimit {
		t.Errorf("an eleventh: %v", err)
	}
	// One resource asks few addresses a day, removed or not.
	asking := b.resource(t)
	for _, a := range []string{"a", "b", "c", "d", "e"} {
		c, _ := b.channel(t, asking, remora.ChannelEmail, a+"@example.com")
		if err := b.RemoveChannel(ctx, asking, c, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(asking, remora.ChannelEmail, "f@example.com"); remora.KindOf(err) != remora.KindBusy {
		t.Errorf("a sixth address: %v", err)
	}
	// One address is asked few times a day, by whomever.
	for range remora.MaxConfirmations {
		if err := add(b.resource(t), remora.ChannelEmail, "victim@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(b.resource(t), remora.ChannelEmail, "victim@example.com"); remora.KindOf(err) != remora.KindBusy {
		t.Errorf("a sixth time: %v", err)
	}
	b.ahead += 25 * time.Hour
	if err := add(b.resource(t), remora.ChannelEmail, "victim@example.com"); err != nil {
		t.Errorf("the next day: %v", err)
	}
	// Tests are few too.
	hook, secret := b.channel(t, b.resource(t), remora.ChannelWebhook, "https://a.example.com/2")
	if !strings.HasPrefix(secret.Reveal(), "whsec_") {
		t.Error("no secret")
	}
	if err := b.TestChannel(ctx, id, hook, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Errorf("a neighbour's channel: %v", err)
	}
}

func TestTheLogStreamIsThereFromTheBeginning(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := remora.NewID[remora.ResourceID]()
	p := provision(id)
	p.LogInput = redact.New("https://token:t.1@1.us.logplex.io/logs")
	for range 2 {
		if _, err := b.ProvisionResource(ctx, p, redact.New("key"), "age1"); err != nil {
			t.Fatal(err)
		}
	}
	all, err := b.Channels(ctx, id)
	if err != nil || len(all) != 1 || all[0].Kind != remora.ChannelLogStream || !all[0].Enabled || all[0].Shown != "https://1.us.logplex.io/…" {
		t.Fatalf("%+v %v", all, err)
	}
	if err := b.RemoveChannel(ctx, id, all[0].ID, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}
	if err := errors.Join(b.SaveFound(ctx, id, "helper", nil), b.SetAttention(ctx, id, remora.ReasonNotShared)); err != nil { // nobody is installing it any more
		t.Fatal(err)
	}
	if b.jobs(t, "plan_news") != 1 {
		t.Error("nobody was asked to tell it")
	}
	b.plan(t, id)
	b.plan(t, id)
	if err := b.SaveLogInput(ctx, id, redact.New("https://token:t.2@1.us.logplex.io/logs")); err != nil {
		t.Fatal(err)
	}
	got := b.queued(t, id)
	if len(got) != 1 || got[0].Address.Reveal() != "https://token:t.2@1.us.logplex.io/logs" || got[0].News[0].Event.Reason != remora.ReasonNotShared {
		t.Fatalf("%+v", got)
	}
	// What is given up is said, at the message and at the channel; the next that arrives ends it.
	for _, s := range []remora.DeliveryState{remora.DeliveryQueued, remora.DeliveryFailed} {
		if err := b.SaveTried(ctx, got[0], postgres.Tried{State: s, Outcome: "It answered 403."}); err != nil {
			t.Fatal(err)
		}
	}
	log, err := b.Deliveries(ctx, id)
	if err != nil || log[0].State != remora.DeliveryFailed || log[0].Attempts != 2 || log[0].Outcome != "It answered 403." || log[0].Events[0] != remora.EventCredentialProblem ||
		log[0].Channel.Problem != "It answered 403." || log[0].EndedAt.IsZero() {
		t.Errorf("%+v %v", log, err)
	}
	if err := b.TestChannel(ctx, id, all[0].ID, "p"); err != nil {
		t.Fatal(err)
	}
	b.sent(t, b.queued(t, id)[0])
	if all, _ = b.Channels(ctx, id); all[0].Problem != "" {
		t.Errorf("%+v", all)
	}
	// One that is turned off hears nothing, also of what waits.
	b.ahead += time.Minute
	if err := b.SetAttention(ctx, id, remora.ReasonTokenRevoked); err != nil {
		t.Fatal(err)
	}
	if err := b.SetChannel(ctx, id, all[0].ID, false, nil, "p"); err != nil {
		t.Fatal(err)
	}
	if err := b.SetChannel(ctx, id, all[0].ID, true, []remora.EventKind{remora.EventCredentialProblem}, "p"); err != nil {
		t.Fatal(err)
	}
	b.ahead += time.Minute
	if err := b.SetAttention(ctx, id, remora.ReasonNotShared); err != nil {
		t.Fatal(err)
	}
	b.plan(t, id)
	if got := b.queued(t, id); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	for range remora.MaxTests - 1 {
		if err := b.TestChannel(ctx, id, all[0].ID, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.TestChannel(ctx, id, all[0].ID, "p"); remora.KindOf(err) != remora.KindBusy {
		t.Error(err)
	}
}

// As remora decides it: what is held back is counted, a trouble that goes on is told again, and one job waits for it.
func TestHeldBackThenTold(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	b.channel(t, id, remora.ChannelSlack, "https://hooks.slack.com/services/x")
	fail := func() {
		b.run(t, id, func(c postgres.Claim) error {
			_, err := b.FailRun(ctx, c, &remora.Failure{Reason: remora.ReasonPermission}, "")
			return err
		})
		b.plan(t, id)
	}
	told := func(kind remora.DeliveryKind, held int) {
		t.Helper()
		got := b.queued(t, id)
		if len(got) != 1 || got[0].Kind != kind || len(got[0].News) != 1 || got[0].News[0].Held != held || got[0].News[0].Addon != "db-1" {
			t.Fatalf("%+v", got)
		}
		b.sent(t, got[0])
	}
	fail()
	told(remora.DeliveryNews, 0)
	for range 3 {
		b.ahead += time.Hour
		fail()
	}
	if got := b.queued(t, id); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	b.ahead += 20 * time.Hour
	fail()
	told(remora.DeliveryNews, 3)
	jobs := b.jobs(t, "plan_news")
	b.plan(t, id)
	if b.jobs(t, "plan_news") != jobs {
		t.Error("it is asked for again and again")
	}
	b.ahead += 27 * time.Hour
	b.plan(t, id)
	told(remora.DeliveryReminder, 0)
	if b.jobs(t, "plan_news") != jobs+1 {
		t.Errorf("%d jobs, then %d", jobs, b.jobs(t, "plan_news"))
	}
	b.ahead += time.Hour
	if err := b.SaveFound(ctx, id, "helper", nil); err != nil { // detached: not a database to be reminded of
		t.Fatal(err)
	}
	b.plan(t, id)
	told(remora.DeliveryNews, 0)
	b.ahead += 27 * time.Hour
	b.plan(t, id)
	if got := b.queued(t, id); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// The last thing a customer hears of an add-on that was removed is that; then its channels are forgotten.
func TestARemovalIsToldAndThenForgotten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	b.channel(t, id, remora.ChannelWebhook, "https://a.example.com/1")
	b.channel(t, id, remora.ChannelSlack, "https://a.example.com/2")
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	b.plan(t, id)
	got := b.queued(t, id)
	if len(got) != 2 || got[0].News[0].Event.Kind != remora.EventDeprovisioned || got[0].Resource.Name == "" || got[0].Address.IsZero() {
		t.Fatalf("%+v", got)
	}
	b.sent(t, got[0])
	if b.addresses(t) != 3 {
		t.Errorf("%d secrets with a message left to deliver", b.addresses(t))
	}
	b.sent(t, got[1])
	if b.addresses(t) != 0 {
		t.Errorf("%d secrets are left", b.addresses(t))
	}
}

func TestOldMessagesAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	b.channel(t, id, remora.ChannelSlack, "https://hooks.slack.com/services/x")
	b.run(t, id, func(c postgres.Claim) error { return b.KeepBackup(t.Context(), c, remora.Kept{}) })
	b.plan(t, id)
	purge := func(want int) {
		t.Helper()
		if n, err := b.PurgeNews(t.Context()); n != want || err != nil {
			t.Errorf("%d forgotten instead of %d: %v", n, want, err)
		}
	}
	b.ahead += 91 * 24 * time.Hour
	purge(0) // it has not been delivered yet
	b.sent(t, b.queued(t, id)[0])
	purge(1)
	purge(0)
	if all, err := b.Events(t.Context(), id, remora.EventLook{Most: 10}); err != nil || len(all) != 1 {
		t.Errorf("what happened is forgotten: %v %v", all, err)
	}
}
