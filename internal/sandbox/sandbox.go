package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sandbox is what the kernel allows here. Its zero value confines by limits alone.
type Sandbox struct {
	// Missing names, for people, what children are not kept from; empty where nothing is missing.
	Missing []string

	flags    uintptr
	user     bool // by a user namespace
	prlimit  bool
	landlock int // the version of its interface; 0 where there is none
	demote   bool
}

// Limits of a child and of each process that it starts. Zero means none.
type Limits struct {
	Memory int64 // address space, in bytes
	File   int64 // the largest file it may write, in bytes
	Files  int   // open files
	Data   int64 // memory of its own, in bytes, as LimitMemory counts it, which may set another later
	Alone  bool  // it starts no process and no thread; root does where it may pass limits
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

// Confine changes a command that StartRestricted or StartWithin is to start, which keep it from more privileges: whom it runs as, what it
// sees, what it may take.
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
	s.limit(cmd, l)
}

// Demote changes a command that was not started yet and that needs the network: whom it runs as, and what it may take. For
// what it sees there is StartRestricted.
func (s Sandbox) Demote(cmd *exec.Cmd, l Limits) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if uid, gid := User(); s.demote {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // 65534
	}
	s.limit(cmd, l)
}

func (s Sandbox) limit(cmd *exec.Cmd, l Limits) {
	if !s.prlimit {
		return
	}
	limits := []string{prlimitPath, "--core=0"}
	for _, x := range []struct {
		name  string
		limit int64
		after string
	}{{"as", l.Memory, ""}, {"fsize", l.File, ""}, {"nofile", int64(l.Files), ""}, {"data", l.Data, ":"}} { // the colon: not for good
		if x.limit > 0 {
			limits = append(limits, "--"+x.name+"="+strconv.FormatInt(x.limit, 10)+x.after)
		}
	}
	if l.Alone {
		limits = append(limits, "--nproc=0")
	}
	cmd.Args = append(append(limits, cmd.Path), cmd.Args[1:]...)
	cmd.Path = prlimitPath
}

// LimitsFromStart tells whether Confine and Demote limit what a child takes. LimitMemory may do so where they do not.
func (s Sandbox) LimitsFromStart() bool { return s.prlimit }

// LimitMemory bounds what a running child may take of memory of its own, in bytes; see RLIMIT_DATA, which counts private
// writable mappings too (Linux 4.7). It may be called again, with more or less.
func (s Sandbox) LimitMemory(pid int, most uint64) error {
	if s.prlimit {
		passWrapper(pid)
	}
	err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}, nil)
	if !s.demote || !errors.Is(err, unix.EPERM) {
		return err
	}
	if !s.prlimit { // Missing says so
		return nil
	}
	// Even root may limit only its own user's processes where it has no CAP_SYS_RESOURCE, as in most containers. So a program does it, as the
	// child's user. A thread of ours that became that user would be open to the child meanwhile, and by it the whole process.
	limit := exec.Command(prlimitPath, "--pid", strconv.Itoa(pid), "--data="+strconv.FormatUint(most, 10)+":unlimited") //nolint:noctx // it takes a millisecond
	limit.Env, limit.SysProcAttr = []string{}, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if said, err := limit.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// passWrapper returns when a child is no longer the program that sets its first limits, which would else be set after the caller's:
// within a millisecond, or where a child calls itself that, after a second.
func passWrapper(pid int) {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for range 1000 {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || strings.TrimSpace(string(comm)) != filepath.Base(prlimitPath) {
			return
		}
		<-look.C
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
