package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sandbox is what the kernel allows here. Its zero value confines by limits alone.
type Sandbox struct {
	// Missing names, for people, what children are not kept from; empty where nothing is missing.
	Missing []string

	flags   uintptr
	user    bool // by a user namespace
	setpriv bool
	prlimit bool
}

// Limits of a child and of each process that it starts. Zero means none.
type Limits struct {
	Memory int64 // address space, in bytes
	File   int64 // the largest file it may write, in bytes
	Files  int   // open files
}

// nobody exists on every Debian. It owns nothing, and initdb needs a user that can be looked up.
const nobody = 65534

// Where Debian's util-linux, which every system has, keeps them.
const (
	setprivPath = "/usr/bin/setpriv"
	prlimitPath = "/usr/bin/prlimit"
)

// apart are the namespaces of a child: what it has of its own.
const apart = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC

// Detect finds out what the kernel allows, by trying it.
func Detect(ctx context.Context) Sandbox {
	s := Sandbox{setpriv: executable(setprivPath), prlimit: executable(prlimitPath)}
	if !s.setpriv {
		s.Missing = append(s.Missing, "the gaining of privileges ("+setprivPath+" is missing)")
	}
	if !s.prlimit {
		s.Missing = append(s.Missing, "all memory and files ("+prlimitPath+" is missing)")
	}
	for _, try := range []Sandbox{{flags: apart}, {flags: apart | syscall.CLONE_NEWUSER, user: true}} {
		if os.Geteuid() != 0 && !try.user {
			continue // only root can do without, and whoever is not root is better kept apart by it
		}
		if try.works(ctx) {
			s.flags, s.user = try.flags, try.user
			return s
		}
	}
	s.Missing = append(s.Missing, "the network and other processes (this kernel allows us no namespaces)")
	return s
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (s Sandbox) works(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/true")
	s.Confine(cmd, Limits{})
	return cmd.Run() == nil
}

// Apart tells whether children have a network and process ids of their own, so that ending the first one ends all.
func (s Sandbox) Apart() bool { return s.flags&apart == apart }

// String says it for the log.
func (s Sandbox) String() string {
	if len(s.Missing) == 0 {
		return "complete"
	}
	return "not kept from " + strings.Join(s.Missing, ", nor from ")
}

// Confine changes a command that was not started yet: whom it runs as, what it sees, what it may take.
func (s Sandbox) Confine(cmd *exec.Cmd, l Limits) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	a := cmd.SysProcAttr
	a.Cloneflags |= s.flags
	uid, gid := User()
	if s.user {
		// Each is mapped to itself: the child has no more power inside than outside.
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	if os.Geteuid() == 0 {
		a.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: s.user} //nolint:gosec // 65534
	}
	var before []string
	if s.setpriv {
		before = append(before, setprivPath, "--no-new-privs")
	}
	if s.prlimit {
		before = append(before, prlimitPath, "--core=0")
		for _, x := range []struct {
			name  string
			limit int64
		}{{"as", l.Memory}, {"fsize", l.File}, {"nofile", int64(l.Files)}} {
			if x.limit > 0 {
				before = append(before, "--"+x.name+"="+strconv.FormatInt(x.limit, 10))
			}
		}
	}
	if len(before) > 0 {
		cmd.Args = append(append(before, cmd.Path), cmd.Args[1:]...)
		cmd.Path = before[0]
	}
}

// User is whom confined children run as: nobody where we are root, else ourselves.
func User() (uid, gid int) {
	if os.Geteuid() == 0 {
		return nobody, nobody
	}
	return os.Geteuid(), os.Getegid()
}

// Give makes what is at path belong to confined children.
func Give(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chown(path, nobody, nobody); err != nil {
		return fmt.Errorf("give away: %w", err)
	}
	return nil
}
