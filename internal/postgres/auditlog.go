package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// audit notes who did what. It is written down in the same transaction, once all else is done: whoever adds to a resource's
// chain holds its end, and would keep others waiting, or in a ring, if it then asked for another lock.
func (t *tx) audit(_ context.Context, id remora.ResourceID, actor, action, subject string) error {
	if actor == "" || action == "" {
		return errors.New("a line of the audit log names nobody, or nothing that was done")
	}
	t.done = append(t.done, pgsql.InsertAuditParams{ResourceID: string(id), At: t.now, Actor: actor, Action: action, Subject: subject})
	return nil
}

// subject is a database and what else there is to say.
func subject(db remora.DatabaseID, words string) string {
	return strings.TrimSpace(string(db) + " " + words)
}

// writeDown adds what was noted to the chains, of several resources in one order.
func (t *tx) writeDown(ctx context.Context) error {
	slices.SortStableFunc(t.done, func(a, b pgsql.InsertAuditParams) int { return cmp.Compare(a.ResourceID, b.ResourceID) })
	for _, line := range t.done {
		if err := t.q.InsertAudit(ctx, line); err != nil {
			return fmt.Errorf("write down that somebody did %q: %w", line.Action, err)
		}
	}
	return nil
}

// AuditLog returns some lines of a resource's audit log, newest first. Errors: KindNotFound, KindGone.
func (s *Store) AuditLog(ctx context.Context, id remora.ResourceID, look remora.AuditLook) (out remora.AuditPage, err error) {
	err = s.seeResource(ctx, id, func(t *tx) error {
		r, err := t.live(ctx, id)
		if err != nil {
			return err
		}
		out.Now, out.Resource = t.now, resourceOf(r)
		if out.Chain, err = t.chain(ctx, id); err != nil {
			return err
		}
		before := look.Before
		if before == 0 {
			before = math.MaxInt64
		}
		rows, err := t.q.AuditLines(ctx, pgsql.AuditLinesParams{
			ResourceID: string(id), Before: before, Actor: foreign(look.Actor, maxWord), Action: foreign(look.Action, maxWord), Since: orNil(look.Since), Until: orNil(look.Until), Most: int32(look.Most) + 1, //nolint:gosec // a page
		})
		if err != nil {
			return fmt.Errorf("list audit lines: %w", err)
		}
		if out.More = len(rows) > look.Most; out.More {
			rows = rows[:look.Most]
		}
		for _, row := range rows {
			out.Lines = append(out.Lines, auditLineOf(row))
		}
		if out.About, err = t.subjects(ctx, id, out.Lines); err != nil {
			return err
		}
		for action := ""; ; {
			action, err = t.q.NextAction(ctx, pgsql.NextActionParams{ResourceID: string(id), After: action})
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("list actions: %w", err)
			}
			out.Actions = append(out.Actions, action)
		}
	})
	return out, err
}

// chain is where a resource's chain ends now.
func (t *tx) chain(ctx context.Context, id remora.ResourceID) (out remora.AuditChain, err error) {
	row, err := t.q.AuditChain(ctx, string(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read the audit log's end: %w", err)
	}
	return remora.AuditChain{Length: row.Length, Hash: row.Hash}, nil
}

// subjects tells what the identifiers are that lines are about.
func (t *tx) subjects(ctx context.Context, id remora.ResourceID, lines []remora.AuditLine) (map[string]remora.AuditSubject, error) {
	out := map[string]remora.AuditSubject{}
	var ids []string
	for _, l := range lines {
		if id, _ := l.About(); id != "" {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	dbs, err := t.q.ListDatabases(ctx, string(id))
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	for _, d := range dbs {
		out[d.ID] = remora.AuditSubject{Database: remora.DatabaseID(d.ID), Addon: d.Addon}
	}
	backups, err := t.q.BackupsNamed(ctx, pgsql.BackupsNamedParams{ResourceID: string(id), Ids: ids})
	if err != nil {
		return nil, fmt.Errorf("find the backups of lines: %w", err)
	}
	for _, b := range backups {
		out[b.ID] = remora.AuditSubject{Database: remora.DatabaseID(b.DatabaseID), Backup: remora.BackupID(b.ID), Addon: b.Addon, QueuedAt: b.QueuedAt}
	}
	return out, nil
}

// AuditChain returns where a resource's chain of audit lines ends now.
func (s *Store) AuditChain(ctx context.Context, id remora.ResourceID) (out remora.AuditChain, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		out, err = t.chain(ctx, id)
		return err
	})
	return out, err
}

// auditBatch is how many lines are read in one transaction of those that go out one by one.
const auditBatch = 500

// AuditLines returns the lines that are looked for, oldest first, up to the one at which the chain ended when it was asked:
// read in steps, so that any number takes little memory and no transaction is held open. An error is the last that comes.
func (s *Store) AuditLines(ctx context.Context, id remora.ResourceID, look remora.AuditLook, last int64) iter.Seq2[remora.AuditLine, error] {
	return func(yield func(remora.AuditLine, error) bool) {
		for after := int64(0); ; {
			var rows []pgsql.AuditLog
			err := s.forResource(ctx, id, func(t *tx) (err error) {
				rows, err = t.q.AuditLinesFrom(ctx, pgsql.AuditLinesFromParams{
					ResourceID: string(id), After: after, Last: last, Actor: foreign(look.Actor, maxWord), Action: foreign(look.Action, maxWord), Since: orNil(look.Since), Until: orNil(look.Until), Most: auditBatch,
				})
				return err
			})
			if err != nil {
				yield(remora.AuditLine{}, fmt.Errorf("read audit lines: %w", err))
				return
			}
			for _, row := range rows {
				if after = row.Seq; !yield(auditLineOf(row), nil) {
					return
				}
			}
			if len(rows) < auditBatch {
				return
			}
		}
	}
}

// VerifyAudit follows a resource's chain from its beginning to its end. Errors: KindConflict where it is broken, and how.
func (s *Store) VerifyAudit(ctx context.Context, id remora.ResourceID) (remora.AuditChain, error) {
	var chain remora.AuditChain
	end, err := s.AuditChain(ctx, id)
	if err != nil {
		return chain, err
	}
	broken := func(why string) error {
		return &remora.Error{Kind: remora.KindConflict, Public: "The audit log of " + string(id) + " is broken: " + why + "."}
	}
	for line, err := range s.AuditLines(ctx, id, remora.AuditLook{}, math.MaxInt64) {
		if err != nil {
			return chain, err
		}
		if err := chain.Add(line); err != nil {
			return chain, broken(err.Error())
		}
		if chain.Length == end.Length && string(chain.Hash) != string(end.Hash) {
			return chain, broken("its last line is another one than was written down last")
		}
	}
	if chain.Length < end.Length {
		return chain, broken(fmt.Sprintf("it had %d lines and ends after line %d", end.Length, chain.Length))
	}
	return chain, nil
}

// ResourcesWithAudit lists the resources that have an audit log, in the order of their identifiers, at most 200 from behind
// after on, or from the start where that is empty.
func (s *Store) ResourcesWithAudit(ctx context.Context, after remora.ResourceID) (out []remora.ResourceID, err error) {
	if after == "" {
		after = firstID
	}
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.AuditChainsAfter(ctx, pgsql.AuditChainsAfterParams{After: string(after), Most: batch})
		for _, id := range rows {
			out = append(out, remora.ResourceID(id))
		}
		return err
	})
	return out, err
}

func auditLineOf(row pgsql.AuditLog) remora.AuditLine {
	return remora.AuditLine{
		Resource: remora.ResourceID(row.ResourceID), Seq: row.Seq, At: row.At, Actor: row.Actor, Action: row.Action, Subject: row.Subject,
		Previous: row.Previous, Hash: row.Hash,
	}
}
