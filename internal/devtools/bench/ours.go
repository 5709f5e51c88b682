package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// task is one backup by our own pipeline, in a process of its own.
type task struct {
	URL, Store, BinDir string
	Level              int
	Unread             bool   // without pg_restore's reading
	Profile            string // a file for the CPU profile
}

// took is what one run cost.
type took struct {
	Wall   float64            // s
	CPU    map[string]float64 // s, by process: everything but the server and the store
	RSS    map[string]int64   // bytes, the peak of each process
	Server float64            // CPU s
	Bytes  int64              // out

	Contents *pgarchive.Contents // of ours
}

// ours runs the pipeline as a worker does, which is there already when a backup begins: what it measures starts
// where a worker has found the credential.
func ours(ctx context.Context) error {
	var t task
	if err := json.Unmarshal([]byte(os.Getenv("BENCH_TASK")), &t); err != nil {
		return err
	}
	pipeline.CollectOften()
	cred, err := credential.Parse(redact.New(t.URL))
	if err != nil {
		return err
	}
	bucket, err := objectstore.New(objectstore.Config{
		Endpoint: t.Store, Bucket: "bench", AccessKey: "bench", SecretKey: redact.New("bench"), PathStyle: true, HTTP: dialer.HTTPClient(0),
	})
	if err != nil {
		return err
	}
	keys, err := keyring.Parse(keyring.Generate("bench"))
	if err != nil {
		return err
	}
	key, err := seal.NewKey()
	if err != nil {
		return err
	}
	compress, err := pgarchive.NewCompressor(runtime.GOMAXPROCS(0), t.Level)
	if err != nil {
		return err
	}
	defer compress.Close() //nolint:errcheck // it has none
	clients := pgdump.Find(ctx, []string{t.BinDir}, "")
	if len(clients) == 0 {
		return fmt.Errorf("no pg_dump in %s", t.BinDir)
	}
	client := clients[len(clients)-1]
	if _, err := bucket.PutIfAbsent(ctx, "r/warm", []byte("warm")); err != nil { // a worker has its connections to the store
		return err
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // a profile
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	self, before, dumped, start := cpu(syscall.RUSAGE_SELF), cpu(syscall.RUSAGE_CHILDREN), 0.0, time.Now()
	made, err := pipeline.Run(ctx, pipeline.Source{Client: client, Credential: cred, Addr: netip.MustParseAddr("127.0.0.1"), ServerMajor: client.Major},
		pipeline.Destination{
			Bucket: bucket, Recipients: []string{key.Recipient()}, Keys: keys,
			Ref: archivestore.Ref{Resource: remora.NewID[remora.ResourceID](), Backup: remora.NewID[remora.BackupID](), Epoch: 1},
		}, pipeline.Options{
			Compress: compress, Now: time.Now, Unread: t.Unread, Progress: func(pipeline.Progress) {},
			Stage: func(name string) {
				if name == pipeline.StageRead { // pg_dump has been waited for, and nobody else yet
					dumped = cpu(syscall.RUSAGE_CHILDREN)
				}
			},
		})
	if err != nil {
		return err
	}
	result := took{Wall: time.Since(start).Seconds(), Contents: made.Contents}
	result.CPU = map[string]float64{worker: cpu(syscall.RUSAGE_SELF) - self, "pg_dump": dumped - before}
	if !t.Unread {
		result.CPU["pg_restore"] = cpu(syscall.RUSAGE_CHILDREN) - dumped
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// cpu is the CPU time of this process, or of its children that have ended, in s.
func cpu(who int) float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(who, &u) // cannot fail for these two
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
