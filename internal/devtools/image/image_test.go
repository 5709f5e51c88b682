package image_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/apart"
	"github.com/remora-backup/remora/internal/pgdump"
)

// reader is the program of internal/devtools/dockerfile. make ops-test builds it.
var reader = flag.String("dockerfile", "", "internal/devtools/dockerfile as a program: check deploy/Dockerfile and, as root, run its steps")

const (
	root   = "../../.."
	file   = "deploy/Dockerfile"
	inside = "REMORA_IMAGE_INSIDE" // the folder to work in, where it is set
)

// Docker's own checks find nothing in the Dockerfile, and do find what is planted in it.
func TestChecks(t *testing.T) {
	t.Parallel()
	if *reader == "" {
		t.Log("not asked to by -dockerfile, as make ops-test does")
		return
	}
	check := func(file string) (string, error) {
		out, err := exec.Command(*reader, "check", file).CombinedOutput()
		return string(out), err
	}
	if out, err := check(filepath.Join(root, file)); err != nil || out != "" {
		t.Error(err, out)
	}
	text := read(t, filepath.Join(root, file))
	for finding, fault := range map[string][2]string{
		"FromAsCasing":                   {" AS clients", " as clients"},
		"StageNameCasing":                {" AS verifier", " AS Verifier"},
		"DuplicateStageName":             {" AS remora", " AS verifier"},
		"WorkdirRelativePath":            {"WORKDIR /src", "WORKDIR src"},
		"UndefinedVar":                   {"COPY cmd cmd", "COPY $cmd cmd"},
		"JSONArgsRecommended":            {`CMD ["remora", "web"]`, "CMD remora web"},
		"MultipleInstructionsDisallowed": {`CMD ["remora", "verifier"]`, "CMD [\"remora\", \"verifier\"]\nCMD [\"remora\", \"web\"]"},
		"ExposeInvalidFormat":            {"EXPOSE 5000", "EXPOSE 80:5000"},
		"unknown instruction: USERS":     {"USER 10001", "USERS 10001"},
		"unknown flag: --form":           {"--from=build", "--form=build"},
	} {
		planted := filepath.Join(t.TempDir(), "Dockerfile")
		write(t, planted, strings.Replace(text, fault[0], fault[1], 1), 0o644)
		if out, err := check(planted); err == nil || !strings.Contains(out, finding) {
			t.Errorf("%s instead of %s, and not %s: %v %s", fault[1], fault[0], finding, err, out)
		}
	}
}

// Every step of the Dockerfile works as it stands. What comes of it runs as nobody, has every program that it is to have, knows its
// command and keeps nothing of how it was made.
func TestSteps(t *testing.T) {
	t.Parallel()
	switch {
	case *reader == "":
		t.Log("not asked to by -dockerfile, as make ops-test does")
		return
	case os.Getenv(inside) == "":
		enter(t)
		return
	}
	m := newMachine(t)
	images := m.build(t, steps(t))
	ends := 0
	for name, i := range images {
		if len(i.cmd) == 0 {
			continue // nothing is started from it
		}
		ends++
		t.Run(name, func(t *testing.T) {
			c := m.start(t, i)
			defer c.stop(t)
			isNobodys(t, c)
			holdsNoMore(t, c)
			present := hasPrograms(t, c, name == "verifier")
			answers(t, c, present)
			c.size(t, name)
		})
	}
	if ends < 2 {
		t.Errorf("%d images have a command", ends)
	}
}

// enter runs the test again in mounts and process ids of its own, of which nothing stays. What it works on is removed out here, where
// nothing is mounted in it: folders of this machine are, in there.
func enter(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this makes chroots: run it as root")
	}
	apart.Again(t, nil, inside+"="+t.TempDir(), "-dockerfile", *reader)
}

// step is what the reader tells of an instruction.
type step struct {
	Line  int
	Name  string
	Flags []string
	Args  []string
	JSON  bool
}

func (s step) String() string {
	words := strings.Fields(strings.Join(slices.Concat(s.Flags, s.Args), " "))
	return fmt.Sprintf("line %d: %s %s", s.Line, strings.ToUpper(s.Name), strings.Join(words, " "))
}

func steps(t *testing.T) (all []step) {
	t.Helper()
	must(t, json.Unmarshal([]byte(run(t, *reader, "steps", filepath.Join(root, file))), &all))
	return all
}

// isNobodys sees that the processes are nobody's who may do more, and that what they run is not theirs.
func isNobodys(t *testing.T, c *container) {
	t.Helper()
	out, err := c.output(t, nil, "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status; test ! -w /usr/local/bin/remora && test ! -w /etc/passwd && echo kept")
	if want := "10001\n10001\nCapEff:\t0000000000000000\nkept\n"; err != nil || out != want {
		t.Errorf("%v %s", err, out)
	}
	if out := run(t, "find", c.root, "-xdev", "(", "-user", "10001", "-o", "-group", "10001", ")"); out != "" {
		t.Errorf("the processes may change %s", out)
	}
}

// holdsNoMore sees that nothing is left of how it was made, and that no server was started or made ready.
func holdsNoMore(t *testing.T, c *container) {
	t.Helper()
	for _, where := range []string{"/usr/local", "/var/lib/apt/lists", "/var/cache/apt", "/srv", "/opt", "/root", "/home", "/src", "/go", "/tmp", "/var/tmp", "/etc/postgresql", "/var/lib/postgresql"} {
		at := filepath.Join(c.root, where)
		if _, err := os.Stat(at); err != nil {
			continue
		}
		var left []string
		for f := range strings.Lines(run(t, "find", at, "-xdev", "-type", "f", "!", "-name", ".bashrc", "!", "-name", ".profile", "!", "-name", "lock")) {
			if f = strings.TrimPrefix(strings.TrimSpace(f), c.root); f != "/usr/local/bin/remora" {
				left = append(left, f)
			}
		}
		if len(left) > 0 {
			t.Errorf("in %s %d files are left, such as %s", where, len(left), left[0])
		}
	}
	if _, err := os.Stat(filepath.Join(c.root, "remora")); err == nil {
		t.Error("the build's own copy of the program is left")
	}
}

// hasPrograms asks the PostgreSQL programs for their version, as the image's user. Every major is there, or stood in for.
func hasPrograms(t *testing.T, c *container, servers bool) (present []int) {
	t.Helper()
	programs := []string{"pg_dump", "pg_restore"}
	kind := "postgresql-client-"
	if servers {
		programs, kind = append(programs, "postgres", "initdb"), "postgresql-"
	}
	for _, major := range pgdump.Majors() {
		if slices.Contains(c.standIns(t), kind+strconv.Itoa(major)) {
			continue
		}
		present = append(present, major)
		for _, p := range programs {
			out, err := c.output(t, nil, fmt.Sprintf("/usr/lib/postgresql/%d/bin/%s", major, p), "--version")
			if err != nil || !strings.Contains(out, fmt.Sprintf("%s (PostgreSQL) %d.", p, major)) {
				t.Errorf("%s of %d: %v %s", p, major, err, out)
			}
		}
	}
	if len(present) == 0 {
		t.Error("every PostgreSQL program is stood in for")
	}
	return present
}

// answers asks the program itself: for its settings, for what is missing, and by the image's command.
func answers(t *testing.T, c *container, present []int) {
	t.Helper()
	template, err := c.output(t, nil, "remora", "settings")
	if err != nil || !strings.Contains(template, "\nDATABASE_URL=\n") {
		t.Errorf("remora settings: %v %s", err, template)
	}
	// Its command is a process that the program knows: it asks for its settings, and of no other would it.
	if out, err := c.output(t, nil, c.cmd...); err == nil || !strings.Contains(out, "DATABASE_URL") {
		t.Errorf("%q: %v %s", c.cmd, err, out)
	}
	if out, err := c.output(t, nil, c.cmd[0], "remora"); err == nil || strings.Contains(out, "DATABASE_URL") {
		t.Errorf("a process that there is not: %v %s", err, out)
	}

	process, about := "worker", "clients"
	if c.cmd[1] == "verifier" {
		process, about = "verifier", "servers"
	}
	bare, err := c.output(t, nil, "remora", "checkup", process)
	if err == nil || !strings.Contains(bare, "DATABASE_URL") {
		t.Errorf("a checkup without settings: %v %s", err, bare)
	}
	for line := range strings.Lines(bare) {
		if !strings.HasPrefix(line, "wrong    settings   "+process+": ") && !strings.HasPrefix(line, "remora: to be mended: ") {
			t.Errorf("a checkup without settings says %s", line)
		}
	}
	// With settings it looks at the programs too. Nothing can be reached, which is wrong and not what is asked about here.
	env := []string{"KEYRING=k1:" + strings.Repeat("A", 43) + "=", "DATABASE_URL=postgres://remora@127.0.0.1:1/remora", "S3_ENDPOINT=https://127.0.0.1:1"}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=$`).FindAllStringSubmatch(template, -1) {
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, m[1]+"=") }) {
			env = append(env, m[1]+"=none")
		}
	}
	whole, err := c.output(t, env, "remora", "checkup", process)
	if err == nil {
		t.Errorf("a checkup of what cannot be reached is content:\n%s", whole)
	}
	found := regexp.MustCompile(`(?m)^ok +` + about + ` +There are .*$`).FindString(whole)
	lacks := regexp.MustCompile(`(?m)^warning +` + about + ` +There is none of [\d, ]+\.`).FindString(whole)
	t.Logf("remora checkup %s:\n%s\n%s", process, found, lacks)
	for _, major := range pgdump.Majors() {
		here := slices.Contains(present, major)
		if named := regexp.MustCompile(fmt.Sprintf(`\b%d\.\d+`, major)).MatchString(found); named != here {
			t.Errorf("%d is there: %v; %q", major, here, found)
		}
		if named := regexp.MustCompile(fmt.Sprintf(`\b%d\b`, major)).MatchString(lacks); named == here {
			t.Errorf("%d is there: %v; %q", major, here, lacks)
		}
	}
}
