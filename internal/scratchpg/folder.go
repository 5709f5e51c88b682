package scratchpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// folder is one server's, with a lock beside it that is held as long as this process lives.
type folder struct {
	path string
	lock *os.File
}

const lockSuffix = ".lock"

// claim makes a folder below base that is ours until release, or until this process ends.
func claim(base string) (*folder, error) {
	if err := os.MkdirAll(base, 0o711); err != nil { //nolint:gosec // the server's user must pass through it
		return nil, fmt.Errorf("make folder: %w", err)
	}
	path := filepath.Join(base, remora.NewToken()[:12])
	lock, err := os.OpenFile(path+lockSuffix, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // made up here
	if err != nil {
		return nil, fmt.Errorf("make lock: %w", err)
	}
	f := &folder{path, lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), lock.Close()) // a sweep was faster, and removes it
	}
	err = os.Mkdir(path, 0o700)
	if err == nil {
		err = sandbox.Give(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make folder: %w", err), f.release())
	}
	return f, nil
}

// release removes the folder, then the lock.
func (f *folder) release() error {
	return errors.Join(os.RemoveAll(f.path), os.Remove(f.path+lockSuffix), f.lock.Close())
}

// Sweep removes below base what belongs to nobody any more, and tells how many folders that were. Those of living
// processes stay.
func Sweep(base string) (int, error) {
	locks, err := filepath.Glob(filepath.Join(base, "*"+lockSuffix))
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", base, err)
	}
	n := 0
	var errs []error
	for _, at := range locks {
		lock, err := os.OpenFile(at, os.O_RDWR, 0) //nolint:gosec // one of ours
		if err != nil {
			continue // its owner was faster
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			errs = append(errs, lock.Close()) // its owner lives
			continue
		}
		n++
		errs = append(errs, (&folder{strings.TrimSuffix(at, lockSuffix), lock}).release())
	}
	return n, errors.Join(errs...)
}

// entry is what a file counts for that has no blocks, in bytes: a disk has only so many.
const entry = 4096

// size is what is on the disk below a folder, in bytes: blocks, so that a file with a hole counts for what it takes.
func size(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has gone meanwhile
		}
		if info, err := e.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				n += max(s.Blocks*512, entry)
			}
		}
		return nil
	})
	return n
}

// Free is the room on the disk that folders below base would be on, in bytes.
func Free(base string) (int64, error) {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(base, &s)
		if err == nil {
			return int64(s.Bavail) * s.Bsize, nil //nolint:gosec // no disk is as large
		}
		up := filepath.Dir(base)
		if !errors.Is(err, unix.ENOENT) || up == base {
			return 0, fmt.Errorf("room at %s: %w", base, err)
		}
		base = up
	}
}
