package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// AuditLine is one thing that was done with the add-on.
type AuditLine struct {
	Seq      int64  `json:"seq" doc:"Its number, from 1, without a gap."`
	At       string `json:"at" format:"date-time" doc:"As it stands in what the hash is of."`
	Actor    string `json:"actor"`
	Action   string `json:"action"`
	Subject  string `json:"subject"`
	Previous string `json:"previous" doc:"The hash of the line before, in hexadecimal."`
	Hash     string `json:"hash" doc:"Of all that the line says and of previous, in hexadecimal."`
}

func auditLineOf(l remora.AuditLine) AuditLine {
	return AuditLine{l.Seq, l.At.UTC().Format(remora.AuditTime), l.Actor, l.Action, l.Subject, hex.EncodeToString(l.Previous), hex.EncodeToString(l.Hash)}
}

// AuditLog is a page of what was done, newest first.
type AuditLog struct {
	Length int64           `json:"length" doc:"How many lines the whole log has."`
	Hash   string          `json:"hash" doc:"The newest line's. Keep it: against it a log that was made anew is found out."`
	Lines  List[AuditLine] `json:"lines"`
	Next   string          `json:"next,omitempty" doc:"Send it as before to get the lines before these."`
}

func (a *API) auditOperations(h huma.API) {
	type look struct {
		Who    string    `query:"who" maxLength:"250" doc:"Those alone of whom it is a part of the name."`
		What   string    `query:"what" maxLength:"250" doc:"Those alone of this action."`
		Since  time.Time `query:"since" doc:"Those alone from then on."`
		Until  time.Time `query:"until" doc:"Those alone before then."`
		Before string    `query:"before" pattern:"^[1-9][0-9]{0,17}$" doc:"next of the page before."`
		Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}
	type page struct{ Body AuditLog }
	add(h, a, huma.Operation{
		OperationID: "listAuditLines", Method: http.MethodGet, Path: "/audit", Tags: []string{tagOverview},
		Summary: "What was done with the add-on and by whom, newest first", Description: "Each line follows the one before it by a hash, so that none can be changed or left out unseen.",
		Metadata: searchesBy("who", "what", "since", "until"),
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *look) (*page, error) {
		before, _ := strconv.ParseInt(in.Before, 10, 64) // which its pattern lets through, or nothing
		p, err := a.Store.AuditLog(ctx, c.resource, remora.AuditLook{Actor: in.Who, Action: in.What, Since: in.Since, Until: in.Until, Before: before, Most: in.Limit})
		out := AuditLog{Length: p.Chain.Length, Hash: hex.EncodeToString(p.Chain.Hash), Lines: listOf(p.Lines, auditLineOf)}
		if p.More {
			out.Next = strconv.FormatInt(p.Lines[len(p.Lines)-1].Seq, 10)
		}
		return &page{out}, err
	})
}
