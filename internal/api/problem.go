package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// Problem is what went wrong (RFC 9457).
type Problem struct {
	Type      string           `json:"type" format:"uri" doc:"Names the kind of problem, and is where it is explained."`
	Title     string           `json:"title" doc:"The kind of problem in a few words; the same each time."`
	Status    int              `json:"status" doc:"The HTTP status."`
	Code      string           `json:"code" doc:"The kind of problem, for programs. It will not change."`
	Detail    string           `json:"detail" doc:"What is wrong here and what to do, for people."`
	RequestID string           `json:"request_id" doc:"Quote it when you write to us."`
	Errors    List[FieldError] `json:"errors,omitempty" doc:"What of the request is not as this document says."`
}

// FieldError is one thing of a request that is not as the document says.
type FieldError struct {
	Location string `json:"location" doc:"Where, such as body.zone or query.limit."`
	Message  string `json:"message" doc:"What is expected there."`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is for huma, which writes a problem that an operation returns.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma, as GetStatus.
func (p *Problem) ContentType(string) string { return problemJSON }

// GetHeaders is for huma, as GetStatus.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	switch {
	case p.Code == string(remora.KindUnauthorized):
		h.Set("WWW-Authenticate", `Bearer realm="remora"`)
	case p.Status == http.StatusTooManyRequests:
		h.Set("Retry-After", "60")
	}
	return h
}

const problemJSON = "application/problem+json"

// code is a kind of problem: a remora.Kind, or one that only HTTP has.
type code string

const (
	codeMalformed code = "malformed"
	codeLarge     code = "too_large"
	codeMedia     code = "unsupported_media_type"
	codeMethod    code = "method_not_allowed"
	codeRate      code = "rate_limited"
	codeSlow      code = "request_timeout"
)

// meaning is what a kind of problem is called, and what to do about it in general.
type meaning struct {
	Code   code
	Status int
	Title  string
	Means  string
}

// meanings are all that there are.
var meanings = []meaning{
	{codeMalformed, http.StatusBadRequest, "The request cannot be read", "The body is no JSON, or there is one where none is expected, or none where one is. Send what the document says."},
	{code(remora.KindUnauthorized), http.StatusUnauthorized, "No token that opens anything", "The token is missing, is none, was revoked, or has expired. Make one on the add-on's page, under Settings, API tokens."},
	{code(remora.KindForbidden), http.StatusForbidden, "The token may not do that", "Use a token of a larger scope. A scope includes the ones before it: read, operate, admin."},
	{code(remora.KindNotFound), http.StatusNotFound, "There is no such thing", "It does not exist, or is not of this add-on. Asking for what is of another add-on is written into the audit log."},
	{codeMethod, http.StatusMethodNotAllowed, "Not with that method", "Use one of the methods that the header Allow names."},
	{codeSlow, http.StatusRequestTimeout, "The request came too slowly", "Send it again."},
	{code(remora.KindConflict), http.StatusConflict, "Not as things stand", "The detail says what stands in the way. Look again before you try again."},
	{code(remora.KindGone), http.StatusGone, "It is gone", "The add-on, or what was asked for, was removed and will not come back. Stop asking."},
	{codeLarge, http.StatusRequestEntityTooLarge, "The request is too large", "Nothing that is sent here needs more than 16 KiB."},
	{codeMedia, http.StatusUnsupportedMediaType, "The body is no JSON", "Send JSON, with Content-Type: application/json."},
	{code(remora.KindInvalid), http.StatusUnprocessableEntity, "Something of the request is wrong", "The detail says what, and errors names each field. The same request will fail again."},
	{code(remora.KindPlanLimit), http.StatusUnprocessableEntity, "The plan does not include it", "The detail names the limit. Change what is asked for, or choose a larger plan with heroku addons:upgrade."},
	{codeRate, http.StatusTooManyRequests, "Too many requests", "Wait for as long as Retry-After says, in seconds."},
	{code(remora.KindBusy), http.StatusTooManyRequests, "Too much of it at a time", "Wait for as long as Retry-After says, in seconds, and try again."},
	{code(remora.KindInternal), http.StatusInternalServerError, "Something went wrong on our side", "Try again. Quote the request's id when you write to us."},
}

func meaningOf(c code) meaning {
	i := slices.IndexFunc(meanings, func(m meaning) bool { return m.Code == c })
	if i < 0 {
		i = len(meanings) - 1
	}
	return meanings[i]
}

// problem makes one of a kind.
func (a *API) problem(ctx context.Context, c code, detail string) *Problem {
	m := meaningOf(c)
	return &Problem{Type: a.BaseURL + Home + "/problems/" + string(m.Code), Title: m.Title, Status: m.Status, Code: string(m.Code), Detail: detail, RequestID: httpserver.RequestID(ctx)}
}

// problemOf is the one place where an error becomes a problem.
func (a *API) problemOf(ctx context.Context, err error) *Problem {
	kind := code(remora.KindInternal)
	if _, known := httpserver.Status(err); known {
		kind = code(remora.KindOf(err))
	} else if ctx.Err() == nil { // else the asker has left
		a.Log.ErrorContext(ctx, "API request failed", "request_id", httpserver.RequestID(ctx), "error", err)
	}
	return a.problem(ctx, kind, remora.Public(err, wentWrong(ctx)))
}

// wentWrong is said of what is ours to mend.
func wentWrong(ctx context.Context) string {
	return "Something went wrong on our side. Try again; quote request " + httpserver.RequestID(ctx) + " when you write to us."
}

// refuse answers with an error before any operation has begun.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	a.write(w, a.problemOf(r.Context(), err))
}

func (a *API) write(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		if w.Header().Get(name) == "" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", problemJSON)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the connection may be gone
}

// byStatus are the kinds of what huma itself refuses.
var byStatus = map[int]code{
	http.StatusBadRequest: codeMalformed, http.StatusRequestTimeout: codeSlow, http.StatusRequestEntityTooLarge: codeLarge,
	http.StatusUnsupportedMediaType: codeMedia, http.StatusUnprocessableEntity: code(remora.KindInvalid),
}

// ownProblems makes problems of huma's errors. What was sent is not sent back: it may be an address that is a secret.
func (a *API) ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	c, known := byStatus[e.Status]
	if !known {
		a.Log.ErrorContext(ctx.Context(), "API request failed", "request_id", httpserver.RequestID(ctx.Context()), "error", e.Detail)
	}
	p := a.problem(ctx.Context(), c, meaningOf(c).Means)
	if c != code(remora.KindInvalid) {
		return p, nil
	}
	said := make([]string, len(e.Errors))
	for i, x := range e.Errors {
		p.Errors = append(p.Errors, FieldError{x.Location, x.Message})
		said[i] = x.Location + ": " + x.Message
	}
	p.Detail = "The request is not as " + a.BaseURL + Home + "/openapi.json says. " + strings.Join(said, "; ") + "."
	return p, nil
}

// Explanation is what a kind of problem means.
type Explanation struct {
	Code   string `json:"code"`
	Status int    `json:"status"`
	Title  string `json:"title"`
	Means  string `json:"means" doc:"What it means and what to do."`
}

func (a *API) problemOperations(h huma.API) {
	type input struct {
		Code string `path:"code" doc:"The kind of problem."`
	}
	type output struct{ Body Explanation }
	op := huma.Operation{
		OperationID: "explainProblem", Method: http.MethodGet, Path: "/problems/{code}", Tags: []string{tagDocument},
		Summary: "What a kind of problem means", Description: "The type of each problem leads here. It needs no token.",
	}
	op.Responses = map[string]*huma.Response{"404": problemResponse(h, http.StatusNotFound)}
	huma.Register(h, op, func(ctx context.Context, in *input) (*output, error) {
		for _, m := range meanings {
			if string(m.Code) == in.Code {
				return &output{Explanation{in.Code, m.Status, m.Title, m.Means}}, nil
			}
		}
		return nil, a.problemOf(ctx, remora.NotFound("kind of problem"))
	})
}
