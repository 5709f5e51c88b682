package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// happened is what was written down, oldest first, each as kind:reason.
func (b *bundle) happened(t *testing.T, id remora.ResourceID) string {
	t.Helper()
	all, err := b.Events(t.Context(), id, remora.EventLook{Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		word := string(e.Kind)
		if e.Reason != "" {
			word += ":" + string(e.Reason)
		}
		if e.Database == "" {
			word += "!" // about the add-on as a whole
		}
		out = append([]string{word}, out...)
	}
	return strings.Join(out, " ")
}

// run makes one attempt at a backup of the resource's database, of a time of its own, and ends it.
func (b *bundle) run(t *testing.T, id remora.ResourceID, end func(postgres.Claim) error) remora.BackupID {
	t.Helper()
	b.ahead += time.Minute
	view, err := b.Overview(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := b.RequestBackup(t.Context(), id, view.Databases[0].ID, "p")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.ClaimBackup(t.Context(), backup, "w")
	if err == nil {
		err = end(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return backup
}

func TestWhatBecomesOfBackupsIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.RetryAfter = []time.Duration{time.Second} })
	id := b.resource(t, "db-1")
	good := func(c postgres.Claim) error { return b.KeepBackup(t.Context(), c, remora.Kept{}) }
	bad := func(why remora.Reason) func(postgres.Claim) error {
		return func(c postgres.Claim) error {
			_, err := b.FailRun(t.Context(), c, &remora.Failure{Reason: why}, "")
			return err
		}
	}
	b.run(t, id, bad(remora.ReasonPermission))
	first := b.run(t, id, good)
	b.run(t, id, good)
	b.run(t, id, bad(remora.ReasonUnreachable)) // heals, so it is tried again
	b.run(t, id, bad(remora.ReasonUnreachable))
	b.run(t, id, func(c postgres.Claim) error { return b.KeepBackup(t.Context(), c, remora.Kept{LeftOut: "a view"}) })
	b.run(t, id, good)
	b.ahead += time.Minute
	if _, _, err := b.MakeLink(t.Context(), id, first, "p@example.com", time.Hour); err != nil {
		t.Fatal(err)
	}
	b.ahead += time.Minute
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const want = "permission_gap:permission_denied first_success failed:unreachable failed:left_out recovered link_made deprovisioned!"
	if got := b.happened(t, id); got != want {
		t.Errorf("%s\ninstead of %s", got, want)
	}
	all, err := b.Events(t.Context(), id, remora.EventLook{Most: 2})
	if err != nil || len(all) != 2 || all[1].Backup != first || all[1].Detail != "p@example.com" || all[1].At.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	if b.jobs(t, "plan_news") != 0 {
		t.Error("nobody wants to hear of it")
	}
}

func TestALostRunThatIsNotTriedAgainIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *postgres.Config) { c.Lease, c.RetryAfter = time.Microsecond, []time.Duration{} })
	id := b.resource(t, "db-1")
	if _, err := b.ClaimBackup(t.Context(), b.first(t, id).ID, "w"); err != nil {
		t.Fatal(err)
	}
	if n, err := b.TakeBackLost(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := b.happened(t, id); got != "failed:worker_lost" {
		t.Error(got)
	}
}

func TestProblemsOfAttachmentsAreWrittenDownOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	one := postgres.Found{AddonID: "id-db-1", Addon: "db-1", Attachment: "X", Credential: "remora_ro"}
	two := postgres.Found{AddonID: "id-db-2", Addon: "db-2", Attachment: "Y", Problem: "It carries the owner's credential."}
	three, four := one, one
	three.AddonID, three.Addon, four.AddonID, four.Addon = "id-db-3", "db-3", "id-db-4", "db-4"
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return b.SaveFound(t.Context(), id, "helper", []postgres.Found{one, two}) }, "credential_problem"},
		{func() error { return b.SaveFound(t.Context(), id, "helper", []postgres.Found{one, two}) }, "credential_problem"},
		{func() error { return b.SaveFound(t.Context(), id, "helper", []postgres.Found{one, three, four}) }, "credential_problem limit_near credential_problem:credential_detached"},
		{func() error { return b.SetAttention(t.Context(), id, remora.ReasonNotShared) }, "credential_problem limit_near credential_problem:credential_detached credential_problem:helper_app_not_shared!"},
		{func() error { return b.SetAttention(t.Context(), id, remora.ReasonNotShared) }, "credential_problem limit_near credential_problem:credential_detached credential_problem:helper_app_not_shared!"},
		{
			func() error { return b.SaveFound(t.Context(), id, "helper", []postgres.Found{one, three, four}) },
			"credential_problem limit_near credential_problem:credential_detached credential_problem:helper_app_not_shared! recovered!",
		},
	} {
		b.ahead += time.Minute
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := sorted(b.happened(t, id)); got != sorted(step.want) {
			t.Errorf("%s\ninstead of %s", got, step.want)
		}
	}
}

// sorted is a line's words in the order of the alphabet: what one step brings has no order.
func sorted(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

func TestAProofThatFindsADifferenceIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	backup := b.run(t, id, func(c postgres.Claim) error { return b.KeepBackup(t.Context(), c, remora.Kept{}) })
	for _, o := range []remora.ProofOutcome{
		{State: remora.ProofPassed}, {State: remora.ProofFailed, Reason: remora.ReasonRestoreDiffers, Detail: "one row"},
	} {
		b.ahead += time.Minute
		if err := b.RequestProof(t.Context(), id, backup, remora.ProofRestore, "p"); err != nil {
			t.Fatal(err)
		}
		proofs, err := b.Proofs(t.Context(), id, backup)
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.ClaimProof(t.Context(), proofs[0].ID, "v")
		if err == nil {
			err = b.EndProof(t.Context(), c, o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := b.happened(t, id); got != "first_success proof_failed:restore_differs" {
		t.Error(got)
	}
}

// Who has just installed the add-on shares the Helper App next, and is told that it is not shared when an hour has passed.
func TestNobodyIsToldOfAStepThatComesNext(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	fresh := func() remora.ResourceID {
		t.Helper()
		id := remora.NewID[remora.ResourceID]()
		_, err := b.ProvisionResource(ctx, provision(id), redact.New("key"), "age1recipient")
		if err == nil {
			err = b.SaveTokens(ctx, id, redact.New("access"), redact.New("refresh"), time.Now().Add(8*time.Hour))
		}
		if err == nil {
			err = b.SetReady(ctx, id, "app-id", "helper")
		}
		if err == nil {
			err = b.SetAttention(ctx, id, remora.ReasonNotShared)
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	shared, not := fresh(), fresh()
	if r, err := b.Resource(ctx, shared); err != nil || r.Attention != remora.ReasonNotShared {
		t.Error("the page does not say it", err)
	}
	b.ahead += 10 * time.Minute
	if err := b.SaveFound(ctx, shared, "helper", nil); err != nil {
		t.Fatal(err)
	}
	if got := b.happened(t, shared); got != "" {
		t.Error("shared in time:", got)
	}
	b.ahead += time.Hour
	for range 2 {
		if err := b.SetAttention(ctx, not, remora.ReasonNotShared); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.happened(t, not); got != "credential_problem:helper_app_not_shared!" {
		t.Error("an hour later:", got)
	}
}

// Looked at page by page, every event is seen once, also where several happened at one instant.
func TestEventsPageByPage(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "a")
	_, err := b.pool.Exec(t.Context(), fmt.Sprintf(`BEGIN; SELECT set_config('remora.service', 'on', true);
		INSERT INTO events (id, resource_id, kind, reason, detail, at)
		SELECT gen_random_uuid(), '%s', 'paused', '', i::text, '2026-01-01 00:00Z'::timestamptz + i / 4 * interval '1 second' FROM generate_series(1, 17) i; COMMIT`, id))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[remora.EventID]bool{}
	look := remora.EventLook{Most: 3}
	for {
		page, err := b.Events(t.Context(), id, look)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if seen[e.ID] || !look.Before.IsZero() && e.At.After(look.Before) {
				t.Errorf("%+v", e)
			}
			seen[e.ID] = true
			look.Before, look.BeforeID = e.At, e.ID
		}
	}
	if len(seen) != 17 {
		t.Errorf("%d of 17", len(seen))
	}
}
