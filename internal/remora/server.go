package remora

import (
	"bytes"
	"encoding/hex"
	"time"
)

// Server is what a customer's server said of itself.
type Server struct {
	Version string // such as 15.20
	Size    int64  // of the database, in bytes
	Key     ServerKey
}

// ServerKey is by what a server is known again, where no authority vouches for its certificate, as at Heroku. The login does
// not depend on it: it is bound to the certificate, and proves that who shows it knows the password's verifier.
type ServerKey struct {
	At     string // host and port, as the config var has them
	SHA256 []byte // of the certificate's public key; empty where an authority vouches for it, and before the first look
}

// KeyTurn is what a server's key means beside the one that is known.
type KeyTurn string

// The turns. A server at another address is another server, by Heroku's own word in the config var: a failover, a restored
// database, a change of plan need nobody.
const (
	KeySame KeyTurn = "same"
	KeyTake KeyTurn = "take" // it is known from now on
	KeyAsk  KeyTurn = "ask"  // another one at the same address: backups go on, and a person is asked
)

// CodeServerKey is the finding that asks.
const CodeServerKey = "server_key"

// Turn compares what is known with what was seen.
func (k ServerKey) Turn(seen ServerKey) KeyTurn {
	switch {
	case len(seen.SHA256) == 0, k.At == seen.At && bytes.Equal(k.SHA256, seen.SHA256):
		return KeySame
	case len(k.SHA256) == 0, k.At != seen.At:
		return KeyTake
	}
	return KeyAsk
}

// String is the key's fingerprint, for people.
func (k ServerKey) String() string { return "SHA-256 " + hex.EncodeToString(k.SHA256) }

// Finding asks about a key that was seen beside the known one, which was taken at since.
func (k ServerKey) Finding(seen ServerKey, since time.Time) Finding {
	return Finding{
		Code: CodeServerKey, Severity: SeverityReview, Object: seen.String(),
		Detail: "is the key of the certificate that the server at " + seen.At + " shows. Since " + since.UTC().Format("2 January 2006 15:04") + " UTC it had shown another one (" + k.String() +
			"), at the same address. Whoever answers there does know the credential's password as the database keeps it, so this is most likely maintenance of Heroku's, who can tell you. If they cannot, rotate the credential.",
	}
}
