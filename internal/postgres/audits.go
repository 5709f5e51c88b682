package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// DoctorActor is who takes a server's key for known, in the audit log.
const DoctorActor = "doctor"

// SaveAudit writes down what the permission doctor found in a run, and what the server said of itself. Errors:
// KindStale.
func (s *Store) SaveAudit(ctx context.Context, c Claim, a remora.Audit, server remora.Server) error {
	return s.forResource(ctx, c.Resource.ID, func(t *tx) error {
		asked, err := t.knowServer(ctx, c.Resource.ID, c.Database.ID, server.Key)
		if err != nil {
			return err
		}
		findings, err := findingsJSON(slices.Concat(a.Findings, asked))
		if err != nil {
			return err
		}
		err = changed(t.q.SaveRunAudit(ctx, pgsql.SaveRunAuditParams{
			ID: string(remora.NewID[remora.AuditID]()), DatabaseID: string(c.Database.ID), Now: t.now, Role: foreign(a.Role, maxWord), Findings: findings,
			More: a.More, WitnessBefore: a.Witness.Before, Standby: a.Witness.Standby,
			RunID: string(c.Run), ResourceID: string(c.Resource.ID), Epoch: int32(c.Epoch), //nolint:gosec // one a run
		}))
		if err != nil {
			return err
		}
		return t.setServer(ctx, c.Resource.ID, c.Database.ID, server)
	})
}

func (t *tx) setServer(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, said remora.Server) error {
	return t.q.SetServer(ctx, pgsql.SetServerParams{ID: string(db), ResourceID: string(id), ServerVersion: foreign(said.Version, maxWord), SizeBytes: said.Size})
}

// knowServer compares the key that a server has shown with the one that it is known by, and returns what a person is to be
// asked. One that has changed at the same address is news, once; when a person has answered for it, it is the known one.
func (t *tx) knowServer(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, seen remora.ServerKey) ([]remora.Finding, error) {
	row, err := t.q.LockServerKey(ctx, pgsql.LockServerKeyParams{ID: string(db), ResourceID: string(id)})
	if err != nil {
		return nil, or404(err, "database")
	}
	known := remora.ServerKey{At: row.ServerAt, SHA256: row.ServerKey}
	switch known.Turn(seen) {
	case remora.KeySame:
		if row.ServerKeyAsked == nil || len(seen.SHA256) == 0 {
			return nil, nil
		}
		return nil, t.q.AskServerKey(ctx, pgsql.AskServerKeyParams{ID: string(db), ResourceID: string(id)})
	case remora.KeyTake:
		return nil, t.takeServerKey(ctx, id, db, seen)
	case remora.KeyAsk:
	}
	f := known.Finding(seen, orZero(row.ServerKeyAt))
	answered, err := t.q.IsAcknowledged(ctx, pgsql.IsAcknowledgedParams{ResourceID: string(id), DatabaseID: string(db), Code: f.Code, Object: f.Object})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for an answer: %w", err)
	case answered:
		return nil, t.takeServerKey(ctx, id, db, seen)
	case bytes.Equal(row.ServerKeyAsked, seen.SHA256): // it was told
		return []remora.Finding{f}, nil
	}
	if err := t.q.AskServerKey(ctx, pgsql.AskServerKeyParams{ID: string(db), ResourceID: string(id), Asked: seen.SHA256}); err != nil {
		return nil, fmt.Errorf("ask about a key: %w", err)
	}
	return []remora.Finding{f}, t.happened(ctx, id, remora.Event{Kind: remora.EventServerKey, Database: db, Detail: "The server at " + seen.At + " shows a certificate with another key than before, at the same address."})
}

func (t *tx) takeServerKey(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, k remora.ServerKey) error {
	err := t.q.TakeServerKey(ctx, pgsql.TakeServerKeyParams{ID: string(db), ResourceID: string(id), ServerAt: k.At, ServerKey: k.SHA256, Now: &t.now})
	if err != nil {
		return fmt.Errorf("take a key: %w", err)
	}
	return t.audit(ctx, id, DoctorActor, "server key", string(db)+" "+k.At+" "+k.String())
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

// SaveCheck writes down what a look at a database's credential found, or why it found nothing (a.Failed). The server
// is empty where it was not reached.
func (s *Store) SaveCheck(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, a remora.Audit, server remora.Server) error {
	return s.forResource(ctx, id, func(t *tx) error {
		asked, err := t.knowServer(ctx, id, db, server.Key)
		if err != nil {
			return err
		}
		findings, err := findingsJSON(slices.Concat(a.Findings, asked))
		if err != nil {
			return err
		}
		err = t.q.SaveCheck(ctx, pgsql.SaveCheckParams{
			ID: string(remora.NewID[remora.AuditID]()), ResourceID: string(id), DatabaseID: string(db), Now: t.now, Reason: string(a.Failed),
			Detail: foreign(a.Words, maxWords), Role: foreign(a.Role, maxWord), Findings: findings, More: a.More, Standby: a.Witness.Standby,
		})
		if err != nil {
			return fmt.Errorf("save check: %w", err)
		}
		if server.Version != "" {
			if err := t.setServer(ctx, id, db, server); err != nil {
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
