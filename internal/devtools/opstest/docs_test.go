package opstest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// pages are all that people read, by their path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, glob := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/*.md", "deploy/*/*.md", "internal/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = read(t, name)
		}
	}
	if len(all) < 30 {
		t.Fatalf("%d pages", len(all))
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchor is how a page's heading is named in a link to it.
func anchor(title string) string {
	return strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// Every link of a page leads to a file, and to a heading in it where it names one.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			to, ours := strings.CutPrefix(m[1], ourPages)
			if !ours && strings.Contains(to, "://") {
				continue
			}
			file, title, named := strings.Cut(to, "#")
			switch {
			case file == "":
				file = page
			case !ours:
				file = filepath.Join(filepath.Dir(page), file)
			}
			there, err := os.ReadFile(filepath.Join(root, file))
			if info, serr := os.Stat(filepath.Join(root, file)); serr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if !named {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(string(there), -1) {
				found = found || anchor(h[1]) == title
			}
			if !found {
				t.Errorf("%s: %s has no such heading", page, m[1])
			}
		}
	}
}

// command is one of a page's, in a block of code or between backquotes.
type command struct {
	page string
	args []string
}

var (
	inline    = regexp.MustCompile("`((?:heroku|remora|make) [^`]+)`")
	operators = regexp.MustCompile(`\s[|>&]|\s-- |;|\s#|\$\(`)
)

func commands(t *testing.T) (all []command) {
	t.Helper()
	for page, text := range pages(t) {
		add := func(line string) {
			line = strings.Join(strings.Fields(line), " ")
			if i := operators.FindStringIndex(line); i != nil {
				line = line[:i[0]]
			}
			if args := strings.Fields(line); len(args) > 1 {
				all = append(all, command{page, args})
			}
		}
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				line = strings.TrimLeft(line, " \t")
				_, prompted, found := strings.Cut(line, "$ ")
				if found && !strings.Contains(line, "alias") {
					line = prompted
				}
				if regexp.MustCompile(`^(heroku|remora|make) `).MatchString(line) {
					add(line)
				}
			}
		}
		for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			add(m[1])
		}
	}
	if len(all) < 50 {
		t.Fatalf("%d commands were found", len(all))
	}
	return all
}

// Every command that a page names is one: of the Heroku CLI, with the options that it has, of the product, or of the Makefile.
func TestCommandsAreKnown(t *testing.T) {
	t.Parallel()
	cli := herokuCommands(t)
	makefile := read(t, "Makefile")
	for _, c := range commands(t) {
		said := strings.Join(c.args, " ")
		switch c.args[0] {
		case "make":
			for _, target := range c.args[1:] {
				if !strings.Contains(target, "=") && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(target)+`:`).MatchString(makefile) {
					t.Errorf("%s: %s: there is no such target", c.page, said)
				}
				break
			}
		case "heroku":
			if problem := cli.check(c.args[1:]); problem != "" {
				t.Errorf("%s: %s: %s", c.page, said, problem)
			}
			if at := slices.Index(c.args, "remora"); c.args[1] == "run" && at > 0 {
				ours(t, c.page, c.args[at:])
			}
		case "remora":
			ours(t, c.page, c.args)
		}
	}
}

func ours(t *testing.T, page string, args []string) {
	t.Helper()
	name := args[1]
	if !regexp.MustCompile(`^[a-z]+$`).MatchString(name) {
		return
	}
	if _, err := config.Load([]string{name, "--help"}, &bytes.Buffer{}); !errors.Is(err, config.ErrHelp) {
		t.Errorf("%s: remora %s: %v", page, name, err)
	}
}

// herokuCLI is what the real CLI says of itself.
type herokuCLI struct {
	Commands map[string]struct {
		Aliases, HiddenAliases []string
		Flags                  map[string]struct{ Char string }
	}
}

func herokuCommands(t *testing.T) (cli herokuCLI) {
	t.Helper()
	program, err := stack.CLI()
	if err != nil {
		t.Fatal(err)
	}
	// node_modules/.bin/heroku
	text, err := os.ReadFile(filepath.Join(filepath.Dir(program), "..", "heroku", "oclif.manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cli); err != nil {
		t.Fatal(err)
	}
	return cli
}

func (cli herokuCLI) check(args []string) (problem string) {
	for name, c := range cli.Commands {
		if name != args[0] && !slices.Contains(c.Aliases, args[0]) && !slices.Contains(c.HiddenAliases, args[0]) {
			continue
		}
		for _, a := range args[1:] {
			if a == "--" || a == "remora" { // what follows is another program's
				return ""
			}
			long, isLong := strings.CutPrefix(a, "--")
			char, isShort := strings.CutPrefix(a, "-")
			long, _, _ = strings.Cut(long, "=")
			_, known := c.Flags[long]
			for _, f := range c.Flags {
				known = known || !isLong && f.Char == char
			}
			if (isLong || isShort) && !known {
				return "it has no option " + a
			}
		}
		return ""
	}
	return "there is no such command"
}

// What a runbook has an operator ask of our database can be asked, in the scope that it names.
func TestRunbooksQueriesRun(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	n := 0
	for page, text := range pages(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			_, sql, asks := strings.Cut(block[1], "BEGIN READ ONLY;")
			if !asks {
				continue
			}
			n++
			err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), sql)
				return err
			})
			if err != nil {
				t.Errorf("%s: %v: %s", page, err, sql)
			}
		}
	}
	if n < 3 {
		t.Errorf("%d queries were found", n)
	}
}

// changes are what a page has an operator change in our database by one line.
var changes = regexp.MustCompile(`(?m)^heroku pg:psql -a APP -c "([^"$\x60\\]+)"$`) // nothing that the shell reads otherwise

// What a page has an operator change in our database can be changed by our role, and what waits in a pool is given to workers
// that know none.
func TestPagesChangesRun(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `INSERT INTO river.river_job (kind, args, max_attempts, queue) VALUES ('run_backup', '{}', 1, 'backups_eu'), ('prove_backup', '{}', 1, 'proofs_eu'), ('tick', '{}', 1, 'default')`); err != nil {
		t.Fatal(err)
	}
	n := 0
	for page, text := range pages(t) {
		for _, m := range changes.FindAllStringSubmatch(text, -1) {
			n++
			if _, err := pool.Exec(ctx, m[1]); err != nil {
				t.Errorf("%s: %v: %s", page, err, m[1])
			}
		}
	}
	if n != 2 {
		t.Errorf("%d changes were found", n)
	}
	var queues string
	if err := pool.QueryRow(ctx, "SELECT string_agg(queue, ' ' ORDER BY queue) FROM river.river_job").Scan(&queues); err != nil || queues != "backups default proofs" {
		t.Errorf("%s %v", queues, err)
	}
}

var needed = regexp.MustCompile(` --([a-z0-9-]+)=`)

// What app.json asks for is what the processes read, and nothing that they need is left out.
func TestAppJSONHasEverySettingThatIsNeeded(t *testing.T) {
	t.Parallel()
	var app struct {
		Env       map[string]struct{ Description, Value, Generator string }
		Formation map[string]struct{ Quantity int }
	}
	if err := json.Unmarshal([]byte(read(t, "app.json")), &app); err != nil {
		t.Fatal(err)
	}
	procfile := read(t, "Procfile")
	known := ""
	for _, process := range []string{"web", "worker", "verifier", "deleter"} {
		var help bytes.Buffer
		if _, err := config.Load([]string{process, "--help"}, &help); !errors.Is(err, config.ErrHelp) {
			t.Fatal(err)
		}
		known += help.String()
		usage, _, _ := strings.Cut(help.String(), "\n") // which has those without which it does not start
		for _, m := range needed.FindAllStringSubmatch(usage, -1) {
			name := strings.ToUpper(strings.ReplaceAll(m[1], "-", "_"))
			if name != "DATABASE_URL" && app.Env[name].Description == "" { // which the database's add-on sets
				t.Errorf("%s needs %s, and app.json does not ask for it", process, name)
			}
		}
		if app.Formation[process].Quantity == 0 || !strings.Contains(procfile, process+": remora "+process) {
			t.Errorf("%s is not started", process)
		}
	}
	for name, e := range app.Env {
		if !strings.Contains(known, "$"+name) || e.Description == "" {
			t.Errorf("app.json asks for %s, which nothing reads, or does not say what it is", name)
		}
	}
}

var (
	fileRow = regexp.MustCompile(`(?m)^\| \x60(\w+)\.env\x60 \| (.*) \|$`)
	setting = regexp.MustCompile(`\x60([A-Z][A-Z0-9_]+)\x60`)
)

// What the page has an operator fill in has a place in the file that it names.
func TestSettingsHaveAPlaceInTheFileThatThePageNames(t *testing.T) {
	t.Parallel()
	rows := fileRow.FindAllStringSubmatch(read(t, "deploy/README.md"), -1)
	if len(rows) != 4 {
		t.Errorf("%d files are named", len(rows))
	}
	for _, row := range rows {
		var file bytes.Buffer
		if err := config.WriteTemplate(&file, row[1]); err != nil {
			t.Fatal(err)
		}
		names := setting.FindAllStringSubmatch(row[2], -1)
		if len(names) == 0 {
			t.Errorf("nothing is filled into %s.env", row[1])
		}
		for _, m := range names {
			if !regexp.MustCompile(`(?m)^#?` + m[1] + `=`).MatchString(file.String()) {
				t.Errorf("%s.env has no place for %s", row[1], m[1])
			}
		}
	}
}
