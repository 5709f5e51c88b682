package jobworkers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// A thief of the bucket alone has sealed bytes: of no row, no table and no column a word is found in any object, neither as it
// is nor unpacked. With the resource's key the same search finds all of them.
func TestTheBucketAloneOpensNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const canary = "canary-in-a-row-4711"
	pgtest.Exec(t, b.dbURL, "CREATE TABLE canary_table (canary_column text)", "INSERT INTO canary_table VALUES ('"+canary+"')", "GRANT SELECT ON canary_table TO public")
	b.connect(t)
	got := b.attempt(t)
	if got.State != remora.BackupVerified {
		t.Fatalf("%+v", got)
	}
	words := []string{canary, "canary_table", "canary_column"}
	names := []string{"helper", "postgresql-x", "shop", "REMORA_DB", "remora_ro", b.key.Secret().Reveal(), b.key.Recipient()}
	objects := 0
	err := b.Bucket.List(t.Context(), "", func(o objectstore.Object) error {
		stored, err := b.Bucket.Get(t.Context(), o.Key, 64<<20)
		if err != nil {
			return err
		}
		objects++
		for _, text := range [][]byte{stored, b.unpacked(t, stored)} {
			for _, word := range slices.Concat(words, names) {
				if bytes.Contains(text, []byte(word)) {
					t.Errorf("%s shows %q", o.Key, word)
				}
			}
		}
		return nil
	})
	if err != nil || objects < 5 { // the copy of the key among them
		t.Fatal(objects, err)
	}
	ref := archivestore.Ref{Resource: b.id, Backup: got.ID, Epoch: got.Epoch}
	stranger, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archivestore.Open(t.Context(), b.Bucket, ref, stranger, b.Keys); !errors.Is(err, seal.ErrWrongKey) {
		t.Error(err)
	}
	r, err := archivestore.Open(t.Context(), b.Bucket, ref, b.key, b.Keys)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	origin, err := r.Manifest.OpenOrigin(b.key)
	if err != nil || origin == nil {
		t.Fatal(origin, err)
	}
	if o := fmt.Sprintf("%+v", *origin); !strings.Contains(o, "postgresql-x") || !strings.Contains(o, "remora_ro") || !strings.Contains(o, "REMORA_DB") || origin.Backup.State != got.State || origin.Backup.Rows != got.Rows {
		t.Errorf("opened, the manifest does not say where it comes from: %s", o)
	}
	text := b.unpacked(t, plain)
	for _, word := range words {
		if !bytes.Contains(text, []byte(word)) {
			t.Errorf("opened, it does not show %q, so the search proves nothing", word)
		}
	}
}

// unpacked is what pg_restore makes of bytes; nothing where they are no archive.
func (b *bundle) unpacked(t *testing.T, archive []byte) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	text, _ := exec.CommandContext(t.Context(), filepath.Join(b.Clients[0].Dir, "pg_restore"), "-f", "-", name).Output() // which fails on what is none
	return text
}
