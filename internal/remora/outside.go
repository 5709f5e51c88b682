package remora

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// Outside is how a database's freshness is seen from outside of our pages.
type Outside struct {
	Now   time.Time
	Badge *OwnBadge // nil where there is none
	Ping  *Ping     // nil where nobody is called
}

// OwnBadge is a badge as its owner sees it.
type OwnBadge struct {
	Token  redact.Secret // opens the picture
	Named  bool          // it shows the database's name
	MadeBy string
	MadeAt time.Time
}

// PingKind is what a customer's own watch is told.
type PingKind string

// The kinds of pings, as healthchecks.io and what follows it read them.
const (
	PingStart   PingKind = "start"   // a backup has begun; /start
	PingSuccess PingKind = "success" // one was verified; the address itself
	PingFail    PingKind = "fail"    // one has ended otherwise, and is not tried again, or was canceled after its start was told; /fail
)

// Ping is the customer's own watch that is called.
type Ping struct {
	Shown   string // its address, masked
	Starts  bool   // it is called when a backup begins, too
	SetBy   string
	SetAt   time.Time
	Kind    PingKind // of the newest call; empty where there was none yet
	OK      bool     // it was answered well
	Outcome string   // what the other side said, or why it was given up
	At      time.Time
}

// PingAddress is where a ping of that kind goes.
func PingAddress(address redact.Secret, kind PingKind) (redact.Secret, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil { // it quotes the address
		return redact.Secret{}, errors.New("the address cannot be read")
	}
	if kind == PingSuccess {
		return address, nil
	}
	u = u.JoinPath(string(kind))
	u.Path = strings.TrimSuffix(u.Path, "/")
	return redact.New(u.String()), nil
}
