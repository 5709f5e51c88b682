package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Somebody clicks pause and resume without end, and has ten channels that all lead to a third party.
func TestClicksCannotMakeNewsWithoutEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	b.channel(t, id, remora.ChannelWebhook, "https://victim.example.com/")
	paused := 0
	for range 100 {
		err := b.PauseSchedule(ctx, id, db, "", "anna")
		if err == nil {
			paused++
		} else if remora.KindOf(err) != remora.KindBusy {
			t.Fatal(err)
		}
		if err := b.ResumeSchedule(ctx, id, db, "anna"); err != nil { // which is never refused
			t.Fatal(err)
		}
	}
	if paused != 20 {
		t.Errorf("paused %d times within an hour", paused)
	}
	b.plan(t, id)
	b.plan(t, id)
	got := b.queued(t, id)
	if len(got) != 20 {
		t.Errorf("%d messages are on their way at once", len(got))
	}
	for heard := 0; heard < 40; b.ahead += time.Minute { // and none is lost
		if len(got) == 0 {
			t.Fatalf("%d were told", heard)
		}
		for _, m := range got {
			b.sent(t, m)
			heard++
		}
		b.plan(t, id)
		got = b.queued(t, id)
	}
	b.ahead += time.Hour
	if err := b.PauseSchedule(ctx, id, db, "", "anna"); err != nil {
		t.Error("an hour later:", err)
	}
}

func TestLinksAreNotMadeWithoutEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	b.end(t, id, b.good)
	backup := b.first(t, id).ID
	for i := range 61 {
		if _, _, err := b.MakeLink(ctx, id, backup, "anna", time.Hour); (remora.KindOf(err) == remora.KindBusy) != (i == 60) || err != nil && i < 60 {
			t.Fatalf("link %d: %v", i+1, err)
		}
	}
}

// One person has many spellings of an address, and a webhook is nobody's until it is asked.
func TestSpellingsAndChurnDoNotAskMoreOften(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	add := func(id remora.ResourceID, kind remora.ChannelKind, address string) error {
		n, err := remora.ParseChannel(kind, address)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := b.AddChannel(ctx, id, n, "p")
		if err == nil {
			err = b.RemoveChannel(ctx, id, c, "p")
		}
		return err
	}
	for i, address := range []string{"victim@example.com", "Victim@example.com", "VICTIM@Example.com", "victim+1@example.com", "vIctim+2@example.com", "viCtim+3@example.com"} {
		err := add(b.resource(t), remora.ChannelEmail, address)
		if busy := remora.KindOf(err) == remora.KindBusy; busy != (i >= remora.MaxConfirmations) || err != nil && !busy {
			t.Errorf("%s: %v", address, err)
		}
	}
	id := b.resource(t)
	for i := range remora.MaxAdded + 1 {
		err := add(id, remora.ChannelWebhook, fmt.Sprintf("https://victim.example.com/%d", i))
		if busy := remora.KindOf(err) == remora.KindBusy; busy != (i >= remora.MaxAdded) || err != nil && !busy {
			t.Fatalf("channel %d: %v", i+1, err)
		}
	}
}

// A clock that jumped a year ahead leaves a backup of next year behind. Nobody is told that all is well because of it.
func TestABackupOfTheFutureSilencesNobody(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, db := b.scheduled(t, "mako", may(3, 12, 0), remora.Rule{Kind: remora.RuleDaily, Minute: 3*60 + 30, Zone: "UTC"})
	b.backUp(t, id, db)
	for _, column := range []string{"queued_at", "started_at", "ended_at"} { // a run may be longer than the jump
		b.at(t, may(3, 13, 0))
		b.exec(t, "INSERT INTO backups (id, resource_id, database_id, state, queued_at, started_at, ended_at) SELECT gen_random_uuid(), resource_id, id, 'verified', '2040-05-03 12:30Z', '2040-05-03 12:30Z', '2040-05-03 12:31Z' FROM databases")
		b.exec(t, "UPDATE backups SET "+column+" = '2041-05-03 12:30Z' WHERE queued_at = '2040-05-03 12:30Z'")
		if got := b.watch(t); got[remora.Fresh] != 1 {
			t.Errorf("%s: the backup before it still counts, but %v", column, got)
		}
		b.at(t, may(4, 4, 1))
		if got := b.watch(t); got[remora.Late] != 1 {
			t.Errorf("%s: %v a day later", column, got)
		}
		b.exec(t, "UPDATE backups SET state = 'canceled' WHERE "+column+" = '2041-05-03 12:30Z'")
	}
}

// What must not be backed up as it is attached is a trouble that goes on, and is told of day after day.
func TestARefusedCredentialIsRemindedOf(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	b.end(t, id, b.good)
	b.channel(t, id, remora.ChannelSlack, "https://hooks.slack.com/services/x")
	refused := []postgres.Found{{AddonID: "id-db-1", Addon: "db-1", OwnerApp: "shop", Attachment: "REMORA_DB", Problem: "It carries the owner's credential."}}
	for day, want := range []remora.DeliveryKind{remora.DeliveryNews, remora.DeliveryReminder, remora.DeliveryReminder} {
		if err := b.SaveFound(t.Context(), id, "helper", refused); err != nil {
			t.Fatal(err)
		}
		b.plan(t, id)
		got := b.queued(t, id)
		if len(got) != 1 || got[0].Kind != want {
			t.Fatalf("day %d: %+v", day, got)
		}
		b.sent(t, got[0])
		b.ahead += 27 * time.Hour
	}
}

// An add-on that is removed takes its secrets with it, whatever its channels wanted to hear.
func TestARemovedAddonLeavesNoSecretBehind(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	left := func() int {
		t.Helper()
		if n := query[int](t, b, "SELECT (SELECT count(*) FROM pings)::int + (SELECT count(*) FROM badges)::int"); n[0] != 0 {
			return n[0] + b.addresses(t)
		}
		return b.addresses(t)
	}
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	off, _ := b.channel(t, id, remora.ChannelWebhook, "https://a.example.com/1")
	gone, _ := b.channel(t, id, remora.ChannelSlack, "https://a.example.com/2")
	for _, err := range []error{
		b.SetPing(ctx, id, db, redact.New("https://hc.example.com/uuid"), true, "anna"), b.MakeBadge(ctx, id, db, true, "anna"),
		b.PauseSchedule(ctx, id, db, "", "anna"), // waits for both channels
		b.RemoveChannel(ctx, id, gone, "anna"), b.SetChannel(ctx, id, off, false, nil, "anna"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d secrets of an add-on whose channels hear nothing", n)
	}
	// One whose last message is never heard of again.
	id = b.resource(t, "db-1")
	b.channel(t, id, remora.ChannelWebhook, "https://a.example.com/1")
	if err := b.DeprovisionResource(ctx, id); err != nil {
		t.Fatal(err)
	}
	b.plan(t, id)
	purge(t, b)
	if left() != 2 {
		t.Errorf("%d secrets while the message may still be delivered", left())
	}
	b.ahead += 4 * 24 * time.Hour
	purge(t, b)
	if n := left(); n != 0 {
		t.Errorf("%d secrets after four days", n)
	}
}

func purge(t *testing.T, b *bundle) {
	t.Helper()
	for _, round := range []func(context.Context) (int, error){b.PurgeNews, b.PurgeEvents} {
		for n := 1; n > 0; {
			var err error
			if n, err = round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is told, held back and removed does not stay for ever; what the next message is decided by does.
func TestEventsAndChannelsDoNotPileUp(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	b.exec(t, "DELETE FROM events")
	c, _ := b.channel(t, id, remora.ChannelWebhook, "https://a.example.com/1")
	for i := range 3 {
		if i == 2 {
			if err := b.SetChannel(ctx, id, c, false, nil, "anna"); err != nil { // what waits is held, and goes with no message
				t.Fatal(err)
			}
		}
		if err := b.PauseSchedule(ctx, id, db, "", "anna"); err != nil {
			t.Fatal(err)
		}
		if err := b.ResumeSchedule(ctx, id, db, "anna"); err != nil {
			t.Fatal(err)
		}
		b.ahead += time.Minute
	}
	if err := b.RemoveChannel(ctx, id, c, "anna"); err != nil {
		t.Fatal(err)
	}
	rows := func(want string) {
		t.Helper()
		purge(t, b)
		got := query[string](t, b, "SELECT (SELECT count(*) FROM events) || ' ' || (SELECT count(*) FROM news) || ' ' || (SELECT count(*) FROM channels WHERE removed_at IS NOT NULL)")
		if got[0] != want {
			t.Errorf("events, news, channels: %s instead of %s", got[0], want)
		}
	}
	rows("6 4 1")
	b.ahead += 91 * 24 * time.Hour
	rows("6 0 1")
	b.ahead += 310 * 24 * time.Hour
	rows("2 0 0") // the newest of each kind
}

// Ten resources ask one address at once, and it gets no more mails than if they had come one after another.
func TestAnAddressIsNotAskedMoreOftenByManyAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	n, err := remora.ParseChannel(remora.ChannelEmail, "victim@example.com")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var added atomic.Int32
	for range 2 * remora.MaxConfirmations {
		id := b.resource(t)
		wg.Go(func() {
			if _, _, err := b.AddChannel(t.Context(), id, n, "p"); err == nil {
				added.Add(1)
			} else if remora.KindOf(err) != remora.KindBusy {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := int(added.Load()); got != remora.MaxConfirmations {
		t.Errorf("%d were sent", got)
	}
}
