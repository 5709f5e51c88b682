package jobworkers

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/remora"
)

// quota has Heroku refuse the calls that a header's token makes, or say what is left. It counts them.
func (b *bundle) quota(bearer, header, value string, refuse bool) (asked *atomic.Int32) {
	asked = new(atomic.Int32)
	b.heroku.Store(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.Header.Get("Authorization"), bearer) || bearer == "" && r.URL.Path != "/oauth/token" {
			return false
		}
		asked.Add(1)
		w.Header().Set(header, value)
		if refuse {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return refuse
	})
	return asked
}

func snoozed(t *testing.T, err error, atLeast, atMost time.Duration) {
	t.Helper()
	var s *river.JobSnoozeError
	if !errors.As(err, &s) || s.Duration < atLeast || s.Duration > atMost {
		t.Errorf("not put off for %v to %v: %v", atLeast, atMost, err)
	}
}

// What Heroku refuses for the quota is done later, when Heroku said; nobody is told to act, and a backup keeps all its
// attempts but the one that found out.
func TestARefusedQuotaIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	asked := b.quota("Bearer service", "Retry-After", "600", true)
	snoozed(t, b.find(t, false), 9*time.Minute, 10*time.Minute)
	snoozed(t, b.find(t, true), 9*time.Minute, 10*time.Minute)
	run := func() error {
		return work(t, t.Context(), &runBackup{Workers: b.Workers}, jobargs.RunBackup{Backup: b.newest(t).ID})
	}
	for range 5 {
		snoozed(t, run(), 9*time.Minute, 10*time.Minute)
	}
	if got := b.newest(t); got.State != remora.BackupQueued || got.Attempts != 0 || got.Reason != remora.ReasonNone {
		t.Errorf("%+v", got)
	}
	if r := b.resource(t); r.State != remora.ResourceActive || asked.Load() != 1 {
		t.Errorf("%+v, asked %d times", r, asked.Load())
	}
	// The run that finds out.
	b = newBundle(t)
	b.connect(t)
	b.quota("Bearer service", "Retry-After", "600", true)
	if err := run(); err != nil {
		t.Error(err)
	}
	if got := b.newest(t); got.State != remora.BackupQueued || got.Attempts != 1 || got.Reason != remora.ReasonHerokuUnavailable {
		t.Errorf("%+v", got)
	}
	// A new resource: the token endpoint.
	b = newBundle(t)
	b.quota("", "Retry-After", "20", true)
	snoozed(t, work(t, t.Context(), &makeReady{Workers: b.Workers}, jobargs.MakeReady{Resource: b.id}), 19*time.Second, 20*time.Second)
}

// All resources share the service account's quota: a check takes one call of it, and reads no config var.
func TestACheckCostsOneCall(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	var asked []string
	b.heroku.Store(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer service" {
			asked = append(asked, r.URL.Path)
		}
		return false
	})
	if err := b.find(t, false); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || !strings.HasSuffix(asked[0], "/addon-attachments") {
		t.Error(asked)
	}
	if view, err := b.Store.Overview(t.Context(), b.id); err != nil || len(view.Databases) != 1 || view.Databases[0].State != remora.DatabaseActive {
		t.Errorf("%+v %v", view.Databases, err)
	}
}

// Below the reserve checks wait, without asking anybody, and a run goes on.
func TestChecksLeaveTheReserveToRuns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.connect(t)
	asked := b.quota("Bearer", "RateLimit-Remaining", "490", false)
	if err := b.find(t, false); err != nil { // it finds out
		t.Fatal(err)
	}
	before := asked.Load()
	snoozed(t, b.find(t, false), time.Minute, 2*time.Minute)
	snoozed(t, b.find(t, true), time.Minute, 2*time.Minute)
	if _, err := b.Store.Pool.Exec(t.Context(), "WITH s AS (SELECT set_config('remora.service', 'on', true)) UPDATE resources SET checked_at = now() - interval '1 day' FROM s"); err != nil {
		t.Fatal(err)
	}
	if err := work(t, t.Context(), &tick{Workers: b.Workers}, jobargs.Tick{}); err != nil {
		t.Error(err)
	}
	var jobs int
	if err := b.Store.Pool.QueryRow(t.Context(), "SELECT count(*) FROM river.river_job WHERE kind = 'find_databases'").Scan(&jobs); err != nil || jobs != 1 || asked.Load() != before {
		t.Errorf("%d jobs, %d calls, %v", jobs, asked.Load()-before, err)
	}
	if got := b.attempt(t); got.State != remora.BackupVerified {
		t.Errorf("%+v", got)
	}
}
