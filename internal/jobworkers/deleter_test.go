package jobworkers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

func newDeleter(t *testing.T, store *postgres.Store, bucket *objectstore.Bucket) *Deleter {
	t.Helper()
	d, err := NewDeleter(DeleterConfig{
		Store: store, Stores: storesOf(t, store, bucket, true), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry(), Delay: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ageing is a resource with one database and many stored backups, and a clock that goes by days.
type ageing struct {
	*Deleter
	pool    *pgxpool.Pool
	faults  *faultproxy.HTTP
	real    *objectstore.Bucket // beside the faults
	keys    *keyring.Keyring
	id      remora.ResourceID
	db      remora.DatabaseID
	ahead   time.Duration
	backups []remora.BackupID // oldest first
}

func newAgeing(t *testing.T, backups int) *ageing {
	t.Helper()
	ctx := t.Context()
	a := &ageing{pool: pgtest.Pool(t), id: remora.NewID[remora.ResourceID](), ahead: time.Until(firstMonday(time.Now()))}
	cfg := s3test.Config(t)
	a.real = s3test.Open(t, cfg)
	var err error
	if a.faults, err = faultproxy.NewHTTP(cfg.Endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.faults.Close)
	cfg.Endpoint = a.faults.URL
	if a.keys, err = keyring.Parse(keyring.Generate("k1")); err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: a.pool, Keys: a.keys, Now: func(at time.Time) time.Time { return at.Add(a.ahead) }})
	if err != nil {
		t.Fatal(err)
	}
	a.Deleter = newDeleter(t, store, s3test.Open(t, cfg))
	a.Now = func() time.Time { return time.Now().Add(a.ahead) }
	_, err = store.ProvisionResource(ctx, remora.Provision{ID: a.id, Name: "remora-backup-1", Plan: "mako", Region: "us", Grant: redact.New("grant")}, redact.New("key"), "age1recipient")
	err = errors.Join(err, store.SaveTokens(ctx, a.id, redact.New("access"), redact.New("refresh"), time.Now().Add(8*time.Hour)),
		store.SetReady(ctx, a.id, "app", "helper"),
		store.SaveFound(ctx, a.id, "helper", []postgres.Found{{AddonID: "addon", Addon: "postgresql-1", OwnerApp: "shop", Attachment: "DB", Credential: "ro"}}))
	if err != nil {
		t.Fatal(err)
	}
	o, err := store.Overview(ctx, a.id)
	if err != nil {
		t.Fatal(err)
	}
	a.db = o.Databases[0].ID
	for n := range backups {
		if n > 0 {
			a.ahead += 24 * time.Hour
		}
		a.backup(t)
	}
	return a
}

// firstMonday is the next first Monday of a month, at six in the morning: which backups of the two weeks from then on are the last of a
// week or of a month, and stay, is the same whatever day it is today.
func firstMonday(now time.Time) time.Time {
	day := now.UTC().Truncate(24 * time.Hour).Add(30 * time.Hour)
	for day.Weekday() != time.Monday || day.Day() > 7 {
		day = day.AddDate(0, 0, 1)
	}
	return day
}

// backup makes one in the store and in our database.
func (a *ageing) backup(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	b, err := a.Store.RequestBackup(ctx, a.id, a.db, "ada")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Store.ClaimBackup(ctx, b, "w")
	if err != nil {
		t.Fatal(err)
	}
	a.store(t, archivestore.Ref{Resource: a.id, Backup: b, Epoch: c.Epoch})
	if err := a.Store.KeepBackup(ctx, c, remora.Kept{Objects: []remora.Object{{Name: "head", Size: 4, SHA256: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
	a.backups = append(a.backups, b)
}

func (a *ageing) store(t *testing.T, ref archivestore.Ref) {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w := archivestore.Create(t.Context(), a.real, ref, key.Recipient())
	if _, err := w.Write([]byte("body")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit([]byte("head"), nil, archivestore.Manifest{}, a.keys, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (a *ageing) round(t *testing.T) error {
	t.Helper()
	return work(t, t.Context(), &expireBackups{Deleter: a.Deleter}, jobargs.ExpireBackups{})
}

func (a *ageing) delete(t *testing.T, b remora.BackupID) error {
	t.Helper()
	return work(t, t.Context(), &deleteBackup{Deleter: a.Deleter}, jobargs.DeleteBackup{Backup: b})
}

// in lists the backups in a state, oldest first.
func (a *ageing) in(t *testing.T, state remora.BackupState) (out []remora.BackupID) {
	t.Helper()
	for _, id := range a.backups {
		b, err := a.Store.Backup(t.Context(), a.id, id)
		if err != nil {
			t.Fatal(err)
		}
		if b.State == state {
			out = append(out, id)
		}
	}
	return out
}

// stored are the keys in the bucket, by backup.
func (a *ageing) stored(t *testing.T) map[remora.BackupID][]string {
	t.Helper()
	out := map[remora.BackupID][]string{}
	err := a.real.List(t.Context(), "", func(o objectstore.Object) error {
		ref, _ := archivestore.ParseKey(o.Key)
		out[ref.Backup] = append(out[ref.Backup], o.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// gone asks that all and only these backups are deleted, rows and objects.
func (a *ageing) gone(t *testing.T, want []remora.BackupID) {
	t.Helper()
	if got := a.in(t, remora.BackupDeleted); !slices.Equal(got, want) {
		t.Errorf("deleted are %v and not %v", got, want)
	}
	stored := a.stored(t)
	for _, id := range a.backups {
		if (len(stored[id]) == 0) != slices.Contains(want, id) {
			t.Errorf("of %s there is %v", id, stored[id])
		}
	}
}

// Old backups go: out of sight first, with their links; once the delay has passed what is stored, of every run; then the
// rows say so. What the rules keep stays, and nothing happens twice.
func TestOldBackupsGo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAgeing(t, 14)
	standing, err := a.Store.Retention(ctx, a.id, a.db)
	if err != nil {
		t.Fatal(err)
	}
	going, err := standing.Going()
	if err != nil {
		t.Fatal(err)
	}
	var old []remora.BackupID
	for _, v := range slices.Backward(going) {
		old = append(old, v.Backup.ID)
	}
	if len(old) < 4 {
		t.Fatalf("only %v would go", old)
	}
	a.store(t, archivestore.Ref{Resource: a.id, Backup: old[0], Epoch: 7}) // a run that nobody wrote down
	_, token, err := a.Store.MakeLink(ctx, a.id, old[1], "ada", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if got := a.in(t, remora.BackupExpired); !slices.Equal(got, old) {
		t.Fatalf("expired are %v and not %v", got, old)
	}
	if _, _, err := a.Store.UseLink(ctx, token, "somebody"); remora.KindOf(err) != remora.KindGone {
		t.Errorf("its link: %v", err)
	}
	var snoozed *river.JobSnoozeError
	for _, id := range old {
		if err := a.delete(t, id); !errors.As(err, &snoozed) {
			t.Errorf("before the delay has passed: %v", err)
		}
	}
	for _, id := range a.in(t, remora.BackupVerified) { // a job that should not be
		if err := a.delete(t, id); err != nil {
			t.Error(err)
		}
	}
	a.gone(t, nil)
	a.ahead += 61 * time.Minute
	for range 2 {
		for _, id := range old {
			if err := a.delete(t, id); err != nil {
				t.Error(err)
			}
		}
		a.gone(t, old)
	}
	if n := testutil.ToFloat64(a.deleted.WithLabelValues("deleted")); int(n) != len(old) {
		t.Errorf("%v counted", n)
	}
	if o, err := a.Store.Objects(ctx, a.id, old[0]); err != nil || len(o) > 0 {
		t.Errorf("its objects' rows: %v %v", o, err)
	}
}

// What cannot be deleted keeps nothing else: the other objects and the other backups go, the operator sees what does not,
// and it goes once it can. One that is missing is no error.
func TestDeletionGoesOnPastErrors(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 14)
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	old := a.in(t, remora.BackupExpired)
	stuck, headless, missing := old[0], old[1], old[2]
	deny := func(key string) faultproxy.Rule {
		return faultproxy.Rule{
			Match: func(r *http.Request) bool { return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, key) },
			Do:    faultproxy.Answer(http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>"),
		}
	}
	a.faults.Add(deny(string(stuck) + "/1/body-001"))
	a.faults.Add(deny(string(headless) + "/1/head"))
	a.faults.Add(faultproxy.Rule{ // and a bad moment of the store
		Match: func(r *http.Request) bool { return r.Method == http.MethodDelete }, Times: 2,
		Do: faultproxy.Answer(http.StatusServiceUnavailable, "<Error><Code>SlowDown</Code></Error>"),
	})
	for _, key := range a.stored(t)[missing][:1] {
		if err := a.real.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	a.ahead += 3 * time.Hour
	for _, id := range old {
		err := a.delete(t, id)
		if hindered := id == stuck || id == headless; (err != nil) != hindered {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := a.in(t, remora.BackupDeleted); !slices.Equal(got, old[2:]) {
		t.Errorf("deleted are %v and not %v", got, old[2:])
	}
	stored := a.stored(t)
	if len(stored[stuck]) != 1 || len(stored[headless]) < 2 {
		t.Errorf("left are %v and %v", stored[stuck], stored[headless])
	}
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(a.overdue); n != 2 {
		t.Errorf("the operator sees %v", n)
	}
	a.faults.Clear()
	for _, id := range old[:2] {
		if err := a.delete(t, id); err != nil {
			t.Error(err)
		}
	}
	a.gone(t, old)
	if err := a.round(t); err != nil || testutil.ToFloat64(a.overdue) != 0 {
		t.Errorf("%v, and the operator sees %v", err, testutil.ToFloat64(a.overdue))
	}
}

// Broken off between two objects, a deletion is taken up again: the head is gone first, so that what is left is no backup.
func TestABrokenOffDeletionIsTakenUp(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 14)
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	id := a.in(t, remora.BackupExpired)[0]
	a.ahead += 61 * time.Minute
	arrived, release := make(chan struct{}, 9), make(chan struct{})
	a.faults.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return r.Method == http.MethodDelete }, Skip: 1, Do: faultproxy.Hold(arrived, release)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- work(t, ctx, &deleteBackup{Deleter: a.Deleter}, jobargs.DeleteBackup{Backup: id})
	}()
	<-arrived
	cancel()
	if err := <-ended; err == nil {
		t.Error("it says that it is done")
	}
	close(release)
	a.faults.Clear()
	left := a.stored(t)[id]
	if len(left) == 0 || slices.ContainsFunc(left, func(k string) bool { return strings.HasSuffix(k, "/head") }) {
		t.Errorf("left are %v", left)
	}
	if got := a.in(t, remora.BackupExpired); !slices.Contains(got, id) {
		t.Errorf("expired are %v", got)
	}
	if err := a.delete(t, id); err != nil {
		t.Error(err)
	}
	a.gone(t, []remora.BackupID{id})
}

// Two deleters at once do the same as one.
func TestTwoDeletersAtOnce(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 14)
	two := []*Deleter{a.Deleter, newDeleter(t, a.Store, a.Stores.Ours)}
	two[1].Now = a.Now
	both := func(do func(*Deleter) error) {
		t.Helper()
		var all sync.WaitGroup
		for _, d := range two {
			all.Go(func() {
				if err := do(d); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	both(func(d *Deleter) error {
		return work(t, t.Context(), &expireBackups{Deleter: d}, jobargs.ExpireBackups{})
	})
	old := a.in(t, remora.BackupExpired)
	if n := testutil.ToFloat64(two[0].expired) + testutil.ToFloat64(two[1].expired); int(n) != len(old) || n == 0 {
		t.Errorf("%d expired, %v counted", len(old), n)
	}
	var jobs int
	if err := a.pool.QueryRow(t.Context(), "SELECT count(*) FROM river.river_job WHERE kind = 'delete_backup'").Scan(&jobs); err != nil || jobs != len(old) {
		t.Errorf("%d jobs for %d backups: %v", jobs, len(old), err)
	}
	a.ahead += 61 * time.Minute
	both(func(d *Deleter) error {
		var errs []error
		for _, id := range old {
			errs = append(errs, work(t, t.Context(), &deleteBackup{Deleter: d}, jobargs.DeleteBackup{Backup: id}))
		}
		return errors.Join(errs...)
	})
	a.gone(t, old)
}

// Nothing goes while our database's clock and the deleter's are not the same: one of them has run ahead.
func TestNothingGoesByAWrongClock(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 14)
	removed := remora.NewID[remora.ResourceID]()
	_, err := a.Store.ProvisionResource(t.Context(), remora.Provision{ID: removed, Name: "remora-backup-2", Plan: "mako", Region: "us"}, redact.New("key"), "age1")
	if err = errors.Join(err, a.Store.DeprovisionResource(t.Context(), removed)); err != nil {
		t.Fatal(err)
	}
	a.ahead += 24 * time.Hour
	right := a.Now
	rounds := func(off time.Duration) (expired int, keys float64) {
		t.Helper()
		a.Now = func() time.Time { return right().Add(off) }
		if err := errors.Join(a.round(t), a.remove(t)); err != nil {
			t.Fatal(err)
		}
		return len(a.in(t, remora.BackupExpired)), testutil.ToFloat64(a.removals.WithLabelValues("key"))
	}
	for _, off := range []time.Duration{-mostSkew - time.Minute, mostSkew + time.Minute} {
		if expired, keys := rounds(off); expired != 0 || keys != 0 {
			t.Errorf("%v off: %d backups and %v keys went", off, expired, keys)
		}
	}
	expired, keys := rounds(mostSkew - time.Minute)
	if expired == 0 || keys != 1 {
		t.Errorf("%d backups and %v keys went", expired, keys)
	}
	a.ahead += 24 * time.Hour
	a.Now = func() time.Time { return right().Add(-time.Hour) }
	old := a.in(t, remora.BackupExpired)[0]
	var later *river.JobSnoozeError
	if err := a.delete(t, old); !errors.As(err, &later) || len(a.stored(t)[old]) == 0 {
		t.Error("it was deleted: ", err)
	}
}

// Nothing goes by a database that has forgotten what the bucket still knows.
func TestASetBackDatabaseLetsNothingGo(t *testing.T) {
	t.Parallel()
	a := newAgeing(t, 14)
	forgotten := archivestore.Ref{Resource: a.id, Backup: remora.NewID[remora.BackupID](), Epoch: 1}
	a.store(t, forgotten)
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(a.refused); n != 1 || len(a.in(t, remora.BackupExpired)) > 0 {
		t.Errorf("refused %v, expired %v", n, a.in(t, remora.BackupExpired))
	}
	if h, err := a.Store.DeletionHold(t.Context()); err != nil || !h.InForce() || testutil.ToFloat64(a.holds) != 1 {
		t.Errorf("deletions are not held: %+v %v", h, err)
	}
	// What the operator has seen holds up its own add-on, and nobody else.
	if was, err := a.Store.ResumeDeletions(t.Context()); err != nil || !was {
		t.Fatal(was, err)
	}
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if h, err := a.Store.DeletionHold(t.Context()); err != nil || h.InForce() || len(a.in(t, remora.BackupExpired)) > 0 {
		t.Errorf("%+v %v, expired %v", h, err, a.in(t, remora.BackupExpired))
	}
	if err := archivestore.Delete(t.Context(), a.real, forgotten); err != nil {
		t.Fatal(err)
	}
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(a.refused); n != 0 || len(a.in(t, remora.BackupExpired)) == 0 {
		t.Errorf("refused %v, expired %v", n, a.in(t, remora.BackupExpired))
	}
}

// What is being read stays until that is done: a proof that runs or that a person asked for, and a download, which may
// run for hours after its link was last used.
func TestWhatIsReadWaits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAgeing(t, 14)
	claim := func(id remora.BackupID) postgres.ProofClaim {
		t.Helper()
		if err := a.Store.RequestProof(ctx, a.id, id, remora.ProofReread, "ada"); err != nil {
			t.Fatal(err)
		}
		all, err := a.Store.Proofs(ctx, a.id, id)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Store.ClaimProof(ctx, all[0].ID, "v")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	proven, asked, downloaded := a.backups[0], a.backups[1], a.backups[2]
	running := claim(proven)
	if err := a.Store.RequestProof(ctx, a.id, asked, remora.ProofReread, "ada"); err != nil {
		t.Fatal(err)
	}
	_, token, err := a.Store.MakeLink(ctx, a.id, downloaded, "ada", time.Hour)
	if err == nil {
		_, _, err = a.Store.UseLink(ctx, token, "somebody")
	}
	if err == nil {
		err = a.round(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := a.in(t, remora.BackupExpired); len(got) == 0 || slices.Contains(got, proven) || slices.Contains(got, asked) || slices.Contains(got, downloaded) {
		t.Errorf("expired are %v", got)
	}
	if _, err := a.Store.LinkEnds(ctx, token); err != nil {
		t.Errorf("the download is cut: %v", err)
	}
	if err := a.Store.EndProof(ctx, running, remora.ProofOutcome{State: remora.ProofPassed}); err != nil {
		t.Fatal(err)
	}
	a.ahead += 12*time.Hour + time.Minute
	if err := a.round(t); err != nil {
		t.Fatal(err)
	}
	if got := a.in(t, remora.BackupExpired); !slices.Contains(got, proven) || slices.Contains(got, asked) || !slices.Contains(got, downloaded) {
		t.Errorf("then expired are %v", got)
	}
	if _, err := a.Store.LinkEnds(ctx, token); remora.KindOf(err) != remora.KindGone {
		t.Errorf("the link of one that has gone: %v", err)
	}
}

// Customers' own buckets have so much of a round and no more. What it does not come to stays as it is, and comes first in the next.
func TestTheirBucketsHaveSoMuchOfARound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAgeing(t, 14)
	err := a.Store.SetBucket(ctx, a.id, remora.Place{Endpoint: a.faults.URL, Region: "us-east-1", Bucket: "nobodys", PathStyle: true},
		remora.BucketKeys{AccessKey: "test-access", SecretKey: redact.New("test-secret-key")}, remora.BucketLock{}, "ada")
	if err != nil {
		t.Fatal(err)
	}
	w := &expireBackups{Deleter: a.Deleter}
	const behind = remora.DatabaseID("ffffffff-ffff-4fff-8fff-ffffffffffff")
	ref := postgres.DatabaseRef{Resource: a.id, Database: a.db}
	over := &round{theirs: map[remora.ResourceID]error{}, looking: mostLooking + 1}
	if err := w.one(ctx, over, behind, ref); err != nil || w.putOff != behind || len(over.theirs) != 0 {
		t.Error(err, w.putOff, over.theirs)
	}
	if err := a.round(t); err != nil || w.putOff != "" || len(a.in(t, remora.BackupExpired)) != 0 { // it was looked at, and is none
		t.Error(err, w.putOff, a.in(t, remora.BackupExpired))
	}
	asked := 0
	a.faults.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/nobodys") }, Do: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		asked++
		_, _ = w.Write([]byte(`<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`))
	}})
	w.putOff = behind
	if err := a.round(t); err != nil || asked != 1 || len(a.in(t, remora.BackupExpired)) == 0 {
		t.Error(err, asked, a.in(t, remora.BackupExpired))
	}
	// A round that is at it is enough.
	w.expiring.Lock()
	w.putOff = behind
	if err := a.round(t); err != nil || w.putOff != behind {
		t.Error(err, w.putOff)
	}
}

// However many buckets a backup's owner has, and however slow they are, what lies in ours goes first, and they have their time together.
// A store that answers without end is put to rest as a silent one is.
func TestTheirSlowStoresHoldUpADeletionForALittle(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	a := newAgeing(t, 1)
	a.Look = time.Second
	if _, err := a.Store.ChangePlan(ctx, a.id, "hammerhead"); err != nil {
		t.Fatal(err)
	}
	x := a.backups[0]
	const buckets = 5
	for n := range buckets {
		place := remora.Place{Endpoint: a.faults.URL, Region: "us-east-1", Bucket: fmt.Sprintf("slow-%d", n), PathStyle: true}
		keys := remora.BucketKeys{AccessKey: "test-access", SecretKey: redact.New("test-secret-key")}
		if err := errors.Join(a.Store.SetSecondPlace(ctx, a.id, place, keys, remora.BucketLock{}, "p"), a.Store.AskCopy(ctx, a.id, x, "p")); err != nil {
			t.Fatal(err)
		}
	}
	pgtest.Exec(t, a.pool.Config().ConnString(), "SET remora.service = 'on'; UPDATE backups SET state = 'expired', expired_at = now(), delete_at = now() - interval '2 hours'")
	var pages atomic.Int64
	a.faults.Add(faultproxy.Rule{Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/slow-") }, Do: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Query().Has("uploads") {
			_, _ = w.Write([]byte(`<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`))
			return
		}
		_, _ = fmt.Fprintf(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>`, pages.Add(1))
	}})
	left := -1 // in ours, when the first of theirs was opened
	opened := &openings{Buckets: a.Stores.Buckets, of: map[remora.BucketID]int{}, each: func() {
		if left < 0 {
			left = len(a.stored(t)[x])
		}
	}}
	a.Stores.Buckets = opened
	for range 3 {
		clear(opened.of)
		began := time.Now()
		var later *river.JobSnoozeError
		if err := a.delete(t, x); !errors.As(err, &later) || len(opened.of) != buckets || left != 0 {
			t.Errorf("%v; %v were opened, when %d objects were in ours", err, opened.of, left)
		}
		if took := time.Since(began); took > 3*a.Look {
			t.Errorf("it took %s", took)
		}
	}
	if pages.Load() == 0 {
		t.Error("no store was asked")
	}
	clear(opened.of)
	var later *river.JobSnoozeError
	if err := a.delete(t, x); !errors.As(err, &later) || len(opened.of) != 0 {
		t.Errorf("%v; %v were opened", err, opened.of)
	}
	if n := testutil.ToFloat64(a.deleted.WithLabelValues("failed")); n != 0 {
		t.Errorf("the alarm counts %v", n)
	}
}

// openings counts which of customers' buckets are opened, one after another: what was asked of them may arrive later.
type openings struct {
	placement.Buckets
	each func()
	of   map[remora.BucketID]int
}

func (o *openings) OpenBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID) (remora.Bucket, remora.BucketKeys, error) {
	o.each()
	o.of[bucket]++
	return o.Buckets.OpenBucket(ctx, id, bucket)
}

// The rounds, which are few, do not wait behind deletions.
func TestRoundsGoBeforeDeletions(t *testing.T) {
	t.Parallel()
	last := jobargs.DeleteBackup{}.InsertOpts()
	for _, args := range []river.JobArgsWithInsertOpts{jobargs.RemoveResources{}, jobargs.ExpireBackups{}, jobargs.SweepArchives{}} {
		if o := args.InsertOpts(); o.Queue != last.Queue || o.Priority >= last.Priority {
			t.Errorf("%+v and %+v", o, last)
		}
	}
}
