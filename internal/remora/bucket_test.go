package remora_test

import (
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// A place is read as a person writes it, and nothing in it can be read as part of something else.
func TestParsePlace(t *testing.T) {
	t.Parallel()
	got, err := remora.ParsePlace(remora.Place{Endpoint: " https://S3.Example.com:9000/ ", Bucket: "my.backups_1", Prefix: "team/a/"})
	want := remora.Place{Endpoint: "https://s3.example.com:9000", Region: "us-east-1", Bucket: "my.backups_1", Prefix: "team/a/"}
	if err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if again, err := remora.ParsePlace(got); err != nil || again != got {
		t.Errorf("read again it is another: %+v %v", again, err)
	}
	good := remora.Place{Endpoint: "https://s3.example.com", Bucket: "backups"}
	for name, change := range map[string]func(*remora.Place){
		"nothing": func(p *remora.Place) { p.Endpoint = "" }, "no scheme": func(p *remora.Place) { p.Endpoint = "s3.example.com" },
		"another scheme": func(p *remora.Place) { p.Endpoint = "ftp://s3.example.com" }, "a password": func(p *remora.Place) { p.Endpoint = "https://a:b@s3.example.com" },
		"a path": func(p *remora.Place) { p.Endpoint = "https://s3.example.com/x" }, "a query": func(p *remora.Place) { p.Endpoint = "https://s3.example.com?x" },
		"a fragment": func(p *remora.Place) { p.Endpoint = "https://s3.example.com#x" }, "no host": func(p *remora.Place) { p.Endpoint = "https://:443" },
		"an odd host": func(p *remora.Place) { p.Endpoint = "https://s3_x.example.com" }, "a long host": func(p *remora.Place) { p.Endpoint = "https://" + strings.Repeat("a", 300) },
		"no bucket": func(p *remora.Place) { p.Bucket = "" }, "a slash": func(p *remora.Place) { p.Bucket = "a/b" }, "a host": func(p *remora.Place) { p.Bucket = "evil.com#" },
		"dots": func(p *remora.Place) { p.Bucket = "a..b" }, "a line": func(p *remora.Place) { p.Bucket = "ab\ncd" }, "a short bucket": func(p *remora.Place) { p.Bucket = "ab" },
		"a region": func(p *remora.Place) { p.Region = "eu/west" }, "an absolute prefix": func(p *remora.Place) { p.Prefix = "/x" },
		"up": func(p *remora.Place) { p.Prefix = "a/../b" }, "twice a slash": func(p *remora.Place) { p.Prefix = "a//b" }, "a question": func(p *remora.Place) { p.Prefix = "a?b" },
		"a long prefix": func(p *remora.Place) { p.Prefix = strings.Repeat("a", 300) },
	} {
		p := good
		change(&p)
		if _, err := remora.ParsePlace(p); remora.KindOf(err) != remora.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBucketKeys(t *testing.T) {
	t.Parallel()
	one, two := redact.New("one"), redact.New("two")
	for name, c := range map[string]struct {
		keys remora.BucketKeys
		good bool
	}{
		"one": {remora.BucketKeys{AccessKey: "a", SecretKey: one}, true}, "two": {remora.BucketKeys{AccessKey: "a", SecretKey: one, DeleteAccessKey: "b", DeleteSecretKey: two}, true},
		"none": {remora.BucketKeys{}, false}, "half": {remora.BucketKeys{AccessKey: "a"}, false}, "half of the second": {remora.BucketKeys{AccessKey: "a", SecretKey: one, DeleteAccessKey: "b"}, false},
		"the other half": {remora.BucketKeys{AccessKey: "a", SecretKey: one, DeleteSecretKey: two}, false}, "the same": {remora.BucketKeys{AccessKey: "a", SecretKey: one, DeleteAccessKey: "a", DeleteSecretKey: one}, false},
		"a line": {remora.BucketKeys{AccessKey: "a\r\nb", SecretKey: one}, false}, "a space": {remora.BucketKeys{AccessKey: "a", SecretKey: redact.New("b c")}, false},
	} {
		if err := c.keys.Check(); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"https://s3.eu-west-1.amazonaws.com": "Amazon S3", "https://abc.r2.cloudflarestorage.com": "Cloudflare R2", "https://s3.us-west-004.backblazeb2.com:443": "Backblaze B2",
		"https://minio.example.com:9000": "minio.example.com:9000", "https://amazonaws.com.example.com": "amazonaws.com.example.com", "https://evil-amazonaws.com": "evil-amazonaws.com",
	} {
		if got := (remora.Place{Endpoint: endpoint}).Provider(); got != want {
			t.Errorf("%s: %s", endpoint, got)
		}
	}
}
