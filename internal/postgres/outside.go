package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// What the secrets of badges and pings are for, bound into them with the resource's id.
const (
	sealedBadge = "badges.sealed_token"
	sealedPing  = "pings.sealed_address"
)

// Outside returns a database's badge and ping. Errors: KindNotFound, KindGone.
func (s *Store) Outside(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (out remora.Outside, err error) {
	err = s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		out.Now = t.now
		badge, err := t.q.GetBadge(ctx, pgsql.GetBadgeParams{DatabaseID: string(db), ResourceID: string(id)})
		if err == nil {
			out.Badge = &remora.OwnBadge{Named: badge.Named, MadeBy: badge.MadeBy, MadeAt: badge.MadeAt}
			out.Badge.Token, err = t.s.open(badge.SealedToken, sealedBadge, id)
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read badge: %w", err)
		}
		p, err := t.q.GetPing(ctx, pgsql.GetPingParams{DatabaseID: string(db), ResourceID: string(id)})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		out.Ping = &remora.Ping{
			Shown: p.Shown, Starts: p.Starts, SetBy: p.SetBy, SetAt: p.SetAt, Kind: remora.PingKind(p.LastKind), OK: p.LastOk, Outcome: p.LastOutcome, At: orZero(p.LastAt),
		}
		return err
	})
	return out, err
}

// forDatabase changes something of a database of a live resource, which is locked.
func (s *Store) forDatabase(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, do func(*tx) error) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		if _, err := t.q.GetDatabase(ctx, pgsql.GetDatabaseParams{ID: string(db), ResourceID: string(id)}); err != nil {
			return or404(err, "database")
		}
		return do(t)
	})
}

// MakeBadge gives a database a badge with a new address; the address that it had opens nothing any more. Errors:
// KindNotFound, KindGone.
func (s *Store) MakeBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, named bool, person string) error {
	token := remora.NewToken()
	return s.forDatabase(ctx, id, db, func(t *tx) error {
		err := t.q.PutBadge(ctx, pgsql.PutBadgeParams{
			DatabaseID: string(db), ResourceID: string(id), TokenHash: hash(token), SealedToken: s.seal(redact.New(token), sealedBadge, id),
			Named: named, Person: person, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("put badge: %w", err)
		}
		return t.audit(ctx, id, person, "make badge", string(db))
	})
}

// RemoveBadge takes a database's badge away. One that has none stays as it is. Errors: KindNotFound, KindGone.
func (s *Store) RemoveBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.forDatabase(ctx, id, db, func(t *tx) error {
		n, err := t.q.RemoveBadge(ctx, pgsql.RemoveBadgeParams{DatabaseID: string(db), ResourceID: string(id)})
		if err != nil || n == 0 {
			return err
		}
		return t.audit(ctx, id, person, "remove badge", string(db))
	})
}

// Badge returns what a badge shows now. It does not wait for a watcher. Errors: KindNotFound for an address that opens
// nothing, also where its add-on was removed.
func (s *Store) Badge(ctx context.Context, token string) (out remora.Badge, err error) {
	var badge pgsql.FindBadgeRow
	err = s.forService(ctx, func(t *tx) error {
		badge, err = t.q.FindBadge(ctx, hash(token))
		return or404(err, "badge")
	})
	if err != nil {
		return out, err
	}
	err = s.forResource(ctx, remora.ResourceID(badge.ResourceID), func(t *tx) error {
		rows, err := t.standings(ctx, pgsql.ListStandingsParams{After: firstID, ResourceID: &badge.ResourceID, DatabaseID: &badge.DatabaseID, Most: 1})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return remora.NotFound("badge")
		}
		out = remora.Badge{Freshness: rows[0].standing().Freshness(t.now), Now: t.now}
		if badge.Named {
			out.Name = rows[0].Addon
		}
		return nil
	})
	return out, err
}

// SetPing has a customer's own watch called after each backup of a database from now on, and when one begins where starts
// says so. What is as it was already changes nothing. Errors: KindInvalid for an address that is not one of https, KindNotFound, KindGone.
func (s *Store) SetPing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, address redact.Secret, starts bool, person string) error {
	return s.forDatabase(ctx, id, db, func(t *tx) error {
		to, err := remora.ParseChannel(remora.ChannelWebhook, address.Reveal())
		if err != nil {
			return err
		}
		was, err := t.q.GetPing(ctx, pgsql.GetPingParams{DatabaseID: string(db), ResourceID: string(id)})
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read ping: %w", err)
		}
		if err == nil && was.Starts == starts {
			old, err := t.s.open(was.SealedAddress, sealedPing, id)
			if err != nil {
				return err
			}
			if old.Reveal() == to.Address.Reveal() {
				return nil
			}
		}
		err = t.q.PutPing(ctx, pgsql.PutPingParams{
			DatabaseID: string(db), ResourceID: string(id), Shown: to.Shown, SealedAddress: s.seal(to.Address, sealedPing, id), Starts: starts, Person: person, Now: t.now,
		})
		if err != nil {
			return fmt.Errorf("put ping: %w", err)
		}
		return t.audit(ctx, id, person, "set ping", to.Shown)
	})
}

// RemovePing has nobody called any more. Errors: KindNotFound, KindGone.
func (s *Store) RemovePing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error {
	return s.forDatabase(ctx, id, db, func(t *tx) error {
		n, err := t.q.RemovePing(ctx, pgsql.RemovePingParams{DatabaseID: string(db), ResourceID: string(id)})
		if err != nil || n == 0 {
			return err
		}
		return t.audit(ctx, id, person, "remove ping", string(db))
	})
}

// pingCanceled tells a watch that heard of a backup's start that it comes to nothing: it would wait for it else.
func (t *tx) pingCanceled(ctx context.Context, id remora.ResourceID, b remora.BackupID) error {
	row, err := t.q.PingOfBackup(ctx, pgsql.PingOfBackupParams{BackupID: string(b), ResourceID: string(id)})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !row.Starts {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find ping: %w", err)
	}
	return t.ping(ctx, id, b, remora.PingFail)
}

// ping asks for the customer's own watch to be called about a backup, in the transaction in which that happened.
func (t *tx) ping(ctx context.Context, id remora.ResourceID, b remora.BackupID, kind remora.PingKind) error {
	row, err := t.q.PingOfBackup(ctx, pgsql.PingOfBackupParams{BackupID: string(b), ResourceID: string(id)})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && kind == remora.PingStart && !row.Starts {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find ping: %w", err)
	}
	args := jobargs.Ping{Resource: id, Database: remora.DatabaseID(row.DatabaseID), About: kind, Asked: string(remora.NewID[remora.EventID]())}
	if kind != remora.PingStart {
		if err := t.q.AskPing(ctx, pgsql.AskPingParams{DatabaseID: row.DatabaseID, ResourceID: string(id), Asked: args.Asked}); err != nil {
			return fmt.Errorf("ask for ping: %w", err)
		}
	}
	return t.enqueue(ctx, args)
}

// ToPing returns where a ping goes. Errors: ErrNothingToDo where nobody is to be called any more, or a later backup has
// something newer to say.
func (s *Store) ToPing(ctx context.Context, p jobargs.Ping) (to redact.Secret, err error) {
	err = s.forResource(ctx, p.Resource, func(t *tx) error {
		row, err := t.q.GetPing(ctx, pgsql.GetPingParams{DatabaseID: string(p.Database), ResourceID: string(p.Resource)})
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNothingToDo
		case err != nil:
			return fmt.Errorf("read ping: %w", err)
		case p.About != remora.PingStart && orEmpty[string](row.Asked) != p.Asked:
			return ErrNothingToDo
		}
		address, err := t.s.open(row.SealedAddress, sealedPing, p.Resource)
		if err == nil {
			to, err = remora.PingAddress(address, p.About)
		}
		return err
	})
	return to, err
}

// SavePinged writes down what came of a ping.
func (s *Store) SavePinged(ctx context.Context, p jobargs.Ping, ok bool, outcome string) error {
	return s.forResource(ctx, p.Resource, func(t *tx) error {
		return t.q.SavePinged(ctx, pgsql.SavePingedParams{
			DatabaseID: string(p.Database), ResourceID: string(p.Resource), Kind: string(p.About), Ok: ok, Outcome: foreign(outcome, maxWord), Now: t.now,
		})
	})
}
