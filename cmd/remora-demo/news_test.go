package main

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/devtools/stack"
)

// With every worker killed, what a customer should hear goes out all the same: that a database turns late; with a worker
// again, that it is fresh; and with none, by mail too, that the add-on was removed.
func TestNewsGoesOutWithoutWorkers(t *testing.T) {
	t.Parallel()
	b := start(t, 10)
	v := b.connect(t)
	first := b.verified(t, "")
	if err := b.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	b.overdue(t)
	b.logged(t, " event=late ")
	if page := b.get(t, v, "/dashboard"); !strings.Contains(page, `<span class="state late">late</span>`) {
		t.Error(page)
	}
	if m := b.metrics(t, b.WebURL); !strings.Contains(m, `remora_databases{freshness="late"} 1`) || !strings.Contains(m, "remora_freshness_looked_timestamp_seconds ") {
		t.Error(m)
	}
	worker, err := b.Spawn("worker")
	if err != nil {
		t.Fatal(err)
	}
	b.post(t, v, "/dashboard/databases/"+string(first.Database)+"/backups")
	b.verified(t, first.ID)
	b.logged(t, " event=fresh_again ")
	if err := worker.Kill(); err != nil {
		t.Fatal(err)
	}
	b.subscribe(t, v, "owner@example.com")
	b.heroku(t, "addons:destroy", "remora-backup", "-a", stack.HelperApp, "--confirm", stack.HelperApp)
	if m := b.mailed(t, 2); !strings.Contains(m.Subject, "was removed") || m.To[0] != "owner@example.com" {
		t.Errorf("%+v", m)
	}
	b.logged(t, " event=deprovisioned addon=remora-backup-")
	log := strings.Join(b.Sim.LogLines(stack.HelperApp), "\n")
	for _, event := range []string{"late", "fresh_again", "deprovisioned"} {
		if n := strings.Count(log, " event="+event+" "); n != 1 {
			t.Errorf("%s was told %d times", event, n)
		}
	}
}

// overdue lets three hours pass, and a time at which the next backup was due.
func (b *bundle) overdue(t *testing.T) {
	t.Helper()
	conn := b.own(t)
	for _, sql := range []string{
		"UPDATE runs SET started_at = started_at - interval '3 hours'",
		"UPDATE databases SET found_at = found_at - interval '2 days', prove_at = NULL",
		"UPDATE freshness SET counts_from = counts_from - interval '2 days'",
		"UPDATE schedules SET minute = extract(hour FROM now() AT TIME ZONE 'UTC' - interval '2 hours') * 60 + extract(minute FROM now())",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// subscribe adds an address, and does what the mail to it asks.
func (b *bundle) subscribe(t *testing.T, v *stack.Visitor, address string) {
	t.Helper()
	if _, err := v.Post(t.Context(), "/dashboard/settings/notifications", url.Values{"kind": {"email"}, "address": {address}}); err != nil {
		t.Fatal(err)
	}
	asked := b.mailed(t, 1)
	_, token, found := strings.Cut(asked.Text, "/notifications/confirm/")
	if !found {
		t.Fatal(asked.Text)
	}
	b.post(t, v, "/notifications/confirm/"+token[:64])
}

// mailed waits for the nth mail.
func (b *bundle) mailed(t *testing.T, n int) inbox.Mail {
	t.Helper()
	waited, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		came := b.Mail.Came()
		if all := b.Mail.Mails(); len(all) >= n {
			return all[n-1]
		}
		select {
		case <-came:
		case <-waited.Done():
			t.Fatalf("%d mails: %+v", n, b.Mail.Mails())
		}
	}
}

// logged waits for a line in the Helper App's log.
func (b *bundle) logged(t *testing.T, word string) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for over := time.After(patience); ; {
		if strings.Contains(strings.Join(b.Sim.LogLines(stack.HelperApp), "\n"), word) {
			return
		}
		select {
		case <-poll.C:
		case <-over:
			t.Fatalf("no%sin the log: %q", word, b.Sim.LogLines(stack.HelperApp))
		}
	}
}
