package credential_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// names is what the resolver of the test knows; it gives out what it has for a name by the number of the question.
type names map[string][][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	answers := n[strings.TrimSuffix(host, ".")]
	if len(answers) == 0 {
		return nil, nil
	}
	if len(answers) > 1 {
		n[strings.TrimSuffix(host, ".")] = answers[1:]
	}
	var out []netip.Addr
	for _, a := range answers[0] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// What a customer can write into a config var, each with what becomes of it, from the URL to the address that everything
// of ours is pinned to, by the policy of production.
func TestHostileURLs(t *testing.T) {
	t.Parallel()
	const (
		pw       = "CANARYpw"
		noHost   = "names no host"
		oddHost  = "has a host that is not a plain name or address"
		unread   = "cannot be read as a URL"
		options  = "has connection options"
		noTLS    = "asks for a connection without TLS"
		badPort  = "has a port that is not between 1024 and 65535"
		oddName  = "not a plain name"
		odd      = "contains characters that no database address has"
		manyAts  = "contains more than one @ sign"
		long     = "is longer than 4096 bytes"
		inside   = "is not a public address"
		nowhere  = "the host has no address"
		ofHeroku = "52.1.2.3 5432 ok.example u d"
	)
	for number, cases := range map[string]map[string]string{
		"1 sockets":         {"postgres://u:PW@/db?host=/var/run/postgresql": options, "postgres://u:PW@/db": noHost},
		"2 escaped sockets": {"postgres://%2Ftmp:5432/db?user=u": unread, "postgres://u:PW@%2Ftmp:5432/db": unread},
		"3 abstract":        {"postgres://u:PW@@abstract/db": manyAts},
		"4 lists":           {"postgres://u:PW@127.0.0.1:1,10.0.0.5:5432/db": oddHost, "postgres://u:PW@ok.example,10.0.0.5/db": oddHost},
		"5 hostaddr":        {"postgres://u:PW@ok.example/db?hostaddr=169.254.169.254": options},
		"6 spellings": {
			"postgres://u:PW@2130706433/db": oddHost, "postgres://u:PW@0x7f.1/db": oddHost, "postgres://u:PW@0x7f000001/db": oddHost,
			"postgres://u:PW@127.1/db": oddHost, "postgres://u:PW@127.0.1/db": oddHost, "postgres://u:PW@0/db": oddHost,
			"postgres://u:PW@0177.0.0.1/db": oddHost, "postgres://u:PW@017700000001/db": oddHost, "postgres://u:PW@127.0.0.01/db": oddHost,
			"postgres://u:PW@127.0.0.1./db": inside, "postgres://u:PW@127.0.0.1../db": oddHost, "postgres://u:PW@[127.0.0.1]/db": unread,
			"postgres://u:PW@[::ffff:127.0.0.1]/db": inside, "postgres://u:PW@[::ffff:7f00:1]/db": inside, "postgres://u:PW@[::ffff:8.8.8.8]/db": inside,
			"postgres://u:PW@[::127.0.0.1]/db": inside, "postgres://u:PW@[0:0:0:0:0:0:0:1]/db": inside, "postgres://u:PW@::1/db": oddHost,
			"postgres://u:PW@１２７.0.0.1/db": oddHost, "postgres://u:PW@①②⑦.0.0.1/db": oddHost, "postgres://u:PW@127。0。0。1/db": oddHost,
			"postgres://u:PW@%31%32%37.0.0.1/db": unread,
		},
		"7 inside": {
			"postgres://u:PW@127.0.0.1/db": inside, "postgres://u:PW@[::1]/db": inside, "postgres://u:PW@[::]/db": inside, "postgres://u:PW@0.0.0.0/db": inside,
			"postgres://u:PW@169.254.169.254/db": inside, "postgres://u:PW@[fd00:ec2::254]/db": inside, "postgres://u:PW@100.100.100.200/db": inside,
			"postgres://u:PW@10.1.2.3/db": inside, "postgres://u:PW@172.31.0.1/db": inside, "postgres://u:PW@192.168.0.1/db": inside,
			"postgres://u:PW@[fe80::1]/db": inside, "postgres://u:PW@[fe80::1%25eth0]/db": oddHost, "postgres://u:PW@[fe80::1%eth0]/db": unread,
			"postgres://u:PW@[64:ff9b::a9fe:a9fe]/db": inside, "postgres://u:PW@[64:ff9b:1::a9fe:a9fe]/db": inside, "postgres://u:PW@[2002:a9fe:a9fe::]/db": inside,
			"postgres://u:PW@localhost/db": inside, "postgres://u:PW@localhost./db": inside, "postgres://u:PW@LOCALHOST/db": inside, "postgres://u:PW@metadata.internal/db": inside,
		},
		"8 names": {
			"postgres://u:PW@mixed.example/db": inside, "postgres://u:PW@mapped.example/db": inside, "postgres://u:PW@nowhere.example/db": nowhere,
			"postgres://u:PW@bücher.example/db": oddHost, "postgres://u:PW@xn--bcher-kva.example/d": "52.1.2.9 5432 xn--bcher-kva.example u d",
			"postgres://u:PW@rebinding.example/d": "52.1.2.3 5432 rebinding.example u d", // asked once, and then pinned
		},
		"9 sslmode": {
			"postgres://u:PW@ok.example/db?sslmode=disable": noTLS, "postgres://u:PW@ok.example/db?sslmode=prefer": noTLS, "postgres://u:PW@ok.example/db?sslmode=allow": noTLS,
			"postgres://u:PW@ok.example/db?sslmode=": noTLS, "postgres://u:PW@ok.example/db?sslmode=require&sslmode=disable": options,
			"postgres://u:PW@ok.example/db?SSLMODE=require": options, "postgres://u:PW@ok.example/d?sslmode=require": ofHeroku, "postgres://u:PW@ok.example/d?sslmode=verify-full": ofHeroku + " verified",
		},
		"10 passfile":    {"postgres://u:PW@ok.example/db?passfile=/etc/shadow": options},
		"11 service":     {"postgres://u:PW@ok.example/db?service=x&servicefile=/etc/passwd": options},
		"12 TLS files":   {"postgres://u:PW@ok.example/db?sslrootcert=/etc/shadow": options, "postgres://u:PW@ok.example/db?sslcert=/a&sslkey=/b": options},
		"13 options":     {"postgres://u:PW@ok.example/db?options=-c%20role%3Downer": options, "postgres://u:PW@ok.example/db?options=-c%20default_transaction_read_only%3Doff": options},
		"14 parameters":  {"postgres://u:PW@ok.example/db?replication=database": options, "postgres://u:PW@ok.example/db?client_encoding=SQL_ASCII": options, "postgres://u:PW@ok.example/db?application_name=%0AX": options, "postgres://u:PW@ok.example/d%00b": oddName},
		"15 conninfo":    {"postgres://u:PW@ok.example/host=evil%20port=1%20dbname=x": oddName, "postgres://u:PW@ok.example/postgresql:%2F%2Fevil": oddName},
		"16 arguments":   {"postgres://u:PW@ok.example/--file=%2Ftmp%2Fx": oddName, "postgres://-Fp:PW@ok.example/db": oddName, "postgres://u:PW@ok.example/;id": "52.1.2.3 5432 ok.example u ;id", "postgres://u:PW@ok.example/$(id)": "52.1.2.3 5432 ok.example u $(id)"}, // no shell sees them
		"17 cut escapes": {"postgres://u:PW%zz@ok.example/db": unread, "postgres://u:PW@[127.0.0.1:5432/db?x": unread, "password = PW": "does not start with postgres://"},
		"18 ports": {
			"postgres://u:PW@ok.example:22/db": badPort, "postgres://u:PW@ok.example:25/db": badPort, "postgres://u:PW@ok.example:0/db": badPort, "postgres://u:PW@ok.example:65536/db": badPort,
			"postgres://u:PW@ok.example:-1/db": unread, "postgres://u:PW@ok.example:/db": badPort, "postgres://u:PW@ok.example:05432/d": ofHeroku, "postgres://u:PW@ok.example:1e4/db": unread,
			"postgres://u:PW@ok.example:6379/d": "52.1.2.3 6379 ok.example u d", // any above 1023: a pooler may listen there
		},
		"19 lengths": {
			"postgres://u:PW@ok.example/" + strings.Repeat("d", 1<<20): long, "postgres://u:PW@ok.example/d?" + strings.Repeat("a=b&", 10_000): long,
			"postgres://u:PW@ok.example/d?" + strings.Repeat("a=b&", 900): options, "postgres://u:PW@ok.example/d\xff": odd, "postgres://u:PW@ok.example/d%ff": oddName, "postgres://u:PW@ok.example/d%E2%80%AEb": oddName, "postgres://u:PW@ok.example/d\u202eb": odd,
			"postgres://u:PW@" + strings.Repeat("a", 254) + "/d": noHost,
		},
	} {
		for url, want := range cases {
			t.Run(fmt.Sprintf("%s/%.60s", number, url), func(t *testing.T) {
				t.Parallel()
				resolver := names{
					"ok.example": {{"52.1.2.3"}}, "mixed.example": {{"52.1.2.3", "127.0.0.1"}}, "mapped.example": {{"::ffff:169.254.169.254"}}, "xn--bcher-kva.example": {{"52.1.2.9"}},
					"rebinding.example": {{"52.1.2.3"}, {"127.0.0.1"}}, "localhost": {{"127.0.0.1", "::1"}}, "metadata.internal": {{"169.254.169.254"}},
				}
				got, err := reach(t.Context(), resolver, strings.ReplaceAll(url, "PW", pw))
				if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, want) || err == nil && got != want {
					t.Errorf("%q, want %q", got, want)
				}
				if strings.Contains(fmt.Sprintf("%+v %#v", err, err), pw) {
					t.Errorf("the refusal tells the password: %v", err)
				}
			})
		}
	}
}

// reach is what a run does with a config var before it connects.
func reach(ctx context.Context, r dialer.Resolver, url string) (string, error) {
	c, err := credential.Parse(redact.New(url))
	if err != nil {
		var e *remora.Error
		if !errors.As(err, &e) || e.Kind != remora.KindInvalid {
			return "", fmt.Errorf("refused without words for the customer: %w", err)
		}
		return "", errors.New(e.Public)
	}
	addr, err := dialer.Strict().Resolve(ctx, r, c.Host)
	if err != nil {
		return "", err
	}
	out := fmt.Sprint(addr, " ", c.Port, " ", c.Host, " ", c.User, " ", c.Database)
	if c.Verify {
		out += " verified"
	}
	return out, nil
}
