// Package objectstore keeps objects in one S3 bucket.
//
// What it adds to the SDK is certainty about the end of a write. Every write is conditional (If-None-Match),
// so nothing is ever replaced; carries a checksum that the store checks, per part and for the whole object;
// and is confirmed: by the answer, where that has the checksum of the whole object, as Amazon's does, else by asking
// the store afterwards. Where the answer to a write was lost, that question also decides whether the write took place:
// each write leaves a random name of its own in the object's metadata.
//
// Uploads of unknown length go in parts of one fixed size, which every S3 server accepts (Cloudflare R2 wants
// all parts but the last to be equal), through buffers that all uploads of a Bucket share, so that their memory
// grows with neither the objects nor, beyond one buffer each, the uploads.
//
// The package logs nothing. Its errors name the operation, the key and the store's code, and hold neither
// credentials nor addresses with signatures.
package objectstore

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/remora-backup/remora/internal/redact"
)

// Config names a bucket and how to reach it.
type Config struct {
	Endpoint  string // https://HOST, or http:// for a loopback address; required
	Region    string // zero: us-east-1, which servers without regions want
	Bucket    string // required
	Prefix    string // of every key in the store, and of none here; zero: none. With a slash at its end
	AccessKey string // required
	SecretKey redact.Secret
	Session   redact.Secret // a session token, where the key is a temporary one
	PathStyle bool          // http://HOST/BUCKET/KEY, which most servers other than Amazon's want
	HTTP      *http.Client  // sends the requests; required. It must not follow redirects; the caller closes its connections

	// Observe, if not nil, is told of every request: one of Operations, one of Outcomes, and the error that it is of.
	Observe func(op, outcome string, err error)

	PartSize    int // bytes of every part but the last; zero: 5 MiB. From MinPartSize to 1 GiB
	Concurrency int // parts of one upload that travel at a time; zero: 2
	Buffers     int // of a part's size, for all uploads together; zero: 6. An upload has Concurrency + 1 at most, and one in any case
	MaxParts    int // of one object; zero: 10,000, which is S3's own limit

	Attempts       int           // of each request; zero: 5
	Backoff        time.Duration // before the second attempt, doubled for each later one, half of it at random; zero: 200 ms
	MaxBackoff     time.Duration // the longest of those pauses; zero: 10 s
	AttemptTimeout time.Duration // of one request, or of a download without a byte; zero: 5 minutes
	Grace          time.Duration // that a part on its way gets to arrive before an abort cuts it off; zero: 5 seconds
}

// Limits of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const (
	MinPartSize = 5 << 20
	MaxParts    = 10_000
)

const maxPartSize = 1 << 30 // below S3's 5 GiB: it is memory here

// Bucket is safe for concurrent use.
type Bucket struct {
	cfg     Config
	client  *s3.Client
	buffers *buffers
}

// New checks cfg and does no I/O.
func New(cfg Config) (*Bucket, error) {
	cfg = withDefaults(cfg)
	secure, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("objectstore: %w", err)
	}
	b := &Bucket{cfg: cfg, buffers: newBuffers(cfg.PartSize, cfg.Buffers)}
	b.client = s3.New(b.options(secure))
	return b, nil
}

// Beside is New with the part size and the buffers of b, so that uploads to many buckets take the memory of one.
func (b *Bucket) Beside(cfg Config) (*Bucket, error) {
	cfg.PartSize, cfg.Buffers = b.cfg.PartSize, b.cfg.Buffers
	other, err := New(cfg)
	if err == nil {
		other.buffers = b.buffers
	}
	return other, err
}

// at is a key as the store has it.
func (b *Bucket) at(key string) *string {
	full := b.cfg.Prefix + key
	return &full
}

// of is a store's key as we have it; nil stays empty.
func (b *Bucket) of(key *string) string { return strings.TrimPrefix(aws.ToString(key), b.cfg.Prefix) }

func withDefaults(cfg Config) Config {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = 5 << 20
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	if cfg.Buffers == 0 {
		cfg.Buffers = 6
	}
	if cfg.MaxParts == 0 {
		cfg.MaxParts = MaxParts
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 5
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 200 * time.Millisecond
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 10 * time.Second
	}
	if cfg.AttemptTimeout == 0 {
		cfg.AttemptTimeout = 5 * time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = 5 * time.Second
	}
	return cfg
}

// check tells whether the endpoint is reached by TLS.
func (c Config) check() (secure bool, err error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/"):
		return false, errors.New("the endpoint must be https://HOST[:PORT] and nothing more")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return false, errors.New("the endpoint must begin with https://; http:// is for loopback addresses")
	case c.Bucket == "":
		return false, errors.New("the bucket's name is missing")
	case c.AccessKey == "" || c.SecretKey.IsZero():
		return false, errors.New("the access key or the secret key is missing")
	case c.HTTP == nil:
		return false, errors.New("the HTTP client is missing")
	case c.PartSize < MinPartSize || c.PartSize > maxPartSize:
		return false, fmt.Errorf("the part size must be from %d to %d bytes", MinPartSize, maxPartSize)
	case c.MaxParts < 1 || c.MaxParts > MaxParts:
		return false, fmt.Errorf("an object has from 1 to %d parts", MaxParts)
	case c.Concurrency < 1 || c.Buffers < 1 || c.Attempts < 1 || c.Backoff < 0 || c.MaxBackoff < 0 || c.AttemptTimeout < 0 || c.Grace < 0:
		return false, errors.New("concurrency, attempts, backoff, attempt timeout and grace must be positive")
	}
	return u.Scheme == "https", nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func (b *Bucket) options(secure bool) s3.Options {
	cfg := b.cfg
	o := s3.Options{
		BaseEndpoint: &cfg.Endpoint,
		Region:       cfg.Region,
		UsePathStyle: cfg.PathStyle,
		HTTPClient:   bounded{cfg.HTTP},
		Credentials:  credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), cfg.Session.Reveal()),
		Retryer:      aws.NopRetryer{}, // try does it: it must know which writes may have taken place
		Logger:       logging.Nop{},
		// We send a checksum with every body ourselves. A range of an object has none to validate.
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
		ContinueHeaderThresholdBytes:              -1, // a round trip for each part otherwise
	}
	if secure {
		// TLS and the part's CRC protect the body; signing its SHA-256 too would double the hashing.
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			if _, ok := s.Finalize.Get((&v4.ComputePayloadSHA256{}).ID()); !ok {
				return nil
			}
			return v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware(s)
		})
	}
	return o
}

// MaxObject is the largest object an Upload can write, in bytes.
func (b *Bucket) MaxObject() int64 { return int64(b.cfg.PartSize) * int64(b.cfg.MaxParts) }
