package archivestore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// KeysPrefix is where the bucket has what makes it readable without our database: see doc.go. A removed add-on's key must go, so what
// lies here is locked for an hour at most in a bucket that locks archives for days, where the store says that it does.
const KeysPrefix = "k/"

// keyMost bounds what is read of one object there, in bytes.
const keyMost = 64 << 10

// What a value there is for, bound into it with whose it is.
const (
	sealedCopy    = "bucket.key"
	sealedRetired = "bucket.retired_key"
)

// RemovalPurpose keeps a removal's MAC from being good for anything else.
const RemovalPurpose = "removal"

// Purposes are all that the key ring signs for here.
func Purposes() []string { return []string{MACPurpose, RemovalPurpose} }

func keysOf(id remora.ResourceID) string { return KeysPrefix + string(id) + "/key/" }
func removedOf(id remora.ResourceID) string {
	return KeysPrefix + string(id) + "/removed"
}

const retiredPrefix = KeysPrefix + "retired/"

// KeyCopy is the copy of a resource's key, and what its add-on was when it was copied.
type KeyCopy struct {
	Resource  remora.ResourceID
	Key       redact.Secret
	Recipient string // its public half
	Addon     remora.OriginAddon
}

// copied is how it is spelled inside of what is sealed.
type copied struct {
	Key       string             `json:"key"`
	Recipient string             `json:"recipient"`
	Addon     remora.OriginAddon `json:"addon"`
}

// PutKey copies a resource's key into the bucket, sealed by the ring's first key, whose id it returns. A copy by that key
// that is there already stays. Errors: ErrNotOurs where that one is not a copy of this key; the store's.
func PutKey(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring, c KeyCopy) (by string, err error) {
	if id, err := remora.ParseResourceID(string(c.Resource)); err != nil || id != c.Resource || c.Key.IsZero() {
		return "", errRef
	}
	plain, err := json.Marshal(copied{c.Key.Reveal(), c.Recipient, c.Addon})
	if err != nil {
		return "", fmt.Errorf("encode a key's copy: %w", err)
	}
	by = keys.IDs()[0]
	_, err = b.PutErasable(ctx, keysOf(c.Resource)+by, keys.Seal(plain, sealedCopy, string(c.Resource)))
	if !errors.Is(err, objectstore.ErrExists) {
		return by, err
	}
	there, err := readKey(ctx, b, keys, c.Resource, by)
	if err == nil && there.Key.Reveal() != c.Key.Reveal() {
		err = fmt.Errorf("%w: the copy of a key is of another one", ErrNotOurs)
	}
	return by, err
}

func readKey(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring, id remora.ResourceID, by string) (KeyCopy, error) {
	raw, err := b.Get(ctx, keysOf(id)+by, keyMost)
	if err != nil {
		return KeyCopy{}, err
	}
	var c copied
	plain, err := keys.Open(raw, sealedCopy, string(id))
	if err != nil {
		return KeyCopy{}, err
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return KeyCopy{}, ErrNotOurs
	}
	return KeyCopy{Resource: id, Key: redact.New(c.Key), Recipient: c.Recipient, Addon: c.Addon}, nil
}

// EraseKeys deletes the copies of a resource's key, but for those sealed by keep where it is not empty, and looks again:
// without an error no other is left. Only the deleter's key may do it.
func EraseKeys(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID, keep string) error {
	if parsed, err := remora.ParseResourceID(string(id)); err != nil || parsed != id {
		return errRef
	}
	prefix := keysOf(id)
	others := func(do func(key string) error) error {
		return b.List(ctx, prefix, func(o objectstore.Object) error {
			if keep != "" && o.Key == prefix+keep {
				return nil
			}
			return do(o.Key)
		})
	}
	if err := others(func(key string) error { return b.Delete(ctx, key) }); err != nil {
		return err
	}
	return others(func(string) error { return errStays })
}

// Removed says that a resource was removed. It stays in the bucket when everything else of it has gone, so that our database,
// where it is put back to before the removal, does not revive it.
type Removed struct {
	Resource  remora.ResourceID `json:"resource"`
	AskedAt   time.Time         `json:"asked_at"`
	UndoUntil time.Time         `json:"undo_until"`
}

// PutRemoved writes down that a resource was removed. One that is there already stays. Errors: ErrNotOurs, ErrUnknownKey where that is not
// known to be ours; the store's.
func PutRemoved(ctx context.Context, b *objectstore.Bucket, keys MACer, r Removed) error {
	if id, err := remora.ParseResourceID(string(r.Resource)); err != nil || id != r.Resource {
		return errRef
	}
	inner, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a removal: %w", err)
	}
	mac, err := keys.MAC(RemovalPurpose, inner)
	if err != nil {
		return err
	}
	body, err := wrap(mac, inner)
	if err != nil {
		return err
	}
	if _, err = b.PutErasable(ctx, removedOf(r.Resource), body); errors.Is(err, objectstore.ErrExists) {
		_, err = readRemoved(ctx, b, keys, r.Resource)
	}
	return err
}

// EraseRemoved takes back that a resource was removed, which was undone.
func EraseRemoved(ctx context.Context, b *objectstore.Bucket, id remora.ResourceID) error {
	if parsed, err := remora.ParseResourceID(string(id)); err != nil || parsed != id {
		return errRef
	}
	return b.Delete(ctx, removedOf(id))
}

// PutRetired copies what checks the signatures of a key that has left the ring, or may (keyring.Subkey). One that is there already stays.
// Errors: ErrNotOurs where that is not a copy of this one; the store's.
func PutRetired(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring, id, purpose string, sub redact.Secret) (by string, err error) {
	by = keys.IDs()[0]
	key := retiredPrefix + id + "/" + purpose + "/" + by
	_, err = b.PutErasable(ctx, key, keys.Seal([]byte(sub.Reveal()), sealedRetired, id, purpose))
	if !errors.Is(err, objectstore.ErrExists) {
		return by, err
	}
	there, err := openRetired(ctx, b, keys, key, id, purpose)
	if err == nil && there.Reveal() != sub.Reveal() {
		err = fmt.Errorf("%w: the copy of a retired key is of another one", ErrNotOurs)
	}
	return by, err
}

func openRetired(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring, key, id, purpose string) (redact.Secret, error) {
	raw, err := b.Get(ctx, key, keyMost)
	if err != nil {
		return redact.Secret{}, err
	}
	sub, err := keys.Open(raw, sealedRetired, id, purpose)
	return redact.New(string(sub)), err
}

// Known is what the bucket says without our database.
type Known struct {
	Keys    map[remora.ResourceID]KeyCopy
	Removed map[remora.ResourceID]Removed // with no time where it cannot be told whether we wrote it: nobody is to revive it by mistake
	// Unreadable is what could not be read there, by its key, and why: the ring lacks a key, or it is not what this service
	// wrote.
	Unreadable map[string]error
}

// ReadKnown reads all of it, and has the ring check what retired keys have signed; the ring must be nobody else's yet.
func ReadKnown(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring) (Known, error) {
	k := Known{Keys: map[remora.ResourceID]KeyCopy{}, Removed: map[remora.ResourceID]Removed{}, Unreadable: map[string]error{}}
	err := b.List(ctx, retiredPrefix, func(o objectstore.Object) error {
		return k.took(o.Key, readRetired(ctx, b, keys, o.Key))
	})
	if err != nil {
		return k, err
	}
	err = b.List(ctx, KeysPrefix, func(o objectstore.Object) error {
		parts := strings.Split(o.Key, "/")
		id, err := remora.ParseResourceID(parts[1])
		switch {
		case err != nil || string(id) != parts[1]:
			return nil //nolint:nilerr // it is not of ours
		case o.Key == removedOf(id):
			r, err := readRemoved(ctx, b, keys, id)
			k.Removed[id] = r
			return k.took(o.Key, err)
		case len(parts) == 4 && o.Key == keysOf(id)+parts[3]:
			c, err := readKey(ctx, b, keys, id, parts[3])
			if err == nil {
				k.Keys[id] = c
			}
			return k.took(o.Key, err)
		}
		return nil
	})
	for key := range k.Unreadable { // an older copy beside one that opens waits for the deleter
		if id, err := remora.ParseResourceID(strings.Split(key, "/")[1]); err == nil && !k.Keys[id].Key.IsZero() && key != removedOf(id) {
			delete(k.Unreadable, key)
		}
	}
	return k, err
}

// took notes what cannot be read for what it is, and returns what is the store's own trouble.
func (k Known) took(key string, err error) error {
	if objectstore.IsStore(err) && !errors.Is(err, objectstore.ErrMismatch) && !errors.Is(err, objectstore.ErrNotFound) {
		return err
	}
	if err != nil {
		k.Unreadable[key] = err
	}
	return nil
}

func readRetired(ctx context.Context, b *objectstore.Bucket, keys *keyring.Keyring, key string) error {
	parts := strings.Split(strings.TrimPrefix(key, retiredPrefix), "/")
	if len(parts) != 3 {
		return nil
	}
	sub, err := openRetired(ctx, b, keys, key, parts[0], parts[1])
	if err == nil {
		keys.Remember(parts[0], parts[1], sub)
	}
	return err
}

func readRemoved(ctx context.Context, b *objectstore.Bucket, keys MACer, id remora.ResourceID) (r Removed, err error) {
	raw, err := b.Get(ctx, removedOf(id), keyMost)
	if err != nil {
		return r, err
	}
	var e envelope
	if json.Unmarshal(raw, &e) != nil {
		return r, ErrNotOurs
	}
	mac, err := hex.DecodeString(e.MAC)
	if err != nil {
		return r, ErrNotOurs
	}
	if id := keys.Lacks(RemovalPurpose, mac); id != "" {
		return r, fmt.Errorf("%w (%s)", ErrUnknownKey, id)
	}
	if !keys.CheckMAC(RemovalPurpose, e.Manifest, mac) || json.Unmarshal(e.Manifest, &r) != nil || r.Resource != id {
		return Removed{}, ErrNotOurs
	}
	return r, nil
}
