package remora

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AuditLine is one line of a resource's audit log: who did what. The lines of a resource are a chain: each carries the hash
// of the one before it, and its own is of that and of everything it says, so that none can be changed, left out or put in
// between without all that follow being made anew.
type AuditLine struct {
	Resource ResourceID
	Seq      int64 // from 1, without a gap
	At       time.Time
	Actor    string // a person's address, or heroku, retention, remora, or where a link was used from
	Action   string
	Subject  string // what it was done to: an identifier, or words; may be empty
	Previous []byte // the hash of the line before; 32 zeros of the first
	Hash     []byte
}

// About takes a subject apart that begins with an identifier; id is empty where it does not.
func (l AuditLine) About() (id, words string) {
	id, words, _ = strings.Cut(l.Subject, " ")
	if _, err := ParseBackupID(id); err != nil {
		return "", l.Subject
	}
	return id, words
}

// AuditTime is how a line's time is written, to the microsecond, as PostgreSQL keeps it.
const AuditTime = "2006-01-02T15:04:05.000000Z"

// Sum returns what the line's hash must be: SHA-256 of seven netstrings, as migration 0019 has it in SQL and docs/audit.md in
// words.
func (l AuditLine) Sum() []byte {
	h := sha256.New()
	for _, word := range []string{
		hex.EncodeToString(l.Previous), string(l.Resource), strconv.FormatInt(l.Seq, 10), l.At.UTC().Format(AuditTime), l.Actor, l.Action, l.Subject,
	} {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(word), word) // a hash takes everything
	}
	return h.Sum(nil)
}

// auditLine is a line as exports have it.
type auditLine struct {
	Seq      int64  `json:"seq"`
	At       string `json:"at"`
	Actor    string `json:"actor"`
	Action   string `json:"action"`
	Subject  string `json:"subject"`
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// MarshalJSON implements json.Marshaler. The resource is left out: an export names it once.
func (l AuditLine) MarshalJSON() ([]byte, error) {
	return json.Marshal(auditLine{l.Seq, l.At.UTC().Format(AuditTime), l.Actor, l.Action, l.Subject, hex.EncodeToString(l.Previous), hex.EncodeToString(l.Hash)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *AuditLine) UnmarshalJSON(b []byte) error {
	var x auditLine
	if err := json.Unmarshal(b, &x); err != nil {
		return err
	}
	at, err := time.Parse(AuditTime, x.At)
	if err != nil {
		return fmt.Errorf("line %d: its time is not as it was written", x.Seq)
	}
	previous, err1 := hex.DecodeString(x.Previous)
	hash, err2 := hex.DecodeString(x.Hash)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("line %d: its hashes are not hexadecimal", x.Seq)
	}
	*l = AuditLine{Resource: l.Resource, Seq: x.Seq, At: at, Actor: x.Actor, Action: x.Action, Subject: x.Subject, Previous: previous, Hash: hash}
	return nil
}

// AuditChain is how far a chain was followed. Its zero value is the beginning.
type AuditChain struct {
	Length int64
	Hash   []byte
}

// Add follows the chain by one line. The error says where it is broken, and how; it names nothing that the line says.
func (c *AuditChain) Add(l AuditLine) error {
	previous := c.Hash
	if c.Length == 0 {
		previous = make([]byte, sha256.Size)
	}
	switch {
	case l.Seq != c.Length+1:
		return fmt.Errorf("after line %d comes line %d: what was between is missing, or something was put in", c.Length, l.Seq)
	case !bytes.Equal(l.Previous, previous):
		return fmt.Errorf("line %d does not follow line %d as that one is: one of them was changed", l.Seq, c.Length)
	case !bytes.Equal(l.Hash, l.Sum()):
		return fmt.Errorf("line %d is not what was written down: its hash is of something else", l.Seq)
	}
	c.Length, c.Hash = l.Seq, l.Hash
	return nil
}

// AuditLook is which lines of an audit log are looked at. Its zero value is all of them.
type AuditLook struct {
	Actor  string    // only those of whom this is a part of the name, in either case
	Action string    // only these
	Since  time.Time // from then on
	Until  time.Time // before then
	Before int64     // lines before this one; 0 is from the newest
	Most   int
}

// Filtered tells whether lines are left out.
func (l AuditLook) Filtered() bool {
	return l.Actor != "" || l.Action != "" || !l.Since.IsZero() || !l.Until.IsZero()
}

// AuditPage is some of a log's lines, newest first.
type AuditPage struct {
	Now      time.Time // the database's clock, which all ages are told by
	Resource Resource
	Lines    []AuditLine
	More     bool     // there are earlier ones
	Actions  []string // all that the log has, in alphabetical order
	Chain    AuditChain
	About    map[string]AuditSubject // what the identifiers among the subjects are, of those that are still known
}

// AuditSubject is what a line is about.
type AuditSubject struct {
	Database DatabaseID
	Backup   BackupID // empty where it is the database itself
	Addon    string
	QueuedAt time.Time // the backup's
}
