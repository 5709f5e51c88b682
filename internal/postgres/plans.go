package postgres

import (
	"context"
	"fmt"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// fits refuses a plan for which a database is too large: its next backup could not be made.
func (t *tx) fits(ctx context.Context, id remora.ResourceID, plan remora.Plan) error {
	dbs, err := t.q.ListDatabases(ctx, string(id))
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	for _, d := range dbs {
		if d.State != string(remora.DatabaseActive) {
			continue
		}
		if err := plan.Fits(d.Addon, d.SizeBytes); err != nil {
			return err
		}
	}
	return nil
}

// setPlan moves a resource, which is locked, to a plan, and says what will shrink.
func (t *tx) setPlan(ctx context.Context, r *remora.Resource, plan remora.Plan) error {
	from, until, err := r.ChangeTo(plan, t.now)
	if err != nil {
		return err
	}
	r.Plan, r.ShrinksFrom, r.ShrinksAt = plan.Slug, from, until
	err = t.q.SetPlan(ctx, pgsql.SetPlanParams{ID: string(r.ID), Plan: plan.Slug, ShrinksFrom: from, ShrinksAt: orNil(until)})
	if err != nil {
		return fmt.Errorf("set plan: %w", err)
	}
	if from != "" {
		if err := t.happened(ctx, r.ID, remora.Event{Kind: remora.EventPlanShrinks, Detail: plan.Shrinks(until)}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) setOver(ctx context.Context, id remora.ResourceID, over bool) error {
	if err := t.q.SetOver(ctx, pgsql.SetOverParams{ID: string(id), Over: over, Now: &t.now}); err != nil {
		return fmt.Errorf("note what is over the plan: %w", err)
	}
	return nil
}

// include says under which plan a run is made, and whether it may be. The resource is locked. Where more is stored than the plan includes, for
// longer than its grace, there is room for no more.
func (t *tx) include(ctx context.Context, c *Claim) (err error) {
	if c.Plan, err = c.Resource.Limits(t.now); err != nil {
		return err
	}
	if c.Bucket != "" { // which takes no room of ours
		return nil
	}
	stored, err := t.q.StoredBytes(ctx, string(c.Resource.ID))
	if err != nil {
		return fmt.Errorf("count what is stored: %w", err)
	}
	over := stored > c.Plan.StoredBytes
	if over == c.Resource.OverSince.IsZero() {
		return t.setOver(ctx, c.Resource.ID, over)
	}
	if !over || t.now.Sub(c.Resource.OverSince) < remora.StoreGrace {
		return nil
	}
	c.Refusal = &remora.Failure{Reason: remora.ReasonPlanFull, Detail: fmt.Sprintf("%s are stored; plan %s includes %s.",
		remora.Bytes(stored), c.Plan.Slug, remora.Bytes(c.Plan.StoredBytes))}
	return nil
}

// filled looks at the plan's room after a backup was kept, and tells the customer when a mark is passed. It
// writes nothing to the resource, which comes before the backup in the order of locks.
func (t *tx) filled(ctx context.Context, c Claim, added int64) error {
	if c.Bucket != "" { // in ours there is no more than before
		return nil
	}
	row, err := t.live(ctx, c.Resource.ID)
	if remora.KindOf(err) == remora.KindGone || remora.KindOf(err) == remora.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	plan, err := resourceOf(row).Limits(t.now)
	if err != nil {
		return err
	}
	stored, err := t.q.StoredBytes(ctx, row.ID)
	if err != nil {
		return fmt.Errorf("count what is stored: %w", err)
	}
	if said := plan.Near(stored-added, stored); said != "" {
		return t.happened(ctx, c.Resource.ID, remora.Event{Kind: remora.EventLimitNear, Detail: said})
	}
	return nil
}
