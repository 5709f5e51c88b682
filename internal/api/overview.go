package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Overview is the add-on, and how each of its databases stands.
type Overview struct {
	Now       time.Time      `json:"now" doc:"By the clock that all times here are of."`
	Addon     Addon          `json:"addon"`
	Plan      Plan           `json:"plan"`
	Databases List[Database] `json:"databases"`
}

// Addon is one installed add-on.
type Addon struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	State     string    `json:"state" enum:"provisioning,active,needs_attention,deprovisioned"`
	Attention *Reason   `json:"attention,omitempty" doc:"Why somebody must act."`
	HelperApp string    `json:"helper_app,omitempty" doc:"The app that it is installed on."`
	CreatedAt time.Time `json:"created_at"`
	ReadyAt   time.Time `json:"ready_at,omitzero"`
	ListedAt  time.Time `json:"listed_at,omitzero" doc:"When its attachments were last seen."`
}

func addonOf(r remora.Resource) Addon {
	return Addon{
		ID: string(r.ID), Name: r.Name, State: string(r.State), Attention: reasonOf(r.Attention), HelperApp: r.HelperApp,
		CreatedAt: r.CreatedAt, ReadyAt: r.ReadyAt, ListedAt: r.ListedAt,
	}
}

// Plan is what is included, and how much of it is used.
type Plan struct {
	Slug                 string       `json:"slug"`
	Name                 string       `json:"name"`
	Databases            int          `json:"databases" doc:"How many databases it protects."`
	MinIntervalSeconds   int64        `json:"min_interval_seconds" doc:"The least time between two backups by a schedule."`
	KeepDays             int          `json:"keep_days" doc:"How long a backup may be kept."`
	KeepCount            int          `json:"keep_count" doc:"How many backups of a database may be kept."`
	Locks                int          `json:"locks" doc:"How many backups of a database may be locked."`
	StoredBytes          int64        `json:"stored_bytes" doc:"How much may be stored, of all databases."`
	LargestDatabaseBytes int64        `json:"largest_database_bytes"`
	Parallel             int          `json:"parallel" doc:"How many backups may run at a time."`
	SecondPlace          bool         `json:"second_place" doc:"A copy of each backup may lie in a bucket of your own."`
	ProveEverySeconds    int64        `json:"prove_every_seconds" doc:"How often the newest backup of each database is restored and compared."`
	Used                 Usage        `json:"used"`
	Notices              List[string] `json:"notices" doc:"What the plan will take away, and what it has no room for."`
}

// Usage is how much of a plan is used.
type Usage struct {
	Databases   int   `json:"databases"`
	StoredBytes int64 `json:"stored_bytes"`
	Backups     int   `json:"backups" doc:"How many are stored."`
}

func planOf(o remora.Overview) (Plan, error) {
	p, err := remora.PlanOf(o.Resource.Plan)
	out := Plan{
		Slug: p.Slug, Name: p.Name, Databases: p.Databases, MinIntervalSeconds: seconds(p.MinInterval), KeepDays: p.KeepDays, KeepCount: p.KeepCount,
		Locks: p.Locks, StoredBytes: p.StoredBytes, LargestDatabaseBytes: p.LargestDatabase, Parallel: p.Parallel, SecondPlace: p.SecondPlace, ProveEverySeconds: seconds(p.ProveEvery),
		Notices: p.Notices(o.Resource, o.Now),
	}
	for _, d := range o.Databases {
		if d.State == remora.DatabaseActive {
			out.Used.Databases++
		}
		out.Used.Backups += o.Stored[d.ID].Backups
		out.Used.StoredBytes += o.Stored[d.ID].Bytes
	}
	return out, err
}

// Event is one thing that happened.
type Event struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Title    string    `json:"title"`
	Trouble  bool      `json:"trouble" doc:"It says that something is not well."`
	Database string    `json:"database_id,omitempty"`
	Backup   string    `json:"backup_id,omitempty"`
	Reason   *Reason   `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
}

// Events is a page of what happened, newest first.
type Events struct {
	Events List[Event] `json:"events"`
	Next   string      `json:"next,omitempty" doc:"Send it as before to get the events before these."`
}

func eventOf(e remora.Event) Event {
	return Event{
		ID: string(e.ID), At: e.At, Kind: string(e.Kind), Title: e.Kind.Title(), Trouble: e.Kind.Trouble(), Database: string(e.Database), Backup: string(e.Backup),
		Reason: reasonOf(e.Reason), Detail: e.Detail,
	}
}

func (a *API) overviewOperations(h huma.API) {
	type overview struct{ Body Overview }
	add(h, a, huma.Operation{
		OperationID: "getOverview", Method: http.MethodGet, Path: "/overview", Tags: []string{tagOverview},
		Summary: "The add-on and how each database stands", Description: "State and freshness, the last good backup, the next run, what is stored and what the credential may do.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*overview, error) {
		o, err := a.Store.Overview(ctx, c.resource)
		if err != nil {
			return nil, err
		}
		out := Overview{Now: o.Now, Addon: addonOf(o.Resource), Databases: databasesOf(o)}
		out.Plan, err = planOf(o)
		return &overview{out}, err
	})

	type plan struct{ Body Plan }
	add(h, a, huma.Operation{
		OperationID: "getPlan", Method: http.MethodGet, Path: "/plan", Tags: []string{tagOverview}, Summary: "What the plan includes, and how much of it is used",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*plan, error) {
		o, err := a.Store.Overview(ctx, c.resource)
		if err != nil {
			return nil, err
		}
		out, err := planOf(o)
		return &plan{out}, err
	})

	add(h, a, huma.Operation{
		OperationID: "checkAttachments", Method: http.MethodPost, Path: "/check", Tags: []string{tagOverview}, DefaultStatus: http.StatusAccepted,
		Summary: "Look for attached credentials now", Description: "What is attached to the Helper App is listed now, or half a minute after it was listed last. Once that has been done, addon.listed_at of the overview is later.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, _ *empty) (*empty, error) {
		return &empty{}, a.Store.RequestCheck(ctx, c.resource, c.person())
	})

	type look struct {
		Before string `query:"before" maxLength:"100" doc:"next of the page before."`
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	}
	type events struct{ Body Events }
	add(h, a, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/events", Tags: []string{tagOverview},
		Summary: "What happened, newest first", Description: "What channels are told of, also where there is none. Most of it is kept for three months.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *look) (*events, error) {
		look := remora.EventLook{Most: in.Limit + 1}
		at, id, err := parseCursor(in.Before)
		if err != nil {
			return nil, err
		}
		look.Before, look.BeforeID = at, remora.EventID(id)
		all, err := a.Store.Events(ctx, c.resource, look)
		out := Events{}
		if len(all) > in.Limit {
			all = all[:in.Limit]
			last := all[in.Limit-1]
			out.Next = cursor(last.At, string(last.ID))
		}
		out.Events = listOf(all, eventOf)
		return &events{out}, err
	})
}

// cursor is where a page ends: a time, and what is told of that time.
func cursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + id))
}

// parseCursor reads one; no text is the beginning. Errors: KindInvalid.
func parseCursor(s string) (at time.Time, id string, err error) {
	if s == "" {
		return at, "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	when, id, _ := strings.Cut(string(text), " ")
	if err == nil {
		at, err = time.Parse(time.RFC3339Nano, when)
	}
	if err == nil && id != "" {
		_, err = remora.KnownID[string](id, "")
	}
	if err != nil {
		return at, "", remora.Invalid("before is not what next of a page has been. Leave it out to begin with the newest.")
	}
	return at, id, nil
}
