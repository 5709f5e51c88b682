package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Token is the token that a request is made with.
type Token struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope" enum:"read,operate,admin"`
	MadeBy    string    `json:"made_by"`
	MadeAt    time.Time `json:"made_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"Left out where it has no end."`
}

func (a *API) tokenOperations(h huma.API) {
	type one struct{ Body Token }
	add(h, a, huma.Operation{
		OperationID: "getToken", Method: http.MethodGet, Path: "/token", Tags: []string{tagToken}, Summary: "What the token is",
	}, remora.ScopeRead, func(_ context.Context, c caller, _ *empty) (*one, error) {
		t := c.token
		return &one{Token{t.Name, string(t.Scope), t.MadeBy, t.MadeAt, t.ExpiresAt}}, nil
	})
	add(h, a, huma.Operation{
		OperationID: "revokeToken", Method: http.MethodDelete, Path: "/token", Tags: []string{tagToken},
		Summary: "End the token at once", Description: "For a program that has no more use for it, or has let it be seen. Others are revoked, and made, by people alone.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*empty, error) {
		return &empty{}, a.Store.RevokeAPIToken(ctx, c.resource, c.token.ID, c.person())
	})
}
