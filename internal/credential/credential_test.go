package credential_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestParseReadsWhatHerokuWrites(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://remora_ro:pw1234@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d8k": "ec2-1-2-3-4.compute-1.amazonaws.com 5432 remora_ro pw1234 d8k",
		"postgres://u:p%40ss@db.example.com/d":                                     "db.example.com 5432 u p@ss d",
		"postgresql://u:p@DB.Example.com.:6432/d?sslmode=require":                  "db.example.com 6432 u p d",
		"postgres://u:p@127.0.0.1:6432/d":                                          "127.0.0.1 6432 u p d",
		"postgres://u:p@[2001:db8::1]:6432/My%20Db":                                "2001:db8::1 6432 u p My Db",
	} {
		c, err := credential.Parse(redact.New(in))
		if got := fmt.Sprint(c.Host, " ", c.Port, " ", c.User, " ", c.Password.Reveal(), " ", c.Database); err != nil || got != want {
			t.Errorf("%s: got %q, want %q (%v)", in, got, want, err)
		}
	}
}

// What the URL asks for is done, or more.
func TestParseKeepsVerification(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"": false, "?sslmode=require": false, "?sslmode=verify-ca": true, "?sslmode=verify-full": true} {
		c, err := credential.Parse(redact.New("postgres://u:p@db.example/d" + mode))
		if err != nil || c.Verify != want {
			t.Errorf("%s: %v %v", mode, c.Verify, err)
		}
	}
}

// Each of these makes libpq, pgx or net/url do something that a backup must not do.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const pw = "CANARYpw"
	for _, in := range []string{
		"", "x", "mysql://u:" + pw + "@h.example/d", "postgres:u:" + pw,
		"postgres://u:" + pw + "@/db?host=/var/run/postgresql", "postgres://%2Ftmp:5432/db?user=u",
		"postgres://u:" + pw + "@@abstract/db", "postgres://u:" + pw + "@127.0.0.1:1,10.0.0.5:5432/db",
		"postgres://u:" + pw + "@ok.example/db?hostaddr=169.254.169.254",
		"postgres://u:" + pw + "@2130706433/db", "postgres://u:" + pw + "@0x7f.1/db", "postgres://u:" + pw + "@127.1/db",
		"postgres://u:" + pw + "@0/db", "postgres://u:" + pw + "@[fe80::1%25eth0]/db", "postgres://u:" + pw + "@[127.0.0.1]/db",
		"postgres://u:" + pw + "@h.example/db?sslmode=disable", "postgres://u:" + pw + "@h.example/db?sslmode=prefer",
		"postgres://u:" + pw + "@h.example/db?sslmode=require&sslmode=disable",
		"postgres://u:" + pw + "@h.example/db?passfile=/etc/shadow", "postgres://u:" + pw + "@h.example/db?service=x",
		"postgres://u:" + pw + "@h.example/db?sslrootcert=/etc/shadow", "postgres://u:" + pw + "@h.example/db?options=-c%20role%3Downer",
		"postgres://u:" + pw + "@h.example/db?replication=database", "postgres://u:" + pw + "@h.example/db?application_name=%0AX",
		"postgres://u:" + pw + "@h.example/host=evil%20port=1", "postgres://u:" + pw + "@h.example/--file=x",
		"postgres://-Fp:" + pw + "@h.example/db", "postgres://u:" + pw + "@h.example/a/b", "postgres://u:" + pw + "@h.example/",
		"postgres://u:" + pw + "%zz@h.example/db", "postgres://u:" + pw + "@[127.0.0.1:5432/db?x",
		"postgres://u:" + pw + "@h.example:0/db", "postgres://u:" + pw + "@h.example:65536/db", "postgres://u:" + pw + "@h.example:-1/db",
		"postgres://u:" + pw + "@h.example:22/db", "postgres://u:" + pw + "@h.example:1023/db",
		"postgres://u:" + pw + "@h.example:/db", "postgres://u@h.example/db", "postgres://h.example/db", "postgres://:" + pw + "@h.example/db",
		"postgres://u:" + pw + "@h.example/db#frag", "postgres://u:" + pw + "%00@h.example/db", "postgres://u:" + pw + "@h.example/d%E2%80%AEb",
		"postgres://u:" + pw + "@h.example/d\xff", "postgres://u:" + pw + "@" + strings.Repeat("a", 5000) + "/d",
		"postgres://u:" + pw + "@-h.example/d", "postgres://u:" + pw + "@h..example/d", "postgres://u:" + pw + "@h_ö.example/d",
		" postgres://u:" + pw + "@h.example/d", "postgres://u:" + pw + "@h.example/" + strings.Repeat("d", 64),
	} {
		_, err := credential.Parse(redact.New(in))
		var e *remora.Error
		if !errors.As(err, &e) || e.Kind != remora.KindInvalid || e.Public == "" {
			t.Errorf("%q: got %v, want a refusal", in, err)
			continue
		}
		if strings.Contains(fmt.Sprintf("%+v %#v", err, err), "CANARY") {
			t.Errorf("%q: the refusal tells the password: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("postgres://u:p@h.example:5432/d?sslmode=require")
	f.Add("postgres://u:p@[::1]/d")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := credential.Parse(redact.New(in))
		if err != nil {
			return
		}
		if c.Host == "" || c.Port < 1024 || c.User == "" || c.Database == "" || c.Password.IsZero() {
			t.Errorf("accepted with a part missing: %q", in)
		}
		if strings.ContainsAny(c.Host, ",/@% ") || strings.HasPrefix(c.Database, "-") || strings.ContainsAny(c.Database, "=/\n\x00") {
			t.Errorf("accepted a part that libpq would expand: %q", in)
		}
	})
}
