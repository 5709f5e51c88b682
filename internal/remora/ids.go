package remora

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/remora-backup/remora/internal/redact"
)

// Identifiers are UUIDs in their canonical lower-case form, made in Go before the row is inserted so that
// row, job and object key agree. A resource's is Heroku's own; all others are random (version 4), so that
// none can be guessed from another.
type (
	ResourceID string // one installed add-on, named by Heroku
	DatabaseID string // the target of one attached credential
	ScheduleID string // when a database is backed up
	BackupID   string // the customer's thing: one state of one database
	RunID      string // one attempt at a backup
	ProofID    string // one look at what is stored of a backup
	LinkID     string // a short-lived way to download a backup
	AuditID    string // one report on a credential
	EventID    string // one thing that happened
	ChannelID  string // where a customer hears of it
	DeliveryID string // one message to one channel
	APITokenID string // one token of the API
	SealingID  string // somebody's word on whose keys archives are sealed to
	BucketID   string // a customer's own bucket
	HoldID     string // a time in which nothing is deleted
)

// ParseResourceID accepts a UUID in canonical form, in either case, and returns it in lower case.
func ParseResourceID(s string) (ResourceID, error) { return parse[ResourceID](s) }

// ParseBackupID accepts a UUID in canonical form.
func ParseBackupID(s string) (BackupID, error) { return parse[BackupID](s) }

// KnownID reads an identifier that somebody names in an address, as we write it there. What is none is not found, as what
// is another's is not. Errors: KindNotFound.
func KnownID[T ~string](s, what string) (T, error) {
	id, err := parse[T](s)
	if err != nil || string(id) != s {
		return "", NotFound(what)
	}
	return id, nil
}

func parse[T ~string](s string) (T, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 { // uuid.Parse takes four other spellings too
		return "", &Error{Kind: KindInvalid, Public: "That is not a valid identifier."}
	}
	return T(id.String()), nil
}

// NewID makes a random identifier. It panics when the system has no randomness, as crypto/rand does.
func NewID[T ~string]() T { return T(uuid.NewString()) }

// NewToken returns 256 random bits in hexadecimal, for sessions and links. Only its hash is ever stored.
func NewToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never returns an error: https://pkg.go.dev/crypto/rand#Read
	return hex.EncodeToString(b)
}

// NewSigningSecret makes what a webhook is signed with: 256 random bits, written as the Standard Webhooks specification
// wants it, which allows 24 to 64 bytes
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
func NewSigningSecret() redact.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never returns an error: https://pkg.go.dev/crypto/rand#Read
	return redact.New("whsec_" + base64.StdEncoding.EncodeToString(b))
}
