package postgres_test

import (
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

const gb = 1000 * 1000 * 1000

// keep makes a backup of the resource's database of so many stored bytes, and returns its claim.
func (b *bundle) keep(t *testing.T, id remora.ResourceID, stored int64) postgres.Claim {
	t.Helper()
	x := b.first(t, id)
	if x.State != remora.BackupQueued {
		again, err := b.RequestBackup(t.Context(), id, x.Database, "p")
		if err != nil {
			t.Fatal(err)
		}
		x.ID = again
	}
	c, err := b.ClaimBackup(t.Context(), x.ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if c.Refusal != nil {
		_, err = b.FailRun(t.Context(), c, c.Refusal, "")
	} else {
		err = b.KeepBackup(t.Context(), c, remora.Kept{Objects: []remora.Object{{Name: "body-001", Size: stored, SHA256: make([]byte, 32)}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ahead += time.Minute
	return c
}

func (b *bundle) told(t *testing.T, id remora.ResourceID, kind remora.EventKind) []string {
	t.Helper()
	all, err := b.Events(t.Context(), id, remora.EventLook{Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		if e.Kind == kind {
			out = append(out, e.Detail)
		}
	}
	return out
}

// 80 % is said once, and all of it once; backups go on for two weeks, and then are refused with a reason, until a larger plan
// makes room at once.
func TestAPlanFillsUp(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	for i, step := range []struct {
		stored int64
		after  time.Duration
		told   int
		full   bool
	}{
		{100 * gb, 0, 0, false},
		{61 * gb, 0, 1, false}, // of 200
		{1 * gb, 0, 1, false},
		{50 * gb, 0, 2, false},
		{1 * gb, 0, 2, false}, // which finds that more is stored
		{1 * gb, 13 * 24 * time.Hour, 2, false},
		{1 * gb, 48 * time.Hour, 2, true},
	} {
		b.ahead += step.after
		c := b.keep(t, id, step.stored)
		if told := b.told(t, id, remora.EventLimitNear); len(told) != step.told || (c.Refusal != nil) != step.full {
			t.Errorf("step %d: %q, refused: %v", i, told, c.Refusal)
		}
	}
	if x := b.first(t, id); x.State != remora.BackupFailed || x.Reason != remora.ReasonPlanFull || !contains(x.Detail, "mako includes 200 GB") {
		t.Errorf("%+v", x)
	}
	if _, err := b.ChangePlan(t.Context(), id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	if c := b.keep(t, id, gb); c.Refusal != nil || c.Plan.Slug != "hammerhead" {
		t.Errorf("%+v", c)
	}
}

// A smaller plan holds at once for what runs, and after its grace for what is kept; a database too large for it is named, with
// the plan that takes it; a running backup ends under its old plan.
func TestASmallerPlan(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	if _, err := b.ChangePlan(ctx, id, "great-white"); err != nil {
		t.Fatal(err)
	}
	running, err := b.ClaimBackup(ctx, b.first(t, id).ID, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SaveAudit(ctx, running, remora.Audit{}, remora.Server{Version: "15.18", Size: 300 * gb}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ChangePlan(ctx, id, "mako"); remora.KindOf(err) != remora.KindPlanLimit || !contains(err.Error(), "db-1 has 300 GB") || !contains(err.Error(), "hammerhead takes it") {
		t.Fatal(err)
	}
	r, err := b.ChangePlan(ctx, id, "hammerhead")
	if err != nil || running.Plan.Slug != "great-white" {
		t.Fatal(r, err)
	}
	if told := b.told(t, id, remora.EventPlanShrinks); len(told) != 1 || !contains(told[0], "732 days") || !contains(told[0], "every 1 hour") {
		t.Errorf("%q", told)
	}
	until := r.ShrinksAt
	for _, step := range []struct {
		after time.Duration
		days  int
		least time.Duration
	}{{0, 7 * 366, 15 * time.Minute}, {6 * 24 * time.Hour, 7 * 366, 15 * time.Minute}, {25 * time.Hour, 2 * 366, time.Hour}} {
		b.ahead += step.after
		r, err := b.Resource(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := r.Limits(time.Now().Add(b.ahead)); err != nil || p.KeepDays != step.days || p.MinInterval != step.least || p.Parallel != 2 || !r.ShrinksAt.Equal(until) {
			t.Errorf("after %v: %+v %v", b.ahead, p, err)
		}
	}
	if r, err := b.ChangePlan(ctx, id, "great-white"); err != nil || r.ShrinksFrom != "" || !r.ShrinksAt.IsZero() {
		t.Errorf("a larger plan leaves nothing pending: %+v %v", r, err)
	}
}
