package postgres_test

import (
	"fmt"
	"testing"
	"time"

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
