package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/schedule"
)

// Found is one Postgres attachment on a Helper App, as a listing showed it.
type Found struct {
	AddonID, Addon, OwnerApp string
	Attachment, Credential   string
	Beside                   string     // an attachment that carries the owner's credential of the same database
	Also                     []Attached // other read-only credentials of the same database, by name
	Plan                     string     // of the Postgres add-on; empty where Heroku did not say
	Problem                  string     // why it is refused; empty where it may be used
}

// Attached is one way to a database.
type Attached struct{ Attachment, Credential string }

// keep stays with the attachment that is in use, while it is there: one more that is attached replaces nothing.
func (f *Found) keep(known pgsql.ListDatabasesRow) {
	if known.State == string(remora.DatabaseDetached) {
		return
	}
	for i, a := range f.Also {
		if a == (Attached{known.Attachment, known.Credential}) {
			f.Also[i] = Attached{f.Attachment, f.Credential}
			f.Attachment, f.Credential = a.Attachment, a.Credential
		}
	}
}

// alsoNames are the attachments that are there and not used, by name.
func (f *Found) alsoNames() []string {
	names := make([]string, len(f.Also))
	for i, a := range f.Also {
		names[i] = a.Attachment
	}
	slices.Sort(names)
	return names
}

// saysBoth is what there is to say of several credentials; empty where there is one.
func (f *Found) saysBoth() string {
	if len(f.Also) == 0 {
		return ""
	}
	others := make([]string, len(f.Also))
	for i, a := range f.Also {
		others[i] = a.Attachment + " (" + a.Credential + ")"
	}
	slices.Sort(others)
	return "We read with " + f.Attachment + " (" + f.Credential + ") for as long as it is attached. Attached too, and not used: " + strings.Join(others, ", ") + "."
}

// tellOfBoth says once that several credentials of a database are attached, and which is used.
func (t *tx) tellOfBoth(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, says string) error {
	if says == "" {
		return nil
	}
	last, err := t.q.LastDetail(ctx, pgsql.LastDetailParams{DatabaseID: orNull(db), ResourceID: string(id), Kind: string(remora.EventTwoCredentials)})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("look what was told: %w", err)
	}
	if last == says {
		return nil
	}
	return t.happened(ctx, id, remora.Event{Kind: remora.EventTwoCredentials, Database: db, Detail: says})
}

// SaveFound writes down what is attached to the Helper App now. A database seen for the first time gets its
// daily schedule and a first backup at once; one that is no longer attached is marked so and keeps its
// backups. Of several credentials of one database the one in use stays, and the customer is told. Databases beyond the plan are refused with the plan's sentence: those that are protected keep their place,
// then the ones found longest ago come first. Errors: KindGone.
func (s *Store) SaveFound(ctx context.Context, id remora.ResourceID, helperApp string, found []Found) error {
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		plan, err := remora.PlanOf(row.Plan)
		if err != nil {
			return err
		}
		known, err := t.byPlace(ctx, id, found)
		if err != nil {
			return err
		}
		attached := make([]string, 0, len(found))
		usable := 0
		for _, f := range found {
			attached = append(attached, f.AddonID)
			f.keep(known[f.AddonID])
			about := remora.EventCredentialProblem
			if f.Problem == "" {
				usable++
				f.Problem, about = remora.Public(plan.Allows(usable), ""), remora.EventLimitNear
			}
			db, err := t.saveDatabase(ctx, id, f)
			if err != nil {
				return err
			}
			if err := t.tellOfBoth(ctx, id, db, f.saysBoth()); err != nil {
				return err
			}
			if f.Problem == "" || f.Problem == known[f.AddonID].Problem {
				continue
			}
			if err := t.happened(ctx, id, remora.Event{Kind: about, Database: db, Detail: f.Problem}); err != nil {
				return err
			}
		}
		if err := t.detachOthers(ctx, id, attached); err != nil {
			return err
		}
		if err := t.q.SetChecked(ctx, pgsql.SetCheckedParams{ID: string(id), Now: &t.now}); err != nil {
			return fmt.Errorf("set checked: %w", err)
		}
		if helperApp != "" && helperApp != row.HelperApp {
			if err := t.q.SetHelperApp(ctx, pgsql.SetHelperAppParams{ID: string(id), HelperApp: helperApp}); err != nil {
				return fmt.Errorf("rename helper app: %w", err)
			}
		}
		n, err := t.q.ClearAttention(ctx, string(id))
		if err != nil || n == 0 || installing(row, t.now) {
			return err
		}
		return t.happened(ctx, id, remora.Event{Kind: remora.EventRecovered})
	})
}

// detachOthers marks what is no longer attached.
func (t *tx) detachOthers(ctx context.Context, id remora.ResourceID, attached []string) error {
	gone, err := t.q.DetachOthers(ctx, pgsql.DetachOthersParams{ResourceID: string(id), Attached: attached})
	if err != nil {
		return fmt.Errorf("mark detached: %w", err)
	}
	for _, db := range gone {
		e := remora.Event{Kind: remora.EventCredentialProblem, Database: remora.DatabaseID(db), Reason: remora.ReasonDetached}
		if err := t.happened(ctx, id, e); err != nil {
			return err
		}
	}
	return nil
}

// byPlace sorts what was found into the order in which the plan's places are given: what is active first, then what is
// known, each by when it was found, then what is new in the order of the listing. It returns what is known, by add-on.
func (t *tx) byPlace(ctx context.Context, id remora.ResourceID, found []Found) (map[string]pgsql.ListDatabasesRow, error) {
	known, err := t.q.ListDatabases(ctx, string(id)) // oldest found first
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	byAddon := make(map[string]pgsql.ListDatabasesRow, len(known))
	place := make(map[string]int, len(known))
	for i, d := range known {
		byAddon[d.AddonID] = d
		place[d.AddonID] = i - len(known)
		if d.State == string(remora.DatabaseActive) {
			place[d.AddonID] -= len(known)
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int { return place[a.AddonID] - place[b.AddonID] })
	return byAddon, nil
}

func (t *tx) saveDatabase(ctx context.Context, id remora.ResourceID, f Found) (remora.DatabaseID, error) {
	state := remora.DatabaseActive
	if f.Problem != "" {
		state = remora.DatabaseRefused
	}
	remembered, err := t.q.RememberAgain(ctx, pgsql.RememberAgainParams{AddonID: f.AddonID, ResourceID: string(id)})
	if err == nil && remembered > 0 {
		err = t.audit(ctx, id, "remora", "undo forget database", f.Addon)
	}
	if err != nil {
		return "", fmt.Errorf("remember database: %w", err)
	}
	db, err := t.q.UpsertDatabase(ctx, pgsql.UpsertDatabaseParams{
		ID: string(remora.NewID[remora.DatabaseID]()), ResourceID: string(id), AddonID: f.AddonID, Addon: f.Addon,
		OwnerApp: f.OwnerApp, Attachment: f.Attachment, Credential: f.Credential, Beside: f.Beside, Also: f.alsoNames(), Plan: f.Plan,
		State: string(state), Problem: f.Problem, Now: t.now,
	})
	if err != nil {
		return "", fmt.Errorf("save database: %w", err)
	}
	if state != remora.DatabaseActive {
		return remora.DatabaseID(db), nil
	}
	rule := remora.DefaultRule(remora.DatabaseID(db))
	times, err := schedule.New(rule)
	if err != nil {
		return "", err
	}
	first, err := t.q.InsertSchedule(ctx, pgsql.InsertScheduleParams{
		ID: string(remora.NewID[remora.ScheduleID]()), ResourceID: string(id), DatabaseID: db,
		Minute: int32(rule.Minute), NextRunAt: times.Next(t.now), //nolint:gosec // 0 to 1439
	})
	if err != nil {
		return "", fmt.Errorf("save schedule: %w", err)
	}
	if first == 0 {
		return remora.DatabaseID(db), nil
	}
	if err := t.audit(ctx, id, "remora", "found database", f.Addon); err != nil {
		return "", err
	}
	_, _, err = t.request(ctx, id, remora.DatabaseID(db), backupOrigin{})
	return remora.DatabaseID(db), err
}

// checkGap is how far apart two checks of a resource are at least, where CheckEvery is not shorter.
const checkGap = 30 * time.Second

// RequestCheck asks for the attachments to be listed, because a person wants it: now, or half a minute after they were
// listed last, since every check takes a call of a quota that all customers share. Where that check waits already,
// nothing more is asked for. person is empty where a page asks that is being followed. Errors: KindNotFound, KindGone.
func (s *Store) RequestCheck(ctx context.Context, id remora.ResourceID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		at, err := t.q.ClaimCheck(ctx, pgsql.ClaimCheckParams{ID: string(id), Now: t.now, Gap: min(checkGap, s.CheckEvery)})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("claim check: %w", err)
		}
		if person != "" {
			if err := t.audit(ctx, id, person, "check attachments", ""); err != nil {
				return err
			}
		}
		return t.enqueue(ctx, jobargs.FindDatabases{Resource: id, Asked: true}, at)
	})
}

func databaseOf(d pgsql.Database) remora.Database {
	return remora.Database{
		ID: remora.DatabaseID(d.ID), AddonID: d.AddonID, Addon: d.Addon, OwnerApp: d.OwnerApp, Attachment: d.Attachment,
		Credential: d.Credential, State: remora.DatabaseState(d.State), Problem: d.Problem,
		ServerVersion: d.ServerVersion, SizeBytes: d.SizeBytes, FoundAt: d.FoundAt, SeenAt: d.SeenAt, ProveAt: orZero(d.ProveAt),
		Plan: d.Plan, Beside: d.Beside, Also: d.Also, CheckAskedAt: orZero(d.CheckAskedAt),
		ForgetAt: orZero(d.ForgetAt), ForgetBy: d.ForgetBy,
	}
}
