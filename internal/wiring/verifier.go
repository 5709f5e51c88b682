package wiring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/jobworkers"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/scratchpg"
)

func (p process) verifier(ctx context.Context) error {
	pool, err := p.pool(ctx, int32(p.Verify.Proofs)+6) //nolint:gosec // at most a hundred
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys, Lease: p.Verify.Lease})
	if err != nil {
		return err
	}
	bucket, err := p.bucket()
	if err != nil {
		return err
	}
	stores, err := p.stores(bucket, store, false)
	if err != nil {
		return err
	}
	defer stores.Close()
	// With the wrong bucket every backup would be found missing.
	if err := bucket.Reach(ctx, archivestore.Prefix); err != nil {
		return fmt.Errorf("the bucket cannot be read: check S3_ENDPOINT, S3_BUCKET and the key: %w", err)
	}
	servers := pgdump.FindServers(ctx, p.Verify.ServerDirs, p.Verify.Path)
	if len(servers) == 0 {
		return errors.New("there is no PostgreSQL server on this machine: install postgresql, or name the folder of initdb, postgres and pg_restore in PG_SERVER_DIRS")
	}
	p.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "remora_scratch_free_bytes", Help: "Room on the disk of SCRATCH_DIR."}, func() float64 {
		free, err := scratchpg.Free(p.Verify.ScratchDir)
		if err != nil {
			return 0
		}
		return float64(free)
	}))
	servers, err = p.current(ctx, servers, p.Verify.Outdated, "PostgreSQL server", "update postgresql, or set ALLOW_OUTDATED_PG=true where there are no strangers")
	if err != nil {
		return err
	}
	swept, err := scratchpg.Sweep(p.Verify.ScratchDir)
	if err != nil {
		return fmt.Errorf("remove what an earlier verifier left in SCRATCH_DIR: %w", err)
	}
	box := p.sandbox(ctx)
	prover, err := proof.New(proof.Config{
		Servers: servers, Sandbox: box, Dir: p.Verify.ScratchDir, Memory: int64(p.Verify.ScratchMemory) << 20, Disk: int64(p.Verify.ScratchDisk) << 20, Log: p.log,
		TakeInventory: customerdb.Inventory,
	})
	if err != nil {
		return err
	}
	verifier, err := jobworkers.NewVerifier(jobworkers.VerifierConfig{
		Name: hostname(), Store: store, Stores: stores, Keys: p.Keys, Prover: prover, Proofs: p.Verify.Proofs, Log: p.log, Metrics: p.metrics,
	})
	if err != nil {
		return err
	}
	list := river.NewWorkers()
	verifier.Register(list)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: p.queueLog, ID: hostname(),
		Queues:     queues(p.Verify.Pools, jobargs.Proofs, p.Verify.Proofs),
		JobTimeout: time.Minute, SoftStopTimeout: softStop,
		FetchOnlyKnownKinds: true, LeaderElectionDisabled: true, // a leader must know every kind of job, and this process knows two
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	p.log.InfoContext(ctx, "verifying", "pools", p.Verify.Pools, "proofs", p.Verify.Proofs, "servers", versions(servers), "sandbox", box.String(), "swept", swept)
	return p.run(ctx, client, "VERIFIER_METRICS", p.Verify.VerifierMetrics)
}
