package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/seal"
)

// What former releases have sealed opens, at any offset and as a stream (internal/archivestore/testdata/known/README.md).
func TestWhatWasSealedBeforeOpens(t *testing.T) {
	t.Parallel()
	const known = "../archivestore/testdata/known/"
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(known + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := read("plain.dump")
	for dir, keys := range map[string][]string{"v1-one-key/": {"resource.key"}, "v1-several-keys/": {"resource.key", "owner.key"}} {
		var m struct {
			Manifest struct {
				Objects []struct {
					Name      string `json:"name"`
					Size      int64  `json:"size"`
					PlainSize int64  `json:"plain_size"`
					Opening   string `json:"opening"`
				} `json:"objects"`
			} `json:"manifest"`
		}
		if err := json.Unmarshal(read(dir+"manifest"), &m); err != nil || len(m.Manifest.Objects) != 2 {
			t.Fatal(dir, err)
		}
		for _, name := range keys {
			opening, err := seal.ParseKeys(redact.New(string(read(name))))
			if err != nil {
				t.Fatal(err)
			}
			var at, streamed []byte
			for _, o := range m.Manifest.Objects {
				stored := read(dir + o.Name)
				digest, err := hex.DecodeString(o.Opening)
				if err != nil {
					t.Fatal(err)
				}
				f := seal.File{Size: o.Size, PlainSize: o.PlainSize, Opening: digest}
				r, err := seal.OpenAt(bytes.NewReader(stored), f, opening...)
				if err != nil {
					t.Fatal(dir, name, err)
				}
				piece, err := io.ReadAll(io.NewSectionReader(r, 0, o.PlainSize))
				if err != nil {
					t.Error(dir, name, err)
				}
				at = append(at, piece...)
				s, err := seal.Open(bytes.NewReader(stored), f, opening...)
				if err != nil {
					t.Fatal(dir, name, err)
				}
				if piece, err = io.ReadAll(s); err != nil {
					t.Error(dir, name, err)
				}
				streamed = append(streamed, piece...)
			}
			if !bytes.Equal(at, plain) || !bytes.Equal(streamed, plain) {
				t.Error(dir, name, "opens as something else")
			}
		}
	}
}
