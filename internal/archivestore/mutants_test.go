package archivestore_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/objectstore"
)

// mutant is a stored backup that something happens to, and what was written of it.
type mutant struct {
	bundle
	ref    archivestore.Ref
	m      archivestore.Manifest
	plain  []byte
	good   map[string][]byte               // sealed, by name
	put    func(key string, stored []byte) // in place of what is there
	random *rand.Rand
	tried  int
}

func newMutant(t *testing.T, b bundle, ref archivestore.Ref, head, body []byte) *mutant {
	t.Helper()
	x := &mutant{
		bundle: b, ref: ref, m: b.store(t, ref, head, body), plain: slices.Concat(head, body),
		good: map[string][]byte{}, random: rand.New(rand.NewPCG(3, 4)),
		put: func(key string, stored []byte) { b.replace(t, key, stored) },
	}
	for _, name := range x.names() {
		stored, err := b.bucket.Get(t.Context(), keyOf(ref, name), 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		x.good[name] = stored
	}
	if err := x.verifies(t); err != nil {
		t.Fatalf("unharmed, it does not verify: %v", err)
	}
	if err := x.opens(t); err != nil {
		t.Fatalf("unharmed, it does not open: %v", err)
	}
	return x
}

// names are those of its objects.
func (x *mutant) names() []string {
	all := []string{"manifest"}
	for _, o := range x.m.Stored() {
		all = append(all, o.Name)
	}
	return all
}

// become puts bytes into the places of its objects; nil removes one.
func (x *mutant) become(t *testing.T, objects map[string][]byte) {
	t.Helper()
	for name, stored := range objects {
		if stored == nil {
			if err := x.bucket.Delete(t.Context(), keyOf(x.ref, name)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		x.put(keyOf(x.ref, name), stored)
	}
}

// dies puts bytes into the places of its objects, demands that it neither verifies nor opens, and puts them back.
func (x *mutant) dies(t *testing.T, what string, objects map[string][]byte) {
	t.Helper()
	x.become(t, objects)
	x.dead(t, what)
	for name := range objects {
		objects[name] = x.good[name]
	}
	x.become(t, objects)
}

func (x *mutant) dead(t *testing.T, what string) {
	t.Helper()
	x.tried++
	if x.verifies(t) == nil {
		t.Errorf("%s: it verifies", what)
	}
	if x.opens(t) == nil {
		t.Errorf("%s: it opens", what)
	}
}

// verifies is what a reread in the store does: the manifest, and every object that it names.
func (x *mutant) verifies(t *testing.T) error {
	t.Helper()
	m, err := archivestore.ReadManifest(t.Context(), x.bucket, x.ref, x.keys)
	if err != nil {
		return err
	}
	return archivestore.Verify(t.Context(), x.bucket, m)
}

// opens reads all that there is to read, whole and in pieces. Whatever is read must be what was written.
func (x *mutant) opens(t *testing.T) error {
	t.Helper()
	listed, cerr := archivestore.Contents(t.Context(), x.bucket, x.ref, x.key, x.keys)
	if cerr == nil && string(listed) != contents {
		t.Error("other contents were read")
	}
	r, err := archivestore.Open(t.Context(), x.bucket, x.ref, x.key, x.keys)
	if err != nil {
		return err
	}
	whole, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if !bytes.HasPrefix(x.plain, whole) || err == nil && len(whole) != len(x.plain) {
		t.Errorf("%d bytes were read, and they are not those that were written", len(whole))
	}
	for range 4 {
		at := x.random.IntN(len(x.plain))
		p := make([]byte, 1+x.random.IntN(min(150_000, len(x.plain)-at)))
		n, rerr := r.ReadAt(p, int64(at))
		if !bytes.Equal(p[:n], x.plain[at:at+n]) || rerr == nil && n < len(p) {
			t.Errorf("%d bytes at %d were read, and they are not those that were written", n, at)
		}
	}
	if err != nil {
		return err
	}
	return cerr
}

// with returns an object with a change.
func with(b []byte, change func(b []byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	return b
}

// Cut anywhere, be the rest missing or filled up to the right size, or grown.
func TestCutMutants(t *testing.T) {
	t.Parallel()
	x := newMutant(t, newBundle(t), newRef(), noise(3000), noise(200_000))
	const cuts = 200
	names := x.names()
	for i := range cuts {
		name := names[i%len(names)]
		good := x.good[name]
		at := x.random.IntN(len(good))
		switch i / len(names) {
		case 0:
			at = 0
		case 1:
			at = len(good) - 1
		case 2: // all but its last chunk, or of a small one the opening alone
			at = (len(good) - 1) / (64<<10 + 16) * (64<<10 + 16)
		}
		x.dies(t, fmt.Sprintf("%s cut at %d of %d", name, at, len(good)), map[string][]byte{name: good[:at:at]})
		if i%5 == 0 {
			filled := with(good, func(b []byte) {
				for i := at; i < len(b); i++ {
					b[i] = ^b[i]
				}
			})
			x.dies(t, fmt.Sprintf("%s cut at %d of %d and filled up", name, at, len(good)), map[string][]byte{name: filled})
		}
	}
	for _, name := range names {
		for what, more := range map[string][]byte{"a zero": {0}, "a line feed": {'\n'}, "itself": x.good[name]} {
			x.dies(t, name+" and after it "+what, map[string][]byte{name: slices.Concat(x.good[name], more)})
		}
		x.dies(t, name+" removed", map[string][]byte{name: nil})
	}
	t.Logf("%d mutants", x.tried)
}

// Any one bit, in the openings, tags, keys and separators more often than by chance, since most bytes are data's.
func TestFlippedMutants(t *testing.T) {
	t.Parallel()
	x := newMutant(t, newBundle(t), newRef(), noise(3000), noise(200_000))
	const flips = 300
	names := x.names()
	for i := range flips {
		name := names[i%len(names)]
		good := x.good[name]
		at, bit := x.random.IntN(len(good)), x.random.IntN(8)
		switch {
		case name == "manifest" && i%3 == 0: // turns a letter into its capital
			bit = 5
		case i%5 == 1:
			at = x.random.IntN(min(300, len(good)))
		case i%5 == 2:
			at = len(good) - 1 - x.random.IntN(16)
		}
		bad := with(good, func(b []byte) { b[at] ^= 1 << bit })
		x.dies(t, fmt.Sprintf("%s with bit %d of byte %d flipped (%q)", name, bit, at, good[at]), map[string][]byte{name: bad})
	}
	t.Logf("%d mutants", x.tried)
}

// The manifest is text, which could mean the same spelled otherwise: with capitals, which are one bit away.
func TestEveryLetterOfTheManifestCounts(t *testing.T) {
	t.Parallel()
	x := newMutant(t, newBundle(t), newRef(), noise(10), noise(10))
	for at := range x.good["manifest"] {
		const bit = 5
		if at > 120 && at%10 > 0 { // the MAC covers these
			continue
		}
		bad := with(x.good["manifest"], func(b []byte) { b[at] ^= 1 << bit })
		x.replace(t, keyOf(x.ref, "manifest"), bad)
		if _, err := archivestore.ReadManifest(t.Context(), x.bucket, x.ref, x.keys); err == nil {
			t.Errorf("it passes with bit %d of byte %d (%q) flipped", bit, at, x.good["manifest"][at])
		}
	}
}

// Parts that change places: the objects, the store's parts of an object, and chunks within them.
func TestSwappedMutants(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(cfg *objectstore.Config) { cfg.MaxParts = 2 })
	x := newMutant(t, b, newRef(), noise(100_000), noise(19<<20))
	names := x.names()
	if !slices.Contains(names, "body-002") {
		t.Fatal(names)
	}
	for i, one := range names {
		for _, two := range names[i+1:] {
			x.dies(t, one+" and "+two+" swapped", map[string][]byte{one: x.good[two], two: x.good[one]})
		}
	}
	const chunk = 64<<10 + 16
	for _, name := range []string{"body-001", "body-002"} {
		good := x.good[name]
		opening := len(good) - int(payload(x.plainOf(name)))
		for what, c := range map[string]struct{ a, b, n int }{
			"parts":                 {0, objectstore.MinPartSize, min(objectstore.MinPartSize, len(good)-objectstore.MinPartSize)},
			"the first two chunks":  {opening, opening + chunk, chunk},
			"two chunks":            {opening + 3*chunk, opening + 9*chunk, chunk},
			"the first and the end": {opening, len(good) - chunk, chunk},
		} {
			bad := with(good, func(b []byte) {
				copy(b[c.a:], good[c.b:c.b+c.n])
				copy(b[c.b:], good[c.a:c.a+c.n])
			})
			x.dies(t, what+" of "+name+" swapped", map[string][]byte{name: bad})
		}
		doubled := with(good, func(b []byte) { copy(b[opening+chunk:], good[opening:opening+chunk]) })
		x.dies(t, "a chunk of "+name+" twice", map[string][]byte{name: doubled})
	}
	t.Logf("%d mutants", x.tried)
}

func (x *mutant) plainOf(name string) int64 {
	for _, o := range x.m.Stored() {
		if o.Name == name {
			return o.PlainSize
		}
	}
	return 0
}

// payload is how many bytes age makes of plain ones, beside the opening (https://c2sp.org/age).
func payload(n int64) int64 { return n + 16*max(1, (n+64<<10-1)/(64<<10)) }

// subsets calls do with each choice of names but none.
func subsets(names []string, do func([]string)) {
	for bits := 1; bits < 1<<len(names); bits++ {
		var some []string
		for i, name := range names {
			if bits>>i&1 == 1 {
				some = append(some, name)
			}
		}
		do(some)
	}
}

// Objects that were written for another backup, another resource or another run, each of them good by itself, sealed
// to the same key and of the same size: any of them, together with any others of them.
func TestForeignMutants(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ref := newRef()
	ref.Epoch = 2
	x := newMutant(t, b, ref, noise(3000), noise(150_000))
	backup, resource, run := newRef(), newRef(), ref
	backup.Resource, backup.Epoch = ref.Resource, ref.Epoch
	resource.Epoch = ref.Epoch
	run.Epoch = 1
	for whose, other := range map[string]archivestore.Ref{"another backup's": backup, "another resource's": resource, "an earlier run's": run} {
		head, body := noise(3000), noise(150_000)
		slices.Reverse(head)
		slices.Reverse(body)
		theirs := newMutant(t, b, other, head, body)
		subsets(x.names(), func(names []string) {
			objects := map[string][]byte{}
			for _, name := range names {
				objects[name] = theirs.good[name]
			}
			x.dies(t, whose+" "+strings.Join(names, ", "), objects)
		})
	}
	if err := x.opens(t); err != nil {
		t.Error(err)
	}
	t.Logf("%d mutants", x.tried)
}

// In a bucket with versions, somebody with its keys brings back what lay there before. A run writes each of its
// objects once, so what lay there before is not of this service, or what it wrote and gave up.
func TestOlderVersions(t *testing.T) {
	t.Parallel()
	var cfg objectstore.Config
	b := newBundle(t, func(c *objectstore.Config) { cfg = *c })
	client := s3.New(s3.Options{
		BaseEndpoint: &cfg.Endpoint, Region: cfg.Region, UsePathStyle: true, HTTPClient: cfg.HTTP,
		Credentials: credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), ""),
	})
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &cfg.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := newRef()
	body := noise(150_000)
	slices.Reverse(body)
	b.store(t, ref, noise(3000), body)
	now := newBundle(t)
	now.key, now.keys = b.key, b.keys
	x := newMutant(t, now, ref, noise(3000), noise(150_000)) // elsewhere, for a run never writes over anything
	x.bucket = b.bucket
	x.put = func(key string, stored []byte) {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &cfg.Bucket, Key: &key, Body: bytes.NewReader(stored)}); err != nil {
			t.Fatal(err)
		}
	}
	x.become(t, maps.Clone(x.good))
	versions := map[string]string{}
	for _, name := range x.names() {
		out, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &cfg.Bucket, Prefix: aws.String(keyOf(ref, name))})
		if err != nil || len(out.Versions) != 2 {
			t.Fatalf("%s has no older version: %v", name, err)
		}
		versions[name] = aws.ToString(out.Versions[1].VersionId)
	}
	subsets(x.names(), func(names []string) {
		if !slices.ContainsFunc([]string{"manifest", "head", "body-001"}, func(n string) bool { return !slices.Contains(names, n) }) {
			return // a whole archive of this very run, which writes one only; our database's digests would tell
		}
		objects := map[string][]byte{}
		for _, name := range names {
			key := keyOf(ref, name)
			_, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{
				Bucket: &cfg.Bucket, Key: &key, CopySource: aws.String(cfg.Bucket + "/" + key + "?versionId=" + versions[name]),
			})
			if err != nil {
				t.Fatal(err)
			}
			objects[name] = x.good[name]
		}
		x.dead(t, "older "+strings.Join(names, ", "))
		x.become(t, objects)
	})
	if err := x.opens(t); err != nil {
		t.Error(err)
	}
	t.Logf("%d mutants", x.tried)
}

// An object that is replaced while it is read.
func TestReplacedWhileItIsRead(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	x := newMutant(t, b, newRef(), noise(3000), noise(9<<20))
	other := noise(9 << 20)
	slices.Reverse(other)
	theirs := newMutant(t, b, newRef(), noise(3000), other)
	r, err := archivestore.Open(t.Context(), x.bucket, x.ref, x.key, x.keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	x.become(t, map[string][]byte{"body-001": theirs.good["body-001"]})
	n := 0
	for at := 0; at < len(x.plain); at += 100_000 {
		p := make([]byte, min(100_000, len(x.plain)-at))
		k, err := r.ReadAt(p, int64(at))
		if err == nil {
			n++
		}
		if !bytes.Equal(p[:k], x.plain[at:at+k]) {
			t.Fatalf("at %d: bytes that were not written", at)
		}
	}
	if n == len(x.plain)/100_000+1 {
		t.Error("it was read whole, so nothing was replaced")
	}
}
