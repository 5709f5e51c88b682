// Package pages reads what our pages give to be typed, and types it into a shell, for tests. What a test has to fill in, it
// fills in; the rest is run as it stands in the file.
package pages

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/sandbox"
)

// Block is what a page has between fences.
type Block struct {
	Section string // the heading above it; "" before the first
	Kind    string // what the opening fence says
	Text    string
}

var fenced = regexp.MustCompile("(?ms)^## ([^\n]+)$|^```([a-z]*)\n(.*?)^```$")

// Read returns the blocks of a page, in order. A page without any fails the test.
func Read(t testing.TB, file string) (all []Block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := ""
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			section = m[1]
			continue
		}
		all = append(all, Block{section, m[2], m[3]})
	}
	if len(all) == 0 {
		t.Fatalf("%s has nothing between fences", file)
	}
	return all
}

// In returns what the blocks of a section say. A section without any fails the test.
func In(t testing.TB, all []Block, section string) (texts []string) {
	t.Helper()
	for _, b := range all {
		if b.Section == section {
			texts = append(texts, b.Text)
		}
	}
	if len(texts) == 0 {
		t.Fatalf("there is nothing to type in %q", section)
	}
	return texts
}

// Shell is a bash in which commands are typed one after the other: what one has set is there for the next.
type Shell struct {
	Dir string // where it begins

	options string
	process *sandbox.Process
	in      io.WriteCloser
	out     *bufio.Reader
	number  int
}

// NewShell starts one in a folder that it makes, with that environment. options are set for whatever is typed, as by set. It ends
// with the test.
func NewShell(t testing.TB, dir, options string, env []string) *Shell {
	t.Helper()
	s := &Shell{Dir: dir, options: options}
	must(t, os.Mkdir(dir, 0o755)) //nolint:gosec // a folder to work in
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Dir, cmd.Env = dir, env
	cmd.WaitDelay = 5 * time.Second // for what it has left behind
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var err error
	s.in, err = cmd.StdinPipe()
	must(t, err)
	s.out = bufio.NewReader(r)
	s.process, err = sandbox.Start(cmd, syscall.SIGKILL)
	must(t, err)
	go func() {
		<-s.process.Done()
		_ = w.Close()
	}()
	t.Cleanup(func() { must(t, s.process.End(syscall.SIGKILL)) })
	return s
}

// Set gives the shell a variable, which its commands get too.
func (s *Shell) Set(t testing.TB, name, value string) {
	t.Helper()
	_, err := fmt.Fprintf(s.in, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	must(t, err)
}

// patience bounds what is typed at a time.
const patience = 10 * time.Minute

// Run types commands, and answers to what they ask, a line each, and returns what they print. The first command that fails
// ends the test.
func (s *Shell) Run(t testing.TB, commands string, answers ...string) string {
	t.Helper()
	s.number++
	file, input := filepath.Join(s.Dir, fmt.Sprintf(".typed-%d", s.number)), filepath.Join(s.Dir, fmt.Sprintf(".answers-%d", s.number))
	mark := fmt.Sprintf("the end of what was typed, %d:", s.number)
	must(t, os.WriteFile(file, []byte("set "+s.options+"\n"+commands+"\nset +eu\n"), 0o600))
	must(t, os.WriteFile(input, []byte(strings.Join(append(answers, ""), "\n")), 0o600))
	_, err := fmt.Fprintf(s.in, ". '%s' <'%s'\nprintf '\\n%s %%d\\n' $?\n", file, input, mark)
	must(t, err)
	late := time.AfterFunc(patience, func() { _ = s.process.End(syscall.SIGKILL) })
	defer late.Stop()
	var out strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("a command has failed, or did not end in %s:\n%s\n%s", patience, commands, out.String())
		}
		if strings.HasPrefix(line, mark) {
			t.Logf("%s\n%s", commands, out.String())
			return out.String()
		}
		out.WriteString(line)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
