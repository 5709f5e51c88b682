package archivestore_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// through gives a bundle's store behind a proxy with a rule.
func newBundleBehind(t *testing.T, r faultproxy.Rule) (direct, through bundle) {
	t.Helper()
	var cfg objectstore.Config
	direct = newBundle(t, func(c *objectstore.Config) {
		c.MaxParts, c.Attempts = 2, 2
		cfg = *c
	})
	proxy, err := faultproxy.NewHTTP(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	proxy.Add(r)
	cfg.Endpoint, cfg.HTTP = proxy.URL, &http.Client{Transport: &http.Transport{}}
	t.Cleanup(cfg.HTTP.CloseIdleConnections)
	through = direct
	through.bucket = s3test.Open(t, cfg)
	return direct, through
}

func (b bundle) try(t *testing.T, ref archivestore.Ref, size int) (*archivestore.Writer, error) {
	t.Helper()
	w := archivestore.Create(t.Context(), b.bucket, ref, b.key.Recipient())
	if _, err := w.Write(noise(size)); err != nil {
		return w, err
	}
	_, err := w.Commit(noise(1000), []byte(contents), archivestore.Manifest{}, b.keys, time.Now())
	return w, err
}

func (b bundle) empty(t *testing.T) {
	t.Helper()
	if open, err := b.bucket.OpenUploads(t.Context(), ""); err != nil || len(open)+len(b.keysOf(t)) > 0 {
		t.Errorf("left: %v %v %v", b.keysOf(t), open, err)
	}
}

// Wherever the commit fails, even where the store did the work and its answers are lost for good, there is no
// backup, and Abort removes the rest.
func TestAFailedCommitIsNoBackup(t *testing.T) {
	t.Parallel()
	failed := faultproxy.Answer(500, `<Error><Code>InternalError</Code></Error>`)
	for name, match := range map[string]func(*http.Request) bool{
		"body-001": func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
		"body-002": func(r *http.Request) bool { return r.Method == http.MethodPut },
		"manifest": func(r *http.Request) bool { return r.Method == http.MethodPut },
		"head":     func(r *http.Request) bool { return r.Method == http.MethodPut },
	} {
		for how, fault := range map[string]faultproxy.Fault{"refused": failed, "unknown": faultproxy.DropReply()} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				ref := newRef()
				direct, through := newBundleBehind(t, faultproxy.Rule{
					Match: func(r *http.Request) bool {
						// With answers lost, the question what became of it gets none either.
						return strings.HasSuffix(r.URL.Path, "/"+name) && (match(r) || (how == "unknown" && r.Method == http.MethodHead))
					},
					Do: fault,
				})
				w, err := through.try(t, ref, 12<<20)
				if err == nil {
					t.Fatal("committed")
				}
				if err := w.Abort(); err != nil {
					t.Error(err)
				}
				if _, err := archivestore.Open(t.Context(), direct.bucket, ref, direct.key, direct.keys); err == nil {
					t.Error("it opens")
				}
				direct.empty(t)
			})
		}
	}
}

func TestTheHeadsLostAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	direct, through := newBundleBehind(t, faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/head")
		},
		Do: faultproxy.DropReply(),
	})
	ref := newRef()
	if _, err := through.try(t, ref, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := archivestore.Open(t.Context(), direct.bucket, ref, direct.key, direct.keys); err != nil {
		t.Error(err)
	}
}

func TestAKeyThatMayNotDeleteLeavesItToTheDeleter(t *testing.T) {
	t.Parallel()
	direct, through := newBundleBehind(t, faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return (r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/head")) ||
				(r.Method == http.MethodDelete && !r.URL.Query().Has("uploadId"))
		},
		Do: faultproxy.Answer(403, `<Error><Code>AccessDenied</Code></Error>`),
	})
	ref := newRef()
	w, err := through.try(t, ref, 12<<20)
	if err == nil {
		t.Fatal("committed")
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := direct.keysOf(t); len(left) != 4 {
		t.Errorf("left %v", left)
	}
	if err := archivestore.Delete(t.Context(), direct.bucket, ref); err != nil {
		t.Error(err)
	}
	direct.empty(t)
}

func TestADownloadSurvivesABreak(t *testing.T) {
	t.Parallel()
	direct, through := newBundleBehind(t, faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/body-")
		},
		Skip: 1, Times: 2, Do: faultproxy.CutReply(100_000),
	})
	ref := newRef()
	direct.store(t, ref, noise(10), noise(9<<20))
	r, err := archivestore.Open(t.Context(), through.bucket, ref, direct.key, direct.keys)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, r.Size())); err != nil || n != r.Size() {
		t.Errorf("read %d bytes: %v", n, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	one, two, three := newRef(), newRef(), newRef()
	two.Resource = one.Resource
	tenth := one
	tenth.Epoch = 10 // its prefix begins with epoch 1's digits
	for _, ref := range []archivestore.Ref{one, two, three, tenth} {
		b.store(t, ref, []byte("head"), []byte("body"))
	}
	for range 2 {
		if err := archivestore.Delete(t.Context(), b.bucket, one); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.keysOf(t)); n != 12 {
		t.Errorf("%d objects are left", n)
	}
	if gone, err := archivestore.DeleteResource(t.Context(), b.bucket, one.Resource); err != nil || gone.Objects == 0 || gone.Bytes == 0 {
		t.Fatal(err)
	}
	if n := len(b.keysOf(t)); n != 4 {
		t.Errorf("%d objects are left", n)
	}
	for _, ref := range []archivestore.Ref{{}, {Resource: one.Resource}, {Resource: one.Resource, Backup: one.Backup}, {Resource: "x", Backup: one.Backup, Epoch: 1}} {
		if archivestore.Delete(t.Context(), b.bucket, ref) == nil {
			t.Errorf("deleted %+v", ref)
		}
	}
	for _, id := range []remora.ResourceID{"", "r"} {
		if _, err := archivestore.DeleteResource(t.Context(), b.bucket, id); err == nil {
			t.Errorf("deleted %q", id)
		}
	}
}
