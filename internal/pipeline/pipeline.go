// Package pipeline makes one archive: pg_dump, compressed and counted, read whole by stock pg_restore, sealed and
// uploaded, all of it as it comes and nothing of it on a disk. It is given a credential that was found and checked,
// and a place to put the archive, and knows nothing of tenants, schedules or runs.
//
// Each stage holds the one before it back: pg_dump waits while its pipe is full, the recoder while a piece for each core
// and one more are under way, the uploader while as many parts travel as it may. Memory does not grow with the
// database: about 1 MiB in the recoder and the upload's part buffers, once the first part is full; besides that the
// table of contents, some four times. pg_dump takes twice its largest row, and pg_restore two and a half times the table of
// contents: with Options.Memory no more than is there, whatever the database holds.
package pipeline

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
)

// Source is the database to read.
type Source struct {
	Client        pgdump.Client
	Credential    credential.Credential
	Addr          netip.Addr // resolved and checked
	ServerMajor   int
	ServerVersion string
	Snapshot      string // one that is held until Begun; "" is pg_dump's own
	AppName       string // see pgdump.Config
	OpenRows      bool   // see pgdump.Config
}

// Destination is where the archive goes.
type Destination struct {
	Bucket     *objectstore.Bucket
	Ref        archivestore.Ref
	Recipients []string // whom it is sealed to: each one's key opens it alone
	Keys       archivestore.MACer
}

// Options of a run.
type Options struct {
	Compress *pgarchive.Compressor
	Progress func(Progress) // told as often as pgarchive tells; must be quick; may be nil
	// Admit is asked before anything is taken of what pg_dump writes, while pg_dump reads the catalogue, whether it may be;
	// may be nil. Where its error is not, Run has done nothing and returns it.
	Admit   func(context.Context) error
	Begun   func()                      // told once the archive's head has come: pg_dump has its snapshot and its locks; may be nil
	Ended   func(context.Context) error // asked when pg_dump has ended, beside the end of reading and sending, whether to go on; may be nil
	Confirm func(context.Context) error // asked whether the commit may be, when the last of the body was sent and Ended has answered; may be nil
	Stage   func(name string)           // told of each of Stages as it begins; may be nil
	// Report, asked after Ended, is what the database was found to be, as JSON: it is stored with the contents, as their
	// member "report". May be nil.
	Report func() any
	// Origin, asked after Report, is what the manifest says of where the archive comes from (archivestore.Manifest.Origin). May
	// be nil.
	Origin func(Made) (string, error)
	Now    func() time.Time
	// Idle has pg_restore started when it is closed, or when there is something to read: as long as the server answers somebody else
	// beside pg_dump, its start would take the cores from both. nil is at once.
	Idle <-chan struct{}
	// Memory is what the run may take, in bytes, its children's included and the upload's parts not; 0 is without a bound,
	// less than Overhead and 4 MiB makes no archive. What would take more ends with ReasonMoreMemory, or
	// *pgarchive.LongHeadError.
	Memory int64
	// Unread leaves out the reading by pg_restore, to measure what that costs. Such an archive is not verified.
	Unread bool
}

// Progress is how far a run is: how much was read of what pg_dump writes, and how much of it is on its way to the store or
// there, compressed and sealed.
type Progress struct {
	pgarchive.Progress
	Out int64 // bytes
}

// The stages of a run, each of which begins where the one before it ends.
const (
	StageDump   = "dump"   // from pg_dump's start until its end was seen; all but the end of reading and sending is beside it
	StageRead   = "read"   // until stock pg_restore has read the rest, the store has it, Ended has answered and the run was confirmed
	StageCommit = "commit" // until the store has confirmed every object
)

// Stages are their names, in order.
func Stages() []string { return []string{StageDump, StageRead, StageCommit} }

// Made is what a run has made.
type Made struct {
	Manifest   archivestore.Manifest
	Contents   *pgarchive.Contents // nil where the rows were not counted
	Said       string              // pg_dump's standard error, scrubbed
	Lock       remora.ObjectLock   // see archivestore.Writer.Lock
	LockUnsaid error               // why that could not be asked
	Memory     int64               // what the run took at most, in bytes, besides the upload's parts and Overhead
}

// Run makes one archive. After an error nothing of it is listed, and no child runs on. Errors: *remora.Failure,
// *pgarchive.CorruptError, the store's, and the own ones of Admit, Ended and Confirm.
func Run(ctx context.Context, from Source, to Destination, o Options) (made Made, err error) {
	stage := o.Stage
	if stage == nil {
		stage = func(string) {}
	}
	stage(StageDump)
	forDump, forRead := first(o.Memory)
	dump, err := pgdump.Start(ctx, pgdump.Config{
		Client: from.Client, Credential: from.Credential, Addr: from.Addr, ServerMajor: from.ServerMajor,
		Plain: pgarchive.WrittenBy(from.Client.Major), Snapshot: from.Snapshot, AppName: from.AppName, OpenRows: from.OpenRows, Memory: forDump,
	})
	if err != nil {
		return made, err
	}
	defer closing(dump, &err)
	read := startSoon(o.Idle, func() (reader, error) { return startReader(ctx, from.Client, forRead, o.Unread) })
	defer closing(read, &err)
	space := room{all: o.Memory, dump: dump, read: read}
	if o.Admit != nil {
		if err := o.Admit(ctx); err != nil {
			return made, err
		}
	}
	in := bufio.NewReaderSize(dump, 16) // larger reads pass it by
	_, _ = in.Peek(1)                   // an error is read again below
	out := archivestore.Create(ctx, to.Bucket, to.Ref, to.Recipients...)
	defer func() {
		if aerr := out.Abort(); err != nil && aerr != nil { // the sweep ends what this could not
			err = errors.Join(err, fmt.Errorf("abort: %w", aerr))
		}
	}()
	var progress func(pgarchive.Progress)
	if o.Progress != nil {
		progress = func(p pgarchive.Progress) { o.Progress(Progress{p, out.Sent()}) }
	}
	archive, err := pgarchive.Recode(in, o.Compress, pgarchive.Handlers{
		HeadMost: space.head(),
		Head: func(_ *pgarchive.Head, raw []byte) error {
			if o.Begun != nil {
				o.Begun()
			}
			if err := space.rows(int64(len(raw))); err != nil {
				return err
			}
			_, err := read.Write(raw)
			return err
		},
		Body: func(p []byte) error {
			_, err := read.Write(p)
			if err == nil {
				_, err = out.Write(p)
			}
			if err != nil {
				_ = dump.Close() // nothing more of it is needed, and it may be waiting for a lock
			}
			return err
		},
		Progress: progress,
		Excluded: pgdump.Excluded(),
	})
	if err != nil {
		return made, err
	}
	stage(StageRead)
	var sent, ended, confirmed error
	var beside, fence sync.WaitGroup
	asking, enough := context.WithCancel(ctx)
	defer enough()
	beside.Go(func() { sent = out.Finish() })
	if o.Ended != nil {
		beside.Go(func() { ended = o.Ended(asking) })
	}
	fence.Go(func() {
		if beside.Wait(); sent == nil && ended == nil && o.Confirm != nil {
			confirmed = o.Confirm(asking)
		}
	})
	if err = read.Finish(); err != nil {
		enough() // whatever they say
	}
	fence.Wait()
	if err = cmp.Or(err, sent, ended, confirmed); err != nil {
		return made, err
	}
	stage(StageCommit)
	made = Made{Contents: archive.Contents, Said: dump.Stderr(), Memory: space.peak(int64(len(archive.Raw)))}
	var contents []byte
	if archive.Contents != nil {
		listed := struct {
			*pgarchive.Contents
			Report any `json:"report,omitempty"`
		}{Contents: archive.Contents}
		if o.Report != nil {
			listed.Report = o.Report()
		}
		if contents, err = json.Marshal(listed); err != nil {
			return made, fmt.Errorf("encode contents: %w", err)
		}
	}
	facts := archivestore.Manifest{
		ServerVersion: from.ServerVersion, ClientVersion: from.Client.Version, ArchiveVersion: archive.Version.String(),
		Compression: string(archive.Compression), Tables: archive.Tables,
	}
	if o.Origin != nil {
		if facts.Origin, err = o.Origin(made); err != nil {
			return made, fmt.Errorf("say where it comes from: %w", err)
		}
	}
	made.Manifest, err = out.Commit(archive.Raw, contents, facts, to.Keys, o.Now())
	made.Lock, made.LockUnsaid = out.Lock()
	return made, err
}

// closing ends a child and keeps its error where there is no earlier one.
func closing(c interface{ Close() error }, err *error) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}
