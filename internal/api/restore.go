package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Link is a short-lived way to download a backup.
type Link struct {
	ID        string    `json:"id"`
	MadeBy    string    `json:"made_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	UsedAt    time.Time `json:"used_at,omitzero" doc:"When it was last used, to the minute."`
	UsedBy    string    `json:"used_by,omitempty" doc:"By whom, as far as an address tells."`
}

func linkOf(l remora.Link) Link {
	return Link{string(l.ID), l.MadeBy, l.CreatedAt, l.ExpiresAt, l.RevokedAt, l.UsedAt, l.UsedBy}
}

// NewLink is a link that was just made.
type NewLink struct {
	Link
	URL string `json:"url" format:"uri" doc:"Opens the backup's plain archive, for pg_restore, curl and heroku pg:backups:restore. It is returned this once: whoever has it has the data."`
}

// Links are a backup's, newest first.
type Links struct {
	Links List[Link] `json:"links"`
}

// Needs is what restoring a backup needs that the archive cannot bring.
type Needs struct {
	Extensions List[string] `json:"extensions" doc:"Which it creates."`
	Superuser  List[string] `json:"superuser" doc:"Objects that only a superuser can make, or that call other servers."`
	Schemas    List[string] `json:"schemas" doc:"With something in them that a credential must be granted to read, after the restore."`
}

func (a *API) restoreOperations(h huma.API) {
	type links struct{ Body Links }
	add(h, a, huma.Operation{
		OperationID: "listLinks", Method: http.MethodGet, Path: "/backups/{backup}/links", Tags: []string{tagRestore}, Summary: "A backup's links, newest first",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfBackup) (*links, error) {
		v, err := a.view(ctx, c, *in)
		return &links{Links{listOf(v.Links, linkOf)}}, err
	})

	type made struct{ Body NewLink }
	add(h, a, huma.Operation{
		OperationID: "makeLink", Method: http.MethodPost, Path: "/backups/{backup}/links", Tags: []string{tagRestore}, DefaultStatus: http.StatusCreated,
		Summary: "Make a link that opens a backup", Description: "Your channels are told that it was made, and by which token.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, in *OfBackup) (*made, error) {
		id, err := in.backup()
		if err != nil {
			return nil, err
		}
		link, token, err := a.Store.MakeLink(ctx, c.resource, id, c.person(), a.LinkGood)
		if err != nil {
			return nil, err
		}
		return &made{NewLink{linkOf(link), a.LinkURL(token)}}, nil
	})

	type one struct {
		OfBackup
		Link string `path:"link" doc:"The link's id."`
	}
	add(h, a, huma.Operation{
		OperationID: "revokeLink", Method: http.MethodDelete, Path: "/backups/{backup}/links/{link}", Tags: []string{tagRestore},
		Summary: "End a link at once", Description: "A download that is running by it is cut. One that has ended stays as it is.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, in *one) (*empty, error) {
		id, err := in.backup()
		if err != nil {
			return nil, err
		}
		link, err := remora.KnownID[remora.LinkID](in.Link, "link")
		if err != nil {
			return nil, err
		}
		return &empty{}, a.Store.RevokeLink(ctx, c.resource, id, link, c.person())
	})

	type needs struct{ Body Needs }
	add(h, a, huma.Operation{
		OperationID: "getNeeds", Method: http.MethodGet, Path: "/backups/{backup}/needs", Tags: []string{tagRestore}, Metadata: opensAnArchive, Summary: "What restoring a backup needs",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfBackup) (*needs, error) {
		v, err := a.view(ctx, c, *in)
		if err != nil {
			return nil, err
		}
		if !v.Backup.State.Restorable() {
			return nil, &remora.Error{Kind: remora.KindConflict, Public: "This backup has no archive to restore."}
		}
		n, err := a.Needs(ctx, c.resource, v.Backup)
		return &needs{Needs{n.Extensions, n.Superuser, n.Schemas}}, err
	})
}
