// Package credential reads the Postgres URL that a Heroku attachment puts into a config var.
//
// libpq and pgx accept far more in such a URL than Heroku ever writes: host lists, socket paths, hostaddr,
// service files, TLS options, command-line options for the server. Each of them would let whoever controls
// the config var aim our processes at something else. So the URL is taken apart here, into five parts, and
// everything else in it is refused; it is never handed on as a string.
package credential

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Limits of one URL and its parts, in bytes. PostgreSQL cuts names at 63 bytes (NAMEDATALEN); a DNS name
// has at most 253 (RFC 1035). Heroku's passwords have 65 characters.
const (
	maxURL      = 4096
	maxName     = 63
	maxHost     = 253
	maxPassword = 1024
)

// minPort is the lowest port that is dialled. No Postgres of Heroku's is below it, and what a failed run tells of a port
// (closed, or open and not Postgres) would else show whoever writes such a URL which services a host has, as seen from
// our address.
const minPort = 1024

// Credential is where and as whom to connect. It is comparable in its parts only; print it freely, the
// password is redacted.
type Credential struct {
	Host     string // a DNS name or an IP address, never a path or a list
	Port     uint16
	User     string
	Password redact.Secret
	Database string
	Verify   bool // the server's certificate must be one for Host that an authority known to this system has signed
}

// Parse takes a config var's value apart. Its errors are of kind remora.KindInvalid, say which part is
// wrong and never contain any of the value.
func Parse(value redact.Secret) (Credential, error) {
	raw := value.Reveal()
	switch {
	case raw == "":
		return Credential{}, refuse("is empty")
	case len(raw) > maxURL:
		return Credential{}, refuse("is longer than 4096 bytes")
	case strings.Count(raw, "@") > 1: // parsers differ on which one ends the password; Heroku escapes it
		return Credential{}, refuse("contains more than one @ sign")
	case !utf8.ValidString(raw) || strings.ContainsFunc(raw, unsafe):
		return Credential{}, refuse("contains characters that no database address has")
	}
	u, err := url.Parse(raw)
	if err != nil { // err quotes the whole URL: it goes no further
		return Credential{}, refuse("cannot be read as a URL")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return Credential{}, refuse("does not start with postgres://")
	}
	verify, err := options(u)
	if err != nil {
		return Credential{}, err
	}
	c := Credential{Host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), Port: 5432, Verify: verify}
	if err := c.setHost(u); err != nil {
		return Credential{}, err
	}
	if u.User == nil || u.User.Username() == "" {
		return Credential{}, refuse("names no user")
	}
	password, ok := u.User.Password()
	if !ok || password == "" || len(password) > maxPassword {
		return Credential{}, refuse("has no usable password")
	}
	c.User, c.Password = u.User.Username(), redact.New(password)
	c.Database = strings.TrimPrefix(u.Path, "/")
	for part, v := range map[string]string{"user name": c.User, "database name": c.Database} {
		if !plainName(v) {
			return Credential{}, refuse("has a " + part + " that is missing, longer than 63 bytes or not a plain name")
		}
	}
	if strings.ContainsFunc(password, unsafe) {
		return Credential{}, refuse("contains characters that no database address has")
	}
	return c, nil
}

// options allows sslmode, which Heroku's own tools append, and nothing else. Require is done anyway. verify-ca is taken
// for verify-full: among authorities that everybody can have a certificate from, the name is what tells servers apart,
// and libpq refuses it there too.
func options(u *url.URL) (verify bool, err error) {
	if u.Fragment != "" || u.Opaque != "" {
		return false, refuse("has parts that a database address does not have")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false, refuse("has options that cannot be read")
	}
	for name, values := range q {
		if name != "sslmode" || len(values) != 1 {
			return false, refuse("has connection options; only host, port, user, password, database and sslmode are accepted")
		}
		switch values[0] {
		case "require":
		case "verify-ca", "verify-full":
			verify = true
		default:
			return false, refuse("asks for a connection without TLS")
		}
	}
	return verify, nil
}

func (c *Credential) setHost(u *url.URL) error {
	if len(c.Host) == 0 || len(c.Host) > maxHost {
		return refuse("names no host")
	}
	bracketed := strings.HasPrefix(u.Host, "[")
	if addr, err := netip.ParseAddr(c.Host); err == nil {
		if addr.Zone() != "" || bracketed != addr.Is6() {
			return refuse("has a host that is not a plain name or address")
		}
	} else if bracketed || !hostName(c.Host) {
		return refuse("has a host that is not a plain name or address")
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n < minPort {
			return refuse("has a port that is not between 1024 and 65535")
		}
		c.Port = uint16(n)
	}
	return nil
}

// hostName accepts a DNS name (RFC 1123, with the underscore some providers use) that has a letter in its
// last label: what only looks like a number ("127.1", "0x7f.1", "2130706433") is an odd spelling of an
// address that resolvers accept and address policies overlook.
func hostName(h string) bool {
	labels := strings.Split(h, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, r := range l {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_", r) {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return last[0] >= 'a' && last[0] <= 'z'
}

// plainName refuses what a command line or libpq could take for something other than a name: an option
// (-x), a connection string (a=b, scheme://) or a second path segment.
func plainName(n string) bool {
	return n != "" && len(n) <= maxName && n[0] != '-' && !strings.ContainsAny(n, "=/\\") && !strings.ContainsFunc(n, unsafe)
}

// unsafe matches control characters and the marks that reorder or hide text.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}

func refuse(what string) error {
	return &remora.Error{
		Kind:   remora.KindInvalid,
		Public: "The config var of the attached credential " + what + ". Attach the credential again, or rotate it, so that Heroku writes the value anew.",
	}
}
