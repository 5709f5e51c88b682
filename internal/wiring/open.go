package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/seal"
)

// open opens an archive with its files and a key, without the service. The archive goes to a file, which is whole or is
// not there, or to stdout; what is said goes to stderr.
func open(ctx context.Context, s config.Open, stdout, stderr io.Writer) error {
	keys, err := readKeys(s.Key)
	if err != nil {
		return err
	}
	if f, ok := stdout.(*os.File); ok && s.To == "" {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return errors.New("an archive is nothing for a screen: name a file with -o, or pipe it to pg_restore")
		}
	}
	files, err := filesAt(ctx, s)
	if err != nil {
		return err
	}
	c, err := archivestore.OpenCopy(ctx, files, keys)
	if err != nil {
		return said(err)
	}
	m := c.Manifest
	_, _ = fmt.Fprintf(stderr, "Backup %s of add-on %s, ended %s, by pg_dump %s: %d bytes.\n", m.Backup, m.Resource, m.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC"), m.ClientVersion, m.PlainSize)
	if s.Check != "" {
		if err := writeCheck(ctx, c, s.Check); err != nil {
			return said(err)
		}
	}
	write := func(w io.Writer) error {
		return c.WriteTo(ctx, &progress{Writer: w, ctx: ctx, to: stderr, of: m.PlainSize, next: time.Now().Add(tellEvery)})
	}
	if s.To == "" {
		if err := write(stdout); err != nil {
			return fmt.Errorf("what was written is not the whole archive: %w", said(err))
		}
		return nil
	}
	if err := writeWhole(s.To, write); err != nil {
		return said(err)
	}
	_, _ = fmt.Fprintf(stderr, "%s is whole: every byte was authenticated, and every file is the one that its manifest names. Restore it with\n  pg_restore --no-owner --no-acl --dbname=EMPTY %s\n", s.To, s.To)
	return nil
}

// said turns what readers and the library say into words for whoever has a folder and a key.
func said(err error) error {
	switch {
	case errors.Is(err, archivestore.ErrNotOurs):
		return errors.New("the file called manifest is none, or not whole: fetch it again")
	case errors.Is(err, seal.ErrForged):
		return fmt.Errorf("%w. It was changed, or belongs to another backup: fetch it again", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, objectstore.ErrNotFound):
		return fmt.Errorf("a file of the archive is missing: %w", err)
	}
	return err
}

func readKeys(name string) ([]seal.Key, error) {
	text, err := os.ReadFile(name) //nolint:gosec // what the operator names
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	if strings.HasPrefix(string(text), "age-encryption.org/") || strings.HasPrefix(string(text), "-----BEGIN AGE") {
		return nil, fmt.Errorf("%s is itself sealed with a password: open it with age --decrypt first", name)
	}
	keys, err := seal.ParseKeys(redact.New(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no key: one begins with AGE-SECRET-KEY-1", name) // err says less
	}
	return keys, nil
}

// tellEvery is how often it is said how far it is.
const tellEvery = 2 * time.Second

// progress says from time to time how much has passed, and lets nothing pass once ctx has ended.
type progress struct {
	io.Writer
	ctx      context.Context // of the one command
	to       io.Writer
	done, of int64
	next     time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.Writer.Write(b)
	if p.done += int64(n); time.Now().After(p.next) {
		_, _ = fmt.Fprintf(p.to, "%d of %d MB\n", p.done/1_000_000, p.of/1_000_000)
		p.next = time.Now().Add(tellEvery)
	}
	return n, err
}

// writeWhole makes a file that appears when it is whole, and can be read by its owner alone. What is there already stays.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it has its other name by then, or is not wanted
	if err = errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), name)
	if err != nil && !errors.Is(err, fs.ErrExist) { // a file system without second names
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("name the file: %w", err)
	}
	return nil
}

// writeCheck writes the script that holds a restored copy against what was counted.
func writeCheck(ctx context.Context, c *archivestore.Copy, name string) error {
	contents, err := c.Contents(ctx)
	if err != nil {
		return err
	}
	if contents == nil {
		return errors.New("the rows of this backup were not counted, so there is no script that checks a copy")
	}
	return writeWhole(name, func(w io.Writer) error { return pgarchive.WriteScript(w, strings.NewReader(string(contents))) })
}

// filesAt finds the one archive that is at a place.
func filesAt(ctx context.Context, s config.Open) (archivestore.Files, error) {
	if strings.HasPrefix(s.From, "https://") || strings.HasPrefix(s.From, "http://") {
		return linked{dialer.HTTPClient(0), strings.TrimRight(s.From, "/")}, nil
	}
	var at place
	var names []string
	var err error
	if rest, ok := strings.CutPrefix(s.From, "s3://"); ok {
		at, names, err = inBucket(ctx, s, rest)
	} else {
		at, names, err = inFolder(s.From)
	}
	if err != nil {
		return nil, err
	}
	switch runs := whole(names); len(runs) {
	case 1:
		return within{at, runs[0]}, nil
	case 0:
		return nil, fmt.Errorf("there is no archive at %s: it is a folder with files called head, manifest and, as a rule, body-001", s.From)
	default:
		return nil, fmt.Errorf("there are %d archives at %s; name one of them:\n%s", len(runs), s.From, list(ctx, at, runs))
	}
}

// whole are the folders that hold a head and a manifest, of files with those names.
func whole(names []string) (runs []string) {
	manifests := map[string]bool{}
	for _, name := range names {
		if dir, file := path.Split(name); file == "manifest" {
			manifests[dir] = true
		}
	}
	for _, name := range names {
		if dir, file := path.Split(name); file == "head" && manifests[dir] {
			runs = append(runs, dir)
		}
	}
	slices.Sort(runs)
	return runs
}

// listed is how many archives are named where there are several.
const listed = 50

// list names archives with the time of each.
func list(ctx context.Context, at place, runs []string) string {
	var out strings.Builder
	for i, run := range runs {
		if i == listed {
			fmt.Fprintf(&out, "  … and %d more\n", len(runs)-listed)
			break
		}
		made := "not readable"
		if c, err := archivestore.OpenCopy(ctx, within{at, run}, nil); err == nil {
			made = c.Manifest.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		fmt.Fprintf(&out, "  %s  %q\n", made, strings.TrimSuffix(run, "/")) // anybody may have named it
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// place opens files by their names, with slashes.
type place interface {
	open(ctx context.Context, name string) (io.ReadCloser, error)
}

// within is one archive of a place.
type within struct {
	place
	dir string
}

// Open implements archivestore.Files.
func (w within) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return w.open(ctx, w.dir+name)
}

type folder struct{ root *os.Root }

func (f folder) open(_ context.Context, name string) (io.ReadCloser, error) {
	return f.root.Open(filepath.FromSlash(name))
}

// inFolder lists a folder's files, and those of the folders in it.
func inFolder(name string) (place, []string, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open the folder: %w", err)
	}
	var names []string
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the folder: %w", err)
	}
	return folder{root}, names, nil // the process ends with the command, and the folder with it
}

type bucketed struct {
	*objectstore.Bucket
	prefix string
}

func (b bucketed) open(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.Head(ctx, b.prefix+name)
	if err != nil {
		return nil, err
	}
	return b.OpenRange(ctx, b.prefix+name, 0, o.Size)
}

// inBucket lists what is in a bucket below BUCKET/PREFIX.
func inBucket(ctx context.Context, s config.Open, rest string) (place, []string, error) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	if s.Endpoint == "" {
		s.Endpoint = "https://s3." + s.Region + ".amazonaws.com"
	}
	if s.AccessKey == "" || s.SecretKey.IsZero() {
		return nil, nil, errors.New("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may read the bucket")
	}
	b, err := objectstore.New(objectstore.Config{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Session: s.Session, PathStyle: s.PathStyle, HTTP: dialer.HTTPClient(0),
	})
	if err != nil {
		return nil, nil, err
	}
	var names []string
	err = b.List(ctx, prefix, func(o objectstore.Object) error {
		names = append(names, strings.TrimPrefix(o.Key, prefix))
		return nil
	})
	return bucketed{b, prefix}, names, err
}

// linked are the files behind a download link.
type linked struct {
	client *http.Client
	link   string
}

// Open implements archivestore.Files.
func (l linked) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.link+"/sealed/"+name, nil)
	if err != nil {
		return nil, errors.New("the link is not an address")
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, errors.New("the server does not answer") // err holds the link
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	words, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	_ = resp.Body.Close() // it was refused
	return nil, fmt.Errorf("the server refuses: %s: %s", resp.Status, strings.TrimSpace(string(words)))
}
