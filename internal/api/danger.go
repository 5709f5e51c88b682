package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Access is how much opens something of the add-on's now.
type Access struct {
	Links  int `json:"links" doc:"That open a backup."`
	Visits int `json:"visits" doc:"Of people on the pages."`
	Tokens int `json:"tokens" doc:"Of the API."`
}

// ForgetRequest says that it is meant.
type ForgetRequest struct {
	Confirm string `json:"confirm" maxLength:"200" doc:"The name of the database's add-on, just as it is written there."`
}

func (a *API) dangerOperations(h huma.API) {
	type one struct{ Body Access }
	add(h, a, huma.Operation{
		OperationID: "getAccess", Method: http.MethodGet, Path: "/access", Tags: []string{tagDanger}, Summary: "How much opens something now",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*one, error) {
		n, err := a.Store.Access(ctx, c.resource)
		return &one{Access{n.Links, n.Visits, n.Tokens}}, err
	})
	add(h, a, huma.Operation{
		OperationID: "revokeAllLinks", Method: http.MethodDelete, Path: "/links", Tags: []string{tagDanger}, Summary: "End every link at once",
		Description: "Those by which a download runs, too: it breaks off.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, _ *empty) (*empty, error) {
		return &empty{}, a.Store.RevokeAllLinks(ctx, c.resource, c.person())
	})
	add(h, a, huma.Operation{
		OperationID: "signEverybodyOff", Method: http.MethodDelete, Path: "/visits", Tags: []string{tagDanger}, Summary: "Sign everybody off the pages",
		Description: "Who may see the add-on at Heroku comes back by a click there.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, _ *empty) (*empty, error) {
		return &empty{}, a.Store.CloseSessions(ctx, c.resource, c.person())
	})
	type forget struct {
		OfDatabase
		Body ForgetRequest
	}
	add(h, a, huma.Operation{
		OperationID: "forgetDatabase", Method: http.MethodPost, Path: "/databases/{database}/forget", Tags: []string{tagDanger}, DefaultStatus: http.StatusNoContent,
		Summary: "Have all backups of a detached database go", Description: "Nothing goes for a day, and until then it can be undone. It is refused while one of them is locked.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *forget) (*empty, error) {
		v, err := a.database(ctx, c, in.OfDatabase, remora.Look{Most: 1})
		if err != nil {
			return nil, err
		}
		if d := v.Databases[0]; in.Body.Confirm != d.Addon {
			return nil, remora.Invalid("Nothing was done. Send %s as confirm to say that you mean it.", d.Addon)
		}
		return &empty{}, a.Store.ForgetDatabase(ctx, c.resource, v.Databases[0].ID, c.person())
	})
	add(h, a, huma.Operation{
		OperationID: "undoForgetDatabase", Method: http.MethodDelete, Path: "/databases/{database}/forget", Tags: []string{tagDanger}, Summary: "Have them stay after all",
	}, remora.ScopeAdmin, a.onDatabase(func(ctx context.Context, c caller, db remora.DatabaseID) error {
		return a.Store.UndoForget(ctx, c.resource, db, c.person())
	}))
}
