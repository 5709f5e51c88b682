// Package api does for programs what the dashboard does for people: JSON under /api/v1, opened by a token that a person has
// made under Settings. It reads and changes by the same store and says what is wrong in the same words. Its document,
// OpenAPI 3.1, is made of the types and operations here, and requests are held against it before anything sees them.
package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// Home is where the API is.
const Home = "/api/v1"

// Store is what the API needs. Every method is bound to a resource; what is another's is not found. Errors carry a
// remora.Kind.
type Store interface {
	UseAPIToken(ctx context.Context, token, from string) (remora.ResourceID, remora.APIToken, error)
	RevokeAPIToken(ctx context.Context, id remora.ResourceID, token remora.APITokenID, person string) error
	NoteStranger(ctx context.Context, id remora.ResourceID, person, request string, named []string) error

	Overview(ctx context.Context, id remora.ResourceID) (remora.Overview, error)
	Resource(ctx context.Context, id remora.ResourceID) (remora.Resource, error)
	RequestCheck(ctx context.Context, id remora.ResourceID, person string) error
	Events(ctx context.Context, id remora.ResourceID, look remora.EventLook) ([]remora.Event, error)
	AuditLog(ctx context.Context, id remora.ResourceID, look remora.AuditLook) (remora.AuditPage, error)

	Database(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, look remora.Look) (remora.DatabaseView, error)
	RequestBackup(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) (remora.BackupID, error)
	RequestAudit(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Acknowledge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, code, object, person string) error
	Schedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (remora.Schedule, error)
	SetSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, rule remora.Rule, person string) error
	PauseSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, why, person string) error
	ResumeSchedule(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Retention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (retention.Standing, error)
	SetRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, r remora.Retention, may int, person string) (int, error)
	UndoRetention(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	Outside(ctx context.Context, id remora.ResourceID, db remora.DatabaseID) (remora.Outside, error)
	MakeBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, named bool, person string) error
	RemoveBadge(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	SetPing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, address redact.Secret, starts bool, person string) error
	RemovePing(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error

	BackupView(ctx context.Context, id remora.ResourceID, b remora.BackupID) (remora.BackupView, error)
	CancelBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	LockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, note, person string) error
	UnlockBackup(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	AskCopy(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string) error
	RequestProof(ctx context.Context, id remora.ResourceID, b remora.BackupID, kind remora.ProofKind, person string) error
	MakeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string, good time.Duration) (remora.Link, string, error)
	RevokeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, link remora.LinkID, person string) error

	Channels(ctx context.Context, id remora.ResourceID) ([]remora.Channel, error)
	AddChannel(ctx context.Context, id remora.ResourceID, n remora.NewChannel, person string) (remora.ChannelID, redact.Secret, error)
	SetChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, enabled bool, mutes []remora.EventKind, person string) error
	RemoveChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error
	TestChannel(ctx context.Context, id remora.ResourceID, c remora.ChannelID, person string) error
	Deliveries(ctx context.Context, id remora.ResourceID) ([]remora.Delivery, error)

	Sealing(ctx context.Context, id remora.ResourceID) (remora.Sealing, error)
	SetSealing(ctx context.Context, id remora.ResourceID, to remora.Sealing, person string) error
	TakeKey(ctx context.Context, id remora.ResourceID, person string) (key redact.Secret, recipient string, err error)

	Buckets(ctx context.Context, id remora.ResourceID) ([]remora.Bucket, error)
	SetBucket(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error
	SetSecondPlace(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error
	LeaveBucket(ctx context.Context, id remora.ResourceID, person string) error
	RemoveBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID, person string) error

	Access(ctx context.Context, id remora.ResourceID) (remora.Access, error)
	RevokeAllLinks(ctx context.Context, id remora.ResourceID, person string) error
	CloseSessions(ctx context.Context, id remora.ResourceID, person string) error
	ForgetDatabase(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
	UndoForget(ctx context.Context, id remora.ResourceID, db remora.DatabaseID, person string) error
}

// Config of the API.
type Config struct {
	Store Store
	// Contents opens the list of what a backup's archive contains; nil where nobody has counted.
	Contents func(ctx context.Context, id remora.ResourceID, b remora.Backup) (io.Reader, error)
	// Needs reads what restoring a backup needs.
	Needs func(ctx context.Context, id remora.ResourceID, b remora.Backup) (remora.Needs, error)
	// Callable refuses an address that leads where nobody may be called. Errors: KindInvalid.
	Callable func(ctx context.Context, address redact.Secret) error
	Sealer   Sealer
	// Probe tries a customer's own bucket out: see dashboard.Config.
	Probe    func(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys) (remora.Probed, error)
	LinkURL  func(token string) string        // where a link opens its backup
	BadgeURL func(token redact.Secret) string // where a badge is seen
	BaseURL  string                           // how the outside reaches us; without a slash at the end
	LinkGood time.Duration                    // how long a link is good; default 1 h
	Mails    bool                             // the operator has set up e-mail
	// PerMinute is how many requests a token may make within a minute, and PerResource all tokens of an add-on together; what
	// opens an archive or searches the audit log counts as ten. It is counted in this process alone, so that with two it is up to
	// twice as many. Default 120 and 300.
	PerMinute, PerResource int
	// Refusals is how many tokens that open nothing may come from one address within a minute; from then on none from there is
	// looked at but those that opened something in the last minutes. Default 60.
	Refusals int
	Log      *slog.Logger
}

// API is the handlers.
type API struct {
	Config
	requests, ofResource *httprate.RateLimiter // by the hash of a token; by resource
	refused, good        *httprate.RateLimiter // by address; by the hash of a token, which only remembers
}

// New returns the API.
func New(cfg Config) (*API, error) {
	if cfg.Store == nil || cfg.Contents == nil || cfg.Needs == nil || cfg.Callable == nil || cfg.Sealer == nil || cfg.Probe == nil || cfg.LinkURL == nil || cfg.BadgeURL == nil || cfg.BaseURL == "" || cfg.Log == nil {
		return nil, errors.New("api: a dependency or setting is missing")
	}
	cfg.LinkGood = cmp.Or(cfg.LinkGood, time.Hour)
	cfg.PerMinute = cmp.Or(cfg.PerMinute, 120)
	cfg.PerResource = cmp.Or(cfg.PerResource, 300)
	cfg.Refusals = cmp.Or(cfg.Refusals, 60)
	limit := httprate.WithResponseHeaders(httprate.ResponseHeaders{Limit: "RateLimit-Limit", Remaining: "RateLimit-Remaining", Reset: "RateLimit-Reset", RetryAfter: "Retry-After"})
	wait := httprate.WithResponseHeaders(httprate.ResponseHeaders{RetryAfter: "Retry-After"})
	silent := httprate.WithResponseHeaders(httprate.ResponseHeaders{})
	return &API{
		Config:   cfg,
		requests: httprate.NewRateLimiter(cfg.PerMinute, time.Minute, limit), ofResource: httprate.NewRateLimiter(cfg.PerResource, time.Minute, wait),
		refused: httprate.NewRateLimiter(cfg.Refusals, time.Minute, silent), good: httprate.NewRateLimiter(math.MaxInt32, goodFor, silent),
	}, nil
}

// goodFor is for how long a token that opened something is known to have done so.
const goodFor = 5 * time.Minute

// Routes adds the API to a router.
func (a *API) Routes(r chi.Router) {
	r.Route(Home, func(r chi.Router) {
		r.Use(httpserver.Panicked(func(w http.ResponseWriter, r *http.Request) {
			a.write(w, a.problem(r.Context(), code(remora.KindInternal), wentWrong(r.Context())))
		}))
		r.NotFound(func(w http.ResponseWriter, r *http.Request) { a.refuse(w, r, remora.NotFound("endpoint")) })
		r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
			a.write(w, a.problem(r.Context(), codeMethod, "This endpoint does not know the method "+r.Method+". "+a.BaseURL+Home+"/openapi.json says which it knows."))
		})
		h := humachi.New(r, a.config())
		h.UseMiddleware(a.admit)
		for _, register := range []func(huma.API){
			a.tokenOperations, a.overviewOperations, a.auditOperations, a.databaseOperations, a.scheduleOperations, a.retentionOperations, a.freshnessOperations,
			a.backupOperations, a.restoreOperations, a.channelOperations, a.keyOperations, a.storageOperations, a.dangerOperations, a.problemOperations,
		} {
			register(h)
		}
		a.documentOperations(h, r)
	})
}

// caller is who a request is from.
type caller struct {
	resource remora.ResourceID
	token    remora.APIToken
	request  *http.Request
}

func (c caller) person() string { return c.token.Person() }

type callerKey struct{}

// admit lets through who has a token that may do it, and not too often. It reads the headers alone.
func (a *API) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	op := ctx.Operation()
	if op.RequestBody == nil && r.ContentLength != 0 {
		a.write(w, a.problem(r.Context(), codeMalformed, "This request takes no body. Leave it out."))
		return
	}
	if len(op.Security) == 0 {
		next(ctx)
		return
	}
	c, wrong := a.caller(w, r, cost(op, r.URL.Query()))
	if wrong != nil {
		a.write(w, wrong)
		return
	}
	if need := scopeOf(op); !c.token.Scope.Allows(need) {
		a.refuse(w, r, &remora.Error{Kind: remora.KindForbidden, Public: "This needs a token that may " + string(need) + ", and this one may " + string(c.token.Scope) + ". Make one on the add-on's page, under Settings, API tokens."})
		return
	}
	next(huma.WithValue(ctx, callerKey{}, c))
}

// caller asks whose token a request brings, unless it comes too often: our database is asked for no more than the limit. What
// does not look like a token asks nobody, and whoever tries many is stopped; a token that was good a moment ago is not stopped
// with the others of its address.
func (a *API) caller(w http.ResponseWriter, r *http.Request, cost int) (c caller, wrong *Problem) {
	ctx := r.Context()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || !remora.IsAPISecret(token) {
		return c, a.problemOf(ctx, &remora.Error{Kind: remora.KindUnauthorized, Public: "Send a token, as in Authorization: Bearer remora_…. It is made on the add-on's page, under Settings, API tokens."})
	}
	sum := sha256.Sum256([]byte(token))
	key := hex.EncodeToString(sum[:])
	from := cmp.Or(middleware.GetClientIP(ctx), peer(r))
	address := httprate.CanonicalizeIP(from)
	_, opened, _ := a.good.Status(key)
	if _, rate, _ := a.refused.Status(address); rate >= float64(a.Refusals) && opened == 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(time.Minute.Seconds())))
		return c, a.problemOf(ctx, &remora.Error{Kind: remora.KindBusy, Public: "Too many tokens from this address opened nothing. Wait a minute, and check the token."})
	}
	counted := r.WithContext(httprate.WithIncrement(ctx, cost))
	over := a.requests.OnLimit(w, counted, key)
	inSeconds(w)
	if over {
		return c, a.problem(ctx, codeRate, "This token makes too many requests. Wait for as long as Retry-After says.")
	}
	var err error
	c.request = r
	if c.resource, c.token, err = a.Store.UseAPIToken(ctx, token, from); err != nil {
		if kind := remora.KindOf(err); kind == remora.KindUnauthorized || kind == remora.KindGone {
			a.refused.OnLimit(w, r, address)
		}
		return c, a.problemOf(ctx, err)
	}
	a.good.OnLimit(w, r, key)
	if a.ofResource.OnLimit(w, counted, string(c.resource)) {
		return c, a.problem(ctx, codeRate, "The tokens of this add-on make too many requests together. Wait for as long as Retry-After says.")
	}
	return c, nil
}

// peer is the other end of the connection, where no proxy has told.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "an address that nobody told us"
	}
	return host
}

// inSeconds says until when the limit counts as the drafts of the header do, in seconds from now.
func inSeconds(w http.ResponseWriter) {
	if at, err := strconv.ParseInt(w.Header().Get("RateLimit-Reset"), 10, 64); err == nil {
		w.Header().Set("RateLimit-Reset", strconv.FormatInt(max(0, at-time.Now().Unix()), 10))
	}
}

// empty is the input, or the output, of an operation that has none.
type empty struct{}

// add registers an operation that needs a token of a scope. What it returns as an error becomes a problem here, and what
// another's identifier asked for is written down.
func add[I, O any](h huma.API, a *API, op huma.Operation, scope remora.APIScope, do func(ctx context.Context, c caller, in *I) (*O, error)) {
	op.Security = []map[string][]string{{tokenScheme: {string(scope)}}}
	op.MaxBodyBytes = maxBody
	op.Responses = a.failures(h, op, scope)
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		c, _ := ctx.Value(callerKey{}).(caller)
		out, err := do(ctx, c, in)
		if err == nil {
			return out, nil
		}
		if remora.KindOf(err) == remora.KindNotFound {
			a.noteStranger(ctx, c)
		}
		return nil, a.problemOf(ctx, err)
	})
}

// maxBody bounds what a request may send, in bytes.
const maxBody = 16 << 10

func scopeOf(op *huma.Operation) remora.APIScope {
	return remora.APIScope(op.Security[0][tokenScheme][0])
}

// costs says as how many requests one with this query counts.
type costs func(query url.Values) int

// dear is as how many requests one counts that costs us more than a few rows.
const dear = 10

// opensAnArchive marks an operation that reads from the store.
var opensAnArchive = map[string]any{"cost": costs(func(url.Values) int { return dear })}

// searchesBy marks an operation that looks through many rows where one of these parameters is given.
func searchesBy(parameters ...string) map[string]any {
	return map[string]any{"cost": costs(func(query url.Values) int {
		if slices.ContainsFunc(parameters, query.Has) {
			return dear
		}
		return 1
	})}
}

func cost(op *huma.Operation, query url.Values) int {
	if of, ok := op.Metadata["cost"].(costs); ok {
		return of(query)
	}
	return 1
}

func (a *API) noteStranger(ctx context.Context, c caller) {
	asked, named := httpserver.AskedFor(c.request)
	if err := a.Store.NoteStranger(ctx, c.resource, c.person(), asked, named); err != nil && ctx.Err() == nil {
		a.Log.WarnContext(ctx, "a stranger's request was not written down", "request_id", httpserver.RequestID(ctx), "error", err)
	}
}
