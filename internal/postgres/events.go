package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// happened writes an event down, in the transaction in which it happened, for every channel that wants to hear of it, and
// asks for it to be told. Where the event names a backup, its database is found by that.
func (t *tx) happened(ctx context.Context, id remora.ResourceID, e remora.Event) error {
	event := string(remora.NewID[remora.EventID]())
	err := t.q.InsertEvent(ctx, pgsql.InsertEventParams{
		ID: event, ResourceID: string(id), DatabaseID: orNull(e.Database), BackupID: orNull(e.Backup), Kind: string(e.Kind),
		Reason: string(e.Reason), Detail: foreign(e.Detail, maxDetail), Now: t.now,
	})
	if err != nil {
		return fmt.Errorf("write down %s: %w", e.Kind, err)
	}
	waiting, err := t.q.InsertNews(ctx, pgsql.InsertNewsParams{EventID: event, ResourceID: string(id), Kind: string(e.Kind)})
	if err != nil {
		return fmt.Errorf("tell of %s: %w", e.Kind, err)
	}
	if waiting == 0 {
		return nil
	}
	return t.enqueue(ctx, jobargs.PlanNews{Resource: id}, t.now.Add(t.s.GatherNews))
}

// mayHappen keeps people from causing a kind of event again and again. Errors: KindBusy.
func (t *tx) mayHappen(ctx context.Context, id remora.ResourceID, kind remora.EventKind) error {
	n, err := t.q.CountEvents(ctx, pgsql.CountEventsParams{ResourceID: string(id), Kind: string(kind), Since: t.now.Add(-time.Hour)})
	if err != nil {
		return fmt.Errorf("count %s: %w", kind, err)
	}
	if most := kind.MostInHour(); most > 0 && n >= int64(most) {
		return &remora.Error{Kind: remora.KindBusy, Public: fmt.Sprintf("This was done %d times within an hour, and everybody who is told of it was told each time. Try again later.", n)}
	}
	return nil
}

// maxDetail bounds an event's detail, in bytes: a sentence or two.
const maxDetail = 4 << 10

// lastEvent is the newest event of a database among some kinds, or none.
func (t *tx) lastEvent(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, kinds []remora.EventKind) (remora.EventKind, error) {
	last, err := t.q.LastEvent(ctx, pgsql.LastEventParams{DatabaseID: orNull(db), ResourceID: string(id), Kinds: words(kinds)})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return remora.EventKind(last), err
}

// Events lists what happened to a resource, newest first; to a removed one too.
func (s *Store) Events(ctx context.Context, id remora.ResourceID, look remora.EventLook) ([]remora.Event, error) {
	var out []remora.Event
	err := s.seeResource(ctx, id, func(t *tx) error {
		rows, err := t.q.ListEvents(ctx, pgsql.ListEventsParams{
			ResourceID: string(id), Before: orNil(look.Before), BeforeID: orNull(look.BeforeID), Most: int32(min(look.Most, batch)), //nolint:gosec // bounded
		})
		for _, e := range rows {
			out = append(out, eventOf(e))
		}
		return err
	})
	return out, err
}

func eventOf(e pgsql.Event) remora.Event {
	return remora.Event{
		ID: remora.EventID(e.ID), Kind: remora.EventKind(e.Kind), Database: orEmpty[remora.DatabaseID](e.DatabaseID), Backup: orEmpty[remora.BackupID](e.BackupID),
		Reason: remora.Reason(e.Reason), Detail: e.Detail, At: e.At,
	}
}

// orNull is an identifier for a column, or NULL where there is none.
func orNull[T ~string](id T) *string {
	if id == "" {
		return nil
	}
	s := string(id)
	return &s
}

func orEmpty[T ~string](s *string) T {
	if s == nil {
		return ""
	}
	return T(*s)
}
