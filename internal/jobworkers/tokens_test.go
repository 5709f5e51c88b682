package jobworkers

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// What the token endpoint says where our own secret is wrong, and where a grant or refresh token is.
const (
	invalidClient = `401 {"error":"invalid_client","error_description":"Client authentication failed."}`
	unspecific    = `401 {"id":"unauthorized","message":"Invalid credentials provided."}`
	invalidGrant  = `400 {"error":"invalid_grant","error_description":"The token was revoked."}`
)

// refuseTokens has the token endpoint refuse, and every access token be no longer good, until the returned function
// is called. It counts what the token endpoint was asked.
func (b *bundle) refuseTokens(answer string) (asked *atomic.Int32, mend func()) {
	asked = new(atomic.Int32)
	status := map[string]int{"400": 400, "401": 401}[answer[:3]]
	b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/oauth/token":
			asked.Add(1)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, answer[4:])
		case strings.HasPrefix(r.Header.Get("Authorization"), "Bearer HRKU"):
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	})
	return asked, func() { b.heroku.Store(func(http.ResponseWriter, *http.Request) bool { return false }) }
}

func (b *bundle) find(t *testing.T, asked bool) error {
	t.Helper()
	return work(t, t.Context(), &findDatabases{Workers: b.Workers}, jobargs.FindDatabases{Resource: b.id, Asked: asked})
}

func (b *bundle) resource(t *testing.T) remora.Resource {
	t.Helper()
	r, err := b.Store.Resource(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// logged has what the workers log written to a buffer as well.
func (b *bundle) logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var said bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(io.MultiWriter(&said, t.Output()), nil))
	return &said
}

// refreshes is what the operator's measure says.
func (b *bundle) refreshes(t *testing.T, outcome string) float64 {
	t.Helper()
	all, err := b.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "remora_token_refreshes_total" && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatal("there is no measure of refreshes:", outcome)
	return 0
}

// A reset or mistyped CLIENT_SECRET is ours to mend: no customer loses anything by it, and a person is told.
func TestWrongClientSecretCondemnsNobody(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{invalidClient, unspecific} {
		b := newBundle(t)
		b.connect(t)
		said := b.logged(t)
		_, mend := b.refuseTokens(answer)
		for range 2 {
			if err := b.find(t, false); !errors.Is(err, herokuapi.ErrClientSecret) {
				t.Errorf("not tried again: %v", err)
			}
		}
		if r := b.resource(t); r.State != remora.ResourceActive || r.Attention != remora.ReasonNone {
			t.Errorf("%s: %+v", answer, r)
		}
		if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), "CLIENT_SECRET") {
			t.Error("nobody is told:", said)
		}
		mend()
		if err := b.find(t, false); err != nil {
			t.Error(err)
		}
		if secret, ok := b.refreshes(t, "secret"), b.refreshes(t, "ok"); secret != 2 || ok != 0 { // the access token was good all along
			t.Errorf("%v refreshes met our secret, %v went well", secret, ok)
		}
	}
}

// The grant of a new resource is not given up while only our secret is wrong, as long as it is good itself.
func TestWrongClientSecretKeepsTheGrant(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{invalidClient, unspecific} {
		b := newBundle(t)
		said := b.logged(t)
		ready := func() error {
			return work(t, t.Context(), &makeReady{Workers: b.Workers}, jobargs.MakeReady{Resource: b.id})
		}
		_, mend := b.refuseTokens(answer)
		var snoozed *river.JobSnoozeError
		if err := ready(); !errors.As(err, &snoozed) || snoozed.Duration > 30*time.Second {
			t.Errorf("not tried again while the grant is good: %v", err)
		}
		if r := b.resource(t); r.State != remora.ResourceProvisioning {
			t.Errorf("%s: %+v", answer, r)
		}
		if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), "CLIENT_SECRET") {
			t.Error("nobody is told:", said)
		}
		mend()
		if err := ready(); err != nil {
			t.Error(err)
		}
		if r := b.resource(t); r.State != remora.ResourceActive {
			t.Errorf("%s: %+v", answer, r)
		}
	}
}

// An expired grant and a wrong secret: nothing is left to wait for.
func TestExpiredGrantIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.id = remora.NewID[remora.ResourceID]()
	_, err := b.Store.ProvisionResource(t.Context(), remora.Provision{ID: b.id, Plan: "mako", Grant: redact.New("grant"), GrantExpiresAt: time.Now().Add(-time.Minute)}, b.key.Secret(), b.key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	b.refuseTokens(invalidClient)
	var canceled *river.JobCancelError
	if err := work(t, t.Context(), &makeReady{Workers: b.Workers}, jobargs.MakeReady{Resource: b.id}); !errors.As(err, &canceled) {
		t.Error(err)
	}
	if r := b.resource(t); r.Attention != remora.ReasonTokenRevoked {
		t.Errorf("%+v", r)
	}
}

// What Heroku has revoked is asked for once more when a person asks us to check, and only then; where it is good
// after all, the resource is.
func TestCheckAgainUndoesARevocation(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	asked, mend := b.refuseTokens(invalidGrant)
	for i, byPerson := range []bool{false, false, true, true, false} {
		if err := b.find(t, byPerson); err != nil {
			t.Error(err)
		}
		want := []int32{1, 1, 2, 3, 3}[i]
		if r := b.resource(t); r.Attention != remora.ReasonTokenRevoked || asked.Load() != want {
			t.Errorf("%d: %+v, asked %d times", i, r, asked.Load())
		}
	}
	mend()
	if err := b.find(t, false); err != nil || b.resource(t).Attention != remora.ReasonTokenRevoked {
		t.Error("a round of ours has tried:", err)
	}
	if err := b.Store.RequestCheck(t.Context(), b.id, "anna"); err != nil {
		t.Fatal(err)
	}
	var byPerson bool
	if err := b.Store.Pool.QueryRow(t.Context(), "SELECT (args->>'asked')::boolean FROM river.river_job WHERE kind = 'find_databases' ORDER BY id DESC LIMIT 1").Scan(&byPerson); err != nil || !byPerson {
		t.Error("a click does not say that a person asks:", err)
	}
	if err := b.find(t, true); err != nil {
		t.Error(err)
	}
	if r := b.resource(t); r.State != remora.ResourceActive || r.Attention != remora.ReasonNone {
		t.Errorf("%+v", r)
	}
}

// The same where it was revoked before the resource was ready: it is made ready after all.
func TestCheckAgainOfWhatWasNeverReady(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	if err := b.find(t, true); err != nil || b.tokens.Load() != 0 {
		t.Error("a check while it is being set up:", err)
	}
	if err := b.Store.SaveTokens(t.Context(), b.id, redact.New("old"), redact.New("r"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, mend := b.refuseTokens(invalidGrant)
	var canceled *river.JobCancelError
	if err := work(t, t.Context(), &makeReady{Workers: b.Workers}, jobargs.MakeReady{Resource: b.id}); !errors.As(err, &canceled) {
		t.Error(err)
	}
	mend()
	if err := b.find(t, true); err != nil {
		t.Error(err)
	}
	if r := b.resource(t); r.State != remora.ResourceProvisioning || r.Attention != remora.ReasonNone {
		t.Errorf("%+v", r)
	}
}
