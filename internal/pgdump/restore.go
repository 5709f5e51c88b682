package pgdump

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// RestoreConfig is what a restore needs.
type RestoreConfig struct {
	Client   Client
	Folder   string // of the server's socket
	Database string
	User     string
	Password redact.Secret
	List     []byte // what to restore, as pg_restore's --use-list takes it, in the archive's order
	Sandbox  sandbox.Sandbox
	Limits   sandbox.Limits
}

// Restore is stock pg_restore putting an archive into a database while it passes. It goes on after an error, so that
// all of them are told.
type Restore struct{ Check }

// StartRestore begins a restore. Write the archive to it, then call Finish; Close it in any case.
func StartRestore(ctx context.Context, cfg RestoreConfig) (*Restore, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer r.Close() //nolint:errcheck // the child has its own
	enlarge(w)
	files, err := cfg.files()
	defer func() {
		for _, f := range files {
			_ = f.Close() // the child has its own
		}
	}()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	cfg.Client.Sandbox = cfg.Sandbox
	child, err := launch(ctx, program{
		client: cfg.Client, name: "pg_restore", stdin: r, files: files, secrets: []redact.Secret{cfg.Password},
		args: []string{"--no-owner", "--no-acl", "--no-security-labels", "--no-tablespaces", "--no-password", "--use-list=/proc/self/fd/4", "--dbname=" + cfg.Database},
		env: []string{
			"PGHOST=" + cfg.Folder, "PGUSER=" + cfg.User, "PGPASSFILE=/proc/self/fd/3", "PGAPPNAME=" + AppName, "PGTZ=UTC",
			"PGSERVICEFILE=/nonexistent", "PGGSSENCMODE=disable", "PGSSLMODE=disable",
		},
		confine: sandbox.Sandbox.Confine, limits: cfg.Limits, reach: cfg.Client.Reach(),
	})
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &Restore{Check{child: child, in: w}}, nil
}

// files are the child's, which runs as another user where we are root.
func (c *RestoreConfig) files() (all []*os.File, err error) {
	pass, err := passfile(c.Password)
	if err != nil {
		return nil, err
	}
	list, err := inMemory("list", string(c.List))
	if err != nil {
		return []*os.File{pass}, err
	}
	uid, gid := sandbox.User()
	return []*os.File{pass, list}, errors.Join(pass.Chown(uid, gid), list.Chown(uid, gid))
}

// Finish says that the archive is complete, waits, and returns what pg_restore said; well tells whether it ended with
// status 0. Errors: *remora.Failure with ReasonCanceled where the context ended first, ReasonArchiveInvalid where pg_restore
// was killed.
func (r *Restore) Finish() (said string, well bool, err error) {
	_ = r.in.Close() // an error means that nobody reads any more; the exit tells more
	werr := r.child.wait()
	said = r.child.stderr.String()
	if err := r.child.ended(); err != nil {
		return said, false, err
	}
	if werr != nil && !r.child.cmd.ProcessState.Exited() {
		return said, false, &remora.Failure{Reason: remora.ReasonArchiveInvalid, Detail: said, Cause: werr}
	}
	return said, werr == nil, nil
}

// Said is what pg_restore has said so far.
func (r *Restore) Said() string { return r.child.stderr.String() }
