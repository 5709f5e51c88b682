package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Sealing returns whose keys a resource's archives are sealed to from the next backup on. Errors: KindNotFound, KindGone.
func (s *Store) Sealing(ctx context.Context, id remora.ResourceID) (out remora.Sealing, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		out, err = t.sealing(ctx, string(id))
		return err
	})
	return out, err
}

func (t *tx) sealing(ctx context.Context, id string) (remora.Sealing, error) {
	row, err := t.q.CurrentSealing(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return remora.Sealing{}, nil
	}
	if err != nil {
		return remora.Sealing{}, fmt.Errorf("read whose keys archives are sealed to: %w", err)
	}
	return remora.Sealing{Recipients: row.Recipients, Alone: row.Alone, Shown: row.Shown, SetBy: row.SetBy, SetAt: row.SetAt}, nil
}

// SetSealing has archives sealed to the customer's keys from the next backup on: to them alone, or beside the resource's
// own; with none, to that one only. The recipients must have been read by whoever knows how. Errors: KindNotFound,
// KindGone, KindInvalid where nobody could open an archive, KindBusy where it was changed too often. What is set already
// changes nothing.
func (s *Store) SetSealing(ctx context.Context, id remora.ResourceID, to remora.Sealing, person string) error {
	if to.Alone && len(to.Recipients) == 0 {
		return remora.Invalid("Name at least one key that opens the archives.")
	}
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		before, err := t.sealing(ctx, string(id))
		if err != nil || before.Same(to) && (before.Shown || !to.Shown) {
			return err
		}
		if len(to.Recipients) > 0 { // what was set can be taken back, however often
			if err := t.mayHappen(ctx, id, remora.EventKeysChanged); err != nil {
				return err
			}
		}
		at := t.now
		if !at.After(before.SetAt) { // the clock was put back, or it began before the one that it waited for
			at = before.SetAt.Add(time.Microsecond)
		}
		err = t.q.InsertSealing(ctx, pgsql.InsertSealingParams{
			ID: string(remora.NewID[remora.SealingID]()), ResourceID: string(id), Recipients: append([]string{}, to.Recipients...), Alone: to.Alone, Shown: to.Shown, Person: person, Now: at,
		})
		if err != nil {
			return fmt.Errorf("set whose keys archives are sealed to: %w", err)
		}
		err = t.happened(ctx, id, remora.Event{Kind: remora.EventKeysChanged, Detail: fmt.Sprintf("From the next backup on archives are sealed to %s. %s has set that.", to.Says(), person)})
		if err != nil {
			return err
		}
		return t.audit(ctx, id, person, "set keys", to.Says())
	})
}

// TakeKey returns the resource's own key to a person, writes that down and tells of it. Errors: KindNotFound, KindGone,
// KindBusy.
func (s *Store) TakeKey(ctx context.Context, id remora.ResourceID, person string) (out redact.Secret, recipient string, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		row, err := t.lockLive(ctx, id)
		if err != nil {
			return err
		}
		if out, err = s.open(row.SealedKey, sealedKey, id); err != nil {
			return err
		}
		recipient = row.Recipient
		if err := t.mayHappen(ctx, id, remora.EventKeysChanged); err != nil {
			return err
		}
		err = t.happened(ctx, id, remora.Event{Kind: remora.EventKeysChanged, Detail: fmt.Sprintf("%s has downloaded the add-on's own key, which opens every archive that is sealed to it, without us.", person)})
		if err != nil {
			return err
		}
		return t.audit(ctx, id, person, "download key", recipient)
	})
	return out, recipient, err
}
