package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reach is what a restricted process may open and where it may connect to. What it was given open stays open, and what lies
// in memory only (memfd) can be opened by whoever has it.
type Reach struct {
	Read    []string // may be read and executed, with all below
	Write   []string // may be written too; what is a folder, with all below
	Connect uint16   // the one TCP port; 0 is none
}

// system is what every program needs to start and to look a name up.
var system = []string{"/usr", "/lib", "/lib64", "/bin", "/etc", "/dev/urandom"}

// The rights that each version of Landlock's interface has added. Of one that a kernel does not have nothing is said.
const (
	fsRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fsFirst = unix.LANDLOCK_ACCESS_FS_REFER - 1 // all of version 1
	fsWrite = fsFirst | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	ofFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// rights are those that a version of the interface knows.
func rights(version int) (attr unix.LandlockRulesetAttr) {
	attr.Handled_access_fs = fsFirst
	if version >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// Landlock's system calls, for which golang.org/x/sys has the numbers. Its own Go library binds all threads of a process, which
// is of no use here.

func createRuleset(attr *unix.LandlockRulesetAttr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0) //nolint:gosec // as system calls take it
	return int(fd), failed(errno)
}

func addRule(set int, kind uintptr, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), kind, uintptr(rule), 0, 0, 0)
	return failed(errno)
}

func restrictSelf(set int) error {
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0)
	return failed(errno)
}

func interfaceVersion() (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return int(n), failed(errno)
}

func failed(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// portRule is struct landlock_net_port_attr of linux/landlock.h.
type portRule struct{ allowed, port uint64 }

const rulePort = 2 // LANDLOCK_RULE_NET_PORT

// Thread starts do on a thread of its own, which ends with it, so that whatever the thread has lost nobody else lacks. It is
// never the process's first thread, which outlives do and by whose rights the kernel judges the process.
func Thread(do func()) {
	go func() {
		runtime.LockOSThread() // and never unlocked: that ends the thread
		if unix.Gettid() != unix.Getpid() {
			do()
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // another one, for the first is held here
			do()
		}()
		<-done
		runtime.UnlockOSThread()
	}()
}

// StartRestricted starts a command that was not started yet, from the calling thread, with no way to more privileges and,
// where the kernel has Landlock, within reach alone: no file beyond it can be opened, no other process's memory or
// environment be read, no other port be connected to. It takes all that from the calling thread, to which it never comes
// back, and which must be one of Thread's.
func (s Sandbox) StartRestricted(cmd *exec.Cmd, reach Reach) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give privileges up: %w", err)
	}
	if cmd.SysProcAttr != nil && len(cmd.SysProcAttr.UidMappings) > 0 { // which this thread writes there
		reach.Write = append(reach.Write[:len(reach.Write):len(reach.Write)], "/proc")
	}
	if s.landlock > 0 {
		if err := restrict(s.landlock, reach); err != nil {
			return fmt.Errorf("restrict %s: %w", cmd.Path, err)
		}
	}
	return cmd.Start()
}

// Give makes an open file belong to demoted children.
func (s Sandbox) Give(f *os.File) error {
	if !s.demote {
		return nil
	}
	if err := f.Chown(User()); err != nil {
		return fmt.Errorf("give away: %w", err)
	}
	return nil
}

// restrict binds the calling thread, and what it starts, to reach.
func restrict(version int, reach Reach) (err error) {
	attr := rights(version)
	set, err := createRuleset(&attr)
	if err != nil {
		return fmt.Errorf("make rules: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(set)) }()
	for _, r := range []struct {
		paths []string
		may   uint64
	}{{append(system[:len(system):len(system)], reach.Read...), fsRead}, {append([]string{"/dev/null"}, reach.Write...), fsRead | fsWrite}} {
		for _, path := range r.paths {
			if err := allow(set, path, r.may&attr.Handled_access_fs); err != nil {
				return fmt.Errorf("allow %s: %w", path, err)
			}
		}
	}
	if attr.Handled_access_net != 0 && reach.Connect != 0 {
		rule := portRule{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(reach.Connect)}
		if err := addRule(set, rulePort, unsafe.Pointer(&rule)); err != nil { //nolint:gosec // what a system call takes
			return fmt.Errorf("allow a port: %w", err)
		}
	}
	if err := restrictSelf(set); err != nil {
		return fmt.Errorf("enforce: %w", err)
	}
	return nil
}

// allow adds a path to the rules. What is not there needs none.
func allow(set int, path string, may uint64) (err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		may &= ofFiles
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: may, Parent_fd: int32(fd)} //nolint:gosec // a descriptor
	return addRule(set, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule))     //nolint:gosec // what a system call takes
}

// detectLandlock is the version of its interface that restricts a thread here; 0 where none does.
func detectLandlock() int {
	version, err := interfaceVersion()
	if err != nil || version < 1 {
		return 0
	}
	// A container may let it be asked and not be done.
	done := make(chan error)
	Thread(func() {
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = restrict(version, Reach{})
		}
		done <- err
	})
	if <-done != nil {
		return 0
	}
	return version
}
