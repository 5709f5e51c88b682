// Package keyring seals secrets that must be kept: OAuth tokens, grants, the keys of resources.
//
// A ring holds 256-bit keys with names. The first seals and signs, all of them open and check, so a new key is put in
// front and the old ones stay behind it, until NeedsReseal tells of nothing any more. What an old one has signed, and cannot
// be signed anew, is checked later by its Subkey alone, which opens nothing: see Remember.
// Sealing is AES-256-GCM with a random 96-bit nonce; what a sealed value is for (table, column, row) is
// bound into it, so that a value copied to another row or column does not open there.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/internal/redact"
)

// The envelope: version, length of the key's id, id, then nonce, ciphertext and tag as
// cipher.NewGCMWithRandomNonce lays them out.
const version = 1

const keySize = 32

// Errors of Open. Both are for the operator; neither says anything about the content.
var (
	ErrCorrupt    = errors.New("keyring: sealed value is damaged or belongs elsewhere")
	errNoSuchKey  = errors.New("keyring: sealed with a key that is not in the ring")
	errBadSetting = errors.New("keyring: want id:base64-of-32-bytes, separated by commas, each id once and of a-z, 0-9 and - (at most 16)")
)

type key struct {
	id   string
	aead cipher.AEAD
	raw  *[keySize]byte // a pointer, so that a key inside of somebody's struct prints as an address
}

// Keyring seals and opens. It is safe for concurrent use. It prints as its keys' ids.
type Keyring struct {
	keys    []key
	retired map[subkey][]byte // of keys that are not in the ring
}

// subkey names what a key does one thing with.
type subkey struct{ id, purpose string }

// Parse reads a setting such as "k2:base64,k1:base64". The first key seals.
func Parse(setting redact.Secret) (*Keyring, error) {
	ring := &Keyring{}
	for part := range strings.SplitSeq(setting.Reveal(), ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(part), ":")
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(raw) != keySize || !goodID(id) || ring.find(id) != nil {
			return nil, errBadSetting // the cause would quote the key
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, errBadSetting
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("keyring: %w", err)
		}
		ring.keys = append(ring.keys, key{id: id, aead: aead, raw: (*[keySize]byte)(raw)})
	}
	return ring, nil
}

// Generate makes a setting with one new key of that id, for set-up.
func Generate(id string) redact.Secret {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never returns an error: https://pkg.go.dev/crypto/rand#Read
	return redact.New(id + ":" + base64.StdEncoding.EncodeToString(raw))
}

func goodID(id string) bool {
	return id != "" && len(id) <= 16 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// String names the keys, never their values.
func (r Keyring) String() string { return "keyring(" + strings.Join(r.IDs(), ",") + ")" }

// GoString is String, for %#v.
func (r Keyring) GoString() string { return r.String() }

// Format is String, for every other verb.
func (r Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

func (r *Keyring) find(id string) *key {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// Seal encrypts plain for one place. context names the place, outermost first; Open wants the same.
func (r *Keyring) Seal(plain []byte, context ...string) []byte {
	k := &r.keys[0]
	head := Mark(k.id)
	return k.aead.Seal(head, nil, plain, bind(head, context)) //nolint:gosec // a nil nonce is this AEAD's contract: it makes a random one
}

// Open decrypts what Seal made with the same context. Errors: ErrCorrupt, or one that names the missing key.
func (r *Keyring) Open(sealed []byte, context ...string) ([]byte, error) {
	id, n, err := keyID(sealed)
	if err != nil {
		return nil, err
	}
	k := r.find(id)
	if k == nil {
		return nil, fmt.Errorf("%w (%s): put it back behind the first one", errNoSuchKey, id)
	}
	plain, err := k.aead.Open(nil, nil, sealed[n:], bind(sealed[:n], context))
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

// IDs names the keys; the first seals.
func (r Keyring) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// SealedBy tells which key has sealed a value, or made a MAC. Errors: ErrCorrupt.
func SealedBy(sealed []byte) (string, error) {
	id, _, err := keyID(sealed)
	return id, err
}

// Mark is what everything begins with that the key of that id has sealed or signed.
func Mark(id string) []byte { return append([]byte{version, byte(len(id))}, id...) }

// Subkey returns what a key of the ring signs with for one purpose, to be kept, itself sealed, when the key goes: by it
// Remember checks what was signed, and nobody opens anything.
func (r *Keyring) Subkey(id, purpose string) (redact.Secret, error) {
	k := r.find(id)
	if k == nil {
		return redact.Secret{}, fmt.Errorf("%w (%s)", errNoSuchKey, id)
	}
	sub, err := k.subkey(purpose)
	return redact.New(string(sub)), err
}

// Remember has CheckMAC know what a key signed that is not in the ring any more. A key that is in the ring is checked by
// itself. It is for a ring that nobody uses yet.
func (r *Keyring) Remember(id, purpose string, sub redact.Secret) {
	if r.retired == nil {
		r.retired = map[subkey][]byte{}
	}
	r.retired[subkey{id, purpose}] = []byte(sub.Reveal())
}

// NeedsReseal tells whether a sealed value was made by another key than the ring's first.
func (r *Keyring) NeedsReseal(sealed []byte) bool {
	id, _, err := keyID(sealed)
	return err == nil && id != r.keys[0].id
}

// MAC authenticates data for one purpose. It carries the key's id. Each purpose has a key of its own, derived
// with HKDF-SHA-256 (RFC 5869), so that one key never does two things.
func (r *Keyring) MAC(purpose string, data []byte) ([]byte, error) {
	return r.keys[0].mac(purpose, data)
}

// CheckMAC tells, in constant time, whether mac is MAC's answer for the same purpose and data. It says no of what is signed
// by a key that the ring lacks, too: see Lacks.
func (r *Keyring) CheckMAC(purpose string, data, mac []byte) bool {
	id, _, err := keyID(mac)
	if err != nil {
		return false
	}
	sub := r.retired[subkey{id, purpose}]
	if k := r.find(id); k != nil {
		if sub, err = k.subkey(purpose); err != nil {
			return false
		}
	}
	return len(sub) == keySize && hmac.Equal(sign(id, sub, data), mac)
}

// Lacks names the key that made a MAC where the ring neither holds nor remembers it, and so can say nothing of what is
// signed. It is empty where the ring can tell, and of what no key of any ring can have made.
func (r *Keyring) Lacks(purpose string, mac []byte) string {
	id, n, err := keyID(mac)
	if err != nil || !goodID(id) || len(mac) != n+sha256.Size || r.find(id) != nil || r.retired[subkey{id, purpose}] != nil {
		return ""
	}
	return id
}

func (k *key) mac(purpose string, data []byte) ([]byte, error) {
	sub, err := k.subkey(purpose)
	if err != nil {
		return nil, err
	}
	return sign(k.id, sub, data), nil
}

func (k *key) subkey(purpose string) ([]byte, error) {
	sub, err := hkdf.Key(sha256.New, k.raw[:], nil, "remora mac "+purpose, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive MAC key: %w", err)
	}
	return sub, nil
}

func sign(id string, sub, data []byte) []byte {
	h := hmac.New(sha256.New, sub)
	h.Write(data)
	return h.Sum(Mark(id))
}

// keyID reads the id in front and returns where it ends.
func keyID(b []byte) (string, int, error) {
	if len(b) < 2 || b[0] != version || len(b) < 2+int(b[1]) {
		return "", 0, ErrCorrupt
	}
	n := 2 + int(b[1])
	return string(b[2:n]), n, nil
}

// bind makes the additional data: the envelope's head and the context, each part with its length before it
// so that no two contexts run together.
func bind(head []byte, context []string) []byte {
	b := append([]byte(nil), head...)
	for _, c := range context {
		b = binary.BigEndian.AppendUint32(b, uint32(len(c))) //nolint:gosec // contexts are short constants and ids
		b = append(b, c...)
	}
	return b
}
