package postgres

import (
	"context"
	"errors"
	"fmt"

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
// KindGone, KindInvalid where nobody could open an archive.
func (s *Store) SetSealing(ctx context.Context, id remora.ResourceID, to remora.Sealing, person string) error {
	if to.Alone && len(to.Recipients) == 0 {
		return remora.Invalid("Name at least one key that opens the archives.")
	}
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		err := t.q.InsertSealing(ctx, pgsql.InsertSealingParams{
			ID: string(remora.NewID[remora.SealingID]()), ResourceID: string(id), Recipients: append([]string{}, to.Recipients...), Alone: to.Alone, Shown: to.Shown, Person: person, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("set whose keys archives are sealed to: %w", err)
		}
		return t.audit(ctx, id, person, "set keys", to.Says())
	})
}

// TakeKey returns the resource's own key to a person, and writes that down. Errors: KindNotFound, KindGone.
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
		return t.audit(ctx, id, person, "download key", recipient)
	})
	return out, recipient, err
}
