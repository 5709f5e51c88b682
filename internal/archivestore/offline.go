package archivestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// Files are the objects of one run, wherever they lie now: in a folder, in a bucket, behind a link.
type Files interface {
	// Open reads an object from its start, by its name within the run. The caller closes what it returns.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Copy is an archive that is opened without this service: by its files and a key that it is sealed to. The manifest's MAC
// cannot be checked then, for only the service has the key of that. What is checked is that the files are those that
// the manifest names, to the last byte; of which backup they are, the manifest says.
type Copy struct {
	Manifest Manifest
	files    Files
	keys     []seal.Key
}

// OpenCopy reads the manifest. Errors: ErrNotOurs where it is none, and those of Files.
func OpenCopy(ctx context.Context, files Files, keys []seal.Key) (*Copy, error) {
	in, err := files.Open(ctx, manifestName)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxManifest+1))
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	c := &Copy{files: files, keys: keys}
	var e envelope
	if len(raw) > maxManifest || json.Unmarshal(raw, &e) != nil || json.Unmarshal(e.Manifest, &c.Manifest) != nil {
		return nil, ErrNotOurs
	}
	m := c.Manifest
	_, rerr := remora.ParseResourceID(string(m.Resource))
	_, berr := remora.ParseBackupID(string(m.Backup))
	// Nothing vouches for it here, and people are shown it: no control character gets to a terminal.
	shown := strings.Join(slices.Concat(m.SealedTo, []string{m.ClientVersion}), " ")
	if m.Format != manifestFormat || !m.adds() || rerr != nil || berr != nil || strings.ContainsFunc(shown, unicode.IsControl) {
		return nil, ErrNotOurs
	}
	return c, nil
}

// WriteTo writes the archive, as pg_restore reads it: every byte only after it was authenticated, and an error after the
// last one where a file is not the one that the manifest names. Whoever passes the bytes on as they come must heed it.
func (c *Copy) WriteTo(ctx context.Context, w io.Writer) error {
	for _, o := range c.Manifest.Objects {
		if err := c.write(ctx, w, o); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return nil
}

// Contents returns what the archive contains, as JSON; nil where nobody had counted.
func (c *Copy) Contents(ctx context.Context) ([]byte, error) {
	o := c.Manifest.Contents
	if o == nil {
		return nil, nil
	}
	if o.tooLong() {
		return nil, ErrNotOurs
	}
	var out bytes.Buffer
	if err := c.write(ctx, &out, *o); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	return unpack(out.Bytes(), *o)
}

func (c *Copy) write(ctx context.Context, w io.Writer, o StoredObject) error {
	in, err := c.files.Open(ctx, o.Name)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was read, or is given up
	sum := sha256.New()
	stored := io.TeeReader(in, sum)
	plain, err := seal.Open(stored, o.file(), c.keys...)
	if errors.Is(err, seal.ErrWrongKey) {
		return c.wrongKey()
	}
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{plain}, make([]byte, 1<<20))
	}
	if err == nil { // nothing may follow; age has seen that, and this reads the rest where it has not
		_, err = io.Copy(io.Discard, stored)
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != o.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is not the manifest's", seal.ErrForged)
	}
	return nil
}

// wrongKey names the keys that would do, and those that there are.
func (c *Copy) wrongKey() error {
	have := make([]string, len(c.keys))
	for i, k := range c.keys {
		have[i] = seal.Fingerprint(k.Recipient())
	}
	if len(c.Manifest.SealedTo) == 0 || slices.ContainsFunc(have, func(k string) bool { return slices.Contains(c.Manifest.SealedTo, k) }) {
		return seal.ErrWrongKey
	}
	return fmt.Errorf("%w: to %s; yours are %s", seal.ErrWrongKey, strings.Join(c.Manifest.SealedTo, ", "), strings.Join(have, ", "))
}
