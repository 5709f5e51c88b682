package archivestore_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

const known = "testdata/known"

func knownFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(known, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What former releases have stored opens: by the service, by a copy of its files, and by the age command alone.
func TestWhatWasStoredBeforeOpens(t *testing.T) {
	t.Parallel()
	plain := knownFile(t, "plain.dump")
	ring, err := keyring.Parse(redact.New(string(knownFile(t, "ring.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	ref := archivestore.Ref{Resource: "01234567-89ab-cdef-0123-456789abcdef", Backup: "fedcba98-7654-4210-8edc-ba9876543210", Epoch: 3}
	for dir, keys := range map[string][]string{"v1-one-key": {"resource.key"}, "v1-several-keys": {"resource.key", "owner.key"}} {
		bucket := s3test.Open(t, s3test.Config(t))
		files := inMemory{}
		for _, name := range []string{"manifest", "head", "body-001", "contents"} {
			files[name] = knownFile(t, dir+"/"+name)
			if _, err := bucket.PutIfAbsent(t.Context(), keyOf(ref, name), files[name]); err != nil {
				t.Fatal(err)
			}
		}
		m, err := archivestore.ReadManifest(t.Context(), bucket, ref, ring)
		if err != nil {
			t.Fatal(dir, err)
		}
		if err := archivestore.Verify(t.Context(), bucket, m); err != nil {
			t.Error(dir, err)
		}
		for _, name := range keys {
			opening, err := seal.ParseKeys(redact.New(string(knownFile(t, name))))
			if err != nil {
				t.Fatal(err)
			}
			if m.SealedTo != nil && !slices.Contains(m.SealedTo, seal.Fingerprint(opening[0].Recipient())) {
				t.Error(dir, name, m.SealedTo)
			}
			r, err := archivestore.Open(t.Context(), bucket, ref, opening[0], ring)
			if err != nil {
				t.Fatal(dir, name, err)
			}
			if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, plain) {
				t.Error(dir, name, err)
			}
			got, listed, err := copied(files, opening...)
			if err != nil || !bytes.Equal(got, plain) || !bytes.Contains(listed, []byte(`"name":"known"`)) {
				t.Error(dir, name, err)
			}
			var byAge []byte
			for _, part := range []string{"head", "body-001"} {
				out, err := exec.CommandContext(t.Context(), "age", "--decrypt", "-i", filepath.Join(known, name), filepath.Join(known, dir, part)).Output()
				if err != nil {
					t.Fatal("age, which make setup/test installs: ", err)
				}
				byAge = append(byAge, out...)
			}
			if !bytes.Equal(byAge, plain) {
				t.Error(dir, name, "age reads something else")
			}
		}
	}
}
