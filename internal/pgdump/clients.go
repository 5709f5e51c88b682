package pgdump

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
)

// Majors are those of which a service should have the client, ascending: all that still get fixes, and 14, for databases that are still
// on it, since 14 may refuse to restore what a newer client writes.
func Majors() []int { return slices.Sorted(maps.Keys(fixed)) }

// Client is one installed major of the client programs.
type Client struct {
	Major   int
	Version string // such as 15.20
	Dir     string // where pg_dump and pg_restore are

	Sandbox sandbox.Sandbox // which they run in; its zero value keeps them from little
}

// Reach is what a program of the client's, or a server beside it, may read, with what the caller adds.
func (c Client) Reach(read ...string) sandbox.Reach {
	base, _, found := strings.Cut(c.Dir, "/lib/postgresql/") // what was installed together, libraries included
	if !found {
		base = filepath.Dir(c.Dir)
	}
	return sandbox.Reach{Read: append(read, c.Dir, base)}
}

// least are the limits of a program that writes no file and opens few, starts none, by which it could outlive its end or hide it, and
// takes so much memory of its own; 0 is without a bound.
func least(memory int64) sandbox.Limits {
	return sandbox.Limits{File: 1, Files: 64, Data: memory, Alone: true}
}

// fixed are the minor releases before which a hostile server can corrupt pg_dump's memory (CVE-2026-6477,
// CVE-2026-19385) or a hostile archive runs code in pg_restore (CVE-2026-116314).
// (https://www.postgresql.org/support/security/) 14 gets no fixes since 12 November 2026: it goes from here when a hole of 14.25 is
// known that matters to us.
var fixed = map[int]int{14: 25, 15: 20, 16: 16, 17: 12, 18: 7}

// Outdated tells whether the client has a known hole that a customer's server or archive could use: an old
// minor release, a preview, or a major that is older than all of fixed. The checkup and each start warn of it.
func (c Client) Outdated() bool {
	major, minor, _ := strings.Cut(c.Version, ".")
	n, err := strconv.Atoi(minor)
	if err != nil || strconv.Itoa(c.Major) != major {
		return true
	}
	need, known := fixed[c.Major]
	return n < need || !known && c.Major < 19
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)(?:\.\d+|beta\d+|rc\d+|devel))`)

// Find returns the installed clients, by major, ascending. It looks into the given folders first, then where
// Debian and Heroku keep them (/usr/lib/postgresql/*/bin), then into those of path, a list such as $PATH. Of
// one major the first found counts. A folder without both programs is passed over.
func Find(ctx context.Context, dirs []string, path string) []Client {
	return find(ctx, dirs, path, "pg_dump", "pg_restore")
}

// FindServers returns the installed majors that have the server's programs beside the client's, as Find does.
func FindServers(ctx context.Context, dirs []string, path string) []Client {
	return find(ctx, dirs, path, "pg_dump", "pg_restore", "initdb", "postgres")
}

func find(ctx context.Context, dirs []string, path string, programs ...string) []Client {
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	var found []Client
	for _, dir := range slices.Concat(dirs, debian, filepath.SplitList(path)) {
		c, ok := inspect(ctx, dir, programs)
		if ok && !slices.ContainsFunc(found, func(o Client) bool { return o.Major == c.Major }) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b Client) int { return a.Major - b.Major })
	return found
}

func inspect(ctx context.Context, dir string, programs []string) (Client, bool) {
	for _, program := range programs {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.IsDir() || !filepath.IsAbs(dir) {
			return Client{}, false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "pg_dump"), "--version")
	cmd.Env, cmd.WaitDelay = environment(), time.Second
	out, err := cmd.Output()
	m := versionLine.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		return Client{}, false
	}
	major, _ := strconv.Atoi(m[2])
	return Client{Major: major, Version: m[1], Dir: dir}, true
}

// Choose returns the client for a server: of its own major, because what a newer pg_dump writes an older
// server may refuse to restore; or the nearest newer one, and then exact is false. Errors: *remora.Failure
// with ReasonVersionMismatch when the server is newer than every client, ReasonNoClient when there is none.
func Choose(clients []Client, serverMajor int) (c Client, exact bool, err error) {
	if len(clients) == 0 {
		return Client{}, false, &remora.Failure{Reason: remora.ReasonNoClient}
	}
	for _, c := range clients {
		if c.Major >= serverMajor {
			return c, c.Major == serverMajor, nil
		}
	}
	return Client{}, false, &remora.Failure{Reason: remora.ReasonVersionMismatch}
}
