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

// PlanNews makes messages of what waits to be told of a resource, as remora.ChannelKind.PlanNews decides for each of its
// channels, with their jobs, and asks to be called again when something is due. Several may run at once: the channels
// are locked.
func (s *Store) PlanNews(ctx context.Context, id remora.ResourceID) error {
	for more := true; more; {
		err := s.forResource(ctx, id, func(t *tx) (err error) {
			more, err = t.planNews(ctx, id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// planNews tells whether more waits than it took on.
func (t *tx) planNews(ctx context.Context, id remora.ResourceID) (more bool, err error) {
	channels, err := t.q.LockChannels(ctx, string(id))
	if err != nil || len(channels) == 0 {
		return false, err
	}
	r, err := t.q.GetResource(ctx, string(id))
	if err != nil {
		return false, fmt.Errorf("read resource: %w", err)
	}
	var troubles []remora.Happened
	if r.State != string(remora.ResourceDeprovisioned) {
		newest, err := t.q.NewestEvents(ctx, string(id))
		if err != nil {
			return false, fmt.Errorf("list newest events: %w", err)
		}
		troubles = remora.Troubles(happenedOf(newest))
	}
	for _, c := range channels {
		if !c.Enabled || c.ConfirmedAt == nil {
			continue
		}
		n, err := t.planChannel(ctx, c, troubles)
		if err != nil {
			return false, fmt.Errorf("channel %s: %w", c.ID, err)
		}
		more = more || n
	}
	return more, nil
}

func (t *tx) planChannel(ctx context.Context, c pgsql.Channel, troubles []remora.Happened) (more bool, err error) {
	s, err := t.situation(ctx, c, troubles)
	if err != nil {
		return false, err
	}
	plan := remora.ChannelKind(c.Kind).PlanNews(s)
	if len(plan.Held) > 0 {
		err := t.q.HoldNews(ctx, pgsql.HoldNewsParams{ChannelID: c.ID, ResourceID: c.ResourceID, Events: words(plan.Held)})
		if err != nil {
			return false, fmt.Errorf("hold back: %w", err)
		}
	}
	about := map[remora.EventID]remora.Happened{}
	for _, e := range s.Waiting {
		about[e.ID] = e
	}
	for _, told := range s.Told {
		about[told.ID] = told.Happened
	}
	for _, m := range plan.Messages {
		if err := t.tell(ctx, c, remora.DeliveryNews, m, about); err != nil {
			return false, err
		}
	}
	if len(plan.Remind) > 0 {
		if err := t.tell(ctx, c, remora.DeliveryReminder, plan.Remind, about); err != nil {
			return false, err
		}
	}
	more = len(s.Waiting) == batch && len(plan.Messages)+len(plan.Held) > 0
	return more, t.wake(ctx, c, plan.Wake)
}

func (t *tx) situation(ctx context.Context, c pgsql.Channel, troubles []remora.Happened) (s remora.Situation, err error) {
	s = remora.Situation{Now: t.now, Troubles: troubles}
	waiting, err := t.q.ListWaiting(ctx, pgsql.ListWaitingParams{ChannelID: c.ID, ResourceID: c.ResourceID, Most: batch})
	if err != nil {
		return s, fmt.Errorf("list what waits: %w", err)
	}
	s.Waiting = happenedOf(waiting)
	told, err := t.q.ListTold(ctx, pgsql.ListToldParams{ChannelID: c.ID, ResourceID: c.ResourceID})
	if err != nil {
		return s, fmt.Errorf("list what was told: %w", err)
	}
	for _, row := range told {
		e := pgsql.Event{ID: row.ID, DatabaseID: row.DatabaseID, BackupID: row.BackupID, Kind: row.Kind, Reason: row.Reason, Detail: row.Detail, At: row.At}
		s.Told = append(s.Told, remora.Told{Happened: happenedOf([]pgsql.Event{e})[0], ToldAt: row.ToldAt})
	}
	sent, err := t.q.CountMessages(ctx, pgsql.CountMessagesParams{ChannelID: c.ID, ResourceID: c.ResourceID, Since: t.now.Add(-day)})
	if errors.Is(err, pgx.ErrNoRows) {
		return s, nil
	}
	s.LastSent, s.SentDay, s.OnTheWay = sent.Last, int(sent.Since), int(sent.OnTheWay)
	return s, err
}

// tell writes one message down.
func (t *tx) tell(ctx context.Context, c pgsql.Channel, kind remora.DeliveryKind, events []remora.EventID, about map[remora.EventID]remora.Happened) error {
	d, err := t.message(ctx, remora.ResourceID(c.ResourceID), c.ID, kind)
	if err != nil {
		return err
	}
	err = t.q.TellNews(ctx, pgsql.TellNewsParams{ChannelID: c.ID, ResourceID: c.ResourceID, Events: words(events), DeliveryID: &d, Now: &t.now})
	if err != nil {
		return fmt.Errorf("tell: %w", err)
	}
	for _, id := range events {
		e := about[id]
		err := t.q.TellHeld(ctx, pgsql.TellHeldParams{
			ChannelID: c.ID, ResourceID: c.ResourceID, DeliveryID: &d, DatabaseID: orNull(e.Database), Kinds: words(e.Kind.Like()),
		})
		if err != nil {
			return fmt.Errorf("tell what was held back: %w", err)
		}
	}
	return nil
}

// wake asks for the channel to be looked at again, unless that is asked for already.
func (t *tx) wake(ctx context.Context, c pgsql.Channel, at time.Time) error {
	waits := c.WakeAt != nil && c.WakeAt.After(t.now)
	if at.IsZero() || waits && !at.Before(*c.WakeAt) {
		return nil
	}
	if err := t.q.SetWake(ctx, pgsql.SetWakeParams{ID: c.ID, ResourceID: c.ResourceID, WakeAt: &at}); err != nil {
		return fmt.Errorf("set when to look again: %w", err)
	}
	return t.enqueue(ctx, jobargs.PlanNews{Resource: remora.ResourceID(c.ResourceID)}, at)
}

// ToDeliver returns a message with all that its words need. Errors: ErrNothingToDo where it has ended or its channel is
// gone.
func (s *Store) ToDeliver(ctx context.Context, d remora.DeliveryID) (remora.Message, error) {
	var id string
	err := s.forService(ctx, func(t *tx) (err error) {
		id, err = t.q.FindDelivery(ctx, string(d))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return remora.Message{}, ErrNothingToDo
	}
	if err != nil {
		return remora.Message{}, fmt.Errorf("find message: %w", err)
	}
	var out remora.Message
	nothing := false
	err = s.forResource(ctx, remora.ResourceID(id), func(t *tx) error {
		row, err := t.q.GetDelivery(ctx, pgsql.GetDeliveryParams{ID: string(d), ResourceID: id})
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if out, err = t.messageOf(ctx, row); err != nil {
			return err
		}
		if row.Delivery.State != string(remora.DeliveryQueued) {
			nothing = true
			return nil
		}
		why := ""
		switch {
		case out.Address.IsZero():
			why = "The channel was removed."
		case (out.Kind == remora.DeliveryNews || out.Kind == remora.DeliveryReminder) && len(out.News) == 0:
			why = "A later message tells of the same."
		}
		if why == "" {
			return nil
		}
		nothing = true
		_, err = t.q.EndDelivery(ctx, pgsql.EndDeliveryParams{ID: string(d), ResourceID: id, State: string(remora.DeliveryFailed), Outcome: why, EndedAt: &t.now})
		return err
	})
	if err == nil && nothing {
		err = ErrNothingToDo
	}
	return out, err
}

func (t *tx) messageOf(ctx context.Context, row pgsql.GetDeliveryRow) (out remora.Message, err error) {
	id := remora.ResourceID(row.Delivery.ResourceID)
	r, err := t.q.GetResource(ctx, string(id))
	if err != nil {
		return out, fmt.Errorf("read resource: %w", err)
	}
	out = remora.Message{
		Delivery: remora.DeliveryID(row.Delivery.ID), Kind: remora.DeliveryKind(row.Delivery.Kind), Channel: channelOf(row.Channel),
		Resource: resourceOf(r), At: row.Delivery.QueuedAt,
	}
	if out.Address, err = t.s.open(row.Channel.SealedAddress, sealedAddress, id); err != nil {
		return out, err
	}
	if out.Secret, err = t.s.open(row.Channel.SealedSecret, sealedSecret, id); err != nil {
		return out, err
	}
	news, err := t.q.ListNews(ctx, pgsql.ListNewsParams{DeliveryID: &row.Delivery.ID, ResourceID: string(id)})
	if err != nil {
		return out, fmt.Errorf("list news: %w", err)
	}
	out.News = newsOf(news)
	for i := range out.News {
		if out.News[i].Event.Kind == remora.EventDeprovisioned {
			if out.News[i].Receipt, err = t.receipt(ctx, id); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// newsOf counts what was held back for what is told.
func newsOf(rows []pgsql.ListNewsRow) []remora.News {
	var out []remora.News
	var held []remora.Event
	for _, n := range rows {
		if n.State == "held" {
			held = append(held, eventOf(n.Event))
			continue
		}
		out = append(out, remora.News{ID: remora.EventID(n.Event.ID), Event: eventOf(n.Event), Addon: n.Addon, OwnerApp: n.OwnerApp, Credential: n.Credential})
	}
	for _, e := range held {
		for i := range out {
			if out[i].Event.Alike(e) {
				out[i].Held++
				break
			}
		}
	}
	return out
}

// Tried is what became of one try to deliver a message.
type Tried struct {
	State   remora.DeliveryState // queued where it is tried again
	Outcome string               // what the other side said, in a sentence
	Off     bool                 // the other side wants nothing more
}

// SaveTried writes down what became of a try. Where a message is given up its channel says so, and where one arrives
// that is over. The channels of a resource that was removed are forgotten after their last message.
func (s *Store) SaveTried(ctx context.Context, m remora.Message, was Tried) error {
	id := m.Resource.ID
	return s.forResource(ctx, id, func(t *tx) error {
		row := pgsql.EndDeliveryParams{ID: string(m.Delivery), ResourceID: string(id), State: string(was.State), Outcome: foreign(was.Outcome, maxWord), Tries: 1}
		if was.State != remora.DeliveryQueued {
			row.EndedAt = &t.now
		}
		n, err := t.q.EndDelivery(ctx, row)
		if err != nil {
			return fmt.Errorf("end message: %w", err)
		}
		if n == 0 || was.State == remora.DeliveryQueued {
			return nil
		}
		problem := ""
		if was.State == remora.DeliveryFailed {
			problem = row.Outcome
		}
		err = t.q.SetChannelProblem(ctx, pgsql.SetChannelProblemParams{ID: string(m.Channel.ID), ResourceID: string(id), Problem: problem, Off: was.Off})
		if err != nil {
			return fmt.Errorf("set channel's problem: %w", err)
		}
		return t.forgetChannels(ctx, id)
	})
}

// forgetChannels removes the channels of a resource that was removed, once nothing is left to tell.
func (t *tx) forgetChannels(ctx context.Context, id remora.ResourceID) error {
	r, err := t.q.GetResource(ctx, string(id))
	if err != nil || r.State != string(remora.ResourceDeprovisioned) {
		return err
	}
	queued, err := t.q.CountQueued(ctx, string(id))
	if err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	waiting, err := t.q.CountWaiting(ctx, string(id))
	if err != nil || queued+waiting > 0 {
		return err
	}
	return t.q.RemoveChannels(ctx, pgsql.RemoveChannelsParams{ResourceID: string(id), Now: &t.now})
}

// shownDeliveries is how many messages the log lists.
const shownDeliveries = 100

// Deliveries lists a resource's messages, newest first.
func (s *Store) Deliveries(ctx context.Context, id remora.ResourceID) ([]remora.Delivery, error) {
	var out []remora.Delivery
	err := s.seeResource(ctx, id, func(t *tx) error {
		rows, err := t.q.ListDeliveries(ctx, pgsql.ListDeliveriesParams{ResourceID: string(id), Most: shownDeliveries})
		for _, row := range rows {
			d := remora.Delivery{
				ID: remora.DeliveryID(row.Delivery.ID), Channel: channelOf(row.Channel), Kind: remora.DeliveryKind(row.Delivery.Kind),
				State: remora.DeliveryState(row.Delivery.State), Attempts: int(row.Delivery.Attempts), Outcome: row.Delivery.Outcome,
				QueuedAt: row.Delivery.QueuedAt, EndedAt: orZero(row.Delivery.EndedAt),
			}
			for _, k := range row.Kinds {
				d.Events = append(d.Events, remora.EventKind(k))
			}
			out = append(out, d)
		}
		return err
	})
	return out, err
}

// newsKept is how long a message is in the log. What goes on is reminded of each day, so its message is never that old.
const newsKept = 90 * day

// PurgeNews forgets messages that ended long ago. It returns how many; call again while that is not 0.
func (s *Store) PurgeNews(ctx context.Context) (int, error) {
	n := int64(0)
	err := s.forService(ctx, func(t *tx) (err error) {
		n, err = t.q.PurgeNews(ctx, pgsql.PurgeNewsParams{Before: t.now.Add(-newsKept), Most: batch})
		return err
	})
	return int(n), err
}

const (
	// eventsKept is how long an event is known that a newer one of its kind has followed, and a channel that was removed: the
	// link in an old mail says so.
	eventsKept = 400 * day
	// lastWord is how long the last message of a removed resource may take. Tries end after some 23 hours.
	lastWord = 3 * day
)

// PurgeEvents forgets old events, what was held back for good, and the channels of removed add-ons, also where their last
// message was never heard of again. It returns how much; call again while that is not 0.
func (s *Store) PurgeEvents(ctx context.Context) (int, error) {
	n := int64(0)
	err := s.forService(ctx, func(t *tx) error {
		held, err := t.q.PurgeHeld(ctx, pgsql.PurgeHeldParams{Before: t.now.Add(-newsKept), Most: batch})
		if err != nil {
			return fmt.Errorf("purge what was held back: %w", err)
		}
		before := t.now.Add(-eventsKept)
		events, err := t.q.PurgeEvents(ctx, pgsql.PurgeEventsParams{Before: before, Most: batch})
		if err != nil {
			return fmt.Errorf("purge events: %w", err)
		}
		last := t.now.Add(-lastWord)
		forgotten, err := t.q.ForgetChannels(ctx, pgsql.ForgetChannelsParams{Now: &t.now, Before: &last})
		if err != nil {
			return fmt.Errorf("forget channels: %w", err)
		}
		channels, err := t.q.PurgeChannels(ctx, pgsql.PurgeChannelsParams{Before: &before, Most: batch})
		n = held + events + forgotten + channels
		return err
	})
	return int(n), err
}

func happenedOf(rows []pgsql.Event) []remora.Happened {
	out := make([]remora.Happened, len(rows))
	for i, e := range rows {
		out[i] = remora.Happened{ID: remora.EventID(e.ID), Event: eventOf(e)}
	}
	return out
}
