package remora

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/remora-backup/remora/internal/redact"
)

// APIScope is what a token of the API may do. Each includes the ones before it.
type APIScope string

// The scopes, the smallest first.
const (
	ScopeRead    APIScope = "read"
	ScopeOperate APIScope = "operate"
	ScopeAdmin   APIScope = "admin"
)

// APIScopes lists them, the smallest first.
func APIScopes() []APIScope { return []APIScope{ScopeRead, ScopeOperate, ScopeAdmin} }

// Allows tells whether the scope includes another.
func (s APIScope) Allows(need APIScope) bool {
	at := slices.Index(APIScopes(), need)
	return at >= 0 && slices.Index(APIScopes(), s) >= at
}

// Says is what a scope is for, in words that follow its name.
func (s APIScope) Says() string {
	return map[APIScope]string{
		ScopeRead:    "look at databases, backups, reports and settings; never at your data",
		ScopeOperate: "also back up, cancel, check and prove, and make links that open your data",
		ScopeAdmin:   "also change schedules, retention, locks, channels, badges, pings, storage and keys, download the add-on’s key, end links and visits, and have a detached database forgotten",
	}[s]
}

// APIToken is a token of the API, as pages show it. The token itself is shown once and never stored.
type APIToken struct {
	ID        APITokenID
	Name      string
	Shown     string // its last characters, to know it by
	Scope     APIScope
	MadeBy    string
	MadeAt    time.Time
	ExpiresAt time.Time // zero where it does not
	UsedAt    time.Time // when it was last used, to the minute; zero unless it was
	UsedFrom  string    // from where, as far as an address tells
}

// Person is who the audit log and the pages name for what was done with the token.
func (t APIToken) Person() string { return "API token " + t.Name }

// Expired tells whether it opens nothing any more because of its age.
func (t APIToken) Expired(now time.Time) bool {
	return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}

// NewAPIToken is what a person asks for.
type NewAPIToken struct {
	Name  string
	Scope APIScope
	Good  time.Duration // how long; 0 without an end
}

// Limits on tokens of the API.
const (
	MaxAPITokens  = 20 // of one resource, expired ones included
	maxTokenName  = 60 // bytes
	maxTokenGood  = 366
	apiTokenStart = "remora_" // by which secret scanners find it
)

// ParseAPIToken reads what a person has typed: days is empty or 0 where the token has no end. Errors: KindInvalid, with
// what to do.
func ParseAPIToken(name, scope, days string) (NewAPIToken, error) {
	n := NewAPIToken{Name: strings.Join(strings.Fields(name), " "), Scope: APIScope(scope)}
	switch {
	case n.Name == "":
		return n, Invalid("Give the token a name, such as the program that uses it.")
	case len(n.Name) > maxTokenName || !utf8.ValidString(n.Name) || strings.ContainsFunc(n.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return n, Invalid("A token's name has at most %d letters, digits, spaces and signs.", maxTokenName)
	case !slices.Contains(APIScopes(), n.Scope):
		return n, Invalid("Choose what the token may do: read, operate or admin.")
	case days == "":
		return n, nil
	}
	d, err := strconv.Atoi(days)
	if err != nil || d < 0 || d > maxTokenGood {
		return n, Invalid("Choose how long the token is good: from 1 to %d days, or without an end.", maxTokenGood)
	}
	n.Good = time.Duration(d) * day
	return n, nil
}

// NewAPISecret makes a token of the API: 256 random bits after a beginning that tells what it is, and a checksum by which
// scanners, and we, know one without asking.
func NewAPISecret() redact.Secret {
	body := apiTokenStart + NewToken()
	return redact.New(body + tokenSum(body))
}

func tokenSum(body string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) }

var apiToken = regexp.MustCompile(`^` + apiTokenStart + `[0-9a-f]{72}$`)

// IsAPISecret tells whether a text has the form of a token of the API. Who has what has not need not be looked for.
func IsAPISecret(s string) bool {
	if !apiToken.MatchString(s) {
		return false
	}
	body := s[:len(s)-8]
	return tokenSum(body) == s[len(body):]
}
