package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Sandbox is what the kernel allows here. Its zero value confines by limits alone.
type Sandbox struct {
	// Missing names, for people, what children are not kept from; empty where nothing is missing.
	Missing []string

	flags    uintptr
	user     bool // by a user namespace
	trace    bool // limits can be set while a child stands still, before its first instruction
	prlimit  bool // where they cannot, a program sets them
	landlock int  // the version of its interface; 0 where there is none
	demote   bool
}

// nobody exists on every Debian. It owns nothing, and initdb needs a user that can be looked up.
const nobody = 65534

// prlimitPath is where Debian's util-linux, which every system has, keeps it.
const prlimitPath = "/usr/bin/prlimit"

// apart are the namespaces of a child: what it has of its own.
const apart = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC

// Detect finds out what the kernel allows, by trying it.
func Detect(ctx context.Context) Sandbox {
	s := Sandbox{prlimit: executable(prlimitPath), landlock: detectLandlock(), demote: os.Geteuid() == 0}
	switch {
	case s.landlock == 0:
		s.Missing = append(s.Missing, "files and other processes' memory (this kernel has no Landlock)")
	case s.landlock < 4:
		s.Missing = append(s.Missing, "other ports (this kernel's Landlock knows no network)")
	}
	for _, try := range []Sandbox{{flags: apart}, {flags: apart | syscall.CLONE_NEWUSER, user: true}} {
		if os.Geteuid() != 0 && !try.user {
			continue // only root can do without, and whoever is not root is better kept apart by it
		}
		if s.flags == 0 && try.works(ctx) {
			s.flags, s.user = try.flags, try.user
		}
	}
	if s.flags == 0 {
		s.Missing = append(s.Missing, "the network and other processes (this kernel allows us no namespaces)")
	}
	s.trace = s.canTrace()
	if !s.trace && !s.prlimit {
		s.Missing = append(s.Missing, "all memory and files (this kernel lets us trace no child, and "+prlimitPath+" is missing)")
	}
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
	s.Confine(cmd)
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

// canTrace tries whether children of both kinds can be limited while they stand still.
func (s Sandbox) canTrace() bool {
	s.trace = true
	for _, kind := range []func(*exec.Cmd){s.Confine, s.Demote} {
		cmd := exec.Command("/bin/true") //nolint:noctx // it ends by itself
		kind(cmd)
		done := make(chan error)
		Thread(func() {
			err := s.StartRestricted(cmd, Reach{}, Limits{Memory: 1 << 40, File: 1, Files: 64, Data: 1 << 40, Alone: true})
			if err == nil {
				err = cmd.Wait()
			}
			done <- err
		})
		if <-done != nil {
			return false
		}
	}
	return true
}

// Confine changes a command that StartRestricted is to start: whom it runs as, and what it sees.
func (s Sandbox) Confine(cmd *exec.Cmd) {
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
}

// Demote changes a command that StartRestricted is to start, and that needs the network: whom it runs as.
func (s Sandbox) Demote(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if uid, gid := User(); s.demote {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // 65534
	}
}

// User is whom confined children run as, and demoted ones of a detected sandbox: nobody where we are root, else ourselves.
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
