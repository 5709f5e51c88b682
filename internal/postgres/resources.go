package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// What a sealed value is for, bound into it with the resource's id.
const (
	sealedGrant   = "resources.sealed_grant"
	sealedAccess  = "resources.sealed_access"
	sealedRefresh = "resources.sealed_refresh"
	sealedKey     = "resources.sealed_key"
)

// HerokuActor is who the audit log names for what Heroku asked for.
const HerokuActor = "heroku"

var errGone = &remora.Error{Kind: remora.KindGone, Public: "This add-on was removed. Create a new one with heroku addons:create."}

// ProvisionResource writes a new resource down and asks for it to be made ready. The same request again
// changes nothing and returns the resource as it is. Errors: KindGone for a removed id.
//
// key is the resource's archive key and recipient its public half; they are used only by the first request.
func (s *Store) ProvisionResource(ctx context.Context, p remora.Provision, key redact.Secret, recipient string) (remora.Resource, error) {
	var out remora.Resource
	err := s.forResource(ctx, p.ID, func(t *tx) error {
		added, err := t.q.InsertResource(ctx, pgsql.InsertResourceParams{
			ID: string(p.ID), Name: p.Name, Plan: p.Plan, Region: p.Region, Now: t.now,
			SealedGrant:    s.seal(p.Grant, sealedGrant, p.ID),
			GrantExpiresAt: orNil(p.GrantExpiresAt),
			SealedKey:      s.seal(key, sealedKey, p.ID), Recipient: recipient,
		})
		if err != nil {
			return fmt.Errorf("insert resource: %w", err)
		}
		row, err := t.q.GetResource(ctx, string(p.ID))
		if err != nil {
			return fmt.Errorf("read resource: %w", err)
		}
		if row.State == string(remora.ResourceDeprovisioned) {
			return errGone
		}
		out = resourceOf(row)
		if added == 0 {
			return nil
		}
		if err := t.audit(ctx, p.ID, HerokuActor, "provision", p.Plan); err != nil {
			return err
		}
		if err := t.saveLogInput(ctx, p.ID, p.LogInput); err != nil {
			return err
		}
		return t.enqueue(ctx, jobargs.MakeReady{Resource: p.ID})
	})
	return out, err
}

// ChangePlan moves a resource to another plan. Errors: KindNotFound, KindGone, KindInvalid for an unknown
// plan, KindPlanLimit where more is attached than the new plan protects, or a larger
// database. What it keeps, and how often it backs up, shrinks after a grace (remora.Resource.Limits).
func (s *Store) ChangePlan(ctx context.Context, id remora.ResourceID, slug string) (remora.Resource, error) {
	plan, err := remora.PlanOf(slug)
	if err != nil {
		return remora.Resource{}, err
	}
	var out remora.Resource
	err = s.forResource(ctx, id, func(t *tx) error {
		row, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		n, err := t.q.CountDatabases(ctx, string(id))
		if err != nil {
			return fmt.Errorf("count databases: %w", err)
		}
		if err := plan.Allows(int(n)); err != nil {
			return err
		}
		out = resourceOf(row)
		if row.Plan == plan.Slug {
			return nil
		}
		if err := t.fits(ctx, id, plan); err != nil {
			return err
		}
		if err := t.setPlan(ctx, &out, plan); err != nil {
			return err
		}
		return t.audit(ctx, id, HerokuActor, "change plan", row.Plan+" to "+plan.Slug)
	})
	return out, err
}

// DeprovisionResource removes a resource: its tokens are forgotten, sessions and links end, live backups are
// canceled, and a tombstone stays, for an id never seen too, so that a provision that arrives late cannot
// revive it. What is held of it goes step by step, as its row in removals says (removals.go). Errors: KindGone where it was removed before or never here.
func (s *Store) DeprovisionResource(ctx context.Context, id remora.ResourceID) error {
	gone := false
	err := s.forResource(ctx, id, func(t *tx) error {
		if err := t.q.InsertTombstone(ctx, pgsql.InsertTombstoneParams{ID: string(id), Now: t.now}); err != nil {
			return fmt.Errorf("insert tombstone: %w", err)
		}
		if _, err := t.q.LockResource(ctx, string(id)); err != nil { // before its schedules
			return fmt.Errorf("lock resource: %w", err)
		}
		if err := t.bringUpAll(ctx, nil, true); err != nil {
			return err
		}
		if err := t.q.EndSchedules(ctx, string(id)); err != nil {
			return fmt.Errorf("end schedules: %w", err)
		}
		removed, err := t.q.Deprovision(ctx, pgsql.DeprovisionParams{ID: string(id), Now: &t.now})
		if err != nil {
			return fmt.Errorf("deprovision: %w", err)
		}
		if removed == 0 { // the tombstone just written must be kept, so this is no error of the transaction
			gone = true
			return nil
		}
		if err := t.q.EndSessions(ctx, string(id)); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		if _, err := t.q.RevokeLinks(ctx, pgsql.RevokeLinksParams{ResourceID: string(id), Now: &t.now}); err != nil {
			return fmt.Errorf("revoke links: %w", err)
		}
		if _, err := t.q.RevokeAPITokens(ctx, pgsql.RevokeAPITokensParams{ResourceID: string(id), Person: HerokuActor, Now: &t.now}); err != nil {
			return fmt.Errorf("revoke tokens of the API: %w", err)
		}
		if err := t.cancel(ctx, id, nil, remora.ReasonDeprovisioned); err != nil {
			return err
		}
		if err := t.stopCopies(ctx, id, ""); err != nil {
			return err
		}
		if err := t.q.CancelProofs(ctx, pgsql.CancelProofsParams{ResourceID: string(id), Reason: string(remora.ReasonDeprovisioned), Now: &t.now}); err != nil {
			return fmt.Errorf("end proofs: %w", err)
		}
		if err := t.q.ForgetOutside(ctx, string(id)); err != nil {
			return fmt.Errorf("forget badges and pings: %w", err)
		}
		if err := t.beginRemoval(ctx, id); err != nil {
			return err
		}
		if err := t.happened(ctx, id, remora.Event{Kind: remora.EventDeprovisioned}); err != nil {
			return err
		}
		if err := t.forgetChannels(ctx, id); err != nil { // none of which may want to hear of it
			return err
		}
		return t.audit(ctx, id, HerokuActor, "deprovision", "")
	})
	if err == nil && gone {
		return errGone
	}
	return err
}

// Resource returns one resource. Errors: KindNotFound, KindGone.
func (s *Store) Resource(ctx context.Context, id remora.ResourceID) (remora.Resource, error) {
	var out remora.Resource
	err := s.forResource(ctx, id, func(t *tx) error {
		row, err := t.live(ctx, id)
		out = resourceOf(row)
		return err
	})
	return out, err
}

// ResourceKey returns what the resource's archives are sealed with.
func (s *Store) ResourceKey(ctx context.Context, id remora.ResourceID) (redact.Secret, error) {
	var out redact.Secret
	err := s.forResource(ctx, id, func(t *tx) error {
		row, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out, err = s.open(row.SealedKey, sealedKey, id)
		return err
	})
	return out, err
}

// SetReady writes down that token, key and config var are in place. Errors: KindGone.
func (s *Store) SetReady(ctx context.Context, id remora.ResourceID, helperAppID, helperApp string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		n, err := t.q.SetReady(ctx, pgsql.SetReadyParams{ID: string(id), Now: &t.now, HelperAppID: helperAppID, HelperApp: helperApp})
		if err != nil {
			return fmt.Errorf("set ready: %w", err)
		}
		if n == 0 {
			return errGone
		}
		if err := t.audit(ctx, id, HerokuActor, "ready", ""); err != nil {
			return err
		}
		return t.enqueue(ctx, jobargs.FindDatabases{Resource: id})
	})
}

// SetAttention says that somebody must act. It is kept until what it is about is seen to work. Who is just installing the add-on
// sees it on its page, and is told of it when remora.InstallGrace is over. Errors: KindNotFound, KindGone.
func (s *Store) SetAttention(ctx context.Context, id remora.ResourceID, why remora.Reason) error {
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		n, err := t.q.SetAttention(ctx, pgsql.SetAttentionParams{ID: string(id), Attention: string(why)})
		if err != nil || installing(row, t.now) {
			return err
		}
		if n == 0 {
			if told, err := t.toldOnce(ctx, row, why.Event()); err != nil || told {
				return err
			}
		}
		return t.happened(ctx, id, remora.Event{Kind: why.Event(), Reason: why})
	})
}

// installing tells whether an add-on is so new that nobody needs to be told what its page says: the Helper App is shared next.
func installing(r pgsql.Resource, now time.Time) bool {
	return r.ListedAt == nil && (r.ReadyAt == nil || now.Sub(*r.ReadyAt) < remora.InstallGrace)
}

// toldOnce tells whether an event of a kind has happened, where the add-on's databases were never seen. What was unsaid while it was installed
// is said once after that.
func (t *tx) toldOnce(ctx context.Context, r pgsql.Resource, kind remora.EventKind) (bool, error) {
	if r.ListedAt != nil {
		return true, nil
	}
	n, err := t.q.CountEvents(ctx, pgsql.CountEventsParams{ResourceID: r.ID, Kind: string(kind), Since: r.CreatedAt})
	if err != nil {
		return false, fmt.Errorf("count events: %w", err)
	}
	return n > 0, nil
}

func (t *tx) live(ctx context.Context, id remora.ResourceID) (pgsql.Resource, error) {
	row, err := t.q.GetResource(ctx, string(id))
	return notGone(row, err)
}

func (t *tx) lockLive(ctx context.Context, id remora.ResourceID) (pgsql.Resource, error) {
	row, err := t.q.LockResource(ctx, string(id))
	return notGone(row, err)
}

func notGone(row pgsql.Resource, err error) (pgsql.Resource, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return row, remora.NotFound("add-on")
	}
	if err != nil {
		return row, fmt.Errorf("read resource: %w", err)
	}
	if row.State == string(remora.ResourceDeprovisioned) {
		return row, errGone
	}
	return row, nil
}

func (s *Store) seal(v redact.Secret, column string, id remora.ResourceID) []byte {
	if v.IsZero() {
		return nil
	}
	return s.Keys.Seal([]byte(v.Reveal()), column, string(id))
}

func (s *Store) open(sealed []byte, column string, id remora.ResourceID) (redact.Secret, error) {
	if sealed == nil {
		return redact.Secret{}, nil
	}
	plain, err := s.Keys.Open(sealed, column, string(id))
	if err != nil {
		return redact.Secret{}, fmt.Errorf("open %s: %w", column, err)
	}
	return redact.New(string(plain)), nil
}

func resourceOf(r pgsql.Resource) remora.Resource {
	return remora.Resource{
		ID: remora.ResourceID(r.ID), Name: r.Name, Plan: r.Plan, Region: r.Region,
		State: remora.ResourceState(r.State), Attention: remora.Reason(r.Attention), HelperApp: r.HelperApp, HelperAppID: r.HelperAppID,
		CreatedAt: r.CreatedAt, ReadyAt: orZero(r.ReadyAt), CheckedAt: orZero(r.CheckedAt),
		ShrinksFrom: r.ShrinksFrom, ShrinksAt: orZero(r.ShrinksAt), OverSince: orZero(r.OverSince), ListedAt: orZero(r.ListedAt),
	}
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
