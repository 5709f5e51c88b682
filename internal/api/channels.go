package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// EventKind is what channels are told of.
type EventKind string

// Schema is for huma: one of the kinds that there are.
func (EventKind) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, k := range remora.EventKinds() {
		s.Enum = append(s.Enum, string(k))
	}
	return s
}

func eventKindOf(k remora.EventKind) EventKind { return EventKind(k) }

func mutesOf(all List[EventKind]) []remora.EventKind {
	out := make([]remora.EventKind, len(all))
	for i, k := range all {
		out[i] = remora.EventKind(k)
	}
	return out
}

// Channel is one place where you are told of events.
type Channel struct {
	ID          string          `json:"id"`
	Kind        string          `json:"kind" enum:"log_stream,email,webhook,slack"`
	Shown       string          `json:"shown" doc:"Its address, masked."`
	State       string          `json:"state" enum:"on,off,failing,unconfirmed" doc:"unconfirmed: an e-mail address whose owner has not said yes."`
	Enabled     bool            `json:"enabled"`
	Mutes       List[EventKind] `json:"mutes" doc:"What it is not told of."`
	Problem     string          `json:"problem,omitempty" doc:"Why the last message did not arrive."`
	AddedBy     string          `json:"added_by"`
	AddedAt     time.Time       `json:"added_at"`
	ConfirmedAt time.Time       `json:"confirmed_at,omitzero"`
}

func channelOf(c remora.Channel) Channel {
	return Channel{
		ID: string(c.ID), Kind: string(c.Kind), Shown: c.Shown, State: c.State(), Enabled: c.Enabled, Mutes: listOf(c.Mutes, eventKindOf),
		Problem: c.Problem, AddedBy: c.AddedBy, AddedAt: c.AddedAt, ConfirmedAt: c.ConfirmedAt,
	}
}

// NewChannel is a channel that was just added.
type NewChannel struct {
	Channel
	Secret string `json:"secret,omitempty" doc:"What a webhook's messages are signed with, as Standard Webhooks says. It is returned this once."`
}

// Channels are all of an add-on's, the log stream first.
type Channels struct {
	Channels List[Channel] `json:"channels"`
}

// ChannelRequest is a channel that is to be.
type ChannelRequest struct {
	Kind    string          `json:"kind" enum:"email,webhook,slack"`
	Address string          `json:"address" minLength:"1" maxLength:"1024" doc:"An e-mail address, which we ask first, or an address of https. It is kept sealed."`
	Mutes   List[EventKind] `json:"mutes,omitempty" maxItems:"50" doc:"What it is not to be told of."`
}

// ChannelSettings is how a channel is to be.
type ChannelSettings struct {
	Enabled bool            `json:"enabled" doc:"Send messages there."`
	Mutes   List[EventKind] `json:"mutes" maxItems:"50" doc:"What it is not to be told of."`
}

// Delivery is one message to one channel.
type Delivery struct {
	ID       string          `json:"id"`
	Channel  string          `json:"channel_id"`
	Kind     string          `json:"kind" enum:"news,reminder,test,confirmation"`
	State    string          `json:"state" enum:"queued,sent,failed"`
	Events   List[EventKind] `json:"events" doc:"What it tells of."`
	Attempts int             `json:"attempts"`
	Outcome  string          `json:"outcome,omitempty" doc:"What the other side said."`
	QueuedAt time.Time       `json:"queued_at"`
	EndedAt  time.Time       `json:"ended_at,omitzero"`
}

// Deliveries are the last hundred, newest first.
type Deliveries struct {
	Deliveries List[Delivery] `json:"deliveries"`
}

// OfChannel names a channel.
type OfChannel struct {
	ID string `path:"channel" doc:"The channel's id."`
}

func (in OfChannel) channel() (remora.ChannelID, error) {
	return remora.KnownID[remora.ChannelID](in.ID, "channel")
}

// channel finds one among the resource's.
func (a *API) channel(ctx context.Context, c caller, id remora.ChannelID) (Channel, error) {
	all, err := a.Store.Channels(ctx, c.resource)
	if err != nil {
		return Channel{}, err
	}
	i := slices.IndexFunc(all, func(x remora.Channel) bool { return x.ID == id })
	if i < 0 {
		return Channel{}, remora.NotFound("channel")
	}
	return channelOf(all[i]), nil
}

func (a *API) channelOperations(h huma.API) {
	type all struct{ Body Channels }
	add(h, a, huma.Operation{
		OperationID: "listChannels", Method: http.MethodGet, Path: "/channels", Tags: []string{tagChannels}, Summary: "Who is told of what",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*all, error) {
		list, err := a.Store.Channels(ctx, c.resource)
		return &all{Channels{listOf(list, channelOf)}}, err
	})

	type request struct{ Body ChannelRequest }
	type added struct{ Body NewChannel }
	add(h, a, huma.Operation{
		OperationID: "addChannel", Method: http.MethodPost, Path: "/channels", Tags: []string{tagChannels}, DefaultStatus: http.StatusCreated, Summary: "Add a channel",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *request) (*added, error) {
		n, err := remora.ParseOffered(remora.ChannelKind(in.Body.Kind), in.Body.Address, a.Mails)
		if err != nil {
			return nil, err
		}
		if n.Kind == remora.ChannelWebhook {
			if err := a.Callable(ctx, n.Address); err != nil {
				return nil, err
			}
		}
		n.Mutes = mutesOf(in.Body.Mutes)
		id, secret, err := a.Store.AddChannel(ctx, c.resource, n, c.person())
		if err != nil {
			return nil, err
		}
		out, err := a.channel(ctx, c, id)
		return &added{NewChannel{out, secret.Reveal()}}, err
	})

	type settings struct {
		OfChannel
		Body ChannelSettings
	}
	type one struct{ Body Channel }
	add(h, a, huma.Operation{
		OperationID: "setChannel", Method: http.MethodPut, Path: "/channels/{channel}", Tags: []string{tagChannels}, Summary: "Turn a channel on or off, and mute kinds of event",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *settings) (*one, error) {
		id, err := in.channel()
		if err == nil {
			err = a.Store.SetChannel(ctx, c.resource, id, in.Body.Enabled, mutesOf(in.Body.Mutes), c.person())
		}
		if err != nil {
			return nil, err
		}
		out, err := a.channel(ctx, c, id)
		return &one{out}, err
	})

	// on does something with one channel.
	on := func(do func(context.Context, caller, remora.ChannelID) error) func(context.Context, caller, *OfChannel) (*empty, error) {
		return func(ctx context.Context, c caller, in *OfChannel) (*empty, error) {
			id, err := in.channel()
			if err != nil {
				return nil, err
			}
			return &empty{}, do(ctx, c, id)
		}
	}
	add(h, a, huma.Operation{
		OperationID: "removeChannel", Method: http.MethodDelete, Path: "/channels/{channel}", Tags: []string{tagChannels}, Summary: "Remove a channel",
	}, remora.ScopeAdmin, on(func(ctx context.Context, c caller, id remora.ChannelID) error {
		return a.Store.RemoveChannel(ctx, c.resource, id, c.person())
	}))
	add(h, a, huma.Operation{
		OperationID: "testChannel", Method: http.MethodPost, Path: "/channels/{channel}/test", Tags: []string{tagChannels}, DefaultStatus: http.StatusAccepted,
		Summary: "Send a test to a channel", Description: "What came of it is among the deliveries.",
	}, remora.ScopeOperate, on(func(ctx context.Context, c caller, id remora.ChannelID) error {
		return a.Store.TestChannel(ctx, c.resource, id, c.person())
	}))

	type deliveries struct{ Body Deliveries }
	add(h, a, huma.Operation{
		OperationID: "listDeliveries", Method: http.MethodGet, Path: "/deliveries", Tags: []string{tagChannels}, Summary: "What was sent, newest first", Description: "The last hundred messages.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*deliveries, error) {
		list, err := a.Store.Deliveries(ctx, c.resource)
		return &deliveries{Deliveries{listOf(list, func(d remora.Delivery) Delivery {
			return Delivery{
				ID: string(d.ID), Channel: string(d.Channel.ID), Kind: string(d.Kind), State: string(d.State), Events: listOf(d.Events, eventKindOf),
				Attempts: d.Attempts, Outcome: d.Outcome, QueuedAt: d.QueuedAt, EndedAt: d.EndedAt,
			}
		})}}, err
	})
}
