package wiring

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

// known is an archive that is sealed to a resource's key and its owner's (internal/archivestore/testdata/known/README.md).
const (
	known     = "../archivestore/testdata/known"
	knownRun  = known + "/v1-several-keys"
	knownKey  = known + "/owner.key"
	knownPath = "r/01234567-89ab-cdef-0123-456789abcdef/b/fedcba98-7654-4210-8edc-ba9876543210/3/"
)

// opened runs the command.
func opened(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = Run(t.Context(), append([]string{"open"}, args...), &out, &said, dialer.Strict())
	return out.String(), said.String(), err
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An archive is opened by its files and a key, wherever the files are, without a setting of the service.
func TestOpenWithoutTheService(t *testing.T) { //nolint:paralleltest // the environment is the process's
	plain := readFile(t, known+"/plain.dump")
	link := httptest.NewServer(http.StripPrefix("/d/token/sealed/", http.FileServer(http.Dir(knownRun))))
	defer link.Close()
	cfg := s3test.Config(t)
	bucket := s3test.Open(t, cfg)
	for _, name := range []string{"manifest", "head", "body-001", "contents"} {
		if _, err := bucket.PutIfAbsent(t.Context(), knownPath+name, []byte(readFile(t, knownRun+"/"+name))); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", cfg.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", cfg.SecretKey.Reveal())
	t.Setenv("AWS_ENDPOINT_URL", cfg.Endpoint)
	for name, from := range map[string][]string{
		"folder": {knownRun}, "link": {link.URL + "/d/token"}, "bucket": {"--path-style", "s3://" + cfg.Bucket + "/" + strings.TrimSuffix(knownPath, "/")},
		"whole bucket": {"--path-style", "s3://" + cfg.Bucket},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{knownKey, known + "/resource.key"} {
				to := filepath.Join(t.TempDir(), "backup.dump")
				_, said, err := opened(t, append([]string{"--key", key, "-o", to}, from...)...)
				if err != nil {
					t.Fatal(err, said)
				}
				info, err := os.Stat(to)
				if err != nil || info.Mode() != 0o600 || readFile(t, to) != plain {
					t.Error(err, info.Mode())
				}
				if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) != 1 {
					t.Error(left, err)
				}
				if !strings.Contains(said, "fedcba98-7654-4210-8edc-ba9876543210") || !strings.Contains(said, "pg_restore --no-owner") {
					t.Error(said)
				}
			}
			out, _, err := opened(t, append([]string{"-i", knownKey}, from...)...) // into a pipe
			if err != nil || out != plain {
				t.Error(err, len(out))
			}
		})
	}
	out, err := exec.CommandContext(t.Context(), "pg_restore", "-f", "-", known+"/plain.dump").Output()
	if err != nil || !strings.Contains(string(out), "answer 100") {
		t.Errorf("pg_restore: %v", err)
	}
}

// The script that it writes holds a copy against what was counted.
func TestOpenWritesTheCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := filepath.Join(dir, "check.sql")
	if _, said, err := opened(t, "-i", knownKey, "--check", check, "-o", filepath.Join(dir, "x"), knownRun); err != nil {
		t.Fatal(err, said)
	}
	if text := readFile(t, check); !strings.Contains(text, "known") {
		t.Error(text)
	}
}

// What goes wrong is a sentence with what to do, leaves no file behind, and shows no key.
func TestOpenSaysWhatIsWrong(t *testing.T) { //nolint:paralleltest // the environment is the process's
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	stranger, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	other := write("other.key", "# mine\n"+stranger.Secret().Reveal()+"\n")
	// run copies the archive into a folder of that name, changed.
	run := func(name string, change func(file, text string) string) string {
		for _, file := range []string{"manifest", "head", "body-001", "contents"} {
			if text := change(file, readFile(t, knownRun+"/"+file)); text != "" {
				write(name+"/"+file, text)
			}
		}
		return filepath.Join(dir, name)
	}
	of := func(which string, text func(string) string) func(file, text string) string {
		return func(file, old string) string {
			if file == which {
				return text(old)
			}
			return old
		}
	}
	flip := func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]^1) }
	same := func(_, text string) string { return text }
	run("two/b/1/1", same)
	run("two/b/2/1", same)
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "This link has ended.", http.StatusGone) }))
	defer gone.Close()
	there := write("there.dump", "mine")
	for name, c := range map[string]struct {
		from, key, to string
		want          string
	}{
		"another's key":        {knownRun, other, "", "sealed to another key: to "},
		"no key":               {knownRun, write("empty.key", "# nothing\n"), "", "holds no key: one begins with AGE-SECRET-KEY-1"},
		"a public key":         {knownRun, write("public.key", stranger.Recipient()), "", "holds no key"},
		"a sealed key":         {knownRun, write("sealed.key", "age-encryption.org/v1\n-> scrypt x\n"), "", "open it with age --decrypt first"},
		"no such key":          {knownRun, dir + "/nobodys.key", "", "read the key: "},
		"no such folder":       {dir + "/nowhere", knownKey, "", "open the folder: "},
		"an empty folder":      {t.TempDir(), knownKey, "", "there is no archive at "},
		"no head":              {run("headless", of("head", func(string) string { return "" })), knownKey, "", "there is no archive at "},
		"two archives":         {dir + "/two", knownKey, "", "there are 2 archives at "},
		"a changed body":       {run("changed", of("body-001", flip)), knownKey, "", "body-001: "},
		"a short body":         {run("short", of("body-001", func(s string) string { return s[:len(s)-1] })), knownKey, "", "body-001: "},
		"a lost body":          {run("lost", of("body-001", func(string) string { return "" })), knownKey, "", "a file of the archive is missing: body-001: "},
		"another's head":       {run("swapped", of("head", func(string) string { return readFile(t, known+"/v1-one-key/head") })), knownKey, "", "It was changed, or belongs to another backup"},
		"a broken manifest":    {run("garbled", of("manifest", func(s string) string { return s[:100] })), knownKey, "", "the file called manifest is none"},
		"a file that is there": {knownRun, knownKey, there, "there.dump is there already"},
		"no folder to write":   {knownRun, knownKey, dir + "/nowhere/x.dump", "make the file: "},
		"a link that ended":    {gone.URL + "/d/token", knownKey, "", "the server refuses: 410 Gone: This link has ended."},
		"no server":            {"http://127.0.0.1:1/d/token", knownKey, "", "the server does not answer"},
		"no credentials":       {"s3://bucket/r", knownKey, "", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
	} {
		to := c.to
		if to == "" {
			to = filepath.Join(t.TempDir(), "backup.dump")
		}
		_, said, err := opened(t, "-i", c.key, "-o", to, c.from)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error()+said, "AGE-SECRET-KEY-1Q") || strings.Contains(err.Error(), "token") {
			t.Errorf("%s: a secret is shown: %v", name, err)
		}
		if c.to == "" {
			if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) != 0 {
				t.Errorf("%s: left: %v %v", name, left, err)
			}
		}
	}
	if readFile(t, there) != "mine" {
		t.Error("a file that was there was written over")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := filepath.Join(t.TempDir(), "x")
	if err := Run(ctx, []string{"open", "-i", knownKey, "-o", to, knownRun}, &bytes.Buffer{}, &bytes.Buffer{}, dialer.Strict()); err == nil {
		t.Error("it was stopped and went on")
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Error(err)
	}
}
