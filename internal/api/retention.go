package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// Retention is how long backups are kept: every one that any of its rules keeps.
type Retention struct {
	Last    int    `json:"last,omitempty" minimum:"0" doc:"The newest so many."`
	Days    int    `json:"days,omitempty" minimum:"0" doc:"All that are no older."`
	Hourly  int    `json:"hourly,omitempty" minimum:"0" doc:"The newest of each hour that has one, so many hours."`
	Daily   int    `json:"daily,omitempty" minimum:"0"`
	Weekly  int    `json:"weekly,omitempty" minimum:"0" doc:"Weeks begin on Monday."`
	Monthly int    `json:"monthly,omitempty" minimum:"0"`
	Yearly  int    `json:"yearly,omitempty" minimum:"0"`
	Zone    string `json:"zone" maxLength:"125" doc:"By whose clocks hours, days and so on begin; a name of the tz database." example:"UTC"`
}

func (r Retention) retention() remora.Retention { return remora.Retention(r) }

// RetentionRequest is a retention that is to be.
type RetentionRequest struct {
	Retention
	MayRemove int `json:"may_remove,omitempty" minimum:"0" doc:"How many backups you know that the change removes, as its preview says. Where it removes more, nothing is changed."`
}

// RetentionStanding is how a database's backups are kept.
type RetentionStanding struct {
	Retention Retention         `json:"retention"`
	Says      string            `json:"says" doc:"The retention in words that follow: keeps."`
	SetBy     string            `json:"set_by,omitempty" doc:"Left out while it is the plan's default."`
	SetAt     time.Time         `json:"set_at,omitzero"`
	Pending   *PendingRetention `json:"pending,omitempty" doc:"What waits to come into force."`
	Locks     List[Lock]        `json:"locks"`
	LocksLeft int               `json:"locks_left" doc:"How many more backups may be locked."`
	Backups   List[KeptBackup]  `json:"backups" doc:"What is to become of each, newest first."`
}

// PendingRetention is a retention that was set and is not in force yet.
type PendingRetention struct {
	Retention   Retention `json:"retention"`
	Says        string    `json:"says"`
	SetBy       string    `json:"set_by"`
	SetAt       time.Time `json:"set_at"`
	EffectiveAt time.Time `json:"effective_at" doc:"Until then it can be undone, and nothing goes because of it."`
}

// KeptBackup is what is to become of one backup.
type KeptBackup struct {
	Backup  string       `json:"backup_id"`
	At      time.Time    `json:"at" doc:"The time that it belongs to."`
	Fate    string       `json:"fate" enum:"kept,removed"`
	Reasons List[string] `json:"reasons"`
	Until   time.Time    `json:"until,omitzero" doc:"Before this no rule lets it go; left out where no date can be told."`
	Bytes   int64        `json:"stored_bytes"`
}

func keptOf(v retention.Verdict) KeptBackup {
	out := KeptBackup{Backup: string(v.Backup.ID), At: retention.At(v.Backup), Fate: string(v.Fate), Reasons: listOf(v.Reasons, retention.Reason.String), Bytes: v.Backup.StoredSize}
	if at, ok := v.Until(); ok && v.Fate == retention.Kept {
		out.Until = at
	}
	return out
}

// RetentionPreview is what would come of a retention.
type RetentionPreview struct {
	Says        string           `json:"says"`
	EffectiveAt time.Time        `json:"effective_at" doc:"When it would come into force, if it were set now."`
	Removes     int              `json:"removes" doc:"How many backups it removes of those that stay now."`
	Bytes       int64            `json:"stored_bytes" doc:"Of those."`
	Backups     List[KeptBackup] `json:"backups" doc:"Those."`
}

func previewOf(now retention.Standing, r remora.Retention) (RetentionPreview, error) {
	if err := retention.Check(r); err != nil {
		return RetentionPreview{}, err
	}
	going, err := now.Preview(r)
	out := RetentionPreview{Says: retention.Words(r), EffectiveAt: now.Now.Add(remora.RetentionGrace), Removes: len(going), Backups: listOf(going, keptOf)}
	for _, v := range going {
		out.Bytes += v.Backup.StoredSize
	}
	return out, err
}

func standingOf(s retention.Standing) (RetentionStanding, error) {
	out := RetentionStanding{
		Retention: Retention(s.Current), Says: retention.Words(s.Current), SetBy: s.SetBy, SetAt: s.SetAt, LocksLeft: s.LocksLeft(),
		Pending: opt(s.Pending, func(p retention.Pending) PendingRetention {
			return PendingRetention{Retention(p.Retention), retention.Words(p.Retention), p.SetBy, p.SetAt, p.EffectiveAt}
		}),
	}
	for _, l := range s.Locks {
		if s.Lock(l.Backup) != nil {
			out.Locks = append(out.Locks, lockOf(l))
		}
	}
	all, err := s.Decide()
	for _, v := range all {
		if v.Fate != retention.NotCounted {
			out.Backups = append(out.Backups, keptOf(v))
		}
	}
	return out, err
}

func (a *API) retentionOperations(h huma.API) {
	type one struct{ Body RetentionStanding }
	see := func(ctx context.Context, c caller, db remora.DatabaseID) (*one, error) {
		s, err := a.Store.Retention(ctx, c.resource, db)
		if err != nil {
			return nil, err
		}
		out, err := standingOf(s)
		return &one{out}, err
	}
	add(h, a, huma.Operation{
		OperationID: "getRetention", Method: http.MethodGet, Path: "/databases/{database}/retention", Tags: []string{tagRetention}, Summary: "How a database's backups are kept",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})

	type wanted struct {
		OfDatabase
		Body Retention
	}
	type preview struct{ Body RetentionPreview }
	add(h, a, huma.Operation{
		OperationID: "previewRetention", Method: http.MethodPost, Path: "/databases/{database}/retention/preview", Tags: []string{tagRetention},
		Summary: "What another retention would remove", Description: "Nothing is changed.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *wanted) (*preview, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		now, err := a.Store.Retention(ctx, c.resource, db)
		if err != nil {
			return nil, err
		}
		out, err := previewOf(now, in.Body.retention())
		return &preview{out}, err
	})

	type request struct {
		OfDatabase
		Body RetentionRequest
	}
	add(h, a, huma.Operation{
		OperationID: "setRetention", Method: http.MethodPut, Path: "/databases/{database}/retention", Tags: []string{tagRetention},
		Summary: "Change how a database's backups are kept", Description: "Nothing goes because of it for 24 hours, and until then it can be undone. Ask for a preview first, and say in may_remove how many backups it may remove.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *request) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		if _, err := a.Store.SetRetention(ctx, c.resource, db, in.Body.retention(), in.Body.MayRemove, c.person()); err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})
	add(h, a, huma.Operation{
		OperationID: "undoRetention", Method: http.MethodPost, Path: "/databases/{database}/retention/undo", Tags: []string{tagRetention}, Summary: "Take back a change that waits to come into force",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		if err := a.Store.UndoRetention(ctx, c.resource, db, c.person()); err != nil {
			return nil, err
		}
		return see(ctx, c, db)
	})
}
