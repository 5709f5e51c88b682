package archivestore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/s3test"
	"github.com/remora-backup/remora/internal/seal"
)

// bytesOf is everything that lies in a bucket, by key.
func bytesOf(t *testing.T, b *objectstore.Bucket) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := b.List(t.Context(), "", func(o objectstore.Object) (err error) {
		all[o.Key], err = b.Get(t.Context(), o.Key, 1<<30)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func equal(t *testing.T, ours, theirs map[string][]byte) {
	t.Helper()
	if len(ours) == 0 || len(ours) != len(theirs) {
		t.Fatalf("%d objects of %d", len(theirs), len(ours))
	}
	for key, want := range ours {
		if !bytes.Equal(theirs[key], want) {
			t.Errorf("%s differs", key)
		}
	}
}

// inBucket are the objects of a run that lie in a bucket of one's own.
type inBucket struct {
	*objectstore.Bucket
	prefix string
}

func (b inBucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.Head(ctx, b.prefix+name)
	if err != nil {
		return nil, err
	}
	return b.OpenRange(ctx, b.prefix+name, 0, o.Size)
}

// A copy has the same bytes, its head becomes visible last, and it opens without the bucket that it is a copy of. Made again it changes nothing.
func TestACopyIsTheSame(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"no body": 0, "small": 20, "several bodies": 22 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, func(cfg *objectstore.Config) { cfg.MaxParts = 2 })
			ref, head, body := newRef(), noise(70_000), noise(size)
			b.store(t, ref, head, body)
			cfg := s3test.Config(t)
			proxy, err := faultproxy.NewHTTP(cfg.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Close)
			var wrote []string
			proxy.Add(faultproxy.Rule{Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				_, part := r.URL.Query()["partNumber"]
				_, begun := r.URL.Query()["uploads"]
				if r.Method == http.MethodPut && !part || r.Method == http.MethodPost && !begun {
					wrote = append(wrote, path.Base(r.URL.Path))
					if r.Header.Get("If-None-Match") != "*" {
						t.Errorf("%s may be written over", r.URL.Path)
					}
				}
				next.ServeHTTP(w, r)
			}})
			cfg.Endpoint = proxy.URL
			to := s3test.Open(t, cfg)
			for range 2 {
				n, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {})
				if err != nil {
					t.Fatal(err)
				}
				for _, object := range bytesOf(t, to) {
					n -= int64(len(object))
				}
				if n != 0 {
					t.Errorf("it tells of %d bytes more than there are", n)
				}
			}
			equal(t, bytesOf(t, b.bucket), bytesOf(t, to))
			if n := len(wrote); n != len(b.keysOf(t)) || wrote[n-1] != "head" || wrote[n-2] != "manifest" {
				t.Errorf("written in this order: %v", wrote)
			}
			whole := slices.Concat(head, body)
			r, err := archivestore.Open(t.Context(), to, ref, b.key, b.keys)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%d bytes: %v", len(got), err)
			}
			c, err := archivestore.OpenCopy(t.Context(), inBucket{to, archivestore.Prefix + string(ref.Resource) + "/b/" + string(ref.Backup) + "/1/"}, []seal.Key{b.key})
			var plain bytes.Buffer
			if err == nil {
				err = c.WriteTo(t.Context(), &plain)
			}
			if err != nil || !bytes.Equal(plain.Bytes(), whole) {
				t.Errorf("without the service: %d bytes: %v", plain.Len(), err)
			}
		})
	}
}

// Cut off anywhere, a copy is no archive, and made again it is the same; what was there is not sent again.
func TestACopyIsGoneOnWith(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(cfg *objectstore.Config) { cfg.MaxParts = 2 })
	ref := newRef()
	b.store(t, ref, noise(70_000), noise(22<<20))
	cfg := s3test.Config(t)
	proxy, err := faultproxy.NewHTTP(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cfg.Endpoint = proxy.URL
	to := s3test.Open(t, cfg)
	for _, at := range []string{"body-002", "manifest", "head"} {
		ctx, cancel := context.WithCancel(t.Context())
		proxy.Clear()
		proxy.Add(faultproxy.Rule{
			Match: func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/"+at) && (r.Method == http.MethodPut || r.Method == http.MethodPost)
			},
			Do: func(http.ResponseWriter, *http.Request, http.Handler) { cancel(); panic(http.ErrAbortHandler) },
		})
		if _, err := archivestore.Replicate(ctx, b.bucket, to, ref, b.keys, func(int) {}); err == nil || ctx.Err() == nil {
			t.Fatal(at, err)
		}
		cancel()
		proxy.Clear()
		err := archivestore.RunsOf(t.Context(), to, ref.Resource, func(s archivestore.Stored) error {
			if _, err := archivestore.Check(t.Context(), to, s, b.keys); !errors.Is(err, archivestore.ErrNoHead) {
				t.Errorf("cut off at %s it is an archive: %v", at, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sent := 0
	proxy.Add(faultproxy.Rule{Do: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			sent++
		}
		next.ServeHTTP(w, r)
	}})
	if _, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if sent != 1 {
		t.Errorf("%d requests write, where the head alone was missing", sent)
	}
	equal(t, bytesOf(t, b.bucket), bytesOf(t, to))
}

// Another object where the copy is to lie is told of and stays, however like it is; and what is damaged in ours is not made whole by being copied.
func TestACopyTellsOfWhatDiffers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ref := newRef()
	b.store(t, ref, noise(1000), noise(100_000))
	at := archivestore.Prefix + string(ref.Resource) + "/b/" + string(ref.Backup) + "/1/"
	good := bytesOf(t, b.bucket)
	for name, change := range map[string]func([]byte) []byte{
		"longer": func(x []byte) []byte { return append(x, 0) }, "another byte": func(x []byte) []byte { x[len(x)/2] ^= 1; return x },
	} {
		for _, object := range []string{"body-001", "contents", "manifest", "head"} {
			to := s3test.Open(t, s3test.Config(t))
			if _, err := to.PutIfAbsent(t.Context(), at+object, change(bytes.Clone(good[at+object]))); err != nil {
				t.Fatal(err)
			}
			_, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {})
			var source *archivestore.SourceError
			if !errors.Is(err, archivestore.ErrDiffers) || errors.As(err, &source) {
				t.Errorf("theirs, %s, %s: %v", object, name, err)
			}
			_, headed := bytesOf(t, to)[at+"head"]
			if headed != (object == "head") {
				t.Errorf("theirs, %s, %s: a head is there", object, name)
			}
			if err := b.bucket.Delete(t.Context(), at+object); err != nil {
				t.Fatal(err)
			}
			if _, err := b.bucket.PutIfAbsent(t.Context(), at+object, change(bytes.Clone(good[at+object]))); err != nil {
				t.Fatal(err)
			}
			to = s3test.Open(t, s3test.Config(t))
			_, err = archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {})
			if !errors.As(err, &source) || !errors.Is(err, objectstore.ErrMismatch) && !errors.Is(err, archivestore.ErrNotOurs) {
				t.Errorf("ours, %s, %s: %v", object, name, err)
			}
			if _, there := bytesOf(t, to)[at+object]; there {
				t.Errorf("ours, %s, %s: it is copied", object, name)
			}
			if err := b.bucket.Delete(t.Context(), at+object); err != nil {
				t.Fatal(err)
			}
			if object == "contents" {
				if _, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {}); !errors.As(err, &source) || !errors.Is(err, objectstore.ErrNotFound) {
					t.Errorf("ours, %s is gone: %v", object, err)
				}
			}
			if _, err := b.bucket.PutIfAbsent(t.Context(), at+object, good[at+object]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// endless is a store that lists without an end, 100 keys a page, each with its number in the place of %d, and can do nothing else.
type endless struct {
	*objectstore.Bucket
	pages, other int
}

func newEndless(t *testing.T, key string) *endless {
	t.Helper()
	cfg := s3test.Config(t)
	proxy, err := faultproxy.NewHTTP(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	e := &endless{}
	proxy.Add(faultproxy.Rule{Do: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Query().Get("list-type") == "" {
			e.other++
			http.Error(w, "", http.StatusTeapot)
			return
		}
		if e.pages++; e.pages > 99 {
			panic(http.ErrAbortHandler)
		}
		var page strings.Builder
		for i := range 100 {
			said := strings.ReplaceAll(key, "%d", strconv.Itoa(100*e.pages+i))
			page.WriteString("<Contents><Key>" + said + "</Key><Size>1</Size></Contents>")
		}
		_, _ = fmt.Fprintf(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>%s</ListBucketResult>`, e.pages, page.String())
	}})
	cfg.Endpoint = proxy.URL
	e.Bucket = s3test.Open(t, cfg)
	return e
}

// A store that lists without an end, whatever it names, is left: nothing of it is held, and nothing is written.
func TestACopyEndsWhereAListDoesNot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ref := newRef()
	b.store(t, ref, noise(1000), noise(100_000))
	at := archivestore.Prefix + string(ref.Resource) + "/b/" + string(ref.Backup) + "/1/"
	for name, key := range map[string]string{"other names": at + "x-%d", "ours, over and over": at + "head"} {
		to := newEndless(t, key)
		_, err := archivestore.Replicate(t.Context(), b.bucket, to.Bucket, ref, b.keys, func(int) {})
		var source *archivestore.SourceError
		if !errors.Is(err, archivestore.ErrEndless) || errors.As(err, &source) || to.pages > 10 || to.other != 0 {
			t.Errorf("%s: %d pages, %d other requests: %v", name, to.pages, to.other, err)
		}
	}
}

// An object that somebody has planted, of the right size and CRC-32, is not taken for the copy's. What else lies beside it is nothing to us.
func TestACopyIsNotWhatWasPlanted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ref := newRef()
	b.store(t, ref, noise(1000), noise(100_000))
	at := archivestore.Prefix + string(ref.Resource) + "/b/" + string(ref.Backup) + "/1/"
	for key, good := range bytesOf(t, b.bucket) {
		if !strings.HasPrefix(key, at) {
			continue
		}
		planted := forged(good)
		if bytes.Equal(planted, good) || crc32.ChecksumIEEE(planted) != crc32.ChecksumIEEE(good) {
			t.Fatal("the forgery is none")
		}
		to := s3test.Open(t, s3test.Config(t))
		for key, body := range map[string][]byte{key: planted, at + "x/head": []byte("x"), at + "head.txt": []byte("x")} {
			if _, err := to.PutIfAbsent(t.Context(), key, body); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {}); !errors.Is(err, archivestore.ErrDiffers) || !strings.Contains(err.Error(), path.Base(key)) {
			t.Errorf("%s: %v", key, err)
		}
		if err := to.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := archivestore.Replicate(t.Context(), b.bucket, to, ref, b.keys, func(int) {}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// forged has another first byte than b, and the same length and CRC-32: four bytes at its end make up for that.
func forged(b []byte) []byte {
	out := bytes.Clone(b)
	out[0] ^= 1
	end := out[len(out)-4:]
	// CRC-32 is linear: each bit of the last four bytes changes the checksum in a way of its own, and 32 of them make any change.
	clear(end)
	base := crc32.ChecksumIEEE(out)
	rows := make([][2]uint32, 32) // what changes, by which bits
	for i := range rows {
		binary.LittleEndian.PutUint32(end, 1<<i)
		rows[i] = [2]uint32{crc32.ChecksumIEEE(out) ^ base, 1 << i}
	}
	want := [2]uint32{base ^ crc32.ChecksumIEEE(b), 0}
	for bit := range 32 {
		i := slices.IndexFunc(rows, func(r [2]uint32) bool { return r[0]>>bit&1 == 1 })
		pivot := rows[i]
		rows = slices.Delete(rows, i, i+1)
		for j := range rows {
			if rows[j][0]>>bit&1 == 1 {
				rows[j][0], rows[j][1] = rows[j][0]^pivot[0], rows[j][1]^pivot[1]
			}
		}
		if want[0]>>bit&1 == 1 {
			want[0], want[1] = want[0]^pivot[0], want[1]^pivot[1]
		}
	}
	binary.LittleEndian.PutUint32(end, want[1])
	return out
}
