package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Freshness is how fresh a database's backups are, and how that is seen from outside.
type Freshness struct {
	State      string    `json:"state" enum:"fresh,late,stale,paused,never"`
	Says       string    `json:"says"`
	VerifiedAt time.Time `json:"verified_at,omitzero" doc:"When the newest verified backup was begun."`
	PromisedBy time.Time `json:"promised_by,omitzero" doc:"Until when a newer one is promised, or was."`
	Badge      *Badge    `json:"badge,omitempty"`
	Ping       *Ping     `json:"ping,omitempty"`
}

// Badge is a picture of a database's freshness, for whoever has its address.
type Badge struct {
	URL    string    `json:"url" format:"uri"`
	Named  bool      `json:"named" doc:"It shows the database's name."`
	MadeBy string    `json:"made_by"`
	MadeAt time.Time `json:"made_at"`
}

// Ping is your own watch, which is called after each backup.
type Ping struct {
	Shown  string    `json:"shown" doc:"Its address, masked."`
	Starts bool      `json:"starts" doc:"It is called when a backup begins, too."`
	SetBy  string    `json:"set_by"`
	SetAt  time.Time `json:"set_at"`
	Last   *Called   `json:"last,omitempty" doc:"The newest call."`
}

// Called is what came of a call.
type Called struct {
	Kind    string    `json:"kind" enum:"start,success,fail"`
	At      time.Time `json:"at"`
	OK      bool      `json:"ok"`
	Outcome string    `json:"outcome"`
}

// BadgeRequest is what a badge is to show.
type BadgeRequest struct {
	Named bool `json:"named,omitempty" doc:"Show the database's name."`
}

// PingRequest is whom to call.
type PingRequest struct {
	Address string `json:"address" minLength:"1" maxLength:"1024" doc:"An address of https, as healthchecks.io gives them: it is called itself after a verified backup, and with /start or /fail after it otherwise. It is kept sealed."`
	Starts  bool   `json:"starts,omitempty" doc:"Call it when a backup begins, too."`
}

func (a *API) freshness(ctx context.Context, c caller, in OfDatabase) (Freshness, error) {
	v, err := a.database(ctx, c, in, remora.Look{Most: 1})
	if err != nil {
		return Freshness{}, err
	}
	f := v.Databases[0].Freshness
	if f == nil {
		return Freshness{}, remora.NotFound("schedule, so nothing is promised")
	}
	x, err := a.Store.Outside(ctx, c.resource, v.Databases[0].ID)
	if err != nil {
		return Freshness{}, err
	}
	return Freshness{
		State: string(f.State), Says: f.Says(), VerifiedAt: f.Verified, PromisedBy: f.By,
		Badge: opt(x.Badge, func(b remora.OwnBadge) Badge { return Badge{a.BadgeURL(b.Token), b.Named, b.MadeBy, b.MadeAt} }),
		Ping: opt(x.Ping, func(p remora.Ping) Ping {
			out := Ping{Shown: p.Shown, Starts: p.Starts, SetBy: p.SetBy, SetAt: p.SetAt}
			if p.Kind != "" {
				out.Last = &Called{string(p.Kind), p.At, p.OK, p.Outcome}
			}
			return out
		}),
	}, nil
}

func (a *API) freshnessOperations(h huma.API) {
	type one struct{ Body Freshness }
	add(h, a, huma.Operation{
		OperationID: "getFreshness", Method: http.MethodGet, Path: "/databases/{database}/freshness", Tags: []string{tagFreshness}, Summary: "How fresh a database's backups are, its badge and its ping",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		out, err := a.freshness(ctx, c, *in)
		return &one{out}, err
	})

	// then answers with what there is after a change.
	then := func(ctx context.Context, c caller, in OfDatabase, change func(remora.DatabaseID) error) (*one, error) {
		db, err := in.database()
		if err == nil {
			err = change(db)
		}
		if err != nil {
			return nil, err
		}
		out, err := a.freshness(ctx, c, in)
		return &one{out}, err
	}
	type badge struct {
		OfDatabase
		Body BadgeRequest
	}
	add(h, a, huma.Operation{
		OperationID: "makeBadge", Method: http.MethodPost, Path: "/databases/{database}/badge", Tags: []string{tagFreshness}, DefaultStatus: http.StatusCreated,
		Summary: "Make a badge, or give it another address", Description: "The address that it had opens nothing any more.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *badge) (*one, error) {
		return then(ctx, c, in.OfDatabase, func(db remora.DatabaseID) error {
			return a.Store.MakeBadge(ctx, c.resource, db, in.Body.Named, c.person())
		})
	})
	add(h, a, huma.Operation{
		OperationID: "removeBadge", Method: http.MethodDelete, Path: "/databases/{database}/badge", Tags: []string{tagFreshness}, Summary: "Take a badge away",
	}, remora.ScopeAdmin, a.onDatabase(func(ctx context.Context, c caller, db remora.DatabaseID) error {
		return a.Store.RemoveBadge(ctx, c.resource, db, c.person())
	}))
	type ping struct {
		OfDatabase
		Body PingRequest
	}
	add(h, a, huma.Operation{
		OperationID: "setPing", Method: http.MethodPut, Path: "/databases/{database}/ping", Tags: []string{tagFreshness}, Summary: "Have your own watch called after each backup",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *ping) (*one, error) {
		return then(ctx, c, in.OfDatabase, func(db remora.DatabaseID) error {
			address := redact.New(in.Body.Address)
			if err := a.Callable(ctx, address); err != nil {
				return err
			}
			return a.Store.SetPing(ctx, c.resource, db, address, in.Body.Starts, c.person())
		})
	})
	add(h, a, huma.Operation{
		OperationID: "removePing", Method: http.MethodDelete, Path: "/databases/{database}/ping", Tags: []string{tagFreshness}, Summary: "Have it called no more",
	}, remora.ScopeAdmin, a.onDatabase(func(ctx context.Context, c caller, db remora.DatabaseID) error {
		return a.Store.RemovePing(ctx, c.resource, db, c.person())
	}))
}
