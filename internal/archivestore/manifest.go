package archivestore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// Ref names one run's archive.
type Ref struct {
	Resource remora.ResourceID
	Backup   remora.BackupID
	Epoch    int
}

// Prefix is where the objects of every archive are.
const Prefix = "r/"

func (r Ref) key(name string) string {
	return Prefix + string(r.Resource) + "/b/" + string(r.Backup) + "/" + strconv.Itoa(r.Epoch) + "/" + name
}

// ParseKey tells which run's archive an object or upload of that key belongs to.
func ParseKey(key string) (Ref, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 6 || parts[0]+"/" != Prefix || parts[2] != "b" {
		return Ref{}, false
	}
	r, err := remora.ParseResourceID(parts[1])
	b, berr := remora.ParseBackupID(parts[3])
	epoch, eerr := strconv.Atoi(parts[4])
	ref := Ref{r, b, epoch}
	return ref, errors.Join(err, berr, eerr) == nil && ref.key(parts[5]) == key
}

// Names of objects.
const (
	headName     = "head"
	manifestName = "manifest"
	contentsName = "contents"
)

func bodyName(n int) string { return fmt.Sprintf("body-%03d", n) }

// isName tells whether an object of a run's may have that name.
func isName(s string) bool {
	var n int
	_, err := fmt.Sscanf(s, "body-%d", &n)
	return s == headName || s == manifestName || s == contentsName || err == nil && n > 0 && s == bodyName(n)
}

// MACer authenticates manifests; a *keyring.Keyring is one.
type MACer interface {
	MAC(purpose string, data []byte) ([]byte, error)
	CheckMAC(purpose string, data, mac []byte) bool
	Lacks(purpose string, mac []byte) (id string)
}

// MACPurpose keeps a manifest's MAC from being good for anything else.
const MACPurpose = "manifest"

// Manifest says what a backup consists of.
type Manifest struct {
	Format         int               `json:"format"` // 1
	Resource       remora.ResourceID `json:"resource"`
	Backup         remora.BackupID   `json:"backup"`
	Epoch          int               `json:"epoch"`
	MadeAt         time.Time         `json:"made_at"`
	ServerVersion  string            `json:"server_version"`
	ClientVersion  string            `json:"client_version"` // of pg_dump
	ArchiveVersion string            `json:"archive_version"`
	Compression    string            `json:"compression"`
	Tables         int               `json:"tables"`
	PlainSize      int64             `json:"plain_size"` // bytes of the archive
	// Origin is what our database must know to make its rows again, remora.Origin as JSON in a letter (seal.Letter) to the
	// resource's own key, whoever else opens the archive; absent of what was made before it was kept.
	Origin string `json:"origin,omitempty"`
	// SealedTo has the fingerprints of the keys of which each opens it; absent of what was made when there was but one.
	SealedTo []string       `json:"sealed_to,omitempty"`
	Objects  []StoredObject `json:"objects"` // the head, then the bodies in order
	// Contents is what the archive holds, row by row counted, as JSON, of many tables compressed; absent where it was not counted.
	Contents *StoredObject `json:"contents,omitempty"`
}

func (m Manifest) ref() Ref { return Ref{m.Resource, m.Backup, m.Epoch} }

// Stored lists everything that is stored of the backup beside the manifest itself.
func (m Manifest) Stored() []StoredObject {
	if m.Contents == nil {
		return m.Objects
	}
	return append(slices.Clone(m.Objects), *m.Contents)
}

// StoredObject is one sealed part of the archive.
type StoredObject struct {
	Name      string `json:"name"`
	Size      int64  `json:"size"` // of the sealed bytes
	PlainSize int64  `json:"plain_size"`
	// Unpacked is how long the plain bytes are without gzip's compression, by which long contents are stored; 0 of what is stored as it is.
	Unpacked int64  `json:"unpacked_size,omitempty"`
	SHA256   string `json:"sha256"`  // of the sealed bytes, in hexadecimal
	Opening  string `json:"opening"` // of the sealed file, in hexadecimal: see seal.File
}

// file is what seal needs to know of it. An opening that is no hexadecimal opens nothing.
func (o StoredObject) file() seal.File {
	opening, _ := hex.DecodeString(o.Opening)
	return seal.File{Size: o.Size, PlainSize: o.PlainSize, Opening: opening}
}

const manifestFormat = 1

// maxManifest bounds a manifest; one lists an object for every 48 GiB.
const maxManifest = 1 << 20

type envelope struct {
	MAC      string          `json:"mac"` // over the manifest's bytes as they stand
	Manifest json.RawMessage `json:"manifest"`
}

func (m Manifest) encode(keys MACer) ([]byte, error) {
	inner, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	mac, err := keys.MAC(MACPurpose, inner)
	if err != nil {
		return nil, err
	}
	return wrap(mac, inner)
}

func wrap(mac, inner []byte) ([]byte, error) {
	return json.Marshal(envelope{hex.EncodeToString(mac), inner})
}

// ErrNotOurs says that a manifest is not what this service wrote for this backup.
var ErrNotOurs = errors.New("archivestore: the manifest is not the one that was written for this backup")

// ErrUnknownKey says that it cannot be told here whether a manifest is ours. It is no damage: while the master key is
// changed, a process may be behind the one that signed.
var ErrUnknownKey = errors.New("archivestore: the manifest is signed by a key that this process's KEYRING lacks; give every process the same KEYRING")

func decode(b []byte, ref Ref, keys MACer) (Manifest, error) {
	var e envelope
	var m Manifest
	if json.Unmarshal(b, &e) != nil {
		return m, ErrNotOurs
	}
	mac, err := hex.DecodeString(e.MAC)
	if err != nil {
		return m, ErrNotOurs
	}
	if id := keys.Lacks(MACPurpose, mac); id != "" {
		return m, fmt.Errorf("%w (%s)", ErrUnknownKey, id)
	}
	if !keys.CheckMAC(MACPurpose, e.Manifest, mac) || json.Unmarshal(e.Manifest, &m) != nil {
		return m, ErrNotOurs
	}
	// The MAC does not cover the envelope, which JSON and hexadecimal let be spelled in many ways: "MAC", or capitals.
	if same, err := wrap(mac, e.Manifest); err != nil || !bytes.Equal(same, b) {
		return m, ErrNotOurs
	}
	if m.ref() != ref || m.Format != manifestFormat || !m.adds() {
		return m, ErrNotOurs
	}
	return m, nil
}

// adds tells whether the objects are a head and then bodies in order, and their sizes the archive's.
func (m Manifest) adds() bool {
	sum := int64(0)
	for i, o := range m.Objects {
		if name := bodyName(i); (i == 0 && o.Name != headName) || (i > 0 && o.Name != name) || o.PlainSize < 0 || o.Size <= o.PlainSize {
			return false
		}
		if sum += o.PlainSize; sum < 0 { // more than there can be
			return false
		}
	}
	contents := m.Contents == nil || m.Contents.Name == contentsName && m.Contents.PlainSize >= 0 && m.Contents.Size > m.Contents.PlainSize && m.Contents.Unpacked >= 0
	return len(m.Objects) > 0 && sum == m.PlainSize && contents
}
