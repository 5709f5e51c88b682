package postgres_test

import (
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

const (
	america = "amazon-web-services::us-east-1"
	europe  = "amazon-web-services::eu-west-1"
)

// took returns the queue of the one job of a kind, and takes all jobs away.
func (b *bundle) took(t *testing.T, what string, args river.JobArgs) string {
	t.Helper()
	queues := query[string](t, b, "SELECT queue FROM river.river_job WHERE kind = '"+args.Kind()+"'")
	b.exec(t, "DELETE FROM river.river_job")
	if len(queues) != 1 {
		t.Fatalf("%s: %d jobs", what, len(queues))
	}
	return queues[0]
}

// Whichever way a backup or a proof comes to its job, that lies in the queue of the resource's pool.
func TestEveryJobGoesToItsPool(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]struct{ backups, proofs string }{america: {"backups", "proofs"}, europe: {"backups_eu", "proofs_eu"}} {
		t.Run(region, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			ctx := t.Context()
			id := b.resourceIn(t, region, "db-1")
			backup := b.first(t, id).ID
			claim := func() postgres.Claim {
				t.Helper()
				b.ahead += 2 * time.Hour // past any pause
				c, err := b.ClaimBackup(ctx, backup, "w")
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			check := func(what string, args river.JobArgs, err error) {
				t.Helper()
				queue := want.backups
				if args.Kind() != (jobargs.RunBackup{}).Kind() {
					queue = want.proofs
				}
				if got := b.took(t, what, args); err != nil || got != queue {
					t.Errorf("%s: in %s: %v", what, got, err)
				}
			}
			check("asked for", jobargs.RunBackup{}, nil)
			_, err := b.FailRun(ctx, claim(), &remora.Failure{Reason: remora.ReasonUnreachable}, "")
			check("tried again", jobargs.RunBackup{}, err)
			check("given back", jobargs.RunBackup{}, b.ReleaseRun(ctx, claim()))
			claim()
			b.exec(t, "UPDATE runs SET lease_until = now() - interval '1 second'")
			_, err = b.TakeBackLost(ctx)
			check("lost", jobargs.RunBackup{}, err)
			b.ahead += time.Hour
			_, err = b.EnqueueStranded(ctx)
			check("stranded", jobargs.RunBackup{}, err)
			if err := b.KeepBackup(ctx, claim(), remora.Kept{Tables: 1, Objects: []remora.Object{{Name: "head", SHA256: []byte{1}}}}); err != nil {
				t.Fatal(err)
			}
			p := b.due(t, id, backup)
			check("to be restored", jobargs.ProveBackup{}, nil)
			prove := func() postgres.ProofClaim {
				t.Helper()
				b.ahead += 2 * time.Hour
				c, err := b.ClaimProof(ctx, p.ID, "v")
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			_, err = b.RetryProof(ctx, prove(), &remora.Failure{Reason: remora.ReasonInternal})
			check("to be restored, tried again", jobargs.ProveBackup{}, err)
			prove()
			b.exec(t, "UPDATE proofs SET lease_until = now() - interval '1 second'")
			_, err = b.TakeBackLostProofs(ctx)
			check("to be restored, lost", jobargs.ProveBackup{}, err)
			b.ahead += time.Hour
			_, err = b.EnqueueStranded(ctx)
			check("to be restored, stranded", jobargs.ProveBackup{}, err)
			check("to be read again, asked for", jobargs.RereadBackup{}, b.RequestProof(ctx, id, backup, remora.ProofReread, "p"))
			b.exec(t, "DELETE FROM proofs; UPDATE databases SET prove_at = NULL; UPDATE backups SET reread_at = now()")
			_, err = b.EnqueueProofs(ctx)
			check("to be read again", jobargs.RereadBackup{}, err)
			b.exec(t, "UPDATE schedules SET next_run_at = now()")
			_, err = b.EnqueueDue(ctx)
			check("due", jobargs.RunBackup{}, err)
		})
	}
}

// What waits in a pool that has no worker keeps nobody waiting elsewhere, and the operator sees it.
func TestAPoolWithoutWorkersIsSeenAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	here, there := b.resource(t), b.resourceIn(t, europe)
	b.ask(t, here, 2)
	b.ask(t, there, 1)
	o, err := b.Overview(ctx, here)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range o.Backups {
		c, err := b.ClaimBackup(ctx, x.ID, "w")
		if err == nil {
			err = b.KeepBackup(ctx, c, remora.Kept{Tables: 1})
		}
		if err != nil {
			t.Errorf("it gives way to those whom other workers serve: %v", err)
		}
	}
	if _, err := b.pool.Exec(ctx, "UPDATE river.river_job SET scheduled_at = now() - interval '20 minutes' WHERE queue = 'backups_eu'"); err != nil {
		t.Fatal(err)
	}
	_, queues, err := b.Waits(ctx)
	if q := queues[jobargs.Backups(remora.PoolEU)]; err != nil || q.N != 1 || q.Oldest < 20*time.Minute {
		t.Errorf("%+v %v", queues, err)
	}
	if _, is := queues[jobargs.Proofs(remora.PoolEU)]; !is {
		t.Error("a queue in which nothing waits is not told of")
	}
}

// The statement that looks who waits knows pools as we do.
func TestPoolsAreTheSameInSQL(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	text, err := os.ReadFile("queries/backups.sql")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`x\.region ~ ('[^']+')`).FindStringSubmatch(string(text))[1]
	for _, region := range []string{"", "us", "eu", america, europe, "amazon-web-services::eu-central-1", "amazon-web-services::ap-northeast-1", "europa", "x::neu-1", "eu-west-2"} {
		got := query[bool](t, b, "SELECT '"+region+"' ~ "+pattern)
		if !slices.Equal(got, []bool{remora.PoolOf(region) == remora.PoolEU}) {
			t.Errorf("%q: %v", region, got)
		}
	}
}
