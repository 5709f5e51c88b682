package remora

import (
	"slices"
	"time"
)

// What bounds the messages of a channel that people read.
const (
	// tellAgain is when a trouble that goes on is told once more when it happens again: daily, with room for a schedule
	// whose time moves.
	tellAgain = 20 * time.Hour
	// remindAfter is when a trouble that goes on is told once more without happening again, such as that of a weekly
	// schedule. It is later than the next daily backup, which tells by itself.
	remindAfter = 26 * time.Hour
	// most events in one message to a program that reads lines
	mostLines = 50
	// mostOnTheWay is how many messages to one channel may wait for their first try: the couriers are everybody's.
	mostOnTheWay = 20
	// lookAgain is when the rest is looked at.
	lookAgain = time.Minute
)

// gap is how far apart two messages are, after so many within a day.
func gap(sent int) time.Duration {
	switch {
	case sent < 6:
		return 5 * time.Minute
	case sent < 20:
		return time.Hour
	}
	return 4 * time.Hour
}

// Happened is an event with its identity.
type Happened struct {
	ID EventID
	Event
}

// Told is an event that a channel was told of, and when last.
type Told struct {
	Happened
	ToldAt time.Time
}

// Situation is what is known when a channel's messages are made.
type Situation struct {
	Now      time.Time
	Waiting  []Happened // for the channel, oldest first
	Told     []Told     // to the channel, the newest of each database and kind
	LastSent time.Time  // when the channel's newest message was made; zero where there was none
	SentDay  int        // how many messages were made for it in the last 24 hours
	OnTheWay int        // how many of its messages were not tried yet
	Troubles []Happened // what is not well now: see Troubles
}

// NewsPlan is what becomes of what waits for a channel.
type NewsPlan struct {
	Messages [][]EventID // each a message
	Held     []EventID   // what is not told because the channel knows
	Remind   []EventID   // of what to remind, in a message of its own
	Wake     time.Time   // when to look again; zero where something happening is early enough
}

// PlanNews decides what a channel is told now. A program is told everything, in its order, and where much waits, by and by. A person is told of a trouble once, then
// daily, then that it has ended, for each database; what comes in a short time comes in one message, and the more
// messages there were, the longer the next one waits.
func (k ChannelKind) PlanNews(s Situation) NewsPlan {
	var p NewsPlan
	if !k.forPeople() {
		room := max(mostOnTheWay-s.OnTheWay, 0)
		for chunk := range slices.Chunk(s.Waiting, k.perMessage()) {
			if len(p.Messages) == room {
				p.Wake = s.Now.Add(lookAgain)
				break
			}
			var ids []EventID
			for _, e := range chunk {
				ids = append(ids, e.ID)
			}
			p.Messages = append(p.Messages, ids)
		}
		return p
	}
	if next := s.LastSent.Add(gap(s.SentDay)); !s.LastSent.IsZero() && next.After(s.Now) && len(s.Waiting) > 0 {
		p.Wake = next
		return p
	}
	known := s.known()
	var ids []EventID
	for _, e := range s.Waiting {
		if known.knows(e.Event, s.Now) {
			p.Held = append(p.Held, e.ID)
			continue
		}
		ids = append(ids, e.ID)
		known.told(Told{e, s.Now})
	}
	if len(ids) > 0 {
		p.Messages = append(p.Messages, ids)
	}
	p.Remind, p.Wake = known.remind(s)
	return p
}

func (k ChannelKind) perMessage() int {
	if k == ChannelWebhook {
		return 1
	}
	return mostLines
}

// subject is what two events must share so that one of them makes the other known.
type subject struct {
	database DatabaseID
	topic    topic
	kind     EventKind // of what is told each day by itself
}

func (e Event) subject() subject {
	m := meanings[e.Kind]
	if m.turn == turnOpens || m.turn == turnEnds {
		return subject{e.Database, m.topic, ""}
	}
	return subject{e.Database, "", e.Kind}
}

// Like are the kinds of event that are about the same: what was held back of them goes with the next that is told.
func (k EventKind) Like() []EventKind {
	var out []EventKind
	for _, other := range EventKinds() {
		if (Event{Kind: other}).subject() == (Event{Kind: k}).subject() {
			out = append(out, other)
		}
	}
	return out
}

// Alike tells whether two events are about the same.
func (e Event) Alike(other Event) bool { return e.subject() == other.subject() }

// memory is what a channel was told last of each subject.
type memory map[subject]Told

func (s Situation) known() memory {
	m := memory{}
	told := slices.Clone(s.Told)
	slices.SortStableFunc(told, func(a, b Told) int { return a.At.Compare(b.At) })
	for _, t := range told {
		m.told(t)
	}
	return m
}

func (m memory) told(t Told) { m[t.subject()] = t }

// knows tells whether saying it would say nothing new.
func (m memory) knows(e Event, now time.Time) bool {
	t, was := m[e.subject()]
	again := meanings[e.Kind].turn == turnOpens || meanings[e.Kind].turn == turnAgain
	return was && again && t.Kind == e.Kind && now.Before(t.ToldAt.Add(tellAgain))
}

// remind lists the troubles that go on and were not told for longer than a day, and says when to look next.
func (m memory) remind(s Situation) (due []EventID, wake time.Time) {
	for _, trouble := range s.Troubles {
		t, was := m[trouble.subject()]
		if !was || meanings[t.Kind].turn != turnOpens { // it mutes those, or began after that
			continue
		}
		at := t.ToldAt.Add(remindAfter)
		if !at.After(s.Now) {
			due = append(due, t.ID)
			at = s.Now.Add(remindAfter)
		}
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	return due, wake
}

// Troubles are what is not well by the newest event of each database and kind: those that nothing has ended since. A
// database that is paused has none.
func Troubles(newest []Happened) []Happened {
	all := slices.Clone(newest)
	slices.SortStableFunc(all, func(a, b Happened) int { return a.At.Compare(b.At) })
	last := map[subject]Happened{}
	paused := map[DatabaseID]bool{}
	for _, e := range all {
		switch {
		case meanings[e.Kind].topic == topicSchedule:
			paused[e.Database] = e.Kind == EventPaused
		case meanings[e.Kind].topic != "":
			last[e.subject()] = e
		}
	}
	var out []Happened
	for _, e := range all { // in their order
		if meanings[e.Kind].turn == turnOpens && last[e.subject()].ID == e.ID && !paused[e.Database] {
			out = append(out, e)
		}
	}
	return out
}
