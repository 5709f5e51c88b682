package image_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine makes images as docker build does: each is layers, and a step runs in a container of what was there before it.
type machine struct {
	dir     string
	checks  string           // how apt reaches Debian's archive on this machine, as far as it is not in the sources
	suites  map[string]image // Debian's, by name
	missing string           // a repository of empty packages
}

type image struct {
	layers  []string // folders, the newest first
	bound   []bound
	env     []string
	workdir string
	user    string
	cmd     []string
}

// bound is a folder of this machine in an image that needs it.
type bound struct {
	from, to string
	write    bool
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: os.Getenv(inside), suites: map[string]image{}}
	for line := range strings.Lines(run(t, "apt-config", "dump")) {
		if regexp.MustCompile(`^Acquire::(https?|Check-)`).MatchString(line) {
			m.checks += line
		}
	}
	return m
}

// build makes the images of all stages.
func (m *machine) build(t *testing.T, all []step) map[string]image {
	t.Helper()
	images := map[string]image{}
	m.standIn(t, all)
	var name string
	var c *container
	end := func() {
		if c != nil {
			images[name] = c.commit(t)
		}
	}
	for _, s := range all {
		began := time.Now()
		switch s.Name {
		case "from":
			end()
			if len(s.Args) != 3 || len(s.Flags) > 0 {
				t.Fatalf("%v: a stage has a name here, and no more", s)
			}
			base, ours := images[s.Args[0]]
			if !ours {
				base = m.pull(t, s.Args[0])
			}
			name, c = s.Args[2], m.start(t, base)
		case "run":
			c.step(t, s)
		case "copy":
			c.copy(t, m, images, s)
		case "workdir":
			c.workdir = c.inside(s.Args[0])
			must(t, os.MkdirAll(filepath.Join(c.root, c.workdir), 0o755)) //nolint:gosec // as Docker
		case "user":
			c.user = s.Args[0]
		case "cmd":
			if !s.JSON {
				t.Fatalf("%v: by a shell", s)
			}
			c.cmd = s.Args
		case "expose": // says something, does nothing
		default:
			t.Fatalf("%v: what that does is not known here", s)
		}
		t.Logf("%v (%.1f s)", s, time.Since(began).Seconds())
	}
	end()
	return images
}

// pull makes an image that another's is the base of: Debian's, or Go's, which is Debian with Go.
func (m *machine) pull(t *testing.T, ref string) image {
	t.Helper()
	if is := regexp.MustCompile(`^debian:([a-z]+)-slim$`).FindStringSubmatch(ref); is != nil {
		return m.debian(t, is[1])
	}
	is := regexp.MustCompile(`^golang:([\d.]+)-([a-z]+)$`).FindStringSubmatch(ref)
	if is == nil {
		t.Fatalf("it is not known here what is in %s", ref)
	}
	env := strings.Split(run(t, "go", "env", "GOVERSION", "GOROOT", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB"), "\n")
	if !strings.HasPrefix(env[0]+".", "go"+is[1]+".") {
		t.Fatalf("this machine has %s, and %s is asked for", env[0], ref)
	}
	i := m.debian(t, is[2])
	i.workdir = "/go"
	i.env = append(slices.Clone(i.env), "PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"GOPATH=/go", "GOTOOLCHAIN=local", "GOPROXY="+env[4], "GOSUMDB="+env[5])
	// The caches are this machine's, so that nothing is fetched or compiled twice.
	i.bound = []bound{{env[1], "/usr/local/go", false}, {"/etc/ssl/certs", "/etc/ssl/certs", false}, {env[2], "/go/pkg/mod", true}, {env[3], "/root/.cache/go-build", true}}
	return i
}

// slim is what the makers of debian:*-slim add to Debian, as far as it bears on what is installed later.
var slim = map[string]string{
	"usr/sbin/policy-rc.d":            "#!/bin/sh\nexit 101\n",
	"etc/apt/apt.conf.d/docker-clean": "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n",
	"etc/dpkg/dpkg.cfg.d/docker": "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\npath-exclude /usr/share/man/*\npath-exclude /usr/share/info/*\n" +
		"path-exclude /usr/share/locale/*\npath-include /usr/share/locale/locale.alias\npath-exclude /usr/share/lintian/*\n",
}

// debian makes a suite's smallest system, with the archive's address that this machine's own apt has.
func (m *machine) debian(t *testing.T, suite string) image {
	t.Helper()
	if i, made := m.suites[suite]; made {
		return i
	}
	const sources = "/etc/apt/sources.list.d/debian.sources"
	own := regexp.MustCompile(`(?m)^VERSION_CODENAME=(\w+)$`).FindStringSubmatch(read(t, "/etc/os-release"))
	if _, err := os.Stat(sources); err != nil || own == nil {
		t.Fatalf("this needs Debian, with its archive named in %s: %v", sources, err)
	}
	side, to := filepath.Join(m.dir, suite), filepath.Join(m.dir, suite, "layer")
	must(t, os.Mkdir(side, 0o755)) //nolint:gosec // a chroot's
	write(t, filepath.Join(side, "debian.sources"), regexp.MustCompile(`\b`+own[1]+`\b`).ReplaceAllString(read(t, sources), suite), 0o644)
	write(t, filepath.Join(side, "apt.conf"), m.checks, 0o644)
	write(t, filepath.Join(side, "dpkg.cfg"), slim["etc/dpkg/dpkg.cfg.d/docker"], 0o644)
	run(t, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
		"--aptopt="+filepath.Join(side, "apt.conf"), "--dpkgopt="+filepath.Join(side, "dpkg.cfg"), suite, to, filepath.Join(side, "debian.sources"))
	for _, ours := range []string{"etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/resolv.conf", "etc/hostname"} {
		if err := os.Remove(filepath.Join(to, ours)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for name, text := range slim {
		write(t, filepath.Join(to, name), text, 0o755)
	}
	m.suites[suite] = image{layers: []string{to}, workdir: "/", user: "0", env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	return m.suites[suite]
}

// empty is the version of an empty package: older than any that is not.
const empty = "0~stand-in"

// standIn makes a repository of an empty package for each of PostgreSQL's that the Dockerfile names. apt takes one where no
// other repository that it reaches has any.
func (m *machine) standIn(t *testing.T, all []step) {
	t.Helper()
	m.missing = filepath.Join(m.dir, "missing")
	must(t, os.Mkdir(m.missing, 0o755)) //nolint:gosec // read by apt's own user
	wanted := map[string]bool{}
	for _, s := range all {
		for _, name := range regexp.MustCompile(`\bpostgresql-(client-)?\d+\b`).FindAllString(strings.Join(s.Args, " "), -1) {
			wanted[name] = true
		}
	}
	var index strings.Builder
	for name := range maps.Keys(wanted) {
		made, deb := filepath.Join(m.dir, name), filepath.Join(m.missing, name+".deb")
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: nothing\n", name, empty)
		write(t, filepath.Join(made, "DEBIAN/control"), control, 0o644)
		run(t, "dpkg-deb", "--build", made, deb)
		text := read(t, deb)
		fmt.Fprintf(&index, "%sFilename: ./%s.deb\nSize: %d\nSHA256: %x\n\n", control, name, len(text), sha256.Sum256([]byte(text)))
	}
	write(t, filepath.Join(m.missing, "Packages"), index.String(), 0o644)
	write(t, filepath.Join(m.missing, "sources.list"), "deb [trusted=yes] file:"+besides+" ./\n", 0o644)
	write(t, filepath.Join(m.missing, "apt.conf"), m.checks+"Dir::Etc::sourcelist \""+besides+"/sources.list\";\n", 0o644)
}

// besides is where a step finds the repository of empty packages, by a setting in its environment: no file of the image says so.
const besides = "/mnt"

// container is an image with a layer of its own on it.
type container struct {
	image
	root, layer string
	mounts      []string
	m           *machine
}

func (m *machine) start(t *testing.T, from image) *container {
	t.Helper()
	dir, err := os.MkdirTemp(m.dir, "container-")
	must(t, err)
	c := &container{image: from, root: filepath.Join(dir, "root"), layer: filepath.Join(dir, "layer"), m: m}
	for _, d := range []string{c.root, c.layer, filepath.Join(dir, "work")} {
		must(t, os.Mkdir(d, 0o755)) //nolint:gosec // the first two are a chroot's root
	}
	c.mount(t, "overlay", "/", "overlay", 0, "lowerdir="+strings.Join(c.layers, ":")+",upperdir="+c.layer+",workdir="+filepath.Join(dir, "work"))
	c.mount(t, "proc", "/proc", "proc", 0, "")
	write(t, filepath.Join(c.root, "etc/resolv.conf"), "", 0o644)
	c.mount(t, "/etc/resolv.conf", "/etc/resolv.conf", "", unix.MS_BIND, "")
	for _, b := range c.bound {
		must(t, os.MkdirAll(filepath.Join(c.root, b.to), 0o755)) //nolint:gosec // as Docker
		c.mount(t, b.from, b.to, "", unix.MS_BIND, "")
		if !b.write {
			must(t, unix.Mount("", filepath.Join(c.root, b.to), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}
	}
	return c
}

func (c *container) mount(t *testing.T, what, to, kind string, flags uintptr, options string) {
	t.Helper()
	at := filepath.Join(c.root, to)
	if err := unix.Mount(what, at, kind, flags, options); err != nil {
		t.Fatalf("mount %s at %s: %v", what, to, err)
	}
	c.mounts = append(c.mounts, at)
}

// stop takes the mounts away. One that is in use is a process that a step has left behind.
func (c *container) stop(t *testing.T) {
	t.Helper()
	for _, at := range slices.Backward(c.mounts) {
		if err := unix.Unmount(at, 0); err != nil {
			t.Fatalf("unmount %s: %v", at, err)
		}
	}
	c.mounts = nil
}

func (c *container) commit(t *testing.T) image {
	t.Helper()
	c.stop(t)
	i := c.image
	i.layers = append([]string{c.layer}, c.layers...)
	return i
}

// command is a process of the container by its user.
func (c *container) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	var uid, gid uint32
	_, err := fmt.Sscan(c.user, &uid)
	must(t, err)
	home := "/"
	for line := range strings.Lines(read(t, filepath.Join(c.root, "etc/passwd"))) {
		if f := strings.Split(line, ":"); f[2] == c.user {
			_, err := fmt.Sscan(f[3], &gid)
			must(t, err)
			home = f[5]
		}
	}
	// The name is looked up in there. The shell is gone by then.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", `exec "$@"`, "sh"}, args...)...)
	cmd.Dir, cmd.Env = c.workdir, slices.Concat([]string{"HOME=" + home}, c.env, env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd
}

// output is what a command says, in a network in which there is nothing.
func (c *container) output(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := c.command(t, env, args...)
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// step runs a line of the Dockerfile's.
func (c *container) step(t *testing.T, s step) {
	t.Helper()
	if s.JSON || len(s.Flags) > 0 || len(s.Args) != 1 {
		t.Fatalf("%v: only shell's lines are known here", s)
	}
	before := c.standIns(t)
	c.mount(t, c.m.missing, besides, "", unix.MS_BIND, "")
	env := []string{"APT_CONFIG=" + besides + "/apt.conf"}
	for _, e := range os.Environ() { // as docker build hands them on
		if regexp.MustCompile(`(?i)^(https?|no)_proxy=`).MatchString(e) {
			env = append(env, e)
		}
	}
	out, err := c.command(t, env, "/bin/sh", "-c", s.Args[0]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", s, err, out)
	}
	last := len(c.mounts) - 1
	must(t, unix.Unmount(c.mounts[last], 0))
	c.mounts = c.mounts[:last]
	after := c.standIns(t)
	if len(after) == len(before) {
		return
	}
	unreached := regexp.MustCompile(`Failed to fetch (\S+-pgdg)/`).FindSubmatch(out)
	if unreached == nil {
		t.Fatalf("no repository has %v, though all were reached:\n%s", after, out)
	}
	t.Logf("%s is not reached from here: Debian's packages are taken, and of these the name alone is tried: %s", unreached[1], strings.Join(after, " "))
}

// standIns are the packages that are empty ones.
func (c *container) standIns(t *testing.T) (names []string) {
	t.Helper()
	for line := range strings.Lines(run(t, "dpkg-query", "--admindir="+filepath.Join(c.root, "var/lib/dpkg"), "--show", "--showformat=${Package} ${Version}\n")) {
		if name, version, _ := strings.Cut(strings.TrimSpace(line), " "); version == empty {
			names = append(names, name)
		}
	}
	return names
}

// inside is the whole path of what an instruction names.
func (c *container) inside(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(c.workdir, name)
}

// copy copies from the checkout or from another stage.
func (c *container) copy(t *testing.T, m *machine, images map[string]image, s step) {
	t.Helper()
	from, err := filepath.Abs(root)
	must(t, err)
	for _, f := range s.Flags {
		stage, is := strings.CutPrefix(f, "--from=")
		i, made := images[stage]
		if !is || !made {
			t.Fatalf("%v: there is no %s", s, f)
		}
		other := m.start(t, i)
		defer other.stop(t)
		from = other.root
	}
	last := len(s.Args) - 1
	to := filepath.Join(c.root, c.inside(s.Args[last]))
	must(t, os.MkdirAll(filepath.Dir(to), 0o755)) //nolint:gosec // as Docker
	for _, source := range s.Args[:last] {
		info, err := os.Stat(filepath.Join(from, source))
		must(t, err)
		what, at := filepath.Join(from, source), to
		switch {
		case info.IsDir():
			what += "/."                    // what is in it
			must(t, os.MkdirAll(to, 0o755)) //nolint:gosec // as Docker
		case strings.HasSuffix(s.Args[last], "/"):
			at = filepath.Join(to, filepath.Base(source))
		}
		run(t, "cp", "--recursive", "--preserve=mode,timestamps", "--no-dereference", what, at)
	}
}

// size says how large the image is, and each of its layers.
func (c *container) size(t *testing.T, name string) {
	t.Helper()
	mb := func(dir string) string {
		n, _, _ := strings.Cut(run(t, "du", "-sx", "--block-size=MB", dir), "\t")
		return n
	}
	var layers []string
	for _, l := range slices.Backward(c.layers) {
		layers = append(layers, mb(l))
	}
	t.Logf("%s: %s; layers of %s; without what is in %v", name, mb(c.root), strings.Join(layers, ", "), c.standIns(t))
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v %s", name, args, err, stderr.String())
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

// write makes the folder too.
func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755)) //nolint:gosec // a chroot's
	must(t, os.WriteFile(file, []byte(text), mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
