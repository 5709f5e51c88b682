package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// SaveAudit writes down what the permission doctor found in a run, and what the server said of itself. Errors:
// KindStale.
func (s *Store) SaveAudit(ctx context.Context, c Claim, a remora.Audit, version string, size int64) error {
	findings, err := findingsJSON(a.Findings)
	if err != nil {
		return err
	}
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		err := changed(t.q.SaveRunAudit(ctx, pgsql.SaveRunAuditParams{
			ID: string(remora.NewID[remora.AuditID]()), DatabaseID: string(c.Database.ID), Now: t.now, Role: foreign(a.Role, maxWord), Findings: findings,
			More: a.More, WitnessBefore: a.Witness.Before, Standby: a.Witness.Standby,
			RunID: string(c.Run), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), //nolint:gosec // one a run
		}))
		if err != nil {
			return err
		}
		return t.setServer(ctx, c.Resource.ID, c.Database.ID, version, size)
	})
}

func (t *tx) setServer(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, version string, size int64) error {
	return t.q.SetServer(ctx, pgsql.SetServerParams{ID: string(db), ResourceID: string(id), ServerVersion: foreign(version, maxWord), SizeBytes: size})
}

// endAudit writes down what is known once pg_dump has ended.
func (t *tx) endAudit(ctx context.Context, c Claim, k remora.Kept) error {
	var inventory []byte
	if k.Inventory != nil {
		var err error
		if inventory, err = json.Marshal(k.Inventory); err != nil {
			return fmt.Errorf("encode inventory: %w", err)
		}
	}
	b := string(c.Backup)
	return t.q.EndAudit(ctx, pgsql.EndAuditParams{
		Inventory: inventory, WitnessAfter: k.Witness.After, Standby: k.Witness.Standby, BackupID: &b, ResourceID: string(c.Resource.ID),
	})
}

// Audit returns the report that was made with a backup. Errors: KindNotFound, for another resource's too.
func (s *Store) Audit(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.Audit, error) {
	var out remora.Audit
	err := s.seeResource(ctx, id, func(t *tx) error {
		backup := string(b)
		row, err := t.q.GetAudit(ctx, pgsql.GetAuditParams{BackupID: &backup, ResourceID: string(id)})
		if err != nil {
			return or404(err, "report")
		}
		out, err = auditOf(row)
		return err
	})
	return out, err
}

// audits adds the newest report of each database, and what a person has answered for.
func (t *tx) audits(ctx context.Context, o *remora.Overview) error {
	rows, err := t.q.ListNewestAudits(ctx, string(o.Resource.ID))
	if err != nil {
		return fmt.Errorf("list reports: %w", err)
	}
	o.Audits, o.Known = map[remora.DatabaseID]remora.Audit{}, map[remora.DatabaseID][]remora.Acknowledgement{}
	for _, row := range rows {
		a, err := auditOf(row)
		if err != nil {
			return err
		}
		o.Audits[remora.DatabaseID(row.DatabaseID)] = a
	}
	known, err := t.q.ListAcknowledgements(ctx, string(o.Resource.ID))
	if err != nil {
		return fmt.Errorf("list answers: %w", err)
	}
	for _, k := range known {
		db := remora.DatabaseID(k.DatabaseID)
		o.Known[db] = append(o.Known[db], remora.Acknowledgement{Code: k.Code, Object: k.Object, By: k.By, At: k.At})
	}
	return nil
}

// Acknowledge writes down that a person knows of a finding to review, which the database's newest report must have.
// Once more is no error. Errors: KindNotFound.
func (s *Store) Acknowledge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, code, object, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		o := remora.Overview{Resource: remora.Resource{ID: id}}
		if err := t.audits(ctx, &o); err != nil {
			return err
		}
		asked := o.Audits[db].Unanswered(nil)
		if !anyFinding(asked, code, object) {
			return remora.NotFound("finding to answer for")
		}
		n, err := t.q.Acknowledge(ctx, pgsql.AcknowledgeParams{
			ResourceID: string(id), DatabaseID: string(db), Code: code, Object: object, By: person, Now: t.now,
		})
		if err != nil || n == 0 {
			return err
		}
		return t.audit(ctx, id, person, "acknowledge "+code, subject(db, object))
	})
}

func anyFinding(all []remora.Finding, code, object string) bool {
	for _, f := range all {
		if f.Code == code && f.Object == object {
			return true
		}
	}
	return false
}

// checkGivenUp is when a check that was asked for and has not come may be asked for again.
const checkGivenUp = 5 * time.Minute

// RequestAudit asks for the database's credential to be looked at now, without a backup. Where that is under way
// nothing is added. Errors: KindNotFound, KindGone.
func (s *Store) RequestAudit(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		if _, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: string(id)}); err != nil {
			return or404(err, "database")
		}
		stale := t.now.Add(-checkGivenUp)
		n, err := t.q.AskForCheck(ctx, pgsql.AskForCheckParams{ID: string(db), ResourceID: string(id), Now: &t.now, Stale: &stale})
		if err != nil || n == 0 {
			return err
		}
		if err := t.audit(ctx, id, person, "check credential", string(db)); err != nil {
			return err
		}
		return t.enqueue(ctx, jobargs.AuditDatabase{Resource: id, Database: db})
	})
}

// ToAudit returns a database whose credential is to be looked at, and Heroku's id of the Helper App. Errors:
// ErrNothingToDo where it may not be used any more.
func (s *Store) ToAudit(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (out remora.Database, helperApp string, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if remora.KindOf(err) == remora.KindGone {
			return ErrNothingToDo
		}
		if err != nil {
			return err
		}
		row, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: string(id)})
		if errors.Is(err, pgx.ErrNoRows) || err == nil && row.State != string(remora.DatabaseActive) {
			return ErrNothingToDo
		}
		out, helperApp = databaseOf(row), r.HelperAppID
		return err
	})
	return out, helperApp, err
}

// SaveCheck writes down what a look at a database's credential found, or why it found nothing (a.Failed). version is
// empty where the server was not reached.
func (s *Store) SaveCheck(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, a remora.Audit, version string, size int64) error {
	findings, err := findingsJSON(a.Findings)
	if err != nil {
		return err
	}
	return s.forResource(ctx, id, func(t *tx) error {
		err := t.q.SaveCheck(ctx, pgsql.SaveCheckParams{
			ID: string(remora.NewID[remora.AuditID]()), ResourceID: string(id), DatabaseID: string(db), Now: t.now, Reason: string(a.Failed),
			Detail: foreign(a.Words, maxWords), Role: foreign(a.Role, maxWord), Findings: findings, More: a.More, Standby: a.Witness.Standby,
		})
		if err != nil {
			return fmt.Errorf("save check: %w", err)
		}
		if version != "" {
			if err := t.setServer(ctx, id, db, version, size); err != nil {
				return err
			}
		}
		return t.q.EndCheck(ctx, pgsql.EndCheckParams{ID: string(db), ResourceID: string(id)})
	})
}

// findingsJSON keeps no more of a text than a page can show.
func findingsJSON(all []remora.Finding) ([]byte, error) {
	kept := make([]remora.Finding, len(all))
	for i, f := range all {
		kept[i] = remora.Finding{
			Code: foreign(f.Code, maxWord), Severity: remora.Severity(foreign(string(f.Severity), maxWord)), Object: foreign(f.Object, 2*maxWord),
			Detail: foreign(f.Detail, 2*maxWord), Fix: foreign(f.Fix, 8*maxWord),
		}
	}
	out, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode findings: %w", err)
	}
	return out, nil
}

func auditOf(row pgsql.Audit) (remora.Audit, error) {
	a := remora.Audit{
		At: row.At, Role: row.Role, More: row.More, Failed: remora.Reason(row.Reason), Words: row.Detail,
		Witness: remora.Witness{Before: row.WitnessBefore, After: row.WitnessAfter, Standby: row.Standby},
	}
	err := json.Unmarshal(row.Findings, &a.Findings)
	if row.Inventory != nil {
		err = errors.Join(err, json.Unmarshal(row.Inventory, &a.Inventory))
	}
	if err != nil {
		return a, fmt.Errorf("read report: %w", err)
	}
	return a, nil
}
