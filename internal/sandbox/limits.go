package sandbox

import (
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

// Limits of a child and of each process that it starts. Zero means none.
type Limits struct {
	Memory int64 // address space, in bytes
	File   int64 // the largest file it may write, in bytes
	Files  int   // open files
	Data   int64 // memory of its own, in bytes, as LimitMemory counts it, which may set another later
	Alone  bool  // it starts no process and no thread; root does where it may pass limits
}

// resource is one that has a limit: its number, and prlimit's name for it.
type resource struct {
	number int
	name   string
	most   uint64
	soft   bool // not for good
}

func (l Limits) resources() []resource {
	all := []resource{{number: unix.RLIMIT_CORE, name: "core"}}
	for _, r := range []resource{
		{unix.RLIMIT_AS, "as", uint64(l.Memory), false}, {unix.RLIMIT_FSIZE, "fsize", uint64(l.File), false}, //nolint:gosec // not negative
		{unix.RLIMIT_NOFILE, "nofile", uint64(l.Files), false}, {unix.RLIMIT_DATA, "data", uint64(l.Data), true}, //nolint:gosec // not negative
	} {
		if r.most > 0 {
			all = append(all, r)
		}
	}
	if l.Alone {
		all = append(all, resource{number: unix.RLIMIT_NPROC, name: "nproc"})
	}
	return all
}

// startLimited starts a command from the calling thread, which is one of Thread's, with limits that hold from its first
// instruction on. It is traced, so it stands still when the kernel has loaded its program, which is when they are set, and is let go
// then. Where that is not allowed, another program sets them and becomes it, which takes a millisecond of each start.
func (s Sandbox) startLimited(cmd *exec.Cmd, l Limits) error {
	if err := holdTerm(); err != nil {
		return fmt.Errorf("hold SIGTERM: %w", err)
	}
	if !s.trace {
		if s.prlimit {
			byProgram(cmd, l)
		}
		return cmd.Start()
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (where this process is traced with its children, as by strace -f, it can start none)", err)
	} else if err != nil {
		return err
	}
	err := limitStopped(cmd.Process.Pid, l)
	if err == nil {
		return nil
	}
	_ = cmd.Process.Kill() // it has ended where this fails
	_ = cmd.Wait()         // it was killed
	return fmt.Errorf("limit %s: %w", cmd.Path, err)
}

// holdTerm blocks SIGTERM for the calling thread and what it starts. Heroku sends it to every process of a dyno at once, and it is
// for us to say when a child ends; one that came between the trace and the program would have the child, and us, wait for ever.
// (https://devcenter.heroku.com/articles/dyno-shutdown-behavior)
func holdTerm() error {
	set := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGTERM - 1)}}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

// limitStopped limits a child that stands still before its first instruction, and lets it go. (ptrace(2), PTRACE_TRACEME)
func limitStopped(pid int, l Limits) error {
	if stands, err := standsStill(pid); !stands {
		return err
	}
	var err error
	for _, r := range l.resources() {
		if err = r.bound(pid); err != nil {
			break
		}
	}
	return errors.Join(err, unix.PtraceDetach(pid))
}

// Of siginfo_t's si_code, CLD_EXITED and CLD_TRAPPED: a child has ended by itself, and a traced one has stopped.
const (
	exited  = 1
	trapped = 4
)

// standsStill waits until a traced child does. It does not where it was killed meanwhile, which whoever waits for it will hear.
func standsStill(pid int) (bool, error) {
	for {
		var who unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &who, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == nil && who.Code == exited:
			return false, errors.New("it did not stand still") // under a kernel that only claims to trace
		case !errors.Is(err, unix.EINTR):
			return err == nil && who.Code == trapped, err
		}
	}
}

// bound bounds what a process may have of the resource, which is never more than it might have before.
func (r resource) bound(pid int) error {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, r.number, nil, &limit)
	if err == nil {
		limit.Cur = min(r.most, limit.Max)
		if !r.soft {
			limit.Max = limit.Cur
		}
		err = unix.Prlimit(pid, r.number, &limit, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

// byProgram has prlimit set the limits, and become the command.
func byProgram(cmd *exec.Cmd, l Limits) {
	args := []string{prlimitPath}
	for _, r := range l.resources() {
		arg := "--" + r.name + "=" + strconv.FormatUint(r.most, 10)
		if r.soft {
			arg += ":"
		}
		args = append(args, arg)
	}
	cmd.Args = append(append(args, cmd.Path), cmd.Args[1:]...)
	cmd.Path = prlimitPath
}

// LimitsFromStart tells whether StartRestricted limits what a child takes. LimitMemory may do so where it does not.
func (s Sandbox) LimitsFromStart() bool { return s.trace || s.prlimit }

// LimitMemory bounds what a running child may take of memory of its own, in bytes; see RLIMIT_DATA, which counts private
// writable mappings too (Linux 4.7). It may be called again, with more or less.
func (s Sandbox) LimitMemory(pid int, most uint64) error {
	if s.prlimit && !s.trace {
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
