// Package placement knows in which bucket a backup lies, ours or its owner's, and opens it.
//
// A customer's store is a stranger. Its address is held against the policy each time it is dialled, nothing of it is followed
// elsewhere, what it answers is bounded (package objectstore), and one that stays silent is left alone for a while, so that it
// keeps nobody else waiting. What goes wrong with it is told to whose it is, and raises no alarm here: it is counted in none of the
// measures of our own store.
package placement

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// Buckets knows customers' buckets; *postgres.Store is one.
type Buckets interface {
	// OpenBucket returns a bucket of a resource and its keys. Errors: KindNotFound, KindGone.
	OpenBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID) (remora.Bucket, remora.BucketKeys, error)
}

// Config of Stores.
type Config struct {
	Ours     *objectstore.Bucket
	Buckets  Buckets
	Policy   dialer.Policy   // which hosts of customers may be dialled
	Resolver dialer.Resolver // net.DefaultResolver in production
	Deletes  bool            // take the key that deletes, where a bucket has one of its own
	Now      func() time.Time
}

// Stores opens buckets. It is safe for concurrent use.
type Stores struct {
	Config
	http *http.Client // for all customers' stores

	mu      sync.Mutex
	silent  map[remora.BucketID]silence
	endless map[remora.BucketID]silence // that answered, and were cut off by Within
	probing map[remora.ResourceID]bool
}

// silence is how often in a row a store gave no answer, and until when it is left alone for that.
type silence struct {
	times int
	until time.Time
}

// How a customer's store is treated: three tries, each of two minutes at most; one that was silent three times in a row, whatever
// was asked of it, is left alone for five minutes by this process.
const (
	attempts       = 3
	attemptTimeout = 2 * time.Minute
	rest           = 5 * time.Minute
)

// New does no I/O.
func New(cfg Config) (*Stores, error) {
	if cfg.Ours == nil || cfg.Buckets == nil || cfg.Resolver == nil {
		return nil, errors.New("placement: a dependency is missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Stores{Config: cfg, http: cfg.Policy.StoreClient(cfg.Resolver), silent: map[remora.BucketID]silence{}, endless: map[remora.BucketID]silence{}, probing: map[remora.ResourceID]bool{}}, nil
}

// Close gives back idle connections.
func (s *Stores) Close() { s.http.CloseIdleConnections() }

// At opens a bucket of a resource; the empty one is ours. Errors: of a customer's *remora.Failure where it was silent a moment ago,
// KindNotFound, KindGone.
func (s *Stores) At(ctx context.Context, id remora.ResourceID, bucket remora.BucketID) (*objectstore.Bucket, error) {
	if bucket == "" {
		return s.Ours, nil
	}
	s.mu.Lock()
	now := s.Now()
	resting := now.Before(s.silent[bucket].until) || now.Before(s.endless[bucket].until)
	s.mu.Unlock()
	if resting {
		return nil, &remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "The store gave no answer, or came to no end, several times in a row a moment ago."}
	}
	where, keys, err := s.Buckets.OpenBucket(ctx, id, bucket)
	if err != nil {
		return nil, err
	}
	cfg := s.config(where.Place, keys, s.Deletes)
	cfg.Attempts, cfg.AttemptTimeout, cfg.MaxBackoff = attempts, attemptTimeout, 5*time.Second
	cfg.Observe = func(_, outcome string, err error) { s.heard(bucket, outcome, err) }
	b, err := s.Ours.Beside(cfg)
	if err != nil {
		return nil, &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "Its address or its keys cannot be used.", Cause: err}
	}
	return b, nil
}

func (s *Stores) heard(bucket remora.BucketID, outcome string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case outcome == "canceled": // which says nothing of the store
	case outcome == "silent" && !comesBack(err): // it was we who did not ask
	case outcome == "silent":
		s.once(s.silent, bucket)
	default:
		delete(s.silent, bucket)
	}
}

func (s *Stores) once(more map[remora.BucketID]silence, bucket remora.BucketID) {
	x := more[bucket]
	if x.times++; x.times >= attempts {
		x = silence{until: s.Now().Add(rest)}
	}
	more[bucket] = x
}

// Within has something done in a bucket of a customer's for so long and no longer. One where that was too short three times in a row is
// left alone as a silent one is: it may answer each request, and have no end of answers. Errors: At's; do's, explained.
func (s *Stores) Within(ctx context.Context, limit time.Duration, id remora.ResourceID, bucket remora.BucketID, do func(context.Context, *objectstore.Bucket) error) error {
	in, err := s.At(ctx, id, bucket)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = Explain(bucket, do(limited, in))
	if bucket == "" || ctx.Err() != nil { // which says nothing of the store
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || limited.Err() == nil {
		delete(s.endless, bucket)
		return err
	}
	s.once(s.endless, bucket)
	var f *remora.Failure
	if !errors.As(err, &f) {
		err = &remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "The store answered, and came to no end in its time.", Cause: err}
	}
	return err
}

func (s *Stores) config(p remora.Place, keys remora.BucketKeys, deletes bool) objectstore.Config {
	id, secret := keys.AccessKey, keys.SecretKey
	if deletes && keys.DeleteAccessKey != "" {
		id, secret = keys.DeleteAccessKey, keys.DeleteSecretKey
	}
	return objectstore.Config{
		Endpoint: p.Endpoint, Region: p.Region, Bucket: p.Bucket, Prefix: p.Prefix, PathStyle: p.PathStyle, AccessKey: id, SecretKey: secret, HTTP: s.http,
	}
}

// Explain makes what a customer's store answered, or did not, a *remora.Failure of its owner's; any other error, and one of our own
// bucket, stays what it is.
func Explain(bucket remora.BucketID, err error) error {
	var f *remora.Failure
	if bucket == "" || err == nil || errors.As(err, &f) || !objectstore.IsStore(err) {
		return err
	}
	reason := remora.ReasonOwnBucketRefused
	if comesBack(err) {
		reason = remora.ReasonOwnBucketFailed
	}
	return &remora.Failure{Reason: reason, Detail: words(err), Cause: err}
}

// Refuse is Explain for whoever waits for an answer on a page or over the API.
func Refuse(bucket remora.BucketID, err error) error {
	err = Explain(bucket, err)
	var f *remora.Failure
	if bucket == "" || !errors.As(err, &f) {
		return err
	}
	return &remora.Error{Kind: remora.KindConflict, Public: "This backup lies in its owner's own bucket, which cannot be read now. " + f.Detail, Cause: fmt.Errorf("own bucket: %w", err)}
}
