package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
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
	Wall   float64 // s
	Client float64 // CPU s of everything but the server and the store
	Server float64 // CPU s
	RSS    int64   // bytes, of the process that uploads; 0 where it is not known
	Bytes  int64   // out

	Contents *pgarchive.Contents // of ours
}

// ours runs the pipeline as a worker does, which is there already when a backup begins: what it measures starts
// where a worker has found the credential.
func ours(ctx context.Context) error {
	var t task
	if err := json.Unmarshal([]byte(os.Getenv("BENCH_TASK")), &t); err != nil {
		return err
	}
	debug.SetGCPercent(pipeline.GCPercent)
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
	before, start := cpu(syscall.RUSAGE_SELF)+cpu(syscall.RUSAGE_CHILDREN), time.Now()
	made, err := pipeline.Run(ctx, pipeline.Source{Client: client, Credential: cred, Addr: netip.MustParseAddr("127.0.0.1"), ServerMajor: client.Major},
		pipeline.Destination{
			Bucket: bucket, Recipient: key.Recipient(), Keys: keys,
			Ref: archivestore.Ref{Resource: remora.NewID[remora.ResourceID](), Backup: remora.NewID[remora.BackupID](), Epoch: 1},
		}, pipeline.Options{Compress: compress, Now: time.Now, Unread: t.Unread, Progress: func(pgarchive.Progress) {}})
	if err != nil {
		return err
	}
	result := took{Wall: time.Since(start).Seconds(), Client: cpu(syscall.RUSAGE_SELF) + cpu(syscall.RUSAGE_CHILDREN) - before, Contents: made.Contents}
	if result.RSS, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// cpu is the CPU time of this process, or of its children that have ended, in s.
func cpu(who int) float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(who, &u) // cannot fail for these two
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// peak is this process's largest resident set, in bytes (proc_pid_status(5): VmHWM, in KiB).
func peak() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM")
}
