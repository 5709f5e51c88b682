package wiring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/jobworkers"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/postgres"
)

// How long a stopping worker waits: Heroku kills 30 s after its SIGTERM. Runs that are not done by then are
// given back, which takes a moment more.
// (https://devcenter.heroku.com/articles/dyno-shutdown-behavior)
const softStop = 15 * time.Second

// copies is how many backups of a pool one worker copies at a time to their owners' buckets. A store may be slow, so it is more than
// one; each takes memory and bandwidth of runs, so it is not many.
const copies = 2

func (p process) worker(ctx context.Context) error {
	pipeline.CollectOften()
	runtime.MemProfileRate = 0 // nobody asks for a profile, whose table takes 1.5 MiB
	concurrency := cmp.Or(p.Work.Concurrency, 8*runtime.GOMAXPROCS(0))
	pool, err := p.pool(ctx, int32(concurrency)+12+2*copies) //nolint:gosec // at most some thousand
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys, GatherNews: p.Rounds.GatherNews, Lease: p.Work.Lease, PerServer: p.Work.PerServer, CheckEvery: p.Work.CheckEvery})
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
	if err := bucket.Probe(ctx); err != nil {
		return fmt.Errorf("the bucket cannot be used: check S3_ENDPOINT, S3_BUCKET and the key: %w", err)
	}
	clients := p.find(ctx, p.Work.ClientDirs, p.Work.Path)
	if len(clients) == 0 {
		return errors.New("there is no pg_dump on this machine: install postgresql-client, or name its folder in PG_CLIENT_DIRS")
	}
	clients, err = p.current(ctx, clients, p.Work.Outdated, "pg_dump", "update postgresql-client, or set ALLOW_OUTDATED_PG=true where there are no strangers")
	if err != nil {
		return err
	}
	box := p.sandbox(ctx)
	for i := range clients {
		clients[i].Sandbox = box
	}
	heroku, err := herokuapi.New(herokuapi.Config{
		APIURL: p.Heroku.APIURL, IDURL: p.Heroku.IDURL, ClientSecret: p.Heroku.ClientSecret, HTTP: dialer.HTTPClient(30 * time.Second), Log: p.log,
	})
	if err != nil {
		return err
	}
	compress, err := pgarchive.NewCompressor(runtime.GOMAXPROCS(0), cmp.Or(p.Work.CompressLevel, pgarchive.DefaultLevel()))
	if err != nil {
		return err
	}
	defer compress.Close() //nolint:errcheck // it has no error to tell; runs have ended by then
	workers, err := jobworkers.New(jobworkers.Config{
		Name: hostname(), Store: store, Heroku: heroku, Stores: stores, Keys: p.Keys, Clients: clients, Compress: compress, Policy: p.policy,
		Resolver: net.DefaultResolver, Log: p.log, Metrics: p.metrics, Backups: concurrency, ServiceToken: p.Heroku.ServiceToken, SweepAfter: p.Work.SweepAfter, Memory: int64(p.Work.Memory) << 20,
	})
	if err != nil {
		return err
	}
	list := river.NewWorkers()
	workers.Register(list)
	work := queues(p.Work.Pools, jobargs.Backups, concurrency)
	maps.Copy(work, queues(p.Work.Pools, jobargs.Copies, copies))
	work[jobargs.QueueHeroku], work[jobargs.QueueService] = river.QueueConfig{MaxWorkers: 4}, river.QueueConfig{MaxWorkers: 2}
	// What stops the client is SoftStopTimeout, and not the end of the context it was started with.
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: p.queueLog, ID: hostname(),
		Queues:     work,
		JobTimeout: time.Minute, RescueStuckJobsAfter: 2 * time.Minute, SoftStopTimeout: softStop,
		FetchOnlyKnownKinds: true, PeriodicJobs: p.rounds(), // the next release's kinds wait for its processes, and cost no attempt
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	p.log.InfoContext(ctx, "working", "pools", p.Work.Pools, "concurrency", concurrency, "memory_mib", p.Work.Memory, "clients", versions(clients), "sandbox", box.String())
	return p.run(ctx, client, "WORKER_METRICS", p.Work.WorkerMetrics)
}

// rounds are what the leader asks for again and again. Every process that may lead has them.
func (p process) rounds() []*river.PeriodicJob {
	return []*river.PeriodicJob{
		every(p.Rounds.TickEvery, jobargs.Tick{}), every(p.Rounds.SweepEvery, jobargs.SweepUploads{}),
		every(p.Rounds.ExpireEvery, jobargs.ExpireBackups{}), every(p.Rounds.SweepEvery, jobargs.SweepArchives{}),
		every(p.Rounds.ExpireEvery, jobargs.RemoveResources{}),
	}
}

func every(d time.Duration, args river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(d), func() (river.JobArgs, *river.InsertOpts) { return args, nil },
		&river.PeriodicJobOpts{RunOnStart: true})
}

func versions(clients []pgdump.Client) string {
	all := make([]string, len(clients))
	for i, c := range clients {
		all[i] = c.Version
	}
	return strings.Join(all, " ")
}
