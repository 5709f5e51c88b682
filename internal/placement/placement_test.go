package placement_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/placement"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

func TestMain(m *testing.M) { os.Exit(s3test.Main(m)) }

// one is the only bucket that anybody has.
type one struct {
	remora.Place
	remora.BucketKeys
}

const (
	owner  = remora.ResourceID("11111111-1111-4111-8111-111111111111")
	theirs = remora.BucketID("22222222-2222-4222-8222-222222222222")
)

func (o one) OpenBucket(_ context.Context, id remora.ResourceID, b remora.BucketID) (remora.Bucket, remora.BucketKeys, error) {
	if id != owner || b != theirs {
		return remora.Bucket{}, remora.BucketKeys{}, remora.NotFound("bucket")
	}
	return remora.Bucket{ID: b, Place: o.Place}, o.BucketKeys, nil
}

func open(t *testing.T, o one, policy dialer.Policy, change ...func(*placement.Config)) *placement.Stores {
	t.Helper()
	cfg := placement.Config{Ours: s3test.Open(t, s3test.Config(t)), Buckets: o, Policy: policy, Resolver: net.DefaultResolver}
	for _, c := range change {
		c(&cfg)
	}
	s, err := placement.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// policies are those that docs/own-bucket.md has people paste, for a prefix.
func policies(t *testing.T, prefix string) (writer, deleter string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "own-bucket.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```json\n(\\{\\s+\"Version\".*?)```").FindAllStringSubmatch(string(text), -1)
	if len(found) != 2 {
		t.Fatalf("%d policies", len(found))
	}
	return strings.ReplaceAll(found[0][1], "PREFIX", prefix), strings.ReplaceAll(found[1][1], "PREFIX", prefix)
}

// bucket is a customer's, whose two keys may do what the documentation's policies say.
func bucket(t *testing.T) (objectstore.Config, one) {
	t.Helper()
	return in(t, s3test.Config(t))
}

// in is bucket in one that is there.
func in(t *testing.T, cfg objectstore.Config) (objectstore.Config, one) {
	t.Helper()
	writer, deleter := policies(t, "team/a")
	s3test.Allow(t, cfg, map[string]string{"worker": writer, "deleter": deleter})
	w, d := s3test.Key(cfg, "worker"), s3test.Key(cfg, "deleter")
	return cfg, one{
		remora.Place{Endpoint: cfg.Endpoint, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "team/a/", PathStyle: true},
		remora.BucketKeys{AccessKey: w.AccessKey, SecretKey: w.SecretKey, DeleteAccessKey: d.AccessKey, DeleteSecretKey: d.SecretKey},
	}
}

// without is a policy that does not allow one of its actions.
func without(t *testing.T, policy, action string) string {
	t.Helper()
	var p struct{ Statement []map[string]any }
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		t.Fatal(err)
	}
	n := len(p.Statement)
	p.Statement = slices.DeleteFunc(p.Statement, func(s map[string]any) bool { return s["Action"] == action })
	for _, s := range p.Statement {
		if all, ok := s["Action"].([]any); ok && slices.Contains(all, any(action)) {
			s["Action"] = slices.DeleteFunc(all, func(a any) bool { return a == action })
			n++
		}
	}
	if n == len(p.Statement) {
		t.Fatalf("the policy has no %s", action)
	}
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What a person gives is tried out as backups will use it, and each thing that is wrong is said in a sentence of its own.
func TestProbe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*one)
		without string // an action that the writer's policy, or after - the deleter's, lacks
		want    string // of the sentence; empty where the bucket is good
		lock    remora.BucketLockState
	}{
		"good":               {lock: remora.BucketLockOff},
		"may not ask":        {without: "s3:GetBucketObjectLockConfiguration"},
		"with spaces":        {change: func(o *one) { o.Endpoint, o.Prefix = " "+o.Endpoint+"/ ", "team/a" }, lock: remora.BucketLockOff},
		"no such bucket":     {change: func(o *one) { o.Bucket = "nobodys-bucket" }, want: "There is no bucket of this name"},
		"no such key":        {change: func(o *one) { o.AccessKey = "AKIAUNKNOWN" }, want: "does not know the access key"},
		"a wrong secret":     {change: func(o *one) { o.SecretKey = redact.New("not-the-secret") }, want: "does not belong to the access key"},
		"a deleter's secret": {change: func(o *one) { o.DeleteSecretKey = redact.New("not-the-secret") }, want: "does not belong to the access key"},
		"another region":     {change: func(o *one) { o.Region = "eu-west-1" }, want: "another region"},
		"another prefix":     {change: func(o *one) { o.Prefix = "team/b" }, want: "writing an object failed. The key may not write an object (s3:PutObject)."},
		"one that cannot be": {change: func(o *one) { o.Endpoint += "/path" }, want: "The endpoint must be https://"},
		"half a key":         {change: func(o *one) { o.DeleteSecretKey = redact.Secret{} }, want: "give both halves"},
		"no put":             {without: "s3:PutObject", want: "writing an object failed. The key may not write an object (s3:PutObject)."},
		"no get":             {without: "s3:GetObject", want: "failed. The key may not read an object (s3:GetObject)."},
		"no delete":          {without: "-s3:DeleteObject", want: "deleting an object failed. The key may not delete an object (s3:DeleteObject)."},
		"no list":            {without: "s3:ListBucket", want: "listing objects failed. The key may not list"},
		"no list of uploads": {without: "-s3:ListBucketMultipartUploads", want: "listing unfinished uploads failed. The key may not list unfinished uploads"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, o := bucket(t)
			if c.without != "" {
				writer, deleter := policies(t, "team/a")
				action, of := strings.CutPrefix(c.without, "-")
				if of {
					deleter = without(t, deleter, action)
				} else {
					writer = without(t, writer, action)
				}
				s3test.Allow(t, cfg, map[string]string{"worker": writer, "deleter": deleter})
			}
			if c.change != nil {
				c.change(&o)
			}
			got, err := open(t, o, dialer.AllowLoopback()).Probe(t.Context(), owner, o.Place, o.BucketKeys)
			if c.want == "" {
				if err != nil || got != (remora.Probed{ObjectLock: remora.BucketLock{State: c.lock}}) {
					t.Errorf("%+v %v", got, err)
				}
			} else if remora.KindOf(err) != remora.KindInvalid || !strings.Contains(remora.Public(err, ""), c.want) {
				t.Errorf("said %q; %v", remora.Public(err, ""), err)
			}
			if c.without == "-s3:DeleteObject" || name == "a deleter's secret" {
				return // what was written stays: nobody may delete it
			}
			if err := s3test.Open(t, cfg).List(t.Context(), "", func(x objectstore.Object) error { return errors.New(x.Key) }); err != nil {
				t.Errorf("left: %v", err)
			}
		})
	}
}

// One key for everything is good; one of two that may delete although another is there for that is told of.
func TestProbeTellsOfAWriterThatDeletes(t *testing.T) {
	t.Parallel()
	cfg, o := bucket(t)
	s := open(t, o, dialer.AllowLoopback())
	all := o.BucketKeys
	all.AccessKey, all.SecretKey = cfg.AccessKey, cfg.SecretKey
	if got, err := s.Probe(t.Context(), owner, o.Place, all); err != nil || !got.WriterDeletes {
		t.Errorf("%+v %v", got, err)
	}
	all.DeleteAccessKey, all.DeleteSecretKey = "", redact.Secret{}
	if got, err := s.Probe(t.Context(), owner, o.Place, all); err != nil || got.WriterDeletes {
		t.Errorf("%+v %v", got, err)
	}
}

// A bucket that locks what is written to it is used as any, and the probe says that it does. What it must leave there is hidden, and
// is what docs/own-bucket.md says: one object, and where two keys are given another, of less than 100 bytes each.
func TestProbeOfALockedBucket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode types.ObjectLockRetentionMode
		days int32
		one  bool // key for everything
		want remora.BucketLock
	}{
		"compliance":    {types.ObjectLockRetentionModeCompliance, 14, false, remora.BucketLock{State: remora.BucketLockCompliance, Days: 14}},
		"governance":    {types.ObjectLockRetentionModeGovernance, 1, true, remora.BucketLock{State: remora.BucketLockGovernance, Days: 1}},
		"locks nothing": {"", 0, false, remora.BucketLock{State: remora.BucketLockNothing}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, o := in(t, s3test.Locked(t, c.mode, c.days))
			left := 2
			if c.one {
				o.BucketKeys, left = remora.BucketKeys{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey}, 1
			}
			got, err := open(t, o, dialer.AllowLoopback()).Probe(t.Context(), owner, o.Place, o.BucketKeys)
			if err != nil || got.ObjectLock != c.want {
				t.Errorf("%+v %v", got, err)
			}
			if err := s3test.Open(t, cfg).List(t.Context(), "", func(x objectstore.Object) error { return errors.New(x.Key) }); err != nil {
				t.Errorf("listed: %v", err)
			}
			there, err := s3test.Client(cfg).ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &cfg.Bucket})
			if err != nil || len(there.Versions) != left || len(there.DeleteMarkers) != left {
				t.Fatal(there, err)
			}
			for _, v := range there.Versions {
				if !strings.HasPrefix(*v.Key, "team/a/"+objectstore.ProbePrefix) || *v.Size >= 100 {
					t.Errorf("%s of %d bytes", *v.Key, *v.Size)
				}
			}
		})
	}
}

// Keys lie below the prefix and nowhere else, and are the same to whoever asks for them. The key that writes deletes nothing and
// writes over nothing; the other one deletes and does not read.
func TestABucketBelowItsPrefix(t *testing.T) {
	t.Parallel()
	cfg, o := bucket(t)
	ctx := t.Context()
	writer, err := open(t, o, dialer.AllowLoopback()).At(ctx, owner, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.PutIfAbsent(ctx, "r/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	u := writer.Create(ctx, "r/large")
	if _, err := u.Write(make([]byte, 2*objectstore.MinPartSize)); err != nil {
		t.Fatal(err)
	}
	if err := u.Finish(); err != nil { // the store knows of it by now, which Write does not wait for
		t.Fatal(err)
	}
	if all, err := writer.OpenUploads(ctx, "r/"); err != nil || len(all) != 1 || all[0].Key != "r/large" {
		t.Errorf("%v %v", all, err)
	}
	if _, err := u.Commit(); err != nil {
		t.Fatal(err)
	}
	keys := func(b *objectstore.Bucket) (out []string) {
		if err := b.List(ctx, "", func(x objectstore.Object) error { out = append(out, x.Key); return nil }); err != nil {
			t.Error(err)
		}
		return out
	}
	if got := strings.Join(keys(writer), " "); got != "r/large r/x" {
		t.Error(got)
	}
	if got := strings.Join(keys(s3test.Open(t, cfg)), " "); got != "team/a/r/large team/a/r/x" {
		t.Error(got)
	}
	if got, err := writer.Get(ctx, "r/x", 10); err != nil || string(got) != "x" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := writer.PutIfAbsent(ctx, "r/x", []byte("y")); !errors.Is(err, objectstore.ErrExists) {
		t.Errorf("written over: %v", err)
	}
	if err := writer.Delete(ctx, "r/x"); !errors.Is(err, objectstore.ErrDenied) {
		t.Errorf("the key that writes deletes: %v", err)
	}
	deleter, err := open(t, o, dialer.AllowLoopback(), func(c *placement.Config) { c.Deletes = true }).At(ctx, owner, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deleter.Get(ctx, "r/x", 10); !errors.Is(err, objectstore.ErrDenied) {
		t.Errorf("the key that deletes reads: %v", err)
	}
	for _, key := range []string{"r/x", "r/large"} {
		if err := deleter.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if got := keys(writer); len(got) != 0 {
		t.Error(got)
	}
}

// A neighbour's bucket is not found, and ours needs no row.
func TestANeighboursBucketIsNotFound(t *testing.T) {
	t.Parallel()
	_, o := bucket(t)
	s := open(t, o, dialer.AllowLoopback())
	if _, err := s.At(t.Context(), "33333333-3333-4333-8333-333333333333", theirs); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if got, err := s.At(t.Context(), "33333333-3333-4333-8333-333333333333", ""); err != nil || got != s.Ours {
		t.Error(err)
	}
}

type fixed netip.Addr

func (f fixed) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.Addr(f)}, nil
}

// Nothing is asked of an address that is not a public one, however it is written, nor without TLS.
func TestAStoreIsNotReachedWithin(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	keys := remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("secret")}
	for endpoint, want := range map[string]string{
		server.URL: "must begin with https://", "https://127.0.0.1:" + port: "not a public address",
		"https://169.254.169.254": "not a public address", "https://[fd00:ec2::254]": "not a public address", "https://10.0.0.7": "not a public address",
		"http://s3.example.com": "must begin with https://", "https://[::ffff:127.0.0.1]:" + port: "not a public address",
	} {
		p := remora.Place{Endpoint: endpoint, Bucket: "backups", PathStyle: true}
		s := open(t, one{p, keys}, dialer.Strict())
		if _, err := s.Probe(t.Context(), owner, p, keys); remora.KindOf(err) != remora.KindInvalid || !strings.Contains(remora.Public(err, ""), want) {
			t.Errorf("%s: %v", endpoint, err)
		}
		b, err := s.At(t.Context(), owner, theirs)
		if err == nil {
			err = placement.Explain(theirs, b.Reach(t.Context(), "r/"))
		}
		var f *remora.Failure
		if !errors.As(err, &f) || f.Reason != remora.ReasonOwnBucketRefused {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	// A name that leads there, as a bucket's own host does in addresses that are not of the path's kind.
	p := remora.Place{Endpoint: "https://s3.example.com:" + port, Bucket: "backups"}
	s := open(t, one{p, keys}, dialer.Strict(), func(c *placement.Config) { c.Resolver = fixed(netip.MustParseAddr("127.0.0.1")) })
	if _, err := s.Probe(t.Context(), owner, p, keys); !strings.Contains(remora.Public(err, ""), "not a public address") {
		t.Error(err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// hostile is a customer's store that answers as do says.
func hostile(t *testing.T, do http.HandlerFunc) (one, *placement.Stores) {
	t.Helper()
	server := httptest.NewServer(do)
	t.Cleanup(server.Close)
	o := one{remora.Place{Endpoint: server.URL, Region: "us-east-1", Bucket: "backups", PathStyle: true}, remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("canary-secret")}}
	return o, open(t, o, dialer.AllowLoopback())
}

// A store that sends us elsewhere is not followed, and what it says of itself is not repeated.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var there atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { there.Add(1) }))
	t.Cleanup(inside.Close)
	for _, status := range []int{301, 302, 307, 308} {
		o, s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", inside.URL)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>PermanentRedirect</Code><Message>canary-prose</Message><Endpoint>"+inside.URL+"</Endpoint></Error>")
		})
		_, err := s.Probe(t.Context(), owner, o.Place, o.BucketKeys)
		if said := remora.Public(err, ""); !strings.Contains(said, "another region, or belongs to another endpoint") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if there.Load() != 0 {
		t.Error("it was followed")
	}
}

// An answer that does not end is cut off, a list without an end is left, and a store's code is repeated where it is one.
func TestWhatAStoreAnswersIsBounded(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.WriteString(w, "<Error><Code>")
		piece := []byte(strings.Repeat("A", 64<<10))
		for {
			n, err := w.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	o, s := hostile(t, endless)
	if _, err := s.Probe(t.Context(), owner, o.Place, o.BucketKeys); remora.KindOf(err) != remora.KindInvalid || len(remora.Public(err, "")) > 300 {
		t.Errorf("%.300v", err)
	}
	b, err := s.At(t.Context(), owner, theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Reach(t.Context(), "r/"); err == nil {
		t.Error("an endless list is one")
	}
	if n := sent.Load(); n > 200<<20 { // each of a dozen answers is cut off at 8 MiB, and what the machine had taken on the way
		t.Errorf("%d bytes were taken", n)
	}
	o, s = hostile(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, "<Error><Code>OddCode &lt;script&gt;</Code></Error>")
	})
	if _, err := s.Probe(t.Context(), owner, o.Place, o.BucketKeys); strings.Contains(remora.Public(err, ""), "script") {
		t.Error(err)
	}
}

// A store that is silent is left alone for a while, and asked again after that.
func TestASilentStoreRests(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	now := time.Now()
	o := one{remora.Place{Endpoint: server.URL, Region: "us-east-1", Bucket: "backups", PathStyle: true}, remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("secret")}}
	s := open(t, o, dialer.AllowLoopback(), func(c *placement.Config) { c.Now = func() time.Time { return now } })
	ask := func() error {
		b, err := s.At(t.Context(), owner, theirs)
		if err == nil {
			err = b.Reach(t.Context(), "r/")
		}
		return placement.Explain(theirs, err)
	}
	for range 2 {
		var f *remora.Failure
		if err := ask(); !errors.As(err, &f) || f.Reason != remora.ReasonOwnBucketFailed {
			t.Fatal(err)
		}
	}
	before := asked.Load()
	if before == 0 {
		t.Fatal("nothing was asked")
	}
	if err := ask(); err == nil || asked.Load() != before {
		t.Errorf("asked %d times: %v", asked.Load()-before, err)
	}
	now = now.Add(6 * time.Minute)
	if err := ask(); err == nil || asked.Load() == before {
		t.Error("it is never asked again")
	}
}

// One that answers each request and comes to no end is as silent as one that answers none, until something comes to its end there. Our own
// stop is not its silence.
func TestAStoreWithoutEndRests(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var ends atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := asked.Add(1); !ends.Load() {
			_, _ = fmt.Fprintf(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>", n)
			return
		}
		_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	o := one{remora.Place{Endpoint: server.URL, Region: "us-east-1", Bucket: "backups", PathStyle: true}, remora.BucketKeys{AccessKey: "AKIA", SecretKey: redact.New("secret")}}
	s := open(t, o, dialer.AllowLoopback(), func(c *placement.Config) { c.Now = func() time.Time { return now } })
	list := func(ctx context.Context, limit time.Duration) error {
		return s.Within(ctx, limit, owner, theirs, func(ctx context.Context, b *objectstore.Bucket) error {
			return b.List(ctx, "r/", func(objectstore.Object) error { return nil })
		})
	}
	cutOff := func() {
		t.Helper()
		before := asked.Load()
		var f *remora.Failure
		if err := list(t.Context(), 100*time.Millisecond); !errors.As(err, &f) || f.Reason != remora.ReasonOwnBucketFailed || asked.Load() < before+2 {
			t.Fatalf("asked %d times: %v", asked.Load()-before, err)
		}
	}
	cutOff()
	cutOff()
	ends.Store(true)
	if err := list(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	ends.Store(false)
	cutOff()
	cutOff()
	stopped, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := list(stopped, time.Minute); err == nil {
		t.Fatal("it came to an end")
	}
	cutOff()
	before := asked.Load()
	if err := list(t.Context(), time.Minute); err == nil || asked.Load() != before {
		t.Errorf("asked %d times: %v", asked.Load()-before, err)
	}
	now = now.Add(6 * time.Minute)
	cutOff()
}

// What is no customer's stays what it is.
func TestOursIsExplainedByNobody(t *testing.T) {
	t.Parallel()
	ours := &objectstore.Error{Op: "PutObject", Status: 503}
	if err := placement.Explain("", ours); !errors.Is(err, ours) {
		t.Error(err)
	}
	other := errors.New("something else")
	if err := placement.Explain(theirs, other); !errors.Is(err, other) {
		t.Error(err)
	}
	if err := placement.Refuse("", ours); !errors.Is(err, ours) || remora.KindOf(err) != remora.KindInternal {
		t.Error(err)
	}
	if err := placement.Refuse(theirs, ours); remora.KindOf(err) != remora.KindConflict || !strings.Contains(remora.Public(err, ""), "own bucket") {
		t.Error(err)
	}
}

// Of an upload one part is refused and the others are cut off for it: it is the refusal that its owner is told of, and that no
// waiting heals.
func TestARefusalIsToldOfBesideWhatItCutOff(t *testing.T) {
	t.Parallel()
	for _, kind := range []error{objectstore.ErrDenied, objectstore.ErrFull} {
		var f *remora.Failure
		err := placement.Explain(theirs, errors.Join(&objectstore.Error{Op: "UploadPart"}, kind))
		if !errors.As(err, &f) || f.Reason != remora.ReasonOwnBucketRefused || strings.Contains(f.Detail, "did not answer") {
			t.Errorf("%v: %+v", kind, f)
		}
	}
}
