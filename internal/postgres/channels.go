package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// What the secrets of a channel are for, bound into them with the resource's id.
const (
	sealedAddress = "channels.sealed_address"
	sealedSecret  = "channels.sealed_secret"
	addressMAC    = "channels.address_mac"
)

// Channels lists a resource's channels, the log stream first. Errors: KindNotFound, KindGone.
func (s *Store) Channels(ctx context.Context, id remora.ResourceID) ([]remora.Channel, error) {
	var out []remora.Channel
	err := s.seeResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		rows, err := t.q.ListChannels(ctx, string(id))
		for _, c := range rows {
			out = append(out, channelOf(c))
		}
		return err
	})
	return out, err
}

// AddChannel adds what a person asked for. A webhook's secret is made here, returned this once, and sealed. An e-mail
// address is sent one mail, which asks whether it wants more, and is told nothing until then. Errors: KindGone,
// KindPlanLimit where there are too many, KindConflict where that address is among them, KindBusy where too many
// addresses were tried today.
func (s *Store) AddChannel(ctx context.Context, id remora.ResourceID, n remora.NewChannel, person string) (remora.ChannelID, redact.Secret, error) {
	channel := remora.NewID[remora.ChannelID]()
	mac, err := s.addressMAC(n.Kind, n.Address)
	if err != nil {
		return "", redact.Secret{}, err
	}
	row := pgsql.InsertChannelParams{
		ID: string(channel), ResourceID: string(id), Kind: string(n.Kind), Shown: n.Shown, SealedAddress: s.seal(n.Address, sealedAddress, id),
		AddressMac: mac, Mutes: words(n.Mutes), AddedBy: person,
	}
	var secret redact.Secret
	switch n.Kind {
	case remora.ChannelWebhook:
		secret = remora.NewSigningSecret()
		row.SealedSecret = s.seal(secret, sealedSecret, id)
	case remora.ChannelEmail:
		token := remora.NewToken()
		row.SealedSecret, row.TokenHash = s.seal(redact.New(token), sealedSecret, id), hash(token)
	}
	err = s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		if err := t.mayAdd(ctx, id, n.Kind, mac); err != nil {
			return err
		}
		if n.Kind == remora.ChannelEmail {
			if err := t.mayMail(ctx, mac); err != nil {
				return err
			}
		}
		row.Now = t.now
		if n.Kind != remora.ChannelEmail {
			row.ConfirmedAt = &t.now
		}
		if err := t.q.InsertChannel(ctx, row); err != nil {
			return fmt.Errorf("insert channel: %w", err)
		}
		if n.Kind == remora.ChannelEmail {
			if _, err := t.message(ctx, id, row.ID, remora.DeliveryConfirmation); err != nil {
				return err
			}
		}
		return t.audit(ctx, id, person, "add channel", string(n.Kind)+" "+n.Shown)
	})
	return channel, secret, err
}

// addressMAC is by which an address is told to be the same as another.
func (s *Store) addressMAC(kind remora.ChannelKind, of redact.Secret) ([]byte, error) {
	address := of.Reveal()
	if kind == remora.ChannelEmail { // another spelling is no other person
		address = remora.Mailbox(address)
	}
	return s.Keys.MAC(addressMAC, []byte(address))
}

// mayMail keeps people who did not ask for it from being asked again and again, by whichever resource. The address is locked until
// the transaction ends, so that two resources that ask at once are counted both. It leaves the resource's scope for one question.
func (t *tx) mayMail(ctx context.Context, mac []byte) error {
	if err := t.q.LockAddress(ctx, mac); err != nil {
		return fmt.Errorf("lock address: %w", err)
	}
	if _, err := t.q.ScopeToService(ctx); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	n, err := t.q.CountAddress(ctx, pgsql.CountAddressParams{AddressMac: mac, Since: t.now.Add(-day)})
	if err != nil {
		return fmt.Errorf("count mails: %w", err)
	}
	if err := t.q.LeaveService(ctx); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	if n >= remora.MaxConfirmations {
		return errTooOften
	}
	return nil
}

const day = 24 * time.Hour

var errTooOften = &remora.Error{Kind: remora.KindBusy, Public: "Channels were added too often today. Try again tomorrow."}

func (t *tx) mayAdd(ctx context.Context, id remora.ResourceID, kind remora.ChannelKind, mac []byte) error {
	all, err := t.q.ListChannels(ctx, string(id))
	if err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	if len(all) >= remora.MaxChannels {
		return &remora.Error{Kind: remora.KindPlanLimit, Public: fmt.Sprintf("There are %d channels, which is as many as one add-on may have. Remove one first.", len(all))}
	}
	same, err := t.q.SameChannel(ctx, pgsql.SameChannelParams{ResourceID: string(id), Kind: string(kind), AddressMac: mac})
	if err != nil {
		return fmt.Errorf("look for the address: %w", err)
	}
	if same {
		return &remora.Error{Kind: remora.KindConflict, Public: "This address, or another spelling of it, is among the channels already."}
	}
	n, err := t.q.CountAdded(ctx, pgsql.CountAddedParams{ResourceID: string(id), Since: t.now.Add(-day)})
	if err == nil && (n.Added >= remora.MaxAdded || kind == remora.ChannelEmail && n.Mails >= remora.MaxConfirmations) {
		err = errTooOften
	}
	return err
}

// SetChannel turns a channel on or off and says what it does not want to hear of. What waits for one that is turned off
// is forgotten. Errors: KindNotFound.
func (s *Store) SetChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, enabled bool, mutes []remora.EventKind, person string) error {
	return s.forChannel(ctx, id, c, func(t *tx, row pgsql.Channel) error {
		err := t.q.SetChannelWants(ctx, pgsql.SetChannelWantsParams{ID: row.ID, ResourceID: row.ResourceID, Enabled: enabled, Mutes: words(mutes)})
		if err != nil {
			return fmt.Errorf("set channel: %w", err)
		}
		if !enabled {
			if err := t.q.HoldNews(ctx, pgsql.HoldNewsParams{ChannelID: row.ID, ResourceID: row.ResourceID}); err != nil {
				return fmt.Errorf("forget what waits: %w", err)
			}
		}
		if row.Enabled == enabled && sameWords(row.Mutes, words(mutes)) {
			return nil
		}
		return t.audit(ctx, id, person, "set channel", row.Kind+" "+row.Shown)
	})
}

// sameWords tells whether two lists are of the same words, in whatever order.
func sameWords(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// RemoveChannel ends a channel and forgets its address and secret. Errors: KindNotFound, KindConflict for the log
// stream, which is turned off instead.
func (s *Store) RemoveChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error {
	return s.forChannel(ctx, id, c, func(t *tx, row pgsql.Channel) error {
		if row.Kind == string(remora.ChannelLogStream) {
			return &remora.Error{Kind: remora.KindConflict, Public: "The log stream comes with the add-on. Turn it off instead."}
		}
		return t.removeChannel(ctx, row, person)
	})
}

func (t *tx) removeChannel(ctx context.Context, row pgsql.Channel, person string) error {
	if err := t.q.RemoveChannels(ctx, pgsql.RemoveChannelsParams{ResourceID: row.ResourceID, ID: &row.ID, Now: &t.now}); err != nil {
		return fmt.Errorf("remove channel: %w", err)
	}
	return t.audit(ctx, remora.ResourceID(row.ResourceID), person, "remove channel", row.Kind+" "+row.Shown)
}

// TestChannel sends a test to a channel. Errors: KindNotFound, KindConflict for an address that has not been confirmed,
// KindBusy after too many.
func (s *Store) TestChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error {
	return s.forChannel(ctx, id, c, func(t *tx, row pgsql.Channel) error {
		if row.ConfirmedAt == nil {
			return &remora.Error{Kind: remora.KindConflict, Public: "This address has not been confirmed. Open the link in the mail that we sent to it first."}
		}
		n, err := t.q.CountTests(ctx, pgsql.CountTestsParams{ChannelID: row.ID, ResourceID: row.ResourceID, Since: t.now.Add(-time.Hour)})
		if err != nil {
			return fmt.Errorf("count tests: %w", err)
		}
		if n >= remora.MaxTests {
			return &remora.Error{Kind: remora.KindBusy, Public: fmt.Sprintf("This channel was tested %d times within an hour. Try again later.", n)}
		}
		if _, err := t.message(ctx, id, row.ID, remora.DeliveryTest); err != nil {
			return err
		}
		return t.audit(ctx, id, person, "test channel", row.Kind+" "+row.Shown)
	})
}

func (s *Store) forChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, do func(*tx, pgsql.Channel) error) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.live(ctx, id); err != nil {
			return err
		}
		row, err := t.q.LockChannel(ctx, pgsql.LockChannelParams{ID: string(c), ResourceID: string(id)})
		if err != nil {
			return or404(err, "channel")
		}
		return do(t, row)
	})
}

// ByMail finds the channel that a mail's link is about. Errors: KindNotFound.
func (s *Store) ByMail(ctx context.Context, token string) (out remora.MailedChannel, err error) {
	out, _, err = s.byMail(ctx, token)
	return out, err
}

func (s *Store) byMail(ctx context.Context, token string) (out remora.MailedChannel, id remora.ResourceID, err error) {
	err = s.forService(ctx, func(t *tx) error {
		row, err := t.q.FindChannel(ctx, hash(token))
		if err != nil {
			return or404(err, "channel")
		}
		id = remora.ResourceID(row.ResourceID)
		out = remora.MailedChannel{
			Channel: channelOf(pgsql.Channel{
				ID: row.ID, Kind: row.Kind, Shown: row.Shown, Mutes: row.Mutes, Enabled: row.Enabled, Problem: row.Problem, AddedBy: row.AddedBy,
				AddedAt: row.AddedAt, ConfirmedAt: row.ConfirmedAt,
			}),
			Resource: row.Resource, HelperApp: row.HelperApp, Removed: row.RemovedAt != nil,
		}
		return nil
	})
	return out, id, err
}

// ConfirmByMail writes down that an address wants to be told. Again is no error. Errors: KindNotFound, KindGone where
// the channel was removed or the link is too old.
func (s *Store) ConfirmByMail(ctx context.Context, token string) error {
	return s.withMail(ctx, token, func(t *tx, row pgsql.Channel) error {
		if row.ConfirmedAt != nil {
			return nil
		}
		if row.AddedAt.Add(remora.ConfirmGood).Before(t.now) {
			return &remora.Error{Kind: remora.KindGone, Public: "This link is too old. Remove the address on the add-on's page and add it again: a new mail comes."}
		}
		if err := t.q.ConfirmChannel(ctx, pgsql.ConfirmChannelParams{ID: row.ID, ResourceID: row.ResourceID, Now: &t.now}); err != nil {
			return fmt.Errorf("confirm channel: %w", err)
		}
		return t.audit(ctx, remora.ResourceID(row.ResourceID), row.Shown, "confirm channel", row.Kind+" "+row.Shown)
	})
}

// StopByMail ends the channel that a mail's link is about. Again is no error. Errors: KindNotFound.
func (s *Store) StopByMail(ctx context.Context, token string) error {
	err := s.withMail(ctx, token, func(t *tx, row pgsql.Channel) error { return t.removeChannel(ctx, row, row.Shown) })
	if remora.KindOf(err) == remora.KindGone {
		return nil
	}
	return err
}

func (s *Store) withMail(ctx context.Context, token string, do func(*tx, pgsql.Channel) error) error {
	c, id, err := s.byMail(ctx, token)
	if err != nil {
		return err
	}
	return s.forResource(ctx, id, func(t *tx) error {
		row, err := t.q.LockChannel(ctx, pgsql.LockChannelParams{ID: string(c.ID), ResourceID: string(id)})
		if errors.Is(err, pgx.ErrNoRows) {
			return &remora.Error{Kind: remora.KindGone, Public: "This address was removed and is sent nothing more."}
		}
		if err != nil {
			return fmt.Errorf("lock channel: %w", err)
		}
		return do(t, row)
	})
}

// SaveLogInput keeps the address of the Helper App's log on Heroku, and makes it a channel the first time. Errors:
// KindGone.
func (s *Store) SaveLogInput(ctx context.Context, id remora.ResourceID, address redact.Secret) error {
	return s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil {
			return err
		}
		return t.saveLogInput(ctx, id, address)
	})
}

func (t *tx) saveLogInput(ctx context.Context, id remora.ResourceID, address redact.Secret) error {
	shown, usable := remora.ShowURL(address)
	if !usable { // Heroku gave none
		return nil
	}
	mac, err := t.s.Keys.MAC(addressMAC, []byte(address.Reveal()))
	if err != nil {
		return err
	}
	old, err := t.q.LogStream(ctx, string(id))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return t.q.InsertChannel(ctx, pgsql.InsertChannelParams{
			ID: string(remora.NewID[remora.ChannelID]()), ResourceID: string(id), Kind: string(remora.ChannelLogStream), Shown: shown,
			SealedAddress: t.s.seal(address, sealedAddress, id), AddressMac: mac, Mutes: []string{}, AddedBy: HerokuActor, Now: t.now, ConfirmedAt: &t.now,
		})
	case err != nil:
		return fmt.Errorf("find log stream: %w", err)
	case t.s.Keys.CheckMAC(addressMAC, []byte(address.Reveal()), old.AddressMac):
		return nil
	}
	return t.q.SetChannelAddress(ctx, pgsql.SetChannelAddressParams{
		ID: old.ID, ResourceID: string(id), Shown: shown, SealedAddress: t.s.seal(address, sealedAddress, id), AddressMac: mac,
	})
}

// message writes an empty message to a channel down, and its job.
func (t *tx) message(ctx context.Context, id remora.ResourceID, channel string, kind remora.DeliveryKind) (string, error) {
	d := remora.NewID[remora.DeliveryID]()
	err := t.q.InsertDelivery(ctx, pgsql.InsertDeliveryParams{ID: string(d), ResourceID: string(id), ChannelID: channel, Kind: string(kind), Now: t.now})
	if err != nil {
		return "", fmt.Errorf("insert message: %w", err)
	}
	return string(d), t.enqueue(ctx, jobargs.DeliverNews{Delivery: d})
}

func channelOf(c pgsql.Channel) remora.Channel {
	out := remora.Channel{
		ID: remora.ChannelID(c.ID), Kind: remora.ChannelKind(c.Kind), Shown: c.Shown, Enabled: c.Enabled, Problem: c.Problem,
		AddedBy: c.AddedBy, AddedAt: c.AddedAt, ConfirmedAt: orZero(c.ConfirmedAt),
	}
	for _, k := range c.Mutes {
		out.Mutes = append(out.Mutes, remora.EventKind(k))
	}
	return out
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}
