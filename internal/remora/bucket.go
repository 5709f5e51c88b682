package remora

import (
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// Place is where a customer keeps archives: a bucket of an S3-compatible store, or what lies below a prefix of one.
type Place struct {
	Endpoint  string // https://HOST[:PORT]
	Region    string
	Bucket    string
	Prefix    string // of every key; empty, or with a slash at its end
	PathStyle bool   // ENDPOINT/BUCKET/KEY, and not BUCKET.HOST/KEY
}

// Bucket is a customer's own. The zero value is ours.
type Bucket struct {
	ID BucketID
	Place
	AccessKey       string
	DeleteAccessKey string // of the key that deletes; empty where the other one does
	InUse           bool   // the next backup lies in it
	TakesCopies     bool   // the next backup lies in ours, and a copy of it here; never of one that is in use
	SetBy           string
	SetAt           time.Time
	ObjectLock      BucketLock // as the store said at SetAt
	Backups         int        // that are listed, or damaged, and lie in it; not in every answer
	Copies          int        // of backups that are listed, or damaged, likewise
	HeldBackups     bool       // it is in use, or some backup was to lie in it: it did not only ever take copies; likewise
}

// BucketKeys open a customer's bucket.
type BucketKeys struct {
	AccessKey string
	SecretKey redact.Secret // writes and reads

	DeleteAccessKey string // empty where the other one deletes
	DeleteSecretKey redact.Secret
}

// What the parts of a place may be. A bucket's name becomes part of a host's or of a path, so it holds nothing that either could
// read otherwise (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
var (
	bucketName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	hostName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	regionName  = regexp.MustCompile(`^[A-Za-z0-9-]{1,60}$`)
	keyPrefix   = regexp.MustCompile(`^[A-Za-z0-9!_'()*-][A-Za-z0-9!_.'()*/-]{0,199}$`)
	accessKeyID = regexp.MustCompile(`^[!-~]{1,200}$`)
)

// ParsePlace reads what a person wrote of a place, and completes it: a region, and the slash at the prefix's end. Whether the host
// may be reached is another question. Errors: KindInvalid.
func ParsePlace(p Place) (Place, error) {
	p.Endpoint, p.Region, p.Bucket, p.Prefix = strings.TrimSpace(p.Endpoint), strings.TrimSpace(p.Region), strings.TrimSpace(p.Bucket), strings.TrimSpace(p.Prefix)
	u, err := url.Parse(strings.TrimSuffix(strings.ToLower(p.Endpoint), "/"))
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		!hostName.MatchString(u.Hostname()) && net.ParseIP(u.Hostname()) == nil || strings.HasSuffix(u.Host, ":") || len(p.Endpoint) > 250:
		return p, Invalid("The endpoint must be https:// and a host's name, such as https://s3.eu-west-1.amazonaws.com, without the bucket and without a path.")
	case !bucketName.MatchString(p.Bucket) || strings.Contains(p.Bucket, ".."):
		return p, Invalid("The bucket's name must have 3 to 63 letters, digits, dots and hyphens.")
	case p.Region != "" && !regionName.MatchString(p.Region):
		return p, Invalid("The region must be a name such as eu-west-1; R2 calls it auto.")
	}
	p.Endpoint = u.Scheme + "://" + u.Host
	if p.Region == "" {
		p.Region = "us-east-1" // which stores without regions want
	}
	if p.Prefix = strings.TrimSuffix(p.Prefix, "/"); p.Prefix != "" {
		if !keyPrefix.MatchString(p.Prefix) || strings.Contains(p.Prefix, "//") || strings.Contains("/"+p.Prefix+"/", "/../") || strings.Contains("/"+p.Prefix+"/", "/./") {
			return p, Invalid("The prefix must have at most 200 letters, digits and the signs - _ . / ! ' ( ) *, and must not begin with a slash.")
		}
		p.Prefix += "/"
	}
	return p, nil
}

// Check tells whether the keys could be ones. Errors: KindInvalid.
func (k BucketKeys) Check() error {
	ok := func(id string, secret redact.Secret) bool {
		return accessKeyID.MatchString(id) && accessKeyID.MatchString(secret.Reveal())
	}
	switch {
	case !ok(k.AccessKey, k.SecretKey):
		return Invalid("Give the access key and the secret key, each without spaces.")
	case k.DeleteAccessKey == "" && k.DeleteSecretKey.IsZero():
		return nil
	case !ok(k.DeleteAccessKey, k.DeleteSecretKey):
		return Invalid("Of the key that deletes, give both halves, each without spaces, or neither.")
	case k.DeleteAccessKey == k.AccessKey:
		return Invalid("The key that deletes is the same as the one that writes. Give another one, or leave it empty.")
	}
	return nil
}

// Says names the place, in the audit log too: whoever takes archives elsewhere is seen there.
func (p Place) Says() string {
	return strings.TrimSuffix(p.Bucket+"/"+p.Prefix, "/") + " at " + p.Host()
}

// Host is the endpoint's.
func (p Place) Host() string {
	_, host, _ := strings.Cut(p.Endpoint, "://")
	return host
}

// providers are known by the ends of their hosts.
var providers = []struct{ end, name string }{
	{".amazonaws.com", "Amazon S3"},
	{".amazonaws.com.cn", "Amazon S3"},
	{".r2.cloudflarestorage.com", "Cloudflare R2"},
	{".backblazeb2.com", "Backblaze B2"},
	{".digitaloceanspaces.com", "DigitalOcean Spaces"},
	{".wasabisys.com", "Wasabi"},
	{"storage.googleapis.com", "Google Cloud Storage"},
	{".scw.cloud", "Scaleway"},
	{".linodeobjects.com", "Akamai Object Storage"},
	{".your-objectstorage.com", "Hetzner"},
	{".ovh.net", "OVHcloud"},
	{".tigris.dev", "Tigris"},
	{".exo.io", "Exoscale"},
	{".idrivee2.com", "IDrive e2"},
}

// Provider is whose store it is, as far as the host's name tells; else the host.
func (p Place) Provider() string {
	host := p.Host()
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, x := range providers {
		if strings.HasSuffix(host, x.end) {
			return x.name
		}
	}
	return p.Host()
}
