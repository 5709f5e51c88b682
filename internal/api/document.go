package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

// tokenScheme is what the document calls the tokens.
const tokenScheme = "token"

// What operations are about.
const (
	tagOverview  = "Overview"
	tagDatabases = "Databases"
	tagBackups   = "Backups"
	tagRestore   = "Restore"
	tagSchedule  = "Schedule"
	tagRetention = "Retention"
	tagFreshness = "Freshness"
	tagChannels  = "Notifications"
	tagKeys      = "Keys"
	tagDanger    = "Danger zone"
	tagToken     = "Token"
	tagDocument  = "Document"
)

const description = `Everything that the dashboard of Remora Backup does, for programs.

A token is made on the add-on's page, under Settings, API tokens, and opens that add-on alone. Send it as ` + "`Authorization: Bearer remora_…`" + `.
It has a scope, read, operate or admin, each of which includes the ones before; every operation names the one that it needs.

What is not there is left out of an answer. Fields may be added to answers; a request with a field that is not in this
document is refused. Times are RFC 3339, in UTC. Errors are problems (RFC 9457): go by their code. Every answer has
X-Request-ID. A token may make a limited number of requests a minute, and so may all tokens of an add-on together; RateLimit-Limit, RateLimit-Remaining and
RateLimit-Reset (in seconds) say how it stands with the token; 429 says in Retry-After how long to wait.`

func (a *API) config() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Remora Backup", Version: "1", Description: description},
			Servers: []*huma.Server{{URL: a.BaseURL + Home}},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{tokenScheme: {Type: "http", Scheme: "bearer", Description: "A token of the API. Its scopes: " + scopes() + "."}},
			},
			Tags: []*huma.Tag{
				{Name: tagOverview, Description: "The add-on as a whole."},
				{Name: tagDatabases, Description: "Each database, and what its credential may do."},
				{Name: tagBackups, Description: "Backups, what is in them, and what shows that they are good."},
				{Name: tagRestore, Description: "Links, by which a backup is downloaded and restored."},
				{Name: tagSchedule, Description: "When a database is backed up."},
				{Name: tagRetention, Description: "How long backups are kept."},
				{Name: tagFreshness, Description: "A database's freshness, as it is seen from outside."},
				{Name: tagChannels, Description: "Who is told of what."},
				{Name: tagKeys, Description: "Whose keys archives are sealed to."},
				{Name: tagDanger, Description: "What cannot be taken back, or ends what others use."},
				{Name: tagToken, Description: "The token itself."},
				{Name: tagDocument, Description: "This document, and what problems mean; for everybody."},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
		Transformers: []huma.Transformer{a.ownProblems},
	}
}

func scopes() string {
	var all []string
	for _, s := range remora.APIScopes() {
		all = append(all, string(s)+" ("+s.Says()+")")
	}
	return strings.Join(all, ", ")
}

// failures are the answers of an operation beside the good one.
func (a *API) failures(h huma.API, op huma.Operation, scope remora.APIScope) map[string]*huma.Response {
	all := []int{http.StatusUnauthorized, http.StatusGone, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusUnprocessableEntity, http.StatusBadRequest}
	if scope != remora.ScopeRead {
		all = append(all, http.StatusForbidden)
	}
	if strings.Contains(op.Path, "{") {
		all = append(all, http.StatusNotFound)
	}
	if op.Method != http.MethodGet {
		all = append(all, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusRequestTimeout)
	}
	out := map[string]*huma.Response{}
	for _, status := range all {
		out[strconv.Itoa(status)] = problemResponse(h, status)
	}
	return out
}

func problemResponse(h huma.API, status int) *huma.Response {
	var titles []string
	for _, m := range meanings {
		if m.Status == status {
			titles = append(titles, m.Title+" ("+string(m.Code)+").")
		}
	}
	schema := h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	return &huma.Response{Description: strings.Join(titles, " "), Content: map[string]*huma.MediaType{problemJSON: {Schema: schema}}}
}

// documentOperations serves the document, which is complete by then, and stands in it itself.
func (a *API) documentOperations(h huma.API, r chi.Router) {
	doc := h.OpenAPI()
	for _, x := range []struct{ ext, id, media string }{{"json", "getDocument", "application/json"}, {"yaml", "getDocumentAsYAML", "application/yaml"}} {
		doc.AddOperation(&huma.Operation{
			OperationID: x.id, Method: http.MethodGet, Path: "/openapi." + x.ext, Tags: []string{tagDocument},
			Summary: "This document, as " + strings.ToUpper(x.ext), Description: "It needs no token.",
			Responses: map[string]*huma.Response{
				"200": {Description: "The document.", Content: map[string]*huma.MediaType{x.media: {Schema: &huma.Schema{Type: huma.TypeObject}}}},
				"304": {Description: "It is what If-None-Match names."},
			},
		})
	}
	polish(doc)
	asJSON, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		panic(fmt.Errorf("write the API's document: %w", err)) // of our own types, as every start and every test sees
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic(fmt.Errorf("write the API's document: %w", err))
	}
	r.Get("/openapi.json", serve("application/json", asJSON))
	r.Get("/openapi.yaml", serve("application/yaml", asYAML))
}

// serve answers with a text that is the same for everybody and until the next release.
func serve(media string, text []byte) http.HandlerFunc {
	sum := sha256.Sum256(text)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "public, max-age=300")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	}
}

// polish makes the document say what huma does not: which scope an operation needs, in words, the headers of answers, and
// that answers may get more fields, while requests may not.
func polish(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel") // huma's own, in the place of which are problems
	delete(schemas, "ErrorDetail")
	asked := map[string]bool{}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Put, path.Post, path.Delete} {
			if op == nil {
				continue
			}
			if op.RequestBody != nil {
				asked[strings.TrimPrefix(op.RequestBody.Content["application/json"].Schema.Ref, "#/components/schemas/")] = true
			}
			if len(op.Security) > 0 {
				op.Description = strings.TrimSpace(op.Description + "\n\nNeeds the scope " + string(scopeOf(op)) + ".")
			}
			headers(op)
		}
	}
	for name, s := range schemas {
		if !asked[name] {
			s.AdditionalProperties = nil
		}
	}
}

func headers(op *huma.Operation) {
	number := &huma.Schema{Type: huma.TypeInteger}
	for status, r := range op.Responses {
		if r.Headers == nil {
			r.Headers = map[string]*huma.Header{}
		}
		r.Headers["X-Request-ID"] = &huma.Header{Description: "Quote it when you write to us.", Schema: &huma.Schema{Type: huma.TypeString}}
		if len(op.Security) == 0 || slices.Contains([]string{"400", "401"}, status) {
			continue
		}
		r.Headers["RateLimit-Limit"] = &huma.Header{Description: "How many requests the token may make within a minute.", Schema: number}
		r.Headers["RateLimit-Remaining"] = &huma.Header{Description: "How many are left.", Schema: number}
		r.Headers["RateLimit-Reset"] = &huma.Header{Description: "In how many seconds the count begins anew.", Schema: number}
		if status == "429" {
			r.Headers["Retry-After"] = &huma.Header{Description: "How many seconds to wait.", Schema: number}
		}
	}
}
