package pipeline_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/randomdb"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

var (
	databases = flag.Int("databases", 15, "how many random databases are backed up and restored; -rapid.seed=N makes the same ones again")
	others    = flag.Bool("others", false, "other databases than the usual ones")
)

var cluster = sync.OnceValues(func() (*localpg.Cluster, error) {
	return localpg.Start(context.Background(), localpg.Config{TLS: true})
})

func TestMain(m *testing.M) {
	code := s3test.Main(m)
	if c, err := cluster(); err == nil {
		_ = c.Stop()
	}
	os.Exit(code)
}

// reader is the role that backs up.
const reader = "reader"

type world struct {
	pg     *localpg.Cluster
	source pipeline.Source
	bucket *objectstore.Bucket
	key    seal.Key
	keys   *keyring.Keyring
	comp   *pgarchive.Compressor
}

func newWorld(t *testing.T) *world {
	t.Helper()
	pg, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{pg: pg, bucket: s3test.Open(t, s3test.Config(t))}
	key, kerr := seal.NewKey()
	keys, rerr := keyring.Parse(keyring.Generate("k1"))
	comp, cerr := pgarchive.NewCompressor(2, pgarchive.Fast)
	if err := errors.Join(kerr, rerr, cerr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = comp.Close() })
	w.key, w.keys, w.comp = key, keys, comp
	client := pgdump.Find(t.Context(), []string{pg.BinDir()}, "")[0]
	_, port := pg.Addr()
	w.source = pipeline.Source{
		Client: client, ServerMajor: client.Major, ServerVersion: client.Version, Addr: netip.MustParseAddr("127.0.0.1"),
		Credential: credential.Credential{Host: "db.example", Port: uint16(port), User: reader, Password: redact.New("secret")},
	}
	err = w.exec(t.Context(), "postgres", "CREATE ROLE "+reader+" LOGIN BYPASSRLS PASSWORD 'secret'", "GRANT pg_read_all_data TO "+reader,
		`CREATE ROLE "`+strings.ReplaceAll(randomdb.Role, `"`, `""`)+`"`)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) exec(ctx context.Context, db string, statements ...string) error {
	conn, err := pgx.Connect(ctx, w.pg.SuperuserURL(db))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// Databases that nobody would think of, backed up as the service does it, read back from the store and restored by stock
// pg_restore: the copy's server says that it holds the same, and so do the counts of the backup.
func TestRandomDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if f := flag.Lookup("rapid.seed"); f.Value.String() == "0" && !*others {
		set(t, "rapid.seed", "1") // the same databases every time, so that a change is what breaks this
	} else if f.Value.String() == "0" {
		set(t, "rapid.seed", strconv.FormatUint(rand.Uint64(), 10))
	}
	set(t, "rapid.checks", strconv.Itoa(*databases))
	set(t, "rapid.nofailfile", "true") // the seed says it all
	t.Log("-rapid.seed=" + flag.Lookup("rapid.seed").Value.String())
	n, has := 0, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		d := randomdb.Generator().Draw(rt, "database")
		n++
		for what := range d.Has {
			has[what]++
		}
		if err := w.there(t.Context(), t.TempDir(), fmt.Sprintf("random_%d", n), d); err != nil {
			rt.Fatal(err)
		}
	})
	t.Log("databases that had:", has)
}

func set(t *testing.T, name, value string) {
	t.Helper()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}

// there takes a database there and back again.
func (w *world) there(ctx context.Context, dir, name string, d randomdb.Database) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	copied := name + "_copy"
	drop := []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "DROP DATABASE IF EXISTS " + copied + " WITH (FORCE)"}
	defer func() { err = errors.Join(err, w.exec(context.WithoutCancel(ctx), "postgres", drop...)) }()
	if err := w.exec(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0", "CREATE DATABASE "+copied+" TEMPLATE template0"); err != nil {
		return err
	}
	if err := d.Fill(ctx, w.pg.SuperuserURL(name)); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	const readable = `DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO ` + reader + `', o); END LOOP; END $$`
	if err := w.exec(ctx, name, readable); err != nil {
		return err
	}
	made, archive, err := w.backUp(ctx, dir, name)
	if err != nil {
		return err
	}
	if out, err := w.program(ctx, "pg_restore", "--exit-on-error", "--jobs=2", "--dbname="+w.pg.SuperuserURL(copied), archive); err != nil || out != "" {
		return fmt.Errorf("restore: %w: %s", err, out)
	}
	if err := w.equal(ctx, name, copied); err != nil {
		return err
	}
	return w.checks(ctx, dir, copied, made.Contents)
}

func (w *world) program(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(w.source.Client.Dir, name), args...).CombinedOutput()
	return string(out), err
}

// stored is how many bytes the bodies have in the store.
func stored(made pipeline.Made) (sum int64) {
	for _, o := range made.Manifest.Objects[1:] {
		sum += o.Size
	}
	return sum
}

// backUp makes an archive in the store and reads it back into a file.
func (w *world) backUp(ctx context.Context, dir, name string) (pipeline.Made, string, error) {
	from := w.source
	from.Credential.Database = name
	ref := archivestore.Ref{Resource: remora.NewID[remora.ResourceID](), Backup: remora.NewID[remora.BackupID](), Epoch: 1}
	var told pipeline.Progress
	made, err := pipeline.Run(ctx, from, pipeline.Destination{Bucket: w.bucket, Ref: ref, Recipients: []string{w.key.Recipient()}, Keys: w.keys},
		pipeline.Options{Compress: w.comp, Now: time.Now, Progress: func(p pipeline.Progress) { told = p }})
	if err != nil {
		return made, "", fmt.Errorf("back up: %w", err)
	}
	if in, out := made.Manifest.PlainSize, stored(made); told.Done != told.Total || told.Bytes <= 0 || told.Out > out || (told.Out == 0) != (out == 0) {
		return made, "", fmt.Errorf("at its end it was told %+v of %d bytes, %d stored", told, in, out)
	}
	archive, err := archivestore.Open(ctx, w.bucket, ref, w.key, w.keys)
	if err != nil {
		return made, "", err
	}
	path := filepath.Join(dir, name)
	file, err := os.Create(path)
	if err != nil {
		return made, "", err
	}
	_, err = io.Copy(file, io.NewSectionReader(archive, 0, archive.Size()))
	return made, path, errors.Join(err, file.Close())
}

// equal asks both servers.
func (w *world) equal(ctx context.Context, one, two string) error {
	a, err := randomdb.Describe(ctx, w.pg.SuperuserURL(one))
	if err != nil {
		return err
	}
	b, err := randomdb.Describe(ctx, w.pg.SuperuserURL(two))
	if err != nil {
		return err
	}
	if reflect.DeepEqual(a, b) {
		return nil
	}
	var differ []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			differ = append(differ, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			differ = append(differ, "+ "+line)
		}
	}
	return fmt.Errorf("the copy differs:\n%s", strings.Join(differ, "\n"))
}

// checks runs the script that a customer is given.
func (w *world) checks(ctx context.Context, dir, db string, c *pgarchive.Contents) error {
	script := filepath.Join(dir, db+".sql")
	if err := os.WriteFile(script, []byte(c.Script()), 0o600); err != nil {
		return err
	}
	out, err := w.program(ctx, "psql", "-X", "-f", script, w.pg.SuperuserURL(db))
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := len(lines) - 1
	if !strings.HasPrefix(lines[last], "EQUAL: ") {
		return fmt.Errorf("the check of a restored copy ends: %s", lines[last])
	}
	lines = lines[:last]
	if want := len(c.Tables) + len(c.Sequences) + 1; len(lines) < want {
		return fmt.Errorf("%d lines for %d tables and sequences: %s", len(lines), want-1, out)
	}
	for i, line := range lines {
		if i < len(c.Tables) && strings.HasPrefix(line, "not checked:") && c.Tables[i].Via != "" {
			if err := w.moved(ctx, strings.TrimSuffix(db, "_copy"), db, c.Tables[i]); err != nil {
				return fmt.Errorf("%w: %s", err, line)
			}
			continue
		}
		if !strings.HasPrefix(line, "equal ") {
			return fmt.Errorf("the check of a restored copy says: %s", line)
		}
	}
	return nil
}

// moved demands that a table has the same rows in both, as COPY writes them, and in another order only. PostgreSQL puts a
// row into the room that is left on an earlier page, where it fits.
func (w *world) moved(ctx context.Context, one, two string, t pgarchive.Table) error {
	var rows [2][]string
	for i, db := range []string{one, two} {
		conn, err := pgx.Connect(ctx, w.pg.SuperuserURL(db))
		if err != nil {
			return err
		}
		columns := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			columns[i] = pgx.Identifier{c}.Sanitize()
		}
		list := ""
		if len(columns) > 0 {
			list = "(" + strings.Join(columns, ", ") + ")"
		}
		var text strings.Builder
		_, err = conn.PgConn().CopyTo(ctx, &text, "COPY "+pgx.Identifier{t.Schema, t.Name}.Sanitize()+list+" TO STDOUT")
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return err
		}
		rows[i] = strings.SplitAfter(text.String(), "\n")
	}
	if t.Via == "" && slices.Equal(rows[0], rows[1]) {
		return errors.New("the check finds a difference, and there is none")
	}
	slices.Sort(rows[0])
	slices.Sort(rows[1])
	if t.Via == "" && !slices.Equal(rows[0], rows[1]) {
		return errors.New("rows of the copy differ")
	}
	return nil
}
